//! AVX2 and FMA: eight channels in a vector, strips of 16 channels along the pixels of a row, of which the last may have fewer.

use super::super::View;
use super::super::exp::{LIMIT, LN_2, LOG2_E, MAGIC, SHORT};
use super::{Activation, Cells, Shape, TERMS, Target, Term};
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
    for y in rows.clone() {
        for c in (0..shape.channels).step_by(STRIP) {
            let strip = Strip { shape, terms, bias, y, line: y - rows.start, c };
            // SAFETY: the caller's contract.
            unsafe {
                if shape.channels - c >= STRIP {
                    strip.run::<true>(activation, &mut target);
                } else {
                    strip.run::<false>(activation, &mut target);
                }
            }
        }
    }
}

/// The channels of a row from `c` on: 16, or where that is not `WHOLE`, as many as there are.
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
    unsafe fn run<const WHOLE: bool>(&self, activation: Activation, target: &mut Target<'_>) {
        // An inner loop of its own for each activation.
        // SAFETY: the caller's contract.
        unsafe {
            match activation {
                Activation::Linear => self.sums::<WHOLE>(|values| values, target),
                Activation::Clip { low, high } => {
                    let (low, high) = (_mm256_set1_ps(low), _mm256_set1_ps(high));
                    self.sums::<WHOLE>(|values| values.map(|x| _mm256_min_ps(_mm256_max_ps(x, low), high)), target);
                }
                Activation::Silu => {
                    let silu = |x| {
                        let raised = _mm256_max_ps(_mm256_set1_ps(-LIMIT), x);
                        _mm256_div_ps(raised, one_plus_exp_of_minus(raised))
                    };
                    self.sums::<WHOLE>(|values| values.map(silu), target);
                }
                Activation::Sigmoid => {
                    let sigmoid = |x| {
                        let raised = _mm256_max_ps(_mm256_set1_ps(-LIMIT), x);
                        _mm256_div_ps(_mm256_set1_ps(1.0), one_plus_exp_of_minus(raised))
                    };
                    self.sums::<WHOLE>(|values| values.map(sigmoid), target);
                }
            }
        }
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sums<const WHOLE: bool>(&self, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) {
        let bias = self.floats::<WHOLE>(self.bias);
        // SAFETY: the caller's contract; `x` is within the row.
        unsafe {
            match *self.terms {
                [Term { cells: Cells::Int8(a), ref view, factor }] => {
                    let a = self.image::<WHOLE>(a, view, factor);
                    self.pixels::<WHOLE>(|x| a.add(bias, x), activate, target);
                }
                [
                    Term { cells: Cells::Int8(a), view: ref view_a, factor: factor_a },
                    Term { cells: Cells::Int8(b), view: ref view_b, factor: factor_b },
                ] => {
                    let (a, b) = (self.image::<WHOLE>(a, view_a, factor_a), self.image::<WHOLE>(b, view_b, factor_b));
                    self.pixels::<WHOLE>(|x| b.add(a.add(bias, x), x), activate, target);
                }
                _ => {
                    let mut factors = [bias; TERMS];
                    for (own, term) in factors.iter_mut().zip(self.terms) {
                        *own = self.floats::<WHOLE>(term.factor);
                    }
                    self.pixels::<WHOLE>(|x| self.sum(bias, &factors, x), activate, target);
                }
            }
        }
    }

    /// The strip's part of a slice that has an element for each channel.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn floats<const WHOLE: bool>(&self, all: &[f32]) -> Values {
        if WHOLE {
            let own = &all[self.c..self.c + STRIP];
            // SAFETY: these are two vectors.
            unsafe { floats(own.as_ptr()) }
        } else {
            let mut own = [0.0; STRIP];
            own[..self.shape.channels - self.c].copy_from_slice(&all[self.c..self.shape.channels]);
            // SAFETY: as above.
            unsafe { floats(own.as_ptr()) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn image<'a, const WHOLE: bool>(&self, cells: &'a [u8], view: &View, factor: &[f32]) -> Image<'a> {
        let first = view.origin + self.y * view.row + self.c;
        Image { cells: &cells[first..], pixel: view.pixel, factor: self.floats::<WHOLE>(factor) }
    }

    /// Any terms.
    ///
    /// # Safety
    /// As of [`Strip::run`], and `x` is within the row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sum(&self, bias: Values, factors: &[Values; TERMS], x: usize) -> Values {
        let mut sum = bias;
        for (Term { cells, view, .. }, factor) in self.terms.iter().zip(factors) {
            let at = view.origin + self.y * view.row + x * view.pixel + self.c;
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
    unsafe fn pixels<const WHOLE: bool>(
        &self,
        sum: impl Fn(usize) -> Values,
        activate: impl Fn(Values) -> Values,
        target: &mut Target<'_>,
    ) {
        let left = self.shape.channels - self.c;
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
                    let mut store = |at| unsafe {
                        let to = cells.as_mut_ptr().add(at);
                        if WHOLE { _mm_storeu_si128(to.cast(), bytes) } else { store_some(to, bytes, left) }
                    };
                    store(place);
                    for step in self.shape.others() {
                        store(place + step);
                    }
                }
            }
            Target::Float(cells) => {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let masks: [_; 2] =
                    from_fn(|v| _mm256_cmpgt_epi32(_mm256_set1_epi32(left as i32 - (v * LANES) as i32), lanes));
                for x in 0..self.shape.width {
                    let values = activate(sum(x));
                    let place = self.shape.place(self.line, x) + self.c;
                    let mut store = |at| {
                        for (v, &value) in values.iter().enumerate() {
                            // SAFETY: as above.
                            unsafe {
                                let to = cells.as_mut_ptr().wrapping_add(at + v * LANES);
                                if WHOLE {
                                    _mm256_storeu_ps(to, value);
                                } else {
                                    _mm256_maskstore_ps(to, masks[v], value);
                                }
                            }
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

/// Stores the first `count` of 16 bytes.
///
/// # Safety
/// That many can be written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_some(mut to: *mut u8, mut bytes: __m128i, count: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if count & 8 != 0 {
            to.cast::<i64>().write_unaligned(_mm_cvtsi128_si64(bytes));
            (to, bytes) = (to.add(8), _mm_srli_si128::<8>(bytes));
        }
        let mut rest = _mm_cvtsi128_si64(bytes);
        if count & 4 != 0 {
            to.cast::<i32>().write_unaligned(rest as i32);
            (to, rest) = (to.add(4), rest >> 32);
        }
        if count & 2 != 0 {
            to.cast::<i16>().write_unaligned(rest as i16);
            (to, rest) = (to.add(2), rest >> 16);
        }
        if count & 1 != 0 {
            to.write(rest as u8);
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

/// Of x not below −`LIMIT`. Of two operands of which one is no number, the second is the least and the largest: a NaN stays one.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn one_plus_exp_of_minus(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let x = _mm256_min_ps(_mm256_set1_ps(LIMIT), x);
    let shifted = _mm256_fnmadd_ps(x, _mm256_set1_ps(LOG2_E), _mm256_set1_ps(MAGIC));
    let n = _mm256_sub_ps(shifted, _mm256_set1_ps(MAGIC));
    let r = _mm256_fmadd_ps(n, _mm256_set1_ps(LN_2), x);
    let r2 = _mm256_mul_ps(r, r);
    let high = _mm256_fnmadd_ps(r, _mm256_set1_ps(SHORT[1]), _mm256_set1_ps(SHORT[0]));
    let last = _mm256_fnmadd_ps(r, _mm256_set1_ps(SHORT[3]), _mm256_set1_ps(SHORT[2]));
    let high = _mm256_fmadd_ps(last, r2, high);
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
