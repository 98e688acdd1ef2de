//! The definition.

use super::super::load;
use super::kept::{Kept, LINE, Line};
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// In the order of the file, a zero for each input channel that is not real; each output begins a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    kept: Kept,
    offset: Vec<i32>,
}

impl Weights {
    pub fn pack(shape: &Shape, real: usize, weights: &[i8], factors: Option<&[i8]>, offset: &[i32]) -> Self {
        let padded = |of: &[i8]| {
            let own = lines(shape) * LINE;
            let mut padded = vec![0; shape.outputs * own];
            let rows = padded
                .chunks_exact_mut(own.max(1))
                .flat_map(|own| own[..shape.taps[0] * shape.taps[1] * shape.depth].chunks_exact_mut(shape.depth));
            rows.zip(of.chunks_exact(real)).for_each(|(to, from)| to[..real].copy_from_slice(from));
            Line::all(&padded)
        };
        let kept = Kept::new(padded(weights), factors.map(padded));
        Weights { kept, offset: offset.to_vec() }
    }

    /// Elements of scratch memory that [`run`] needs.
    pub fn scratch(&self) -> usize {
        self.kept.room(self.kept.len() / self.offset.len().max(1))
    }

    pub fn bytes(&self) -> usize {
        self.kept.bytes() + size_of_val(&self.offset[..])
    }
}

/// Of the weights of an output.
fn lines(shape: &Shape) -> usize {
    (shape.taps[0] * shape.taps[1] * shape.depth).div_ceil(LINE)
}

pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
    scratch: &mut [i32],
) {
    let lines = lines(shape);
    for o in 0..shape.outputs {
        let own = bytemuck::cast_slice(weights.kept.get(o * lines..(o + 1) * lines, scratch));
        for y in rows.clone() {
            for x in 0..shape.width {
                let at = (y - rows.start) * shape.output.row + x * shape.output.pixel;
                epilogue.put(sum(shape, own, weights.offset[o], input, [y, x]), o, &mut output, at + o);
            }
        }
    }
}

fn sum(shape: &Shape, own: &[i8], offset: i32, input: &[u8], [y, x]: [usize; 2]) -> i32 {
    let taps = shape.taps[0] * shape.taps[1];
    let mut acc = offset;
    for (tap, own) in own[..taps * shape.depth].chunks_exact(shape.depth).enumerate() {
        let iy = y * shape.stride[0] + tap / shape.taps[1] * shape.dilation[0];
        let ix = x * shape.stride[1] + tap % shape.taps[1] * shape.dilation[1];
        let cells = &input[shape.input.origin + iy * shape.input.row + ix * shape.input.pixel..][..shape.depth];
        for (&weight, &cell) in own.iter().zip(cells) {
            acc = acc.wrapping_add(i32::from(weight) * load(cell));
        }
    }
    acc
}
