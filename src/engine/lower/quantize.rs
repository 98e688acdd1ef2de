//! QuantizeLinear and DequantizeLinear.

use super::real::{Piece, Real};
use super::{Form, Found, Lowering};
use crate::engine::kernel::pointwise::Activation;
use crate::engine::kernel::store;
use crate::engine::onnx::Node;
use crate::engine::plan::slot::{Element, SlotId, Vector};
use crate::engine::plan::step::{Addend, Quantize};
use std::rc::Rc;
use tract_onnx::prelude::*;

/// Scale and zero point of a whole tensor; the zero point as that of signed cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub scale: f32,
    pub zero_point: i32,
    pub unsigned: bool,
}

impl Lowering<'_> {
    /// The floats of a constant.
    pub(super) fn constant_floats(&self, name: &str) -> Option<Vec<f32>> {
        let value = self.graph.constants.get(name)?.cast_to::<f32>().ok()?.into_owned();
        Some(value.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
    }

    /// A constant of int8 or uint8 as signed values, and whether it is unsigned.
    pub(super) fn constant_int8(&self, name: &str) -> Option<(Vec<i8>, bool)> {
        let value = self.graph.constants.get(name)?;
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
        match node.op() == "QuantizeLinear" {
            true => self.grid(node.input(1), node.input(2)),
            false => Ok(None),
        }
    }

    pub(super) fn quantize(&mut self, node: &Node) -> Found {
        let Some(grid) = self.quantizer(node)? else { return Ok(false) };
        let input = node.input(0).ok_or("has no input")?;
        if let Some(Form::Sums(sums)) = self.forms.get(input).cloned() {
            let image = self.end_int8(&sums, grid);
            return self.set(node, Form::Int8 { image, unsigned: grid.unsigned });
        }
        let Some(real) = self.real(input) else { return Ok(false) };
        if let [Piece { grid: Some((scale, zero_point)), terms, up: 0, .. }] = &real.pieces[..]
            && real.is_linear()
            && (*scale, *zero_point) == (grid.scale, grid.zero_point)
        {
            return self.set(node, Form::Int8 { image: terms[0].image, unsigned: grid.unsigned });
        }
        let image = self.int8_slot([real.channels(), real.height, real.width], grid.zero_point);
        let quantize = Quantize { per_unit: 1.0 / grid.scale, zero_point: grid.zero_point, low: -128, high: 127 };
        self.pointwise(&real, image, Some(quantize));
        self.set(node, Form::Int8 { image, unsigned: grid.unsigned })
    }

    pub(super) fn int8_slot(&mut self, size: [usize; 3], zero_point: i32) -> SlotId {
        self.image_slot(size, Element::Int8, store(zero_point))
    }

    pub(super) fn dequantize(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if self.graph.constants.contains_key(input) {
            return self.weights(node, input);
        }
        let Some(Form::Int8 { image, unsigned }) = self.forms.get(input).cloned() else { return Ok(false) };
        let Some(grid) = self.grid(node.input(1), node.input(2))? else { return Ok(false) };
        if grid.unsigned != unsigned {
            return Err("the types of its input and its zero point differ".into());
        }
        let real = self.dequantized(image, grid);
        self.set_real(node, real)
    }

    pub(super) fn dequantized(&self, image: SlotId, grid: Grid) -> Real {
        let size = self.image(image);
        let factor = Vector::Constant(vec![grid.scale; size.channels]);
        let bias = Vector::Constant(vec![-grid.scale * grid.zero_point as f32; size.channels]);
        let terms = vec![Addend { image, channel: 0, factor }];
        let pieces = vec![Piece { terms, bias, up: 0, grid: Some((grid.scale, grid.zero_point)) }];
        Real { height: size.height, width: size.width, pieces, activation: Activation::Linear, sigmoid_of: None }
    }

    /// Weights with one scale, or one for each output channel, and zero points of 0.
    fn weights(&mut self, node: &Node, input: &str) -> Found {
        let failed = || "int8 weights of a form that is not planned: zero points other than 0, or an axis other than 0";
        let (values, unsigned) = self.constant_int8(input).ok_or_else(failed)?;
        let shape = self.graph.shape(input).unwrap_or(&[]).to_vec();
        let scale = node.input(1).and_then(|name| self.constant_floats(name)).ok_or("its scale is not constant")?;
        scale.iter().try_for_each(|&scale| check_scale(scale))?;
        let zero = match node.input(2) {
            None => !unsigned,
            Some(name) => self.constant_int8(name).is_some_and(|(zeros, _)| zeros.iter().all(|&zero| zero == 0)),
        };
        let by_output = scale.len() == 1 || (scale.len() == shape[0] && node.int("axis", 1) == 0);
        if !zero || !by_output {
            return Err(failed().into());
        }
        self.set(node, Form::Weights { values: Rc::new(values), scale: Rc::new(scale), shape })
    }
}

fn check_scale(scale: f32) -> Result<(), String> {
    match scale.is_finite() && scale > 0.0 {
        true => Ok(()),
        false => Err(format!("a scale of {scale}: it has to be a positive number")),
    }
}
