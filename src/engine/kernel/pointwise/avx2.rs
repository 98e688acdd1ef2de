//! AVX2 and FMA: eight channels in a vector, strips of 16 channels along the pixels of a row; what is left over of the channels by the
//! definition.

use super::super::View;
use super::super::exp::{LIMIT, LN_2, LOG2_E, MAGIC, SHORT};
use super::{Activation, Cells, Shape, Target, Term, scalar};
use std::arch::x86_64::*;
use std::array::from_fn;
use std::ops::Range;

const LANES: usize = 8;

/// Channels of a strip.
const STRIP: usize = 2 * LANES;

/// The values of a strip's channels in a pixel.
type Values = [__m256; 2];

pub fn run(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    target: Target<'_>,
) {
    // SAFETY: whoever chose this instruction set has found it on this machine; the slices' lengths were checked.
    unsafe { all_rows(shape, terms, bias, activation, rows, target) };
}

/// # Safety
/// The terms' cells reach to `SLACK` behind the last pixel of `rows`, the target's to the last channel of what becomes of it.
#[target_feature(enable = "avx2,fma")]
unsafe fn all_rows(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    mut target: Target<'_>,
) {
    let whole = shape.channels / STRIP * STRIP;
    for y in rows.clone() {
        for c in (0..whole).step_by(STRIP) {
            let strip = Strip { shape, terms, bias, y, line: y - rows.start, c };
            // SAFETY: the caller's contract; 16 channels are left.
            unsafe { strip.run(activation, &mut target) };
        }
    }
    if whole < shape.channels {
        scalar::run(shape, terms, bias, activation, rows, whole..shape.channels, target);
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
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, activation: Activation, target: &mut Target<'_>) {
        // An inner loop of its own for each activation.
        // SAFETY: the caller's contract.
        unsafe {
            match activation {
                Activation::Linear => self.sums(|values| values, target),
                Activation::Clip { low, high } => {
                    let (low, high) = (_mm256_set1_ps(low), _mm256_set1_ps(high));
                    self.sums(|values| values.map(|x| _mm256_min_ps(_mm256_max_ps(x, low), high)), target);
                }
                Activation::Silu => {
                    let silu = |x| {
                        let raised = _mm256_max_ps(x, _mm256_set1_ps(-LIMIT));
                        _mm256_div_ps(raised, one_plus_exp_of_minus(raised))
                    };
                    self.sums(|values| values.map(silu), target);
                }
                Activation::Sigmoid => {
                    let sigmoid = |x| {
                        let raised = _mm256_max_ps(x, _mm256_set1_ps(-LIMIT));
                        _mm256_div_ps(_mm256_set1_ps(1.0), one_plus_exp_of_minus(raised))
                    };
                    self.sums(|values| values.map(sigmoid), target);
                }
            }
        }
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sums(&self, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) {
        let bias = self.floats(self.bias);
        // SAFETY: the caller's contract; `x` is within the row.
        unsafe {
            match *self.terms {
                [Term { cells: Cells::Int8(a), ref view, factor }] => {
                    let a = self.image(a, view, factor);
                    self.pixels(|x| a.add(bias, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                ] => {
                    let (a, b) = (self.image(a, view_a, factor_a), self.image(b, view_b, factor_b));
                    self.pixels(|x| b.add(a.add(bias, x), x), activate, target);
                }
                _ => self.pixels(|x| self.sum(bias, x), activate, target),
            }
        }
    }

    /// The strip's part of a slice that has an element for each channel.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn floats(&self, all: &[f32]) -> Values {
        let own = &all[self.c..self.c + STRIP];
        // SAFETY: these are two vectors.
        unsafe { floats(own.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn image<'a>(&self, cells: &'a [u8], view: &View, factor: &[f32]) -> Image<'a> {
        let first = view.origin + self.y * view.row + self.c;
        Image { cells: &cells[first..], pixel: view.pixel, factor: self.floats(factor) }
    }

    /// Any terms.
    ///
    /// # Safety
    /// As of [`Strip::run`], and `x` is within the row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sum(&self, bias: Values, x: usize) -> Values {
        let mut sum = bias;
        for Term { cells, view, factor } in self.terms {
            let at = view.origin + self.y * view.row + x * view.pixel + self.c;
            let factor = self.floats(factor);
            // SAFETY: the caller's contract.
            let cells = unsafe {
                match cells {
                    Cells::Int8(cells) => bytes(cells.as_ptr().add(at)),
                    Cells::Float(cells) => floats(cells.as_ptr().add(at)),
                }
            };
            sum = from_fn(|v| _mm256_fmadd_ps(factor[v], cells[v], sum[v]));
        }
        sum
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pixels(
        &self,
        sum: impl Fn(usize) -> Values,
        activate: impl Fn(Values) -> Values,
        target: &mut Target<'_>,
    ) {
        match target {
            &mut Target::Int8 { ref mut cells, per_unit, zero_point, low, high } => {
                let low = _mm256_set1_ps((low - zero_point) as f32);
                let high = _mm256_set1_ps((high - zero_point) as f32);
                for x in 0..self.shape.width {
                    let rounded = activate(sum(x)).map(|value| {
                        let real = _mm256_mul_ps(value, _mm256_set1_ps(per_unit));
                        _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(real, low), high))
                    });
                    let bytes = pack(rounded, zero_point);
                    let place = self.shape.place(self.line, x) + self.c;
                    // SAFETY: these are channels of a pixel that the target holds.
                    let mut store = |at| unsafe { _mm_storeu_si128(cells.as_mut_ptr().add(at).cast(), bytes) };
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
                            unsafe { _mm256_storeu_ps(cells.as_mut_ptr().add(at + v * LANES), value) };
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
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add(&self, sum: Values, x: usize) -> Values {
        // SAFETY: the caller's contract.
        let cells = unsafe { bytes(self.cells.as_ptr().add(x * self.pixel)) };
        from_fn(|v| _mm256_fmadd_ps(self.factor[v], cells[v], sum[v]))
    }
}

/// # Safety
/// 16 floats can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn floats(from: *const f32) -> Values {
    // SAFETY: the caller's contract.
    from_fn(|v| unsafe { _mm256_loadu_ps(from.add(v * LANES)) })
}

/// The values of 16 stored cells.
///
/// # Safety
/// 16 cells can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bytes(from: *const u8) -> Values {
    // SAFETY: the caller's contract.
    let cells = _mm_xor_si128(unsafe { _mm_loadu_si128(from.cast()) }, _mm_set1_epi8(-128));
    [cells, _mm_srli_si128::<8>(cells)].map(|cells| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(cells)))
}

/// Of x not below −`LIMIT`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn one_plus_exp_of_minus(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let x = _mm256_min_ps(x, _mm256_set1_ps(LIMIT));
    let shifted = _mm256_fnmadd_ps(x, _mm256_set1_ps(LOG2_E), _mm256_set1_ps(MAGIC));
    let n = _mm256_sub_ps(shifted, _mm256_set1_ps(MAGIC));
    let r = _mm256_fmadd_ps(n, _mm256_set1_ps(LN_2), x);
    let r2 = _mm256_mul_ps(r, r);
    let high = _mm256_fnmadd_ps(r, _mm256_set1_ps(SHORT[1]), _mm256_set1_ps(SHORT[0]));
    let high = _mm256_fmadd_ps(_mm256_set1_ps(SHORT[2]), r2, high);
    let sum = _mm256_fmadd_ps(high, r2, _mm256_sub_ps(one, r));
    let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(shifted)));
    _mm256_fmadd_ps(sum, power, one)
}

/// The stored cells of `rounded` + `zero_point`, which fit.
#[inline]
#[target_feature(enable = "avx2")]
fn pack([a, b]: [__m256i; 2], zero_point: i32) -> __m128i {
    let zero = _mm256_set1_epi16((zero_point + 128) as i16);
    // Packing goes by 128 bits: each half has four cells of each vector.
    let ab = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
    let ab = _mm256_add_epi16(ab, zero);
    _mm_packus_epi16(_mm256_castsi256_si128(ab), _mm256_extracti128_si256::<1>(ab))
}
