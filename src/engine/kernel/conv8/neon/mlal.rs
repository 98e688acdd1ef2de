//! Without SDOT: sixteen channels of a pixel against sixteen of an output, multiplied to 16 bits and added in pairs to 32.
//!
//! SMULL and SMLAL2 add two products in 16 bits, where [`Pairs`](super::super::super::neon::Pairs) fit; else each product is widened by itself.
//!
//! The weights of a block of outputs lie in the order half of the block, ky, sixteen channels, kx, output, channel.

use super::super::super::neon::BLOCK;
use super::super::super::neon::finish::{Finish, Sums};
use super::super::Shape;
use super::{STEP, Steps, block_bytes, depth_steps, weight};
use std::arch::aarch64::*;
use std::array::from_fn;

/// Pixels of a tile.
const TILE: usize = 4;

/// Outputs of a tile.
const HALF: usize = BLOCK / 2;

pub fn pack(shape: &Shape, real: usize, weights: &[i8]) -> Vec<i8> {
    let mut packed = Vec::with_capacity(shape.outputs.div_ceil(BLOCK) * block_bytes(shape));
    for first in (0..shape.outputs.next_multiple_of(BLOCK)).step_by(HALF) {
        for ky in 0..shape.taps[0] {
            for step in (0..depth_steps(shape)).map(|step| step * STEP) {
                for tap in ky * shape.taps[1]..(ky + 1) * shape.taps[1] {
                    for at in 0..STEP * HALF {
                        packed.push(weight(shape, real, weights, [first + at / STEP, tap, step + at % STEP]));
                    }
                }
            }
        }
    }
    packed
}

/// Computes one block of outputs in one row. `PAIRS`: two products may be added in 16 bits.
///
/// # Safety
/// `cells` is the row's first cell, `weights` and `offset` are the block's; together with `steps` and `finish` they fit one shape, which
/// `conv8::run` has checked.
#[target_feature(enable = "neon")]
pub unsafe fn row<const PAIRS: bool, F: Finish>(
    steps: &Steps,
    cells: *const u8,
    weights: *const i8,
    offset: &[i32; BLOCK],
    width: usize,
    finish: F,
) {
    let second = steps.taps[0] * steps.taps[1] * steps.depth * STEP * HALF;
    let mut x = 0;
    while x < width {
        // SAFETY: the caller's promise, and a tile lies in the row.
        unsafe {
            if width >= TILE {
                x = x.min(width - TILE);
                let cells = cells.add(x * steps.pixel);
                let sums = [0, second].map(|half| {
                    if steps.shares_cells() {
                        shared::<PAIRS>(steps, cells, weights.add(half))
                    } else {
                        apart::<PAIRS, TILE>(steps, cells, weights.add(half))
                    }
                });
                finish.finish::<TILE>(x, from_fn(|p| joined(offset, sums[0][p], sums[1][p])));
                x += TILE;
            } else {
                let cells = cells.add(x * steps.pixel);
                let [a] = apart::<PAIRS, 1>(steps, cells, weights);
                let [b] = apart::<PAIRS, 1>(steps, cells, weights.add(second));
                finish.finish(x, [joined(offset, a, b)]);
                x += 1;
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn joined(offset: &[i32; BLOCK], a: int32x4_t, b: int32x4_t) -> Sums {
    // SAFETY: eight elements.
    unsafe { [vaddq_s32(a, vld1q_s32(offset.as_ptr())), vaddq_s32(b, vld1q_s32(offset.as_ptr().add(HALF)))] }
}

/// The sums by output, from those of each output's sixteen channels.
#[inline]
#[target_feature(enable = "neon")]
fn folded(sums: [int32x4_t; HALF]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]))
}

/// Three taps in a row, each a pixel further: six pixels are read once for all of them.
///
/// # Safety
/// As for [`row`], for a tile that starts at `cells` and the half of a block whose weights these are.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn shared<const PAIRS: bool>(steps: &Steps, cells: *const u8, mut weights: *const i8) -> [int32x4_t; TILE] {
    let mut sums = [[vdupq_n_s32(0); HALF]; TILE];
    for ky in 0..steps.taps[0] {
        // SAFETY: a row of taps is in the input.
        let mut from = unsafe { cells.add(ky * steps.row) };
        for _ in 0..steps.depth {
            // SAFETY: what is read lies in six pixels of the input, or up to twelve cells behind; the weights are as many as the shape says.
            unsafe {
                let pixels: [int8x16_t; TILE + 2] = from_fn(|p| vld1q_s8(from.add(p * steps.pixel).cast()));
                multiply::<PAIRS, TILE>(&mut sums, |p| pixels[p], weights);
                multiply::<PAIRS, TILE>(&mut sums, |p| pixels[p + 1], weights.add(STEP * HALF));
                multiply::<PAIRS, TILE>(&mut sums, |p| pixels[p + 2], weights.add(2 * STEP * HALF));
                weights = weights.add(3 * STEP * HALF);
                from = from.add(STEP);
            }
        }
    }
    sums.map(|sums| folded(sums))
}

/// Any taps: each reads its own pixels.
///
/// # Safety
/// As for [`shared`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn apart<const PAIRS: bool, const P: usize>(
    steps: &Steps,
    cells: *const u8,
    mut weights: *const i8,
) -> [int32x4_t; P] {
    let mut sums = [[vdupq_n_s32(0); HALF]; P];
    // Under a single tap in a row the inner loop goes over the channels.
    let (depth, inner, pitch) =
        if steps.taps[1] == 1 { (1, steps.depth, STEP) } else { (steps.depth, steps.taps[1], steps.tap) };
    for ky in 0..steps.taps[0] {
        for step in 0..depth {
            // SAFETY: as in `shared`, for `P` pixels under each tap.
            unsafe {
                let mut from = cells.add(ky * steps.row + step * STEP);
                for _ in 0..inner {
                    let pixels: [int8x16_t; P] = from_fn(|p| vld1q_s8(from.add(p * steps.pixel).cast()));
                    multiply::<PAIRS, P>(&mut sums, |p| pixels[p], weights);
                    weights = weights.add(STEP * HALF);
                    from = from.add(pitch);
                }
            }
        }
    }
    sums.map(|sums| folded(sums))
}

/// Adds what sixteen channels under one tap give.
///
/// # Safety
/// There are 64 weights.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const PAIRS: bool, const P: usize>(
    sums: &mut [[int32x4_t; HALF]; P],
    pixel: impl Fn(usize) -> int8x16_t,
    weights: *const i8,
) {
    for o in 0..HALF {
        // SAFETY: the caller's promise.
        let weight = unsafe { vld1q_s8(weights.add(o * STEP)) };
        for (p, sums) in sums.iter_mut().enumerate() {
            let low = vmull_s8(vget_low_s8(weight), vget_low_s8(pixel(p)));
            sums[o] = if PAIRS {
                vpadalq_s16(sums[o], vmlal_high_s8(low, weight, pixel(p)))
            } else {
                vpadalq_s16(vpadalq_s16(sums[o], low), vmull_high_s8(weight, pixel(p)))
            };
        }
    }
}
