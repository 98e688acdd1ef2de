//! The definition.

use super::super::load;
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// In the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    weights: Vec<i8>,
    offset: Vec<i32>,
}

impl Weights {
    pub fn pack(weights: &[i8], offset: &[i32]) -> Self {
        Weights { weights: weights.to_vec(), offset: offset.to_vec() }
    }

    pub fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&self.offset[..])
    }
}

pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
) {
    for y in rows.clone() {
        for x in 0..shape.width {
            let at = (y - rows.start) * shape.output.row + x * shape.output.pixel;
            for c in 0..shape.outputs {
                epilogue.put(sum(shape, weights, input, [y, x], c), c, &mut output, at + c);
            }
        }
    }
}

fn sum(shape: &Shape, weights: &Weights, input: &[u8], [y, x]: [usize; 2], c: usize) -> i32 {
    let mut acc = weights.offset[c];
    for (tap, own) in weights.weights.chunks_exact(shape.outputs).enumerate() {
        let iy = y * shape.stride[0] + tap / shape.taps[1] * shape.dilation[0];
        let ix = x * shape.stride[1] + tap % shape.taps[1] * shape.dilation[1];
        let cell = input[shape.input.origin + iy * shape.input.row + ix * shape.input.pixel + c];
        acc = acc.wrapping_add(i32::from(own[c]) * load(cell));
    }
    acc
}
