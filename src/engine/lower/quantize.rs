//! QuantizeLinear and DequantizeLinear.

use super::place::Place;
use super::real::{Order, Piece, Real};
use super::{Cells, Form, Found, Lowering};
use crate::engine::graph::{Datum, DatumType, Node};
use crate::engine::kernel::pointwise::Activation;
use crate::engine::kernel::store;
use crate::engine::plan::slot::{Border, Element, Image, SlotId, Vector};
use crate::engine::plan::step::{Addend, Quantize};
use std::rc::Rc;

/// Scale and zero point of a whole tensor; the zero point as that of signed cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub scale: f32,
    pub zero_point: i32,
    pub unsigned: bool,
}

impl Grid {
    pub(super) fn quantize(self) -> Quantize {
        Quantize { per_unit: 1.0 / self.scale, zero_point: self.zero_point, low: -128, high: 127 }
    }
}

/// Channels, height and width of the image that holds a tensor, and in what order: an image, or rows of what is last.
pub(super) fn size_of(shape: &[usize]) -> Option<([usize; 3], Order)> {
    match *shape {
        [1, channels, height, width] => Some(([channels, height, width], Order::Planes)),
        [ref rows @ .., channels] if channels > 0 => {
            let rows: usize = rows.iter().product();
            (rows > 0).then_some(([channels, 1, rows], Order::Rows))
        }
        _ => None,
    }
}

impl Lowering<'_> {
    /// The floats of a constant.
    pub(super) fn constant_floats(&self, name: &str) -> Option<Vec<f32>> {
        self.constants.get(name).map(|value| value.to_floats())
    }

    /// A constant of int8 or uint8 as signed values, and whether it is unsigned.
    pub(super) fn constant_int8(&self, name: &str) -> Option<(Vec<i8>, bool)> {
        let value = self.constants.get(name)?;
        match value.datum_type() {
            DatumType::I8 => Some((value.as_bytes().iter().map(|&byte| byte as i8).collect(), false)),
            DatumType::U8 => Some((value.as_bytes().iter().map(|&byte| (byte ^ 0x80) as i8).collect(), true)),
            _ => None,
        }
    }

    /// The grid of a whole tensor.
    ///
    /// # Errors
    /// A scale that is no positive number.
    pub(super) fn grid(&self, scale: Option<&str>, zero_point: Option<&str>) -> Result<Option<Grid>, String> {
        let Some(scale) = scale.and_then(|name| self.constant_floats(name)) else { return Ok(None) };
        let [scale] = scale[..] else { return Ok(None) };
        check_scale(scale)?;
        let (zero_point, unsigned) = match zero_point {
            None => (-128, true),
            Some(name) => match self.constant_int8(name) {
                Some((values, unsigned)) if values.len() == 1 => (values[0].into(), unsigned),
                _ => return Ok(None),
            },
        };
        Ok(Some(Grid { scale, zero_point, unsigned }))
    }

    /// A node that quantizes one whole tensor to 8 bits.
    pub(super) fn quantizer(&self, node: &Node) -> Result<Option<Grid>, String> {
        // Without a zero point the type is uint8, or what is asked for.
        const UINT8: i64 = 2;
        let is_plain = node.input(2).is_some() || matches!(node.int("output_dtype", 0), 0 | UINT8);
        match node.op() == "QuantizeLinear" && is_plain {
            true => self.grid(node.input(1), node.input(2)),
            false => Ok(None),
        }
    }

    pub(super) fn quantize(&mut self, node: &Node) -> Found {
        let Some(grid) = self.quantizer(node)? else { return Ok(false) };
        let input = node.input(0).ok_or("has no input")?;
        let shape = self.shape(input).ok_or("its shape is not known")?.to_vec();
        let unsigned = grid.unsigned;
        match self.forms.get(input).cloned() {
            Some(Form::Sums(sums)) => {
                let image = self.end_int8(&sums, grid);
                self.set(node, Form::Int8(Cells { image, unsigned, order: sums.order, shape }))
            }
            Some(Form::Real(real, _)) => {
                let image = self.quantized(&real, grid);
                self.set(node, Form::Int8(Cells { image, unsigned, order: real.order, shape }))
            }
            Some(Form::Formula(formula)) if let Some((image, order)) = self.looked_up(&formula, grid) => {
                self.set(node, Form::Int8(Cells { image, unsigned, order, shape }))
            }
            Some(Form::Tensor(_) | Form::Formula(_) | Form::Parts(_)) => {
                let Some((size, order)) = size_of(&shape) else { return Ok(false) };
                let image = self.int8_slot(size, grid.zero_point);
                let to = Place::image(image, &self.image(image), u8::datum_type(), order);
                let Some(to) = to.reshaped(&shape) else { return Ok(false) };
                match self.quantize_to(input, grid, &to)? {
                    true => self.set(node, Form::Int8(Cells { image, unsigned, order, shape })),
                    false => Ok(false),
                }
            }
            Some(Form::Int8(_) | Form::Weights(_) | Form::Whole(_)) | None => Ok(false),
        }
    }

    /// A real in the cells of a grid: as it is, or written.
    fn quantized(&mut self, real: &Real, grid: Grid) -> SlotId {
        if let Some((image, own)) = real.cells()
            && (own.scale, own.zero_point) == (grid.scale, grid.zero_point)
        {
            return image;
        }
        let image = self.int8_slot([real.channels(), real.height, real.width], grid.zero_point);
        self.pointwise(real, image, 0, Some(grid.quantize()));
        image
    }

    /// Quantizes floats that are not images to a part of one.
    fn quantize_to(&mut self, name: &str, grid: Grid, to: &Place) -> Found {
        match self.forms.get(name).cloned() {
            Some(Form::Parts(names)) => {
                let mut start = 0;
                for name in names.iter() {
                    let count = self.shape(name).ok_or("its shape is not known")?[1];
                    if !self.quantize_to(name, grid, &to.sliced(1, start, count, 1))? {
                        return Ok(false);
                    }
                    start += count;
                }
                Ok(true)
            }
            Some(Form::Real(real, shape)) if real.order == Order::Planes && shape == real.shape() => {
                // The part begins at one of the channels of an image.
                let channel = to.at - self.image(to.slot).view(0, 0, 0).origin;
                self.pointwise(&real, to.slot, channel, Some(grid.quantize()));
                Ok(true)
            }
            _ => {
                let Some(formula) = self.operand(name, &to.shape, true)? else { return Ok(false) };
                Ok(self.compute_to(&formula, to, Some(grid.quantize())).is_some())
            }
        }
    }

    /// Whether a quantized tensor is the image in its own shape.
    pub(super) fn is_whole(&self, cells: &Cells) -> bool {
        let Image { channels, height, width, .. } = self.image(cells.image);
        cells.order == Order::Planes && cells.shape == [1, channels, height, width]
    }

    pub(super) fn int8_slot(&mut self, size: [usize; 3], zero_point: i32) -> SlotId {
        self.image_slot(size, Element::Int8, Border::Byte(store(zero_point)))
    }

    pub(super) fn dequantize(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if self.constants.contains_key(input) {
            return self.dequantized_weights(node, input);
        }
        let Some(Form::Int8(cells)) = self.forms.get(input).cloned() else { return Ok(false) };
        let Some(mut grid) = self.grid(node.input(1), node.input(2))? else { return Ok(false) };
        if node.input(2).is_none() && !cells.unsigned {
            (grid.zero_point, grid.unsigned) = (0, false);
        }
        if grid.unsigned != cells.unsigned {
            return Err("the types of its input and its zero point differ".into());
        }
        let mut real = Real { order: cells.order, ..self.dequantized(cells.image, grid) };
        // Its ring holds what was zero when it was written.
        if self.image(cells.image).border != Border::Byte(store(grid.zero_point)) {
            real.pieces.iter_mut().for_each(|piece| piece.grid = None);
        }
        self.set(node, Form::Real(Rc::new(real), cells.shape))
    }

    pub(super) fn dequantized(&self, image: SlotId, grid: Grid) -> Real {
        let size = self.image(image);
        let factor = Vector::Constant(vec![grid.scale; size.channels]);
        let bias = Vector::Constant(vec![-grid.scale * grid.zero_point as f32; size.channels]);
        let terms = vec![Addend { image, channel: 0, factor }];
        let pieces = vec![Piece { terms, bias, up: 0, grid: Some(grid) }];
        let (height, width) = (size.height, size.width);
        Real { order: Order::Planes, height, width, pieces, activation: Activation::Linear, sigmoid_of: None }
    }
}

pub(super) fn check_scale(scale: f32) -> Result<(), String> {
    match scale.is_finite() && scale > 0.0 {
        true => Ok(()),
        false => Err(format!("a scale of {scale}: it has to be a positive number")),
    }
}
