//! The definition.

use super::super::load;
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// In the order of the file, a zero for each input channel that is not real.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    weights: Vec<i8>,
    offset: Vec<i32>,
}

impl Weights {
    pub fn pack(shape: &Shape, real: usize, weights: &[i8], offset: &[i32]) -> Self {
        let mut padded = vec![0; shape.outputs * shape.taps[0] * shape.taps[1] * shape.depth];
        for (to, from) in padded.chunks_exact_mut(shape.depth).zip(weights.chunks_exact(real)) {
            to[..real].copy_from_slice(from);
        }
        Weights { weights: padded, offset: offset.to_vec() }
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
            for o in 0..shape.outputs {
                epilogue.put(sum(shape, weights, input, [y, x], o), o, &mut output, at + o);
            }
        }
    }
}

fn sum(shape: &Shape, weights: &Weights, input: &[u8], [y, x]: [usize; 2], o: usize) -> i32 {
    let taps = shape.taps[0] * shape.taps[1];
    let own = &weights.weights[o * taps * shape.depth..][..taps * shape.depth];
    let mut acc = weights.offset[o];
    for (tap, own) in own.chunks_exact(shape.depth).enumerate() {
        let iy = y * shape.stride[0] + tap / shape.taps[1] * shape.dilation[0];
        let ix = x * shape.stride[1] + tap % shape.taps[1] * shape.dilation[1];
        let cells = &input[shape.input.origin + iy * shape.input.row + ix * shape.input.pixel..][..shape.depth];
        for (&weight, &cell) in own.iter().zip(cells) {
            acc = acc.wrapping_add(i32::from(weight) * load(cell));
        }
    }
    acc
}
