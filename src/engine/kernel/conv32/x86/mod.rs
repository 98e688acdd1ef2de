//! For x86: tiles of some pixels of a row by 32 outputs (16 for AVX2), whose sums stay in registers over the whole kernel.

mod avx2;
mod avx512;

use super::super::Isa;
use super::super::stored::Stored;
use super::super::tile::{BLOCK, HALF, Places, TILED, Tiled, even};
use super::super::walk::Walk;
use super::{Bounds, Shape};
use std::ops::Range;

/// Sixteen outputs.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, PartialEq)]
#[repr(C, align(64))]
struct Line([f32; HALF]);

/// What an instruction set has to bring.
struct Kernels {
    /// Outputs of a block: one half or two.
    block: usize,
    /// By the halves of a block, one or `block`'s, then by pixels, from one pixel on. They need the instructions.
    tiles: &'static [&'static [Tile]],
}

/// Sets `sums` to the bounded outputs of a tile, whose first pixel has its first tap at the first cell. Panics if there are not as many weights
/// and cells as the walk visits.
type Tile = unsafe fn(
    walk: &Walk,
    weights: &[Line],
    bias: &[Line; BLOCK / HALF],
    bounds: Bounds,
    cells: &[f32],
    sums: &mut Tiled<f32>,
);

fn kernels(isa: Isa) -> &'static Kernels {
    if isa == Isa::Avx2 { &avx2::KERNELS } else { &avx512::KERNELS }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    isa: Isa,
    /// By block, ky, kx, input channel, half.
    lines: Stored<Line>,
    /// Lines of the first block: no other has more.
    block: usize,
    /// By block; zeros behind the last output.
    bias: Vec<[Line; BLOCK / HALF]>,
}

impl Weights {
    pub fn pack(isa: Isa, shape: &Shape, weights: &[f32], bias: &[f32]) -> Self {
        assert!(Isa::available().contains(&isa), "no {isa} on this machine");
        let block = kernels(isa).block;
        let full = shape.taps[0] * shape.taps[1] * shape.depth;
        let (mut lines, mut biases) = (Vec::new(), Vec::new());
        for first in (0..shape.outputs).step_by(block) {
            let outputs = (shape.outputs - first).min(block);
            let line = |half: usize, of: &dyn Fn(usize) -> f32| {
                let lane = |lane| if half * HALF + lane < outputs { of(first + half * HALF + lane) } else { 0.0 };
                Line(std::array::from_fn(lane))
            };
            for at in 0..full {
                lines.extend((0..outputs.div_ceil(HALF)).map(|half| line(half, &|o| weights[o * full + at])));
            }
            biases.push(std::array::from_fn(|half| line(half, &|o| bias[o])));
        }
        let halves = shape.outputs.min(block).div_ceil(HALF);
        Weights { isa, lines: Stored::Full(lines), block: full * halves, bias: biases }
    }

    pub fn halved(self) -> Self {
        Weights { lines: self.lines.halved(), ..self }
    }

    pub fn room(&self) -> usize {
        self.lines.room(self.block)
    }

    pub fn bytes(&self) -> usize {
        self.lines.bytes() + size_of_val(&self.bias[..])
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
    let kernels = kernels(weights.isa);
    let walk = Walk::new(shape);
    let mut sums = Tiled([[0.0; HALF]; TILED]);
    let mut at = 0;
    for (block, bias) in weights.bias.iter().enumerate() {
        let first = block * kernels.block;
        let outputs = (shape.outputs - first).min(kernels.block);
        let halves = outputs.div_ceil(HALF);
        let tiles = kernels.tiles[halves - 1];
        let widest = even(shape.width, tiles.len());
        let lines = at..at + walk.cells() * halves;
        at = lines.end;
        let own = weights.lines.get(lines, room);
        for y in rows.clone() {
            let row = &input[shape.input.origin + y * shape.stride[0] * shape.input.row..];
            for x in (0..shape.width).step_by(widest) {
                let pixels = widest.min(shape.width - x);
                // SAFETY: packing checked that this machine has the instructions.
                unsafe { tiles[pixels - 1](&walk, own, bias, bounds, &row[x * walk.pixel..], &mut sums) };
                let places = Places { pixels, outputs, halves, pixel: shape.output.pixel };
                let to = (y - rows.start) * shape.output.row + x * shape.output.pixel + first;
                places.put(&sums, &mut output[to..]);
            }
        }
    }
}
