//! NEON: four channels in a vector, strips of 16 channels along the pixels of a row; what is left over of the channels by the definition.

use super::super::View;
use super::super::exp::{LIMIT, LN_2, LOG2_E, MAGIC, SHORT};
use super::{Activation, Cells, Shape, Target, Term, scalar};
use std::arch::aarch64::*;
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Channels of a strip.
const STRIP: usize = 16;

/// The values of a strip's channels in a pixel.
type Values = [float32x4_t; 4];

pub fn run(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    mut target: Target<'_>,
) {
    // SAFETY: every 64-bit ARM has NEON; the slices' lengths were checked.
    unsafe { all_rows(shape, terms, bias, activation, rows.clone(), &mut target) };
    let whole = shape.channels / STRIP * STRIP;
    if whole < shape.channels {
        scalar::run(shape, terms, bias, activation, rows, whole..shape.channels, target);
    }
}

/// # Safety
/// The terms' cells reach to `SLACK` behind the last pixel of `rows`, the target's to the last channel of what becomes of it.
#[target_feature(enable = "neon")]
unsafe fn all_rows(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    target: &mut Target<'_>,
) {
    let constants = Constants::new();
    for y in rows.clone() {
        for c in (0..shape.channels / STRIP * STRIP).step_by(STRIP) {
            let strip = Strip { shape, terms, bias, y, line: y - rows.start, c };
            // An inner loop of its own for each activation: it keeps the constants in registers.
            // SAFETY: the caller's contract.
            unsafe {
                match activation {
                    Activation::Linear => strip.run(|values| values, target),
                    Activation::Clip { low, high } => {
                        let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
                        strip.run(|values| values.map(|value| clip(value, low, high)), target);
                    }
                    Activation::Silu => strip.run(
                        |values| {
                            let raised = values.map(|value| vmaxnmq_f32(value, constants.lowest));
                            let divisors = constants.one_plus_exp_of_minus(raised);
                            from_fn(|v| vdivq_f32(raised[v], divisors[v]))
                        },
                        target,
                    ),
                    Activation::Sigmoid => strip.run(
                        |values| {
                            let raised = values.map(|value| vmaxnmq_f32(value, constants.lowest));
                            constants.one_plus_exp_of_minus(raised).map(|divisor| vdivq_f32(constants.one, divisor))
                        },
                        target,
                    ),
                }
            }
        }
    }
}

/// 16 channels of a row, from `c` on.
struct Strip<'a> {
    shape: &'a Shape,
    terms: &'a [Term<'a>],
    bias: &'a [f32],
    y: usize,
    /// The row, counted from the target's first one.
    line: usize,
    c: usize,
}

impl Strip<'_> {
    /// # Safety
    /// As of [`all_rows`], and the shape has the strip's channels.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn run(&self, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) {
        // SAFETY: the caller's contract; `x` is within the row.
        unsafe {
            let bias = floats(self.bias.as_ptr().add(self.c));
            let spread = spread();
            match *self.terms {
                [Term { cells: Cells::Int8(a), ref view, factor }] => {
                    let a = self.image(a, view, factor);
                    self.pixels(|x| a.add(bias, spread, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                ] => {
                    let (a, b) = (self.image(a, view_a, factor_a), self.image(b, view_b, factor_b));
                    self.pixels(|x| b.add(a.add(bias, spread, x), spread, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                    Term { cells: Cells::Int8(c), view: ref view_c, factor: factor_c },
                ] => {
                    let (a, b) = (self.image(a, view_a, factor_a), self.image(b, view_b, factor_b));
                    let c = self.image(c, view_c, factor_c);
                    let sum = |x| c.add(b.add(a.add(bias, spread, x), spread, x), spread, x);
                    self.pixels(sum, activate, target);
                }
                _ => self.pixels(|x| self.sum(bias, spread, x), activate, target),
            }
        }
    }

    /// # Safety
    /// The shape has the strip's channels.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn image<'a>(&self, cells: &'a [u8], view: &View, factor: &[f32]) -> Image<'a> {
        let first = view.origin + self.y * view.row + self.c;
        // SAFETY: the caller's contract.
        Image { cells: &cells[first..], pixel: view.pixel, factor: unsafe { floats(factor.as_ptr().add(self.c)) } }
    }

    /// Any terms.
    ///
    /// # Safety
    /// As of [`Strip::run`], and `x` is within the row.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn sum(&self, bias: Values, spread: [uint8x16_t; 4], x: usize) -> Values {
        let mut sum = bias;
        for Term { cells, view, factor } in self.terms {
            let at = view.origin + self.y * view.row + x * view.pixel + self.c;
            // SAFETY: the caller's contract.
            let (factor, cells) = unsafe {
                let cells = match cells {
                    Cells::Int8(cells) => bytes(cells.as_ptr().add(at), spread),
                    Cells::Float(cells) => floats(cells.as_ptr().add(at)),
                };
                (floats(factor.as_ptr().add(self.c)), cells)
            };
            sum = from_fn(|v| vfmaq_f32(sum[v], factor[v], cells[v]));
        }
        sum
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn pixels(
        &self,
        sum: impl Fn(usize) -> Values,
        activate: impl Fn(Values) -> Values,
        target: &mut Target<'_>,
    ) {
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
                    let bytes = vaddq_s8(narrowed(rounded), zero_point);
                    let place = self.shape.place(self.line, x) + self.c;
                    // SAFETY: these are channels of a pixel that the target holds.
                    let mut store = |at| unsafe { vst1q_s8(cells.as_mut_ptr().add(at).cast(), bytes) };
                    store(place);
                    for step in self.shape.others() {
                        store(place + step);
                    }
                }
            }
            Target::Float(cells) => {
                for x in 0..self.shape.width {
                    let values = activate(sum(x));
                    let place = self.shape.place(self.line, x) + self.c;
                    let mut store = |at| {
                        for (v, &value) in values.iter().enumerate() {
                            // SAFETY: as above.
                            unsafe { vst1q_f32(cells.as_mut_ptr().add(at + v * 4), value) };
                        }
                    };
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

/// As the definition has it, also with zeros of two signs.
#[inline]
#[target_feature(enable = "neon")]
fn clip(value: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
    let value = vbslq_f32(vcgtq_f32(value, low), value, low);
    vbslq_f32(vcltq_f32(value, high), value, high)
}

/// Of [`super::super::exp`], in every lane.
struct Constants {
    lowest: float32x4_t,
    limit: float32x4_t,
    magic: float32x4_t,
    minus_magic: float32x4_t,
    one: float32x4_t,
    first: float32x4_t,
    /// log2 e, ln 2, and the other terms of the series: what is multiplied by one lane takes one register.
    factors: float32x4_t,
}

impl Constants {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new() -> Self {
        let factors = [LOG2_E, LN_2, SHORT[1], SHORT[2]];
        // Seen through, they would be made anew for each pixel.
        let all = |x: f32| vdupq_n_f32(black_box(x));
        Constants {
            lowest: all(-LIMIT),
            limit: all(LIMIT),
            magic: all(MAGIC),
            minus_magic: all(-MAGIC),
            one: all(1.0),
            first: all(SHORT[0]),
            // SAFETY: four lanes.
            factors: unsafe { vld1q_f32(black_box(&factors).as_ptr()) },
        }
    }

    /// Of x not below −`LIMIT`. Step by step for all of them, so that there is always something to do while a result is awaited.
    #[inline]
    #[target_feature(enable = "neon")]
    fn one_plus_exp_of_minus(&self, x: Values) -> Values {
        let factors = self.factors;
        let x = x.map(|x| vminnmq_f32(x, self.limit));
        let shifted = x.map(|x| vfmsq_laneq_f32::<0>(self.magic, x, factors));
        let n = shifted.map(|shifted| vaddq_f32(shifted, self.minus_magic));
        let r: Values = from_fn(|v| vfmaq_laneq_f32::<1>(x[v], n[v], factors));
        let r2 = r.map(|r| vmulq_f32(r, r));
        let high = r.map(|r| vfmsq_laneq_f32::<2>(self.first, r, factors));
        let low = r.map(|r| vsubq_f32(self.one, r));
        let high: Values = from_fn(|v| vfmaq_laneq_f32::<3>(high[v], r2[v], factors));
        let sum: Values = from_fn(|v| vfmaq_f32(low[v], high[v], r2[v]));
        from_fn(|v| {
            let power = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted[v]));
            vfmaq_f32(self.one, sum[v], vreinterpretq_f32_s32(power))
        })
    }
}

/// Numbers that fit in bytes, as bytes.
#[inline]
#[target_feature(enable = "neon")]
fn narrowed(lanes: [int32x4_t; 4]) -> int8x16_t {
    let [a, b, c, d] = lanes.map(|lanes| vreinterpretq_s16_s32(lanes));
    let (ab, cd) = (vreinterpretq_s8_s16(vuzp1q_s16(a, b)), vreinterpretq_s8_s16(vuzp1q_s16(c, d)));
    vuzp1q_s8(ab, cd)
}
