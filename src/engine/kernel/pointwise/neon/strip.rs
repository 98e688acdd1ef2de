//! A strip of channels along a row: sums of its terms in, cells out.

use super::super::super::View;
use super::super::super::neon::write;
use super::super::{Cells, Shape, TERMS, Target, Term};
use super::{STRIP, Values};
use std::arch::aarch64::*;
use std::array::from_fn;

/// Up to 16 channels, from `c` on.
pub struct Strip<'a> {
    pub shape: &'a Shape,
    pub terms: &'a [Term<'a>],
    pub bias: &'a [f32],
    pub c: usize,
}

impl Strip<'_> {
    /// Row `y`, which becomes row `line` of the target, counted from its first one.
    ///
    /// # Safety
    /// The terms' cells reach to `SLACK` behind the last pixel of the row, the target's to the last channel of what becomes of it, and the shape
    /// has the strip's first channel.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn row(&self, y: usize, line: usize, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) {
        let bias = channels(self.bias, self.c);
        let spread = spread();
        // SAFETY: the caller's contract; `x` is within the row.
        unsafe {
            match *self.terms {
                [Term { cells: Cells::Int8(a), ref view, factor }] => {
                    let a = self.image(y, a, view, factor);
                    self.pixels(line, |x| a.add(bias, spread, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                ] => {
                    let (a, b) = (self.image(y, a, view_a, factor_a), self.image(y, b, view_b, factor_b));
                    self.pixels(line, |x| b.add(a.add(bias, spread, x), spread, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                    Term { cells: Cells::Int8(c), view: ref view_c, factor: factor_c },
                ] => {
                    let (a, b) = (self.image(y, a, view_a, factor_a), self.image(y, b, view_b, factor_b));
                    let c = self.image(y, c, view_c, factor_c);
                    let sum = |x| c.add(b.add(a.add(bias, spread, x), spread, x), spread, x);
                    self.pixels(line, sum, activate, target);
                }
                _ => {
                    let mut factors = [bias; TERMS];
                    for (factor, term) in factors.iter_mut().zip(self.terms) {
                        *factor = channels(term.factor, self.c);
                    }
                    self.pixels(line, |x| self.sum(bias, &factors, spread, y, x), activate, target);
                }
            }
        }
    }

    fn image<'a>(&self, y: usize, cells: &'a [u8], view: &View, factor: &[f32]) -> Image<'a> {
        let first = view.origin + y * view.row + self.c;
        // SAFETY: every 64-bit ARM has NEON.
        Image { cells: &cells[first..], pixel: view.pixel, factor: unsafe { channels(factor, self.c) } }
    }

    /// Any terms.
    ///
    /// # Safety
    /// As of [`Strip::row`], and `x` is within the row.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn sum(
        &self,
        bias: Values,
        factors: &[Values; TERMS],
        spread: [uint8x16_t; 4],
        y: usize,
        x: usize,
    ) -> Values {
        let mut sum = bias;
        for (Term { cells, view, .. }, factor) in self.terms.iter().zip(factors) {
            let at = view.origin + y * view.row + x * view.pixel + self.c;
            // SAFETY: the caller's contract.
            let cells = unsafe {
                match cells {
                    Cells::Int8(cells) => bytes(cells.as_ptr().add(at), spread),
                    Cells::Float(cells) => floats(cells.as_ptr().add(at)),
                }
            };
            sum = from_fn(|v| vfmaq_f32(sum[v], factor[v], cells[v]));
        }
        sum
    }

    /// Writes what becomes of the values that `sum` gives for each pixel of a row.
    ///
    /// # Safety
    /// The target has the strip's channels of what becomes of these pixels.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn pixels(
        &self,
        line: usize,
        sum: impl Fn(usize) -> Values,
        activate: impl Fn(Values) -> Values,
        target: &mut Target<'_>,
    ) {
        let count = (self.shape.channels - self.c).min(STRIP);
        match target {
            &mut Target::Int8 { ref mut cells, per_unit, zero_point, low, high } => {
                let low = vdupq_n_f32((low - zero_point) as f32);
                let high = vdupq_n_f32((high - zero_point) as f32);
                let zero_point = vdupq_n_s8(zero_point as i8);
                for x in 0..self.shape.width {
                    let rounded = activate(sum(x)).map(|value| {
                        let raised = vmaxnmq_f32(vmulq_n_f32(value, per_unit), low);
                        vcvtnq_s32_f32(vminnmq_f32(raised, high))
                    });
                    let bytes = vreinterpretq_u8_s8(vaddq_s8(narrowed(rounded), zero_point));
                    let place = self.shape.place(line, x) + self.c;
                    // SAFETY: these are channels of a pixel that the target holds.
                    let mut store = |at| unsafe { store_bytes(cells.as_mut_ptr().add(at), bytes, count) };
                    store(place);
                    for step in self.shape.others() {
                        store(place + step);
                    }
                }
            }
            Target::Float(cells) => {
                for x in 0..self.shape.width {
                    let values = activate(sum(x));
                    let place = self.shape.place(line, x) + self.c;
                    // SAFETY: as above.
                    let mut store = |at| unsafe { store_floats(cells.as_mut_ptr().add(at), values, count) };
                    store(place);
                    for step in self.shape.others() {
                        store(place + step);
                    }
                }
            }
        }
    }
}

/// Int8 cells from a row's first pixel on.
struct Image<'a> {
    cells: &'a [u8],
    pixel: usize,
    factor: Values,
}

impl Image<'_> {
    /// # Safety
    /// `x` is within the row, and 16 of its cells can be read.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add(&self, sum: Values, spread: [uint8x16_t; 4], x: usize) -> Values {
        // SAFETY: the caller's contract.
        let cells = unsafe { bytes(self.cells.as_ptr().add(x * self.pixel), spread) };
        from_fn(|v| vfmaq_f32(sum[v], self.factor[v], cells[v]))
    }
}

/// What a strip from channel `c` on has of numbers for each channel, and zeros beyond the last one.
#[inline]
#[target_feature(enable = "neon")]
fn channels(of: &[f32], c: usize) -> Values {
    let of = &of[c..];
    let mut padded = [0.0; STRIP];
    let from = if of.len() < STRIP {
        padded[..of.len()].copy_from_slice(of);
        &padded
    } else {
        of
    };
    // SAFETY: both have 16.
    unsafe { floats(from.as_ptr()) }
}

/// # Safety
/// 16 floats can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn floats(from: *const f32) -> Values {
    // SAFETY: the caller's contract.
    from_fn(|v| unsafe { vld1q_f32(from.add(v * 4)) })
}

/// Where [`bytes`] finds what.
#[inline]
#[target_feature(enable = "neon")]
fn spread() -> [uint8x16_t; 4] {
    from_fn(|v| {
        let lanes: [u32; 4] = from_fn(|lane| ((v * 4 + lane) as u32) << 24 | 0xff_ffff);
        // SAFETY: four lanes.
        vreinterpretq_u8_u32(unsafe { vld1q_u32(lanes.as_ptr()) })
    })
}

/// The values of 16 stored cells: each byte becomes the highest of its lane, which saves a widening, and the lane is taken as 2^−24ths.
///
/// # Safety
/// 16 cells can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bytes(from: *const u8, spread: [uint8x16_t; 4]) -> Values {
    // SAFETY: the caller's contract.
    let cells = unsafe { vld1q_u8(from) };
    spread.map(|spread| vcvtq_n_f32_s32::<24>(vreinterpretq_s32_u8(vqtbl1q_u8(cells, spread))))
}

/// Numbers that fit in bytes, as bytes.
#[inline]
#[target_feature(enable = "neon")]
fn narrowed(lanes: [int32x4_t; 4]) -> int8x16_t {
    let [a, b, c, d] = lanes.map(|lanes| vreinterpretq_s16_s32(lanes));
    let (ab, cd) = (vreinterpretq_s8_s16(vuzp1q_s16(a, b)), vreinterpretq_s8_s16(vuzp1q_s16(c, d)));
    vuzp1q_s8(ab, cd)
}

/// Writes the first `count` bytes, at most 16.
///
/// # Safety
/// They may be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_bytes(to: *mut u8, bytes: uint8x16_t, count: usize) {
    let [low, high] = [vgetq_lane_u64::<0>, vgetq_lane_u64::<1>].map(|lane| lane(vreinterpretq_u64_u8(bytes)));
    // SAFETY: the caller's contract.
    unsafe {
        match count {
            STRIP => vst1q_u8(to, bytes),
            0..8 => write::bytes(to, low, count),
            _ => {
                to.cast::<u64>().write_unaligned(low);
                write::bytes(to.add(8), high, count - 8);
            }
        }
    }
}

/// Writes the first `count` floats, at most 16.
///
/// # Safety
/// They may be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_floats(to: *mut f32, values: Values, count: usize) {
    for half in 0..2 {
        let (to, own) = (to.wrapping_add(8 * half), [values[2 * half], values[2 * half + 1]]);
        // SAFETY: the caller's contract.
        unsafe {
            match count.saturating_sub(8 * half) {
                left @ 0..8 => write::floats(to, own, left),
                _ => {
                    vst1q_f32(to, own[0]);
                    vst1q_f32(to.add(4), own[1]);
                }
            }
        }
    }
}
