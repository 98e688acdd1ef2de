//! With SDOT: four channels of a pixel, picked from a register that holds sixteen, against four channels of four outputs.
//!
//! The weights of a block of outputs lie tap by tap, each in the order four channels, output, channel. Where neighbours share cells, a row of
//! taps is interleaved: in the order sixteen channels, kx, four channels, output, channel.

use super::super::super::neon::BLOCK;
use super::super::super::neon::finish::{Finish, Sums};
use super::super::Shape;
use super::{STEP, Steps, block_bytes, depth_steps, weight};
use std::arch::{aarch64::*, asm};

/// Pixels of a tile: 16 sums leave half of the registers for cells and weights.
const TILE: usize = 8;

pub fn pack(shape: &Shape, real: usize, weights: &[i8]) -> Vec<i8> {
    let mut packed = Vec::with_capacity(shape.outputs.div_ceil(BLOCK) * block_bytes(shape));
    let (steps, [rows, taps]) = (depth_steps(shape), shape.taps);
    let shared = Steps::new(shape).shares_cells();
    for first in (0..shape.outputs).step_by(BLOCK) {
        for at in 0..rows * taps * steps {
            let (tap, step) = if shared {
                (at / (taps * steps) * taps + at % taps, at / taps % steps)
            } else {
                (at / steps, at % steps)
            };
            for at in 0..STEP * BLOCK {
                let (group, o, c) = (at / (4 * BLOCK), at / 4 % BLOCK, at % 4);
                packed.push(weight(shape, real, weights, [first + o, tap, step * STEP + 4 * group + c]));
            }
        }
    }
    packed
}

/// Computes one block of outputs in one row.
///
/// # Safety
/// `cells` is the row's first cell, `weights` and `offset` are the block's; together with `steps` and `finish` they fit one shape, which
/// `conv8::run` has checked.
#[target_feature(enable = "dotprod")]
pub unsafe fn row<F: Finish>(
    steps: &Steps,
    cells: *const u8,
    weights: *const i8,
    offset: &[i32; BLOCK],
    width: usize,
    finish: F,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (width >= TILE, steps.shares_cells()) {
            (true, true) => wide::<true, F>(steps, cells, weights, offset, width, finish),
            (true, false) => wide::<false, F>(steps, cells, weights, offset, width, finish),
            (false, true) => narrow::<true, F>(steps, cells, weights, offset, width, finish),
            (false, false) => narrow::<false, F>(steps, cells, weights, offset, width, finish),
        }
    }
}

/// A row of at least a tile. `SHARED`: [`Steps::shares_cells`].
///
/// # Safety
/// As for [`row`].
#[target_feature(enable = "dotprod")]
unsafe fn wide<const SHARED: bool, F: Finish>(
    steps: &Steps,
    cells: *const u8,
    weights: *const i8,
    offset: &[i32; BLOCK],
    width: usize,
    finish: F,
) {
    let mut x = 0;
    loop {
        let mut sums = [start(offset); TILE];
        let mut weights = weights;
        let mut from = cells.wrapping_add(x * steps.pixel);
        let mut rows = steps.taps[0];
        // No `for`: with a way around the loops, the compiler fills the sums twice.
        loop {
            // SAFETY: a tile lies in the row, so its taps lie in the input. What is read are `STEP` channels of as many pixels as a tile has
            // under one tap, or under three; the last pixel's may be up to twelve cells behind it. The weights are as many as the shape says.
            unsafe {
                if SHARED {
                    weights = three_taps(&mut sums, steps, from, weights);
                } else {
                    let mut taps = steps.taps[1];
                    let mut from = from;
                    loop {
                        weights = one_tap(&mut sums, steps, from, weights);
                        from = from.wrapping_add(steps.tap);
                        taps -= 1;
                        if taps == 0 {
                            break;
                        }
                    }
                }
            }
            from = from.wrapping_add(steps.row);
            rows -= 1;
            if rows == 0 {
                break;
            }
        }
        // SAFETY: a tile lies in the row.
        unsafe { finish.finish(x, sums) };
        x += TILE;
        if x >= width {
            break;
        }
        x = x.min(width - TILE);
    }
}

/// A row of any width, pixel by pixel.
///
/// # Safety
/// As for [`row`].
#[target_feature(enable = "dotprod")]
unsafe fn narrow<const SHARED: bool, F: Finish>(
    steps: &Steps,
    cells: *const u8,
    weights: *const i8,
    offset: &[i32; BLOCK],
    width: usize,
    finish: F,
) {
    let [rows, taps] = steps.taps;
    for x in 0..width {
        let mut sums = start(offset);
        for at in 0..rows * taps * steps.depth {
            let (ky, rest) = (at / (taps * steps.depth), at % (taps * steps.depth));
            let (kx, step) = if SHARED { (rest % taps, rest / taps) } else { (rest / steps.depth, rest % steps.depth) };
            // SAFETY: as in `wide`.
            unsafe {
                let from = cells.add(ky * steps.row + kx * steps.tap + x * steps.pixel + step * STEP);
                one_pixel(&mut sums, vld1q_s8(from.cast()), weights.add(at * STEP * BLOCK));
            }
        }
        // SAFETY: the row has a pixel `x`.
        unsafe { finish.finish(x, [sums]) };
    }
}

#[inline]
#[target_feature(enable = "dotprod")]
fn start(offset: &[i32; BLOCK]) -> Sums {
    // SAFETY: eight elements.
    unsafe { [vld1q_s32(offset.as_ptr()), vld1q_s32(offset.as_ptr().add(4))] }
}

// What follows is assembly because `vdotq_laneq_s32` is not stable yet, and in whole blocks because so many operands would be spilled.

/// The text of the products of one group of four channels: the weights of tap `$tap` and lane `$lane` for eight outputs, by that lane of eight
/// pixels. `a0` to `a7` are sums of the first four outputs, `b0` to `b7` of the others.
macro_rules! group {
    ($tap:literal $lane:literal $($sum:literal * $pixel:literal),*) => {
        concat!(
            "ldp {w0:q}, {w1:q}, [{weights}, ", $tap, " * 128 + ", $lane, " * 32]\n",
            $(
                "sdot {a", $sum, ":v}.4s, {w0:v}.16b, {p", $pixel, ":v}.4b[", $lane, "]\n",
                "sdot {b", $sum, ":v}.4s, {w1:v}.16b, {p", $pixel, ":v}.4b[", $lane, "]\n",
            )*
        )
    };
}

/// The text of the products of sixteen channels under tap `$tap`.
macro_rules! tap {
    ($tap:literal $($products:tt)*) => {
        concat!(
            group!($tap 0 $($products)*),
            group!($tap 1 $($products)*),
            group!($tap 2 $($products)*),
            group!($tap 3 $($products)*),
        )
    };
}

/// Adds what all channels under one tap give; returns where the next tap's weights are.
///
/// # Safety
/// The pixels and the weights are there, and `steps.depth` is not 0.
#[inline]
#[target_feature(enable = "dotprod")]
unsafe fn one_tap(sums: &mut [Sums; TILE], steps: &Steps, from: *const u8, mut weights: *const i8) -> *const i8 {
    let [[a0, b0], [a1, b1], [a2, b2], [a3, b3], [a4, b4], [a5, b5], [a6, b6], [a7, b7]] = sums;
    let pixel = steps.pixel;
    // SAFETY: SDOT is enabled; reads alone, of what the caller promises.
    unsafe {
        asm!(
            "2:",
            "ldr {p1:q}, [{from}, {o1}]",
            "ldr {p2:q}, [{from}, {o2}]",
            "ldr {p3:q}, [{from}, {o3}]",
            "ldr {p4:q}, [{from}, {o4}]",
            "ldr {p5:q}, [{from}, {o5}]",
            "ldr {p6:q}, [{from}, {o6}]",
            "ldr {p7:q}, [{from}, {o7}]",
            "ldr {p0:q}, [{from}], #16",
            tap!(0 0*0, 1*1, 2*2, 3*3, 4*4, 5*5, 6*6, 7*7),
            "subs {depth}, {depth}, #1",
            "add {weights}, {weights}, #128",
            "b.ne 2b",
            a0 = inout(vreg) *a0, a1 = inout(vreg) *a1, a2 = inout(vreg) *a2, a3 = inout(vreg) *a3,
            a4 = inout(vreg) *a4, a5 = inout(vreg) *a5, a6 = inout(vreg) *a6, a7 = inout(vreg) *a7,
            b0 = inout(vreg) *b0, b1 = inout(vreg) *b1, b2 = inout(vreg) *b2, b3 = inout(vreg) *b3,
            b4 = inout(vreg) *b4, b5 = inout(vreg) *b5, b6 = inout(vreg) *b6, b7 = inout(vreg) *b7,
            p0 = out(vreg) _, p1 = out(vreg) _, p2 = out(vreg) _, p3 = out(vreg) _, p4 = out(vreg) _, p5 = out(vreg) _,
            p6 = out(vreg) _, p7 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _,
            o1 = in(reg) pixel, o2 = in(reg) 2 * pixel, o3 = in(reg) 3 * pixel, o4 = in(reg) 4 * pixel,
            o5 = in(reg) 5 * pixel, o6 = in(reg) 6 * pixel, o7 = in(reg) 7 * pixel,
            from = inout(reg) from => _,
            depth = inout(reg) steps.depth => _,
            weights = inout(reg) weights,
            options(readonly, nostack),
        );
    }
    weights
}

/// Adds what all channels under three taps give, of which each lies a pixel beside the one before; returns where the next weights are.
///
/// # Safety
/// The pixels and the weights are there, and `steps.depth` is not 0.
#[inline]
#[target_feature(enable = "dotprod")]
unsafe fn three_taps(sums: &mut [Sums; TILE], steps: &Steps, from: *const u8, mut weights: *const i8) -> *const i8 {
    let [[a0, b0], [a1, b1], [a2, b2], [a3, b3], [a4, b4], [a5, b5], [a6, b6], [a7, b7]] = sums;
    let pixel = steps.pixel;
    // SAFETY: SDOT is enabled; reads alone, of what the caller promises.
    unsafe {
        asm!(
            "2:",
            "ldr {p1:q}, [{from}, {o1}]",
            "ldr {p2:q}, [{from}, {o2}]",
            "ldr {p3:q}, [{from}, {o3}]",
            "ldr {p4:q}, [{from}, {o4}]",
            "ldr {p5:q}, [{from}, {o5}]",
            "ldr {p6:q}, [{from}, {o6}]",
            "ldr {p7:q}, [{from}, {o7}]",
            "ldr {p8:q}, [{from}, {o8}]",
            "ldr {p9:q}, [{from}, {o9}]",
            "ldr {p0:q}, [{from}], #16",
            tap!(0 0*0, 1*1, 2*2, 3*3, 4*4, 5*5, 6*6, 7*7),
            tap!(1 0*1, 1*2, 2*3, 3*4, 4*5, 5*6, 6*7, 7*8),
            tap!(2 0*2, 1*3, 2*4, 3*5, 4*6, 5*7, 6*8, 7*9),
            "subs {depth}, {depth}, #1",
            "add {weights}, {weights}, #384",
            "b.ne 2b",
            a0 = inout(vreg) *a0, a1 = inout(vreg) *a1, a2 = inout(vreg) *a2, a3 = inout(vreg) *a3,
            a4 = inout(vreg) *a4, a5 = inout(vreg) *a5, a6 = inout(vreg) *a6, a7 = inout(vreg) *a7,
            b0 = inout(vreg) *b0, b1 = inout(vreg) *b1, b2 = inout(vreg) *b2, b3 = inout(vreg) *b3,
            b4 = inout(vreg) *b4, b5 = inout(vreg) *b5, b6 = inout(vreg) *b6, b7 = inout(vreg) *b7,
            p0 = out(vreg) _, p1 = out(vreg) _, p2 = out(vreg) _, p3 = out(vreg) _, p4 = out(vreg) _, p5 = out(vreg) _,
            p6 = out(vreg) _, p7 = out(vreg) _, p8 = out(vreg) _, p9 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _,
            o1 = in(reg) pixel, o2 = in(reg) 2 * pixel, o3 = in(reg) 3 * pixel, o4 = in(reg) 4 * pixel,
            o5 = in(reg) 5 * pixel, o6 = in(reg) 6 * pixel, o7 = in(reg) 7 * pixel, o8 = in(reg) 8 * pixel,
            o9 = in(reg) 9 * pixel,
            from = inout(reg) from => _,
            depth = inout(reg) steps.depth => _,
            weights = inout(reg) weights,
            options(readonly, nostack),
        );
    }
    weights
}

/// Adds what sixteen channels of one pixel give.
///
/// # Safety
/// There are 128 weights.
#[inline]
#[target_feature(enable = "dotprod")]
unsafe fn one_pixel(sums: &mut Sums, pixel: int8x16_t, weights: *const i8) {
    let [a0, b0] = sums;
    // SAFETY: SDOT is enabled, and the weights are there.
    unsafe {
        asm!(
            tap!(0 0*0),
            a0 = inout(vreg) *a0,
            b0 = inout(vreg) *b0,
            p0 = in(vreg) pixel,
            w0 = out(vreg) _,
            w1 = out(vreg) _,
            weights = in(reg) weights,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
}
