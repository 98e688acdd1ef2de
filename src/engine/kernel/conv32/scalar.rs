//! The definition.

use super::super::stored::Stored;
use super::{Bounds, Shape};
use std::ops::Range;

/// In the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    weights: Stored<f32>,
    bias: Vec<f32>,
}

impl Weights {
    pub fn pack(weights: &[f32], bias: &[f32]) -> Self {
        Weights { weights: Stored::Full(weights.to_vec()), bias: bias.to_vec() }
    }

    pub fn halved(self) -> Self {
        Weights { weights: self.weights.halved(), ..self }
    }

    pub fn room(&self) -> usize {
        self.weights.room(self.weights.len())
    }

    pub fn bytes(&self) -> usize {
        self.weights.bytes() + size_of_val(&self.bias[..])
    }
}

pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[f32],
    rows: Range<usize>,
    bounds: Bounds,
    output: &mut [f32],
    room: &mut [f32],
) {
    let own = weights.weights.get(0..weights.weights.len(), room);
    for y in rows.clone() {
        for x in 0..shape.width {
            let at = (y - rows.start) * shape.output.row + x * shape.output.pixel;
            for o in 0..shape.outputs {
                let acc = sum(shape, own, &weights.bias, input, [y, x], o);
                // Not f32::max and f32::min: they leave open which zero comes out.
                let acc = if acc > bounds.low { acc } else { bounds.low };
                output[at + o] = if acc < bounds.high { acc } else { bounds.high };
            }
        }
    }
}

fn sum(shape: &Shape, weights: &[f32], bias: &[f32], input: &[f32], [y, x]: [usize; 2], o: usize) -> f32 {
    let taps = shape.taps[0] * shape.taps[1];
    let own = &weights[o * taps * shape.depth..][..taps * shape.depth];
    let mut acc = bias[o];
    for (tap, own) in own.chunks_exact(shape.depth).enumerate() {
        let iy = y * shape.stride[0] + tap / shape.taps[1] * shape.dilation[0];
        let ix = x * shape.stride[1] + tap % shape.taps[1] * shape.dilation[1];
        let cells = &input[shape.input.origin + iy * shape.input.row + ix * shape.input.pixel..][..shape.depth];
        for (&weight, &cell) in own.iter().zip(cells) {
            acc = weight.mul_add(cell, acc);
        }
    }
    acc
}
