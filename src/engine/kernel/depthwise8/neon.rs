//! For aarch64: tiles of some pixels of a row by sixteen channels (eight for the last ones), whose sums stay in registers. Two taps are taken at
//! once: SMULL and SMLAL add their products in 16 bits, where [`Pairs`] fit, and SADDW adds that to 32.
//!
//! A tile that would pass the end of a row starts earlier and computes some pixels again, so nothing is left over but rows narrower than a tile.

use super::super::neon::finish::{Finish, Row, Sums};
use super::super::neon::{BLOCK, Pairs};
use super::{Epilogue, Output, Shape};
use std::arch::aarch64::*;
use std::array::from_fn;
use std::ops::Range;

/// Channels of a register of cells: two blocks of the epilogue's.
const CHANNELS: usize = 2 * BLOCK;

/// Pixels of a tile.
const TILE: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pairs: Pairs,
    /// From the cell under the first tap to that under each, in cells.
    taps: Vec<usize>,
    /// By sixteen channels, tap, channel; zeros behind the last one.
    weights: Vec<[i8; CHANNELS]>,
    offset: Vec<[i32; CHANNELS]>,
}

impl Weights {
    pub fn pack(shape: &Shape, weights: &[i8], offset: &[i32]) -> Self {
        let count = shape.taps[0] * shape.taps[1];
        let step = shape.tap_step();
        let taps = (0..count).map(|tap| tap / shape.taps[1] * step[0] + tap % shape.taps[1] * step[1]).collect();
        let mut packed = Weights { pairs: Pairs::of(weights), taps, weights: Vec::new(), offset: Vec::new() };
        for first in (0..shape.outputs).step_by(CHANNELS) {
            let all = weights.chunks_exact(shape.outputs);
            packed.weights.extend(all.map(|of| from_fn(|c| of.get(first + c).copied().unwrap_or(0))));
            packed.offset.push(from_fn(|c| offset.get(first + c).copied().unwrap_or(0)));
        }
        packed
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.taps[..]) + size_of_val(&self.weights[..]) + size_of_val(&self.offset[..])
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
    // Channels inside: the cells of a row stay in the caches for all of them.
    for (at, y) in rows.enumerate() {
        let cells = &input[shape.input.origin + y * shape.stride[0] * shape.input.row..];
        let blocks = weights.weights.chunks_exact(weights.taps.len()).zip(&weights.offset);
        for (block, (own, offset)) in blocks.enumerate() {
            let first = block * CHANNELS;
            let strip = Strip {
                taps: &weights.taps,
                weights: own,
                offset,
                cells: &cells[first..],
                pixel: shape.stride[1] * shape.input.pixel,
                width: shape.width,
            };
            // SAFETY: aarch64 has NEON; `depthwise8::run` has checked that input and output have what the shape says, for which these were packed.
            unsafe {
                let mut end = |first| {
                    let (pixel, row) = (shape.output.pixel, at * shape.output.row);
                    (first < shape.outputs).then(|| Row::new(&epilogue, &mut output, shape.outputs, pixel, row, first))
                };
                match (end(first), end(first + BLOCK)) {
                    (Some(Row::Int8(a)), Some(Row::Int8(b))) => strip.run(weights.pairs, [a, b]),
                    (Some(Row::Int8(a)), None) => strip.run(weights.pairs, [a]),
                    (Some(Row::Float(a)), Some(Row::Float(b))) => strip.run(weights.pairs, [a, b]),
                    (Some(Row::Float(a)), None) => strip.run(weights.pairs, [a]),
                    (Some(Row::Sums(a)), Some(Row::Sums(b))) => strip.run(weights.pairs, [a, b]),
                    (Some(Row::Sums(a)), None) => strip.run(weights.pairs, [a]),
                    _ => unreachable!("an output has one type, and a block a channel"),
                }
            }
        }
    }
}

/// Some channels of one row.
struct Strip<'a> {
    taps: &'a [usize],
    weights: &'a [[i8; CHANNELS]],
    offset: &'a [i32; CHANNELS],
    /// From the cell under the first tap of the first pixel on.
    cells: &'a [u8],
    /// From a pixel's cells to the next one's.
    pixel: usize,
    width: usize,
}

impl Strip<'_> {
    /// # Safety
    /// Input and output have the strip, and 16 cells may be read under each tap.
    #[target_feature(enable = "neon")]
    unsafe fn run<const BLOCKS: usize, F: Finish>(&self, pairs: Pairs, finish: [F; BLOCKS]) {
        // SAFETY: the caller's promise.
        unsafe {
            match pairs {
                Pairs::Fit => self.tiles::<true, BLOCKS, F>(finish),
                Pairs::MayNotFit => self.tiles::<false, BLOCKS, F>(finish),
            }
        }
    }

    /// # Safety
    /// As of [`Strip::run`]. `PAIRS`: two products may be added in 16 bits.
    #[target_feature(enable = "neon")]
    unsafe fn tiles<const PAIRS: bool, const BLOCKS: usize, F: Finish>(&self, finish: [F; BLOCKS]) {
        let mut x = 0;
        while x < self.width {
            // SAFETY: the caller's promise, and a tile lies in the row.
            unsafe {
                if self.width >= TILE {
                    self.tile::<PAIRS, BLOCKS, TILE, F>(x.min(self.width - TILE), &finish);
                    x += TILE;
                } else {
                    self.tile::<PAIRS, BLOCKS, 1, F>(x, &finish);
                    x += 1;
                }
            }
        }
    }

    /// # Safety
    /// As of [`Strip::tiles`], and the row has `P` pixels from `x` on.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn tile<const PAIRS: bool, const BLOCKS: usize, const P: usize, F: Finish>(
        &self,
        x: usize,
        finish: &[F; BLOCKS],
    ) {
        // SAFETY: a block has eight offsets.
        let load = |at: usize| unsafe { vld1q_s32(self.offset.as_ptr().add(at)) };
        let offset: [Sums; BLOCKS] = from_fn(|b| [load(b * BLOCK), load(b * BLOCK + BLOCK / 2)]);
        let mut sums = [offset; P];
        let from = self.cells.as_ptr().wrapping_add(x * self.pixel);
        let (taps, last) = self.taps.as_chunks::<2>();
        let (weights, last_weights) = self.weights.as_chunks::<2>();
        for (taps, weights) in taps.iter().zip(weights) {
            // SAFETY: the taps of a tile's pixels are in the input, sixteen cells of each.
            unsafe { add::<PAIRS, BLOCKS, P>(&mut sums, from, self.pixel, *taps, weights) };
        }
        if let ([tap], [weights]) = (last, last_weights) {
            // SAFETY: as above.
            unsafe { add_one(&mut sums, from.wrapping_add(*tap), self.pixel, weights) };
        }
        // SAFETY: the caller's promise.
        unsafe {
            // No loop: an index that isn't constant would bring the sums to memory.
            finish[0].finish(x, sums.map(|sums| sums[0]));
            if BLOCKS > 1 {
                finish[BLOCKS - 1].finish(x, sums.map(|sums| sums[BLOCKS - 1]));
            }
        }
    }
}

/// Adds what two taps give.
///
/// # Safety
/// Sixteen cells can be read under both taps of each pixel.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add<const PAIRS: bool, const BLOCKS: usize, const P: usize>(
    sums: &mut [[Sums; BLOCKS]; P],
    from: *const u8,
    pixel: usize,
    taps: [usize; 2],
    weights: &[[i8; CHANNELS]; 2],
) {
    let from = taps.map(|tap| from.wrapping_add(tap));
    if !PAIRS {
        // SAFETY: the caller's promise.
        unsafe {
            add_one(sums, from[0], pixel, &weights[0]);
            add_one(sums, from[1], pixel, &weights[1]);
        }
        return;
    }
    // SAFETY: sixteen weights each.
    let weights = [0, 1].map(|tap| unsafe { vld1q_s8(weights[tap].as_ptr()) });
    for (p, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let cells = from.map(|from| unsafe { vld1q_s8(from.add(p * pixel).cast()) });
        let low = vmull_s8(vget_low_s8(weights[0]), vget_low_s8(cells[0]));
        widen(&mut sums[0], vmlal_s8(low, vget_low_s8(weights[1]), vget_low_s8(cells[1])));
        if BLOCKS > 1 {
            let high = vmull_high_s8(weights[0], cells[0]);
            widen(&mut sums[1], vmlal_high_s8(high, weights[1], cells[1]));
        }
    }
}

/// Adds what one tap gives.
///
/// # Safety
/// Sixteen cells can be read from `from` on, and of each pixel.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_one<const BLOCKS: usize, const P: usize>(
    sums: &mut [[Sums; BLOCKS]; P],
    from: *const u8,
    pixel: usize,
    weights: &[i8; CHANNELS],
) {
    // SAFETY: sixteen weights.
    let weights = unsafe { vld1q_s8(weights.as_ptr()) };
    for (p, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let cells = unsafe { vld1q_s8(from.add(p * pixel).cast()) };
        widen(&mut sums[0], vmull_s8(vget_low_s8(weights), vget_low_s8(cells)));
        if BLOCKS > 1 {
            widen(&mut sums[1], vmull_high_s8(weights, cells));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(sums: &mut Sums, products: int16x8_t) {
    *sums = [vaddw_s16(sums[0], vget_low_s16(products)), vaddw_high_s16(sums[1], products)];
}
