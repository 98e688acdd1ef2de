//! Without SDOT, for 3 x 3 taps a pixel apart: Winograd's F(4 x 4, 3 x 3), a quarter of the products, in whole numbers and with the same bits.
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

use super::super::super::neon::BLOCK;
use super::super::super::neon::finish::{Finish, Row, Sums};
use super::super::{Epilogue, Output, Shape};
use super::weight;
use std::arch::aarch64::*;
use std::hint::black_box;
use std::ops::Range;

/// Height and width of the outputs of a tile, and of its cells.
pub const OUT: usize = 4;
const IN: usize = 6;
const CELLS: usize = IN * IN;

/// Tiles that are multiplied together.
const GROUP: usize = 8;

/// Groups that are computed together, so that a weight is read from memory once for all of them.
const GROUPS: usize = 4;

/// Channels that are transformed together.
const LANES: usize = 8;

/// 1 / 9 modulo 2^32.
const NINTH: i32 = 0x38e3_8e39;
const _: () = assert!(NINTH.wrapping_mul(9) == 1);

/// Whether such a convolution may be computed this way.
pub fn fits(shape: &Shape, weights: &[i8]) -> bool {
    let own = |weights: &[i8]| weights.iter().map(|w| usize::from(w.unsigned_abs())).sum::<usize>();
    shape.taps == [3, 3]
        && shape.stride == [1, 1]
        && shape.dilation == [1, 1]
        && shape.width >= OUT
        && shape.depth >= 16
        && weights.chunks(weights.len().div_ceil(shape.outputs).max(1)).all(|w| 128 * own(w) < 1 << 25)
}

/// Times [`LANES`] channels.
fn steps(shape: &Shape) -> usize {
    shape.depth.div_ceil(LANES)
}

/// Weights of a block of outputs and one of the transformed cells.
fn cell_weights(shape: &Shape) -> usize {
    steps(shape) * LANES * BLOCK
}

/// Transformed weights in the order block of outputs, transformed cell, channel, output.
pub fn pack(shape: &Shape, real: usize, weights: &[i8]) -> Vec<i16> {
    const G: [[i16; 3]; IN] = [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];
    let mut packed = Vec::with_capacity(shape.outputs.div_ceil(BLOCK) * CELLS * cell_weights(shape));
    for first in (0..shape.outputs).step_by(BLOCK) {
        for cell in 0..CELLS {
            let factor = |tap: usize| G[cell / IN][tap / 3] * G[cell % IN][tap % 3];
            for at in 0..cell_weights(shape) {
                let (c, o) = (at / BLOCK, first + at % BLOCK);
                packed.push((0..9).map(|tap| factor(tap) * i16::from(weight(shape, real, weights, [o, tap, c]))).sum());
            }
        }
    }
    packed
}

/// Transformed cells of a group of tiles, in 16 bits.
fn group_cells(shape: &Shape) -> usize {
    CELLS * steps(shape) * GROUP * LANES
}

/// Elements of scratch memory.
pub fn scratch(shape: &Shape) -> usize {
    GROUPS * (group_cells(shape) / 2 + GROUP * CELLS * BLOCK)
}

/// What is to be computed, and where it lies.
pub struct Job<'a> {
    pub shape: &'a Shape,
    pub weights: &'a [i16],
    /// A multiple of 8.
    pub offset: &'a [i32],
    pub input: &'a [u8],
    /// At least 4.
    pub rows: Range<usize>,
    pub epilogue: &'a Epilogue<'a>,
}

impl Job<'_> {
    /// # Safety
    /// Input, weights and output have what the shape says, and [`fits`] holds.
    ///
    /// # Panics
    /// If `scratch` is shorter than [`scratch`] says.
    #[target_feature(enable = "neon")]
    pub unsafe fn run(&self, output: &mut Output<'_>, scratch: &mut [i32]) {
        let (cells, products) = scratch.split_at_mut(GROUPS * group_cells(self.shape) / 2);
        let products = &mut products[..GROUPS * GROUP * CELLS * BLOCK];
        let cells: *mut i16 = cells.as_mut_ptr().cast();
        let count = self.rows.len().div_ceil(OUT) * self.shape.width.div_ceil(OUT);
        for first in (0..count).step_by(GROUPS * GROUP) {
            let tiles = first..count.min(first + GROUPS * GROUP);
            let groups = tiles.len().div_ceil(GROUP);
            for t in 0..groups * GROUP {
                // A group that isn't full has its last tile several times.
                let [y, x] = self.place((first + t).min(count - 1));
                let view = &self.shape.input;
                let from = &self.input[view.origin + (self.rows.start + y) * view.row + x * view.pixel..];
                // SAFETY: there are `GROUPS` times `group_cells`.
                unsafe {
                    let to = cells.add(t / GROUP * group_cells(self.shape) + t % GROUP * LANES);
                    transform(self.shape, from.as_ptr(), to);
                }
            }
            let (offset, _) = self.offset.as_chunks::<BLOCK>();
            for (block, (weights, offset)) in
                self.weights.chunks_exact(CELLS * cell_weights(self.shape)).zip(offset).enumerate()
            {
                for (cell, weights) in weights.chunks_exact(cell_weights(self.shape)).enumerate() {
                    for group in 0..groups {
                        // SAFETY: cells and products of that group, and the weights of all channels.
                        unsafe {
                            let own = group_cells(self.shape) / CELLS;
                            multiply(
                                steps(self.shape),
                                cells.add(group * group_cells(self.shape) + cell * own),
                                weights.as_ptr(),
                                products.as_mut_ptr().add((group * GROUP * CELLS + cell) * BLOCK),
                            );
                        }
                    }
                }
                let row = Row::new(self.epilogue, output, self.shape.output.pixel, 0, block * BLOCK);
                for (tile, products) in tiles.clone().zip(products.as_chunks().0) {
                    // SAFETY: a tile lies in the rows.
                    unsafe {
                        match row {
                            Row::Int8(finish) => self.finish(tile, products, offset, finish),
                            Row::Float(finish) => self.finish(tile, products, offset, finish),
                        }
                    }
                }
            }
        }
    }

    /// Row and column of a tile's first output, counted from the first row. The last ones overlap those before.
    fn place(&self, tile: usize) -> [usize; 2] {
        let across = self.shape.width.div_ceil(OUT);
        [(tile / across * OUT).min(self.rows.len() - OUT), (tile % across * OUT).min(self.shape.width - OUT)]
    }

    /// # Safety
    /// The output has that tile.
    #[target_feature(enable = "neon")]
    unsafe fn finish(&self, tile: usize, products: &[i32; CELLS * BLOCK], offset: &[i32; BLOCK], finish: impl Finish) {
        let [y, x] = self.place(tile);
        let mut all = [[[vdupq_n_s32(0); 2]; OUT]; OUT];
        // SAFETY: two halves of eight, and a tile lies in the rows.
        unsafe {
            sums::<0>(products, offset, &mut all);
            sums::<1>(products, offset, &mut all);
            for (row, sums) in all.into_iter().enumerate() {
                finish.below((y + row) * self.shape.output.row).finish(x, sums);
            }
        }
    }
}

/// Bᵀ d B of all channels of a tile, to the tile's lanes in each step of each transformed cell.
///
/// # Safety
/// `from` is the tile's first cell; `to` may be written as far as a group reaches.
#[target_feature(enable = "neon")]
unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16) {
    for step in 0..steps(shape) {
        // Seen through, each of the 72 places would have a pointer of its own that is moved on, in memory.
        let (from, to) = black_box((from.wrapping_add(step * LANES), to.wrapping_add(step * GROUP * LANES)));
        let mut rows = [[vdupq_n_s16(0); IN]; IN];
        for (y, row) in rows.iter_mut().enumerate() {
            for (x, cell) in row.iter_mut().enumerate() {
                let at = y * shape.input.row + x * shape.input.pixel;
                // SAFETY: a tile's cells are in the input; of the last channels, up to four cells behind a pixel are read.
                *cell = vmovl_s8(unsafe { vld1_s8(from.add(at).cast()) });
            }
            *row = spread(*row);
        }
        let [r0, r1, r2, r3, r4, r5] = rows;
        for x in 0..IN {
            for (y, cell) in spread([r0[x], r1[x], r2[x], r3[x], r4[x], r5[x]]).into_iter().enumerate() {
                // SAFETY: a step has `GROUP` times `LANES` elements.
                unsafe { vst1q_s16(to.add((y * IN + x) * steps(shape) * GROUP * LANES), cell) };
            }
        }
    }
}

/// Bᵀ d.
#[inline]
#[target_feature(enable = "neon")]
fn spread(d: [int16x8_t; IN]) -> [int16x8_t; IN] {
    let (far, near) = (vsubq_s16(d[4], d[2]), vsubq_s16(d[3], d[1]));
    [
        vmlaq_n_s16(vmlsq_n_s16(d[4], d[2], 5), d[0], 4),
        vmlsq_n_s16(vaddq_s16(d[3], d[4]), vaddq_s16(d[1], d[2]), 4),
        vmlaq_n_s16(vsubq_s16(d[4], d[3]), vsubq_s16(d[1], d[2]), 4),
        vmlaq_n_s16(far, near, 2),
        vmlsq_n_s16(far, near, 2),
        vmlaq_n_s16(vmlsq_n_s16(d[5], d[3], 5), d[1], 4),
    ]
}

/// The sums over all channels of products of one transformed cell, for a group of tiles and a block of outputs.
///
/// # Safety
/// There are `steps` times 64 cells, as many weights, and products for each tile, `CELLS * BLOCK` apart.
#[target_feature(enable = "neon")]
unsafe fn multiply(steps: usize, mut cells: *const i16, mut weights: *const i16, to: *mut i32) {
    let mut sums = [[vdupq_n_s32(0); 2]; GROUP];
    for _ in 0..steps {
        // SAFETY: the caller's promise.
        unsafe {
            let mut x = [vdupq_n_s16(0); GROUP];
            for (t, x) in x.iter_mut().enumerate() {
                *x = vld1q_s16(cells.add(t * LANES));
            }
            lane::<0>(&mut sums, &x, vld1q_s16(weights));
            lane::<1>(&mut sums, &x, vld1q_s16(weights.add(BLOCK)));
            lane::<2>(&mut sums, &x, vld1q_s16(weights.add(2 * BLOCK)));
            lane::<3>(&mut sums, &x, vld1q_s16(weights.add(3 * BLOCK)));
            lane::<4>(&mut sums, &x, vld1q_s16(weights.add(4 * BLOCK)));
            lane::<5>(&mut sums, &x, vld1q_s16(weights.add(5 * BLOCK)));
            lane::<6>(&mut sums, &x, vld1q_s16(weights.add(6 * BLOCK)));
            lane::<7>(&mut sums, &x, vld1q_s16(weights.add(7 * BLOCK)));
            cells = cells.add(GROUP * LANES);
            weights = weights.add(LANES * BLOCK);
        }
    }
    for (t, [a, b]) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            vst1q_s32(to.add(t * CELLS * BLOCK), a);
            vst1q_s32(to.add(t * CELLS * BLOCK + BLOCK / 2), b);
        }
    }
}

/// Adds the products of channel `L` of eight.
#[inline]
#[target_feature(enable = "neon")]
fn lane<const L: i32>(sums: &mut [Sums; GROUP], x: &[int16x8_t; GROUP], weights: int16x8_t) {
    for (sums, &x) in sums.iter_mut().zip(x) {
        sums[0] = vmlal_laneq_s16::<L>(sums[0], vget_low_s16(weights), x);
        sums[1] = vmlal_high_laneq_s16::<L>(sums[1], weights, x);
    }
}

/// A tile's sums for one half of a block of outputs, by row and column.
#[inline]
#[target_feature(enable = "neon")]
fn sums<const HALF: usize>(products: &[i32; CELLS * BLOCK], offset: &[i32; BLOCK], to: &mut [[Sums; OUT]; OUT]) {
    const SHIFT: [i32; OUT] = [3, 2, 1, 1];
    let from = HALF * BLOCK / 2;
    // SAFETY: four of eight elements.
    let offset = unsafe { vld1q_s32(offset[from..].as_ptr()) };
    let mut columns = [[vdupq_n_s32(0); OUT]; IN];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut cells = [vdupq_n_s32(0); IN];
        for (y, cell) in cells.iter_mut().enumerate() {
            // SAFETY: four of the eight elements of a cell.
            *cell = unsafe { vld1q_s32(products[(y * IN + x) * BLOCK + from..].as_ptr()) };
        }
        *column = gather(cells);
    }
    let [c0, c1, c2, c3, c4, c5] = columns;
    for (y, to) in to.iter_mut().enumerate() {
        let row = gather([c0[y], c1[y], c2[y], c3[y], c4[y], c5[y]]);
        for (x, to) in to.iter_mut().enumerate() {
            let whole = vshlq_s32(vmulq_n_s32(row[x], NINTH), vdupq_n_s32(-SHIFT[y] - SHIFT[x]));
            to[HALF] = vaddq_s32(whole, offset);
        }
    }
}

/// Aᵀ m.
#[inline]
#[target_feature(enable = "neon")]
fn gather(m: [int32x4_t; IN]) -> [int32x4_t; OUT] {
    let (a, b) = (vaddq_s32(m[1], m[2]), vsubq_s32(m[2], m[1]));
    let (c, d) = (vaddq_s32(m[3], m[4]), vsubq_s32(m[3], m[4]));
    [
        vmlaq_n_s32(vmlsq_n_s32(c, a, 4), m[0], 6),
        vmlaq_n_s32(d, b, 2),
        vsubq_s32(c, a),
        vmlaq_n_s32(vmlaq_n_s32(b, d, 2), m[5], 6),
    ]
}
