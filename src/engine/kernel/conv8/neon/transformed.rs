//! Winograd's convolution without SDOT: widening multiplies of 16 bits.

use super::super::super::neon::BLOCK;
use super::super::super::neon::finish::{Finish, Row, Sums};
use super::super::winograd::{self, CELLS, IN, Job, Kernel, NINTH, OUT, SHIFT, TAPS};
use super::super::{Output, Shape};
use std::arch::aarch64::*;
use std::hint::black_box;
use std::ops::Range;

pub enum Neon {}

const GROUP: usize = 8;
const STEP: usize = 8;

impl Kernel for Neon {
    const BLOCK: usize = BLOCK;
    const PAIR: usize = 1;
    const GROUP: usize = GROUP;
    const GROUPS: usize = 4;
    const STEP: usize = STEP;

    unsafe fn spread(weights: &[i8], to: &mut [i16]) {
        // SAFETY: aarch64 has NEON, and the caller's promise.
        unsafe { spread_weights(weights, to) }
    }

    unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16) {
        // SAFETY: aarch64 has NEON, and the caller's promise.
        unsafe { transform(shape, from, to) }
    }

    unsafe fn multiply(steps: usize, cells: *const i16, weights: *const i16, to: *mut i32) {
        // SAFETY: as above.
        unsafe { multiply(steps, cells, weights, to) }
    }

    unsafe fn finish(job: &Job<'_>, block: usize, tiles: Range<usize>, products: &[i32], output: &mut Output<'_>) {
        // SAFETY: as above.
        unsafe {
            match Row::new(job.epilogue, output, job.shape.outputs, job.shape.output.pixel, 0, block * BLOCK) {
                Row::Int8(finish) => write(job, block, tiles, products, finish),
                Row::Float(finish) => write(job, block, tiles, products, finish),
                Row::Sums(finish) => write(job, block, tiles, products, finish),
            }
        }
    }
}

/// # Safety
/// The output has what the job's shape says.
#[target_feature(enable = "neon")]
unsafe fn write(job: &Job<'_>, block: usize, tiles: Range<usize>, products: &[i32], finish: impl Finish) {
    let offset = &job.offset.as_chunks::<BLOCK>().0[block];
    for (tile, products) in tiles.zip(products.as_chunks::<{ CELLS * BLOCK }>().0) {
        let [y, x] = job.place(tile);
        let mut all = [[[vdupq_n_s32(0); 2]; OUT]; OUT];
        sums::<0>(products, offset, &mut all);
        sums::<1>(products, offset, &mut all);
        for (row, sums) in (y..).zip(all) {
            if job.rows.contains(&row) {
                // SAFETY: the row is one of the job's, and a tile lies within its width.
                unsafe { finish.below((row - job.rows.start) * job.shape.output.row).finish(x, sums) };
            }
        }
    }
}

/// # Safety
/// As for [`Kernel::spread`].
#[target_feature(enable = "neon")]
unsafe fn spread_weights(weights: &[i8], to: &mut [i16]) {
    let groups = weights.len() / (TAPS * BLOCK);
    for group in 0..groups {
        // SAFETY: the taps of a group are `TAPS` times `BLOCK` weights, each of its `CELLS` cells as many.
        unsafe {
            let from = weights.as_ptr().add(group * TAPS * BLOCK);
            let mut taps = [vdupq_n_s16(0); TAPS];
            for (tap, own) in taps.iter_mut().enumerate() {
                *own = vmovl_s8(vld1_s8(from.add(tap * BLOCK)));
            }
            let [c0, c1, c2] = [0, 1, 2].map(|x| spread_taps([taps[x], taps[3 + x], taps[6 + x]]));
            for y in 0..IN {
                for (x, cell) in spread_taps([c0[y], c1[y], c2[y]]).into_iter().enumerate() {
                    vst1q_s16(to.as_mut_ptr().add(((y * IN + x) * groups + group) * BLOCK), cell);
                }
            }
        }
    }
}

/// G g.
#[inline]
#[target_feature(enable = "neon")]
fn spread_taps([a, b, c]: [int16x8_t; 3]) -> [int16x8_t; IN] {
    let (near, far) = (vaddq_s16(a, c), vmlaq_n_s16(a, c, 4));
    let twice = vaddq_s16(b, b);
    [a, vaddq_s16(near, b), vsubq_s16(near, b), vaddq_s16(far, twice), vsubq_s16(far, twice), c]
}

/// # Safety
/// As for [`Kernel::transform`].
#[target_feature(enable = "neon")]
unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16) {
    let steps = winograd::steps::<Neon>(shape);
    for step in 0..steps {
        // Seen through, each of the 72 places would have a pointer of its own that is moved on, in memory.
        let (from, to) = black_box((from.wrapping_add(step * STEP), to.wrapping_add(step * GROUP * STEP)));
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
                // SAFETY: a step has `GROUP` times `STEP` elements.
                unsafe { vst1q_s16(to.add((y * IN + x) * steps * GROUP * STEP), cell) };
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

/// # Safety
/// As for [`Kernel::multiply`].
#[target_feature(enable = "neon")]
unsafe fn multiply(steps: usize, mut cells: *const i16, mut weights: *const i16, to: *mut i32) {
    let mut sums = [[vdupq_n_s32(0); 2]; GROUP];
    for _ in 0..steps {
        // SAFETY: the caller's promise.
        unsafe {
            let mut x = [vdupq_n_s16(0); GROUP];
            for (t, x) in x.iter_mut().enumerate() {
                *x = vld1q_s16(cells.add(t * STEP));
            }
            lane::<0>(&mut sums, &x, vld1q_s16(weights));
            lane::<1>(&mut sums, &x, vld1q_s16(weights.add(BLOCK)));
            lane::<2>(&mut sums, &x, vld1q_s16(weights.add(2 * BLOCK)));
            lane::<3>(&mut sums, &x, vld1q_s16(weights.add(3 * BLOCK)));
            lane::<4>(&mut sums, &x, vld1q_s16(weights.add(4 * BLOCK)));
            lane::<5>(&mut sums, &x, vld1q_s16(weights.add(5 * BLOCK)));
            lane::<6>(&mut sums, &x, vld1q_s16(weights.add(6 * BLOCK)));
            lane::<7>(&mut sums, &x, vld1q_s16(weights.add(7 * BLOCK)));
            cells = cells.add(GROUP * STEP);
            weights = weights.add(STEP * BLOCK);
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
