//! For 3 x 3 taps a pixel apart: Winograd's F(4 x 4, 3 x 3), a quarter of the products, in whole numbers and with the same bits.
//!
//! Sixteen outputs from 6 x 6 cells d and 3 x 3 weights g are Aᵀ((G g Gᵀ) ∘ (Bᵀ d B))A. Here G and A are scaled so that all is whole:
//!
//! ```text
//!      | 4  0 -5  0  1  0 |      | 1  0  0 |
//!      | 0 -4 -4  1  1  0 |      | 1  1  1 |       | 6 -4 -4  1  1  0 |
//! Bᵀ = | 0  4 -4 -1  1  0 |  G = | 1 -1  1 |  Aᵀ = | 0 -2  2  1 -1  0 |
//!      | 0 -2 -1  2  1  0 |      | 1  2  4 |       | 0 -1 -1  1  1  0 |
//!      | 0  2 -1 -2  1  0 |      | 1 -2  4 |       | 0 -1  1  2 -2  6 |
//!      | 0  4  0 -5  0  1 |      | 0  0  1 |
//! ```
//!
//! What comes out of row i and column j is the sum times 9 · 2^(k_i + k_j), k = 3, 2, 1, 1. Cells become at most 100 · 128 and weights 49 · 128, which
//! fits 16 bits. Sums may wrap: they are right modulo 2^32, dividing by 9 is multiplying by its inverse, and shifting then gives a sum whose
//! 32 − 6 low bits are known, so the sum itself if it is below 2^25. [`fits`] asks for that.
//!
//! Weights stay int8, and are transformed when they are needed, a block of outputs at a time: transformed ones take eight times the memory, and
//! making them is a small part of the work.

use super::super::SLACK;
use super::kept::{Kept, LINE, Line};
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// Height and width of the outputs of a tile, and of its cells.
pub const OUT: usize = 4;
pub const IN: usize = 6;
pub const CELLS: usize = IN * IN;
pub const TAPS: usize = 9;

/// k of row and column.
pub const SHIFT: [i32; OUT] = [3, 2, 1, 1];

/// 1 / 9 modulo 2^32.
pub const NINTH: i32 = 0x38e3_8e39;
const _: () = assert!(NINTH.wrapping_mul(9) == 1);

/// Transformed cells that are made before they are multiplied, in bytes: they should stay in the second cache beside a block's weights.
const BAND: usize = 192 << 10;

/// What an instruction set has to bring.
///
/// Cells lie in the order group of tiles, transformed cell, step of channels, tile, channel; weights in the order transformed cell, group of
/// `PAIR` channels, output, channel; products in the order tile, transformed cell, output.
pub trait Kernel {
    /// Outputs that are computed together.
    const BLOCK: usize;
    /// Channels whose weights of an output lie together.
    const PAIR: usize;
    /// Tiles that are multiplied together.
    const GROUP: usize;
    /// Groups that are computed together, so that a weight is read from the second cache once for all of them.
    const GROUPS: usize;
    /// Channels of a step, which are transformed together.
    const STEP: usize;

    /// G g Gᵀ for each output and channel of a block's weights: `to` has [`CELLS`] for each [`TAPS`] of `weights`.
    ///
    /// # Safety
    /// The lengths are those, of whole groups of channels.
    unsafe fn spread(weights: &[i8], to: &mut [i16]);

    /// Bᵀ d B of all channels of a tile, to the tile's place in each step of each transformed cell.
    ///
    /// # Safety
    /// `from` is the tile's first cell; `to` may be written as far as a group reaches.
    unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16);

    /// The sums over all channels of products of one transformed cell, for a group of tiles and a block of outputs.
    ///
    /// # Safety
    /// There are `steps` times `GROUP * STEP` cells, `STEP * BLOCK` weights, and products for each tile, `CELLS * BLOCK` apart.
    unsafe fn multiply(steps: usize, cells: *const i16, weights: *const i16, to: *mut i32);

    /// Writes the outputs of a block that tiles have, from their products.
    ///
    /// # Safety
    /// The output has what the job's shape says.
    unsafe fn finish(job: &Job<'_>, block: usize, tiles: Range<usize>, products: &[i32], output: &mut Output<'_>);
}

/// Whether such a convolution, of at least `rows` output rows, may be computed this way.
pub fn fits(shape: &Shape, rows: usize, weights: &[i8]) -> bool {
    let own = |weights: &[i8]| weights.iter().map(|w| usize::from(w.unsigned_abs())).sum::<usize>();
    super::may_be_transformed(shape, rows)
        && weights.chunks(weights.len().div_ceil(shape.outputs).max(1)).all(|w| 128 * own(w) < 1 << 25)
}

/// Weights, or their factors, in the order block of outputs, group of channels, tap, output, channel of the group: zero beyond the real ones.
fn arranged<K: Kernel>(shape: &Shape, real: usize, weights: &[i8]) -> Vec<i8> {
    let mut packed = Vec::with_capacity(shape.outputs.div_ceil(K::BLOCK) * block_weights::<K>(shape));
    for first in (0..shape.outputs).step_by(K::BLOCK) {
        for channel in (0..steps::<K>(shape) * K::STEP).step_by(K::PAIR) {
            for tap in 0..TAPS {
                for lane in 0..lanes::<K>() {
                    let (o, c) = (first + lane / K::PAIR, channel + lane % K::PAIR);
                    let is_real = o < shape.outputs && c < real;
                    packed.push(if is_real { weights[(o * TAPS + tap) * real + c] } else { 0 });
                }
            }
        }
    }
    packed
}

pub fn pack<K: Kernel>(shape: &Shape, real: usize, weights: &[i8], factors: Option<&[i8]>) -> Kept {
    let lines = |of: &[i8]| Line::all(&arranged::<K>(shape, real, of));
    Kept::new(lines(weights), factors.map(lines))
}

/// Steps over all channels.
pub fn steps<K: Kernel>(shape: &Shape) -> usize {
    shape.depth.div_ceil(K::STEP)
}

fn lanes<K: Kernel>() -> usize {
    K::BLOCK * K::PAIR
}

/// Weights of a block of outputs, for each tap.
fn tap_weights<K: Kernel>(shape: &Shape) -> usize {
    steps::<K>(shape) * K::STEP * K::BLOCK
}

/// Weights of a block of outputs.
fn block_weights<K: Kernel>(shape: &Shape) -> usize {
    TAPS * tap_weights::<K>(shape)
}

/// Transformed cells of a group of tiles.
pub fn group_cells<K: Kernel>(shape: &Shape) -> usize {
    CELLS * steps::<K>(shape) * K::GROUP * K::STEP
}

/// Products of the groups that are computed together.
fn products<K: Kernel>() -> usize {
    K::GROUPS * K::GROUP * CELLS * K::BLOCK
}

/// Groups of tiles whose cells are transformed before they are multiplied.
fn band<K: Kernel>(shape: &Shape) -> usize {
    (BAND / (2 * group_cells::<K>(shape))).next_multiple_of(K::GROUPS).max(K::GROUPS)
}

/// Numbers of 32 bits that a job needs beside input and output: an image has `rows` output rows.
pub fn scratch<K: Kernel>(shape: &Shape, rows: usize, weights: &Kept) -> usize {
    let groups = (rows.div_ceil(OUT) * shape.width.div_ceil(OUT)).div_ceil(K::GROUP);
    let cells = band::<K>(shape).min(groups) * group_cells::<K>(shape);
    (cells + CELLS * tap_weights::<K>(shape)) / 2 + products::<K>() + weights.room(block_weights::<K>(shape) / LINE)
}

/// What is to be computed, and where it lies.
pub struct Job<'a> {
    pub shape: &'a Shape,
    /// As [`pack`] leaves them.
    pub weights: &'a Kept,
    /// Of whole blocks.
    pub offset: &'a [i32],
    pub input: &'a [u8],
    pub rows: Range<usize>,
    pub epilogue: &'a Epilogue<'a>,
}

impl Job<'_> {
    /// # Safety
    /// The machine has what the kernel asks for, the output has what the shape says, and [`fits`] holds.
    ///
    /// # Panics
    /// If the input hasn't what at least [`OUT`] rows are made of, or `scratch` is shorter than [`scratch`] says.
    pub unsafe fn run<K: Kernel>(&self, output: &mut Output<'_>, scratch: &mut [i32]) {
        assert!(self.shape.read(self.rows.end.max(OUT)) + SLACK <= self.input.len());
        let own = group_cells::<K>(self.shape);
        let count = self.rows.len().div_ceil(OUT) * self.shape.width.div_ceil(OUT);
        let band = band::<K>(self.shape).min(count.div_ceil(K::GROUP));
        let lines = block_weights::<K>(self.shape) / LINE;
        let (products, scratch) = scratch.split_at_mut(products::<K>());
        let (room, scratch) = scratch.split_at_mut(self.weights.room(lines));
        let (cells, weights) = bytemuck::cast_slice_mut::<_, i16>(scratch).split_at_mut(band * own);
        let weights = &mut weights[..CELLS * tap_weights::<K>(self.shape)];
        for start in (0..count).step_by(band * K::GROUP) {
            let tiles = start..count.min(start + band * K::GROUP);
            let groups = tiles.len().div_ceil(K::GROUP);
            for (group, cells) in cells.chunks_exact_mut(own).enumerate().take(groups) {
                for t in 0..K::GROUP {
                    // A group that isn't full has its last tile several times.
                    let [y, x] = self.place((start + group * K::GROUP + t).min(count - 1));
                    let view = &self.shape.input;
                    let from = &self.input[view.origin + y * view.row + x * view.pixel..];
                    // SAFETY: a tile's cells are in the input, which goes on for `SLACK` cells; the group's cells from the tile's first one on.
                    unsafe { K::transform(self.shape, from.as_ptr(), cells[t * K::STEP..].as_mut_ptr()) };
                }
            }
            for block in 0..self.weights.len() / lines {
                let own_weights = self.weights.get(block * lines..(block + 1) * lines, room);
                // SAFETY: both are those of a block of outputs and all channels.
                unsafe { K::spread(bytemuck::cast_slice(own_weights), weights) };
                for first in (0..groups).step_by(K::GROUPS) {
                    let some = first..groups.min(first + K::GROUPS);
                    for (cell, weights) in weights.chunks_exact(tap_weights::<K>(self.shape)).enumerate() {
                        for (at, group) in some.clone().enumerate() {
                            let cells = &cells[group * own + cell * (own / CELLS)..];
                            let to = &mut products[(at * K::GROUP * CELLS + cell) * K::BLOCK..];
                            // SAFETY: cells and products of that group, and the weights of all channels.
                            unsafe {
                                K::multiply(steps::<K>(self.shape), cells.as_ptr(), weights.as_ptr(), to.as_mut_ptr());
                            }
                        }
                    }
                    let tiles = start + some.start * K::GROUP..tiles.end.min(start + some.end * K::GROUP);
                    // SAFETY: the caller's promise.
                    unsafe { K::finish(self, block, tiles, products, output) };
                }
            }
        }
    }

    /// Row and column of a tile's first output. The last ones overlap those before; of few rows, a tile has others around them.
    pub fn place(&self, tile: usize) -> [usize; 2] {
        let across = self.shape.width.div_ceil(OUT);
        let last = self.rows.end.max(OUT) - OUT;
        [(self.rows.start + tile / across * OUT).min(last), (tile % across * OUT).min(self.shape.width - OUT)]
    }
}
