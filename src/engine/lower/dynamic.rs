//! What onnxruntime's dynamic quantization writes: cells whose scale and zero point are found when the plan runs, and sums as floats.

use super::linear::kind_of;
use super::place::Place;
use super::quantize::size_of;
use super::real::Order;
use super::{Cells, Form, Found, Lowering};
use crate::engine::graph::{Datum, DatumType, Node};
use crate::engine::kernel::tensor::walk::Walk;
use crate::engine::kernel::{FLIP, store};
use crate::engine::plan::slot::{Border, Computed, Element, Slot, SlotId};
use crate::engine::plan::step::Step;
use crate::engine::plan::tensor::{Linear, Range, Source, TensorStep, Type, Typed, TypedSource};
use std::rc::Rc;

/// What stored cells differ by from the bytes of a tensor.
pub(super) fn flip(unsigned: bool) -> u8 {
    if unsigned { FLIP ^ 0x80 } else { FLIP }
}

impl Lowering<'_> {
    pub(super) fn dynamic_quantize(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if !self.forms.contains_key(input) || node.outputs.len() != 3 {
            return Ok(false);
        }
        let from = self.tensor(input)?;
        let shape = from.shape.clone();
        let (Some((size, order)), true) = (size_of(&shape), from.datum_type == f32::datum_type()) else {
            return Ok(false);
        };
        let Some(walk) = Walk::new(&shape, &[&from.strides]) else { return Ok(false) };
        let found = self.slot(Slot::Tensor { bytes: Range::BYTES });
        let source = Source::Slot { slot: from.slot, at: from.at };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Range(Range { walk, source, output: found }))));
        let scale = Place::dense(found, f32::datum_type(), Vec::new());
        let zero_point = Place { at: Range::ZERO_POINT, ..Place::dense(found, u8::datum_type(), Vec::new()) };
        let cell = Computed { slot: found, at: Range::ZERO_POINT, flip: flip(true) };
        let image = self.image_slot(size, Element::Int8, Border::Computed(cell));
        let to = Place::image(image, &self.image(image), u8::datum_type(), order);
        let Some(to) = to.reshaped(&shape) else { return Ok(false) };
        self.quantize_by(&from, &scale, cell, &to).ok_or("too many axes")?;
        let forms =
            [Form::Int8(Cells { image, unsigned: true, order, shape }), Form::Tensor(scale), Form::Tensor(zero_point)];
        self.forms.extend(node.outputs.iter().cloned().zip(forms));
        Ok(true)
    }

    /// What a zero point is, with which a convolution reads the cells of `name`; `None` where it is not one number.
    ///
    /// # Errors
    /// Where the types of both differ.
    pub(super) fn border(&mut self, name: &str, zero_point: Option<&str>) -> Result<Option<Border>, String> {
        let of = self.type_of(name);
        let unsigned = of == Some(u8::datum_type());
        let Some(zero_point) = zero_point else {
            return Ok(Some(Border::Byte(store(if unsigned { -128 } else { 0 }))));
        };
        if of != self.type_of(zero_point) {
            return Err("the types of its input and its zero point differ".into());
        }
        if self.shape(zero_point).is_none_or(|shape| shape.iter().product::<usize>() != 1) {
            return Ok(None);
        }
        if let Some((values, _)) = self.constant_int8(zero_point) {
            return Ok(Some(Border::Byte(store(values[0].into()))));
        }
        let place = self.tensor(zero_point)?;
        Ok(Some(Border::Computed(Computed { slot: place.slot, at: place.at, flip: flip(unsigned) })))
    }

    /// The image of 8-bit cells that `name` names in some order, or is copied to, with such a border; `None` where it is none.
    pub(super) fn int8_image(&mut self, name: &str, order: Order, border: Border) -> Result<Option<SlotId>, String> {
        if let Some(Form::Int8(cells)) = self.forms.get(name) {
            let image = self.image(cells.image);
            let fits = match order {
                Order::Planes => self.is_whole(cells),
                Order::Rows => cells.order == Order::Rows && cells.shape.last() == Some(&image.channels),
            };
            if fits && image.border == border {
                return Ok(Some(cells.image));
            }
        }
        let Some(shape) = self.forms.contains_key(name).then(|| self.shape(name)).flatten() else { return Ok(None) };
        let size = match (order, shape) {
            (Order::Planes, &[1, channels, height, width]) => [channels, height, width],
            (Order::Rows, &[ref rows @ .., channels]) => [channels, 1, rows.iter().product()],
            _ => return Ok(None),
        };
        let place = self.tensor(name)?;
        let unsigned = place.datum_type == u8::datum_type();
        if size.contains(&0) || !(unsigned || place.datum_type == i8::datum_type()) {
            return Ok(None);
        }
        let image = self.image_slot(size, Element::Int8, border);
        let to = Place::image(image, &self.image(image), place.datum_type, order);
        Ok(self.copy_flipped(&place, &to, flip(unsigned)).map(|()| image))
    }

    pub(super) fn cast_node(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        let to = self.type_of(node.output());
        if let (Some(Form::Whole(sums)), true) = (self.forms.get(input).cloned(), to == Some(f32::datum_type())) {
            let real = self.end_float(&sums);
            return self.set(node, Form::Real(Rc::new(real), sums.dims.clone()));
        }
        if self.type_of(input) == to {
            return self.reshape(node);
        }
        let is_known = self.type_of(input).and_then(kind_of).is_some() && self.forms.contains_key(input);
        let (Some(DatumType::F32), true) = (to, is_known) else { return Ok(false) };
        let place = self.dense(input)?;
        let place = self.cast(place, f32::datum_type())?;
        self.set(node, Form::Tensor(place))
    }

    /// Writes x − zero point, whose strides along the axes of x are given, as 32-bit whole numbers.
    pub(super) fn write_whole(&mut self, x: &str, zero: Option<(Typed, Vec<usize>)>, to: &Place) -> Found {
        let Some((x, strides)) = self.typed(x, &to.shape)? else { return Ok(false) };
        let one = Typed { kind: Type::F32, from: TypedSource::Constant([bytemuck::cast([1f32; 2])].into()), at: 0 };
        let nowhere = vec![0; to.shape.len()];
        let mut operands: Vec<&[usize]> = vec![&to.strides, &strides, &nowhere];
        operands.extend(zero.iter().map(|(_, strides)| &strides[..]));
        let Some(walk) = Walk::new(&to.shape, &operands) else { return Ok(false) };
        let zero_point = zero.map(|(zero, _)| zero);
        let step = Linear { walk, x, scale: one, zero_point, kind: Type::I32, output: to.slot };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Linear(step))));
        Ok(true)
    }
}
