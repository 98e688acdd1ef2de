//! Int8 weights: with scales and zero points, of which most go into the weights.

use super::view::axis_of;
use super::{Form, Found, Lowering};
use crate::engine::graph::Node;
use crate::engine::lower::quantize::check_scale;
use std::rc::Rc;

/// Constant weights that stand for (value − zero point) · scale.
#[derive(Debug)]
pub struct Weights {
    pub values: Vec<i8>,
    /// One, or one for each index of the axis.
    scale: Vec<f32>,
    /// As the scale; empty where it is 0 everywhere.
    zero: Vec<i32>,
    axis: usize,
    pub shape: Vec<usize>,
    /// Where they are written in 4 bits by block: for each value what 4 bits are multiplied by, 0 to 15.
    pub factors: Option<Vec<i8>>,
}

impl Weights {
    /// Whether scale and zero point are the same for all that has one index of `axis`.
    pub fn lies_along(&self, axis: usize) -> bool {
        self.axis == axis || (self.scale.len() == 1 && self.zero.len() <= 1)
    }

    /// At an index of the axis.
    pub fn scale(&self, index: usize) -> f32 {
        if self.scale.len() == 1 { self.scale[0] } else { self.scale[index] }
    }

    /// For each of `count` indices of the axis; empty where it is 0 everywhere.
    pub fn zeros(&self, count: usize) -> Vec<i32> {
        if self.zero.len() == 1 { vec![self.zero[0]; count] } else { self.zero.clone() }
    }

    /// Takes zero points out of the values, if what is left of each fits in 8 bits.
    fn fold(mut self) -> Self {
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        let of = |at: usize| match self.zero.len() {
            1 => self.zero[0],
            _ => self.zero[at / inner % self.shape[self.axis]],
        };
        let folded: Option<Vec<i8>> = match self.zero.iter().all(|&zero| zero == 0) {
            true => Some(std::mem::take(&mut self.values)),
            false => {
                let values = self.values.iter().enumerate();
                values.map(|(at, &value)| i8::try_from(i32::from(value) - of(at)).ok()).collect()
            }
        };
        match folded {
            Some(values) => Weights { values, zero: Vec::new(), ..self },
            None => self,
        }
    }

    pub fn floats(&self) -> Vec<f32> {
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        let index = |at: usize| at / inner % self.shape[self.axis];
        let zeros = self.zeros(self.shape[self.axis]);
        let whole = |at: usize, value: i8| i32::from(value) - zeros.get(index(at)).copied().unwrap_or(0);
        self.values.iter().enumerate().map(|(at, &value)| whole(at, value) as f32 * self.scale(index(at))).collect()
    }
}

impl Lowering<'_> {
    /// The int8 weights that a constant is with one scale, or one for each index of `axis`, and such zero points; `None` where it or its zero
    /// points are no constants of 8 bits.
    ///
    /// # Errors
    /// Scales and zero points that are not what ONNX allows.
    pub(super) fn weights(
        &self,
        name: &str,
        scale: Vec<f32>,
        zero_point: Option<&str>,
        axis: usize,
    ) -> Result<Option<Weights>, String> {
        let Some((values, unsigned)) = self.constant_int8(name) else { return Ok(None) };
        let shape = self.shape(name).unwrap_or(&[]).to_vec();
        let Some(&size) = shape.get(axis) else { return Ok(None) };
        scale.iter().try_for_each(|&scale| check_scale(scale))?;
        let zero = match zero_point.map(|name| (name, self.constant_int8(name))) {
            None => vec![if unsigned { -128 } else { 0 }],
            Some((_, Some((zeros, of)))) if of == unsigned => zeros.into_iter().map(i32::from).collect(),
            Some((name, found)) => match found.is_some() || self.constants.contains_key(name) {
                true => return Err("the types of its weights and their zero point differ".into()),
                false => return Ok(None),
            },
        };
        for (what, count) in [("scales", scale.len()), ("zero points", zero.len())] {
            if count != 1 && count != size {
                return Err(format!("{count} {what} of its weights, which are {size} along axis {axis}"));
            }
        }
        Ok(Some(Weights { values, scale, zero, axis, shape, factors: None }.fold()))
    }

    /// DequantizeLinear of a constant.
    pub(super) fn dequantized_weights(&mut self, node: &Node, input: &str) -> Found {
        if let Some(Form::Weights(factors)) = node.input(1).and_then(|name| self.forms.get(name)).cloned() {
            return match self.in_blocks(node, input, &factors) {
                Some(weights) => self.set(node, Form::Weights(Rc::new(weights))),
                None => Ok(false),
            };
        }
        let rank = self.shape(input).map_or(0, <[usize]>::len);
        let scale = node.input(1).and_then(|name| self.constant_floats(name)).ok_or("its scale is not constant")?;
        // One scale lies along every axis.
        let axis = if scale.len() == 1 { 0 } else { axis_of(node.int("axis", 1), rank).unwrap_or(0) };
        let by_axis = scale.len() == 1 || self.shape(input).is_some_and(|shape| shape.get(axis) == Some(&scale.len()));
        if node.int("block_size", 0) != 0 || !by_axis {
            return Ok(false);
        }
        match self.weights(input, scale, node.input(2), axis)? {
            Some(weights) => self.set(node, Form::Weights(Rc::new(weights))),
            None => Ok(false),
        }
    }

    /// Weights of 4 bits whose scale for each block of an axis is a factor of 4 bits, dequantized with a scale for each output: cell times factor
    /// is a weight of 8 bits.
    fn in_blocks(&self, node: &Node, input: &str, by: &Weights) -> Option<Weights> {
        let (cells, unsigned) = self.constant_int8(input).filter(|_| node.input(2).is_none())?;
        let shape = self.shape(input)?.to_vec();
        let along = axis_of(node.int("axis", 1), shape.len())?;
        let block = usize::try_from(node.int("block_size", 0)).ok().filter(|&block| block > 0)?;
        let mut blocks = shape.clone();
        blocks[along] = shape[along].div_ceil(block);
        let fits = !unsigned && blocks == by.shape && by.axis != along && by.zero.is_empty() && by.factors.is_none();
        if !fits
            || !by.values.iter().all(|factor| (0..16).contains(factor))
            || !cells.iter().all(|cell| (-8..8).contains(cell))
        {
            return None;
        }
        let inner: usize = shape[along + 1..].iter().product();
        let factor = |at: usize| {
            let (outer, rest) = (at / (inner * shape[along]), at % (inner * shape[along]));
            by.values[(outer * blocks[along] + rest / inner / block) * inner + rest % inner]
        };
        let factors: Vec<i8> = (0..cells.len()).map(factor).collect();
        let values = cells.iter().zip(&factors).map(|(cell, factor)| cell * factor).collect();
        let (scale, axis) = (by.scale.clone(), by.axis);
        Some(Weights { values, scale, zero: Vec::new(), axis, shape, factors: Some(factors) })
    }
}
