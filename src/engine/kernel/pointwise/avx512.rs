//! AVX-512: 16 channels in a vector, and strips of 1, 2 or 4 vectors along the pixels of a row.

use super::super::View;
use super::super::exp::{LIMIT, LN_2, LOG2_E, MAGIC, SHORT};
use super::{Activation, Cells, Shape, Target, Term};
use std::arch::x86_64::*;
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

const LANES: usize = 16;

/// The values of a strip's channels in a pixel.
type Values<const V: usize> = [__m512; V];

pub fn run(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    mut target: Target<'_>,
) {
    for y in rows.clone() {
        let mut c = 0;
        while c < shape.channels {
            let strip = Strip { shape, terms, bias, y, line: y - rows.start, c };
            // SAFETY: whoever chose this instruction set has found it on this machine; the slices' lengths were checked.
            c += unsafe {
                match shape.channels - c {
                    33.. => strip.run::<4>(activation, &mut target),
                    17..=32 => strip.run::<2>(activation, &mut target),
                    _ => strip.run::<1>(activation, &mut target),
                }
            };
        }
    }
}

/// The channels of a row from `c` on: 16 times a number of vectors, as far as the shape has them.
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
    /// Returns the channels of `V` vectors.
    ///
    /// # Safety
    /// The terms' cells reach to `SLACK` behind the last pixel of row `y`, the target's to the last channel of what becomes of it, and `c` is one
    /// of the shape's channels.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn run<const V: usize>(&self, activation: Activation, target: &mut Target<'_>) -> usize {
        // An inner loop of its own for each activation.
        // SAFETY: the caller's contract.
        unsafe {
            match activation {
                Activation::Linear => self.sums::<V>(|values| values, target),
                Activation::Clip { low, high } => {
                    let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
                    self.sums::<V>(|values| values.map(|x| _mm512_min_ps(_mm512_max_ps(x, low), high)), target);
                }
                Activation::Silu => {
                    let silu = |x| {
                        let raised = _mm512_max_ps(_mm512_set1_ps(-LIMIT), x);
                        _mm512_div_ps(raised, one_plus_exp_of_minus(raised))
                    };
                    self.sums::<V>(|values| values.map(silu), target);
                }
                Activation::Sigmoid => {
                    let sigmoid = |x| {
                        let raised = _mm512_max_ps(_mm512_set1_ps(-LIMIT), x);
                        _mm512_div_ps(_mm512_set1_ps(1.0), one_plus_exp_of_minus(raised))
                    };
                    self.sums::<V>(|values| values.map(sigmoid), target);
                }
            }
        }
        V * LANES
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn sums<const V: usize>(&self, activate: impl Fn(Values<V>) -> Values<V>, target: &mut Target<'_>) {
        // In a form that the compiler doesn't see through: it would trade the shuffle for five slower instructions.
        let spread = black_box(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        let bias = self.floats::<V>(self.bias);
        // SAFETY: the caller's contract; `x` is within the row.
        unsafe {
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

    /// Which cells of a pixel's `V` vectors are of the strip.
    #[inline(always)]
    fn mask<const V: usize>(&self) -> u64 {
        u64::MAX >> (64 - (V * LANES).min(self.shape.channels - self.c))
    }

    /// The strip's part of a slice that has an element for each channel.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn floats<const V: usize>(&self, all: &[f32]) -> Values<V> {
        let all = &all[self.c..self.shape.channels];
        // SAFETY: the mask has only channels that there are.
        from_fn(|v| unsafe {
            _mm512_maskz_loadu_ps((self.mask::<V>() >> (v * LANES)) as u16, all.as_ptr().wrapping_add(v * LANES))
        })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn image<'a, const V: usize>(&self, cells: &'a [u8], view: &View, factor: &[f32]) -> Image<'a, V> {
        let first = view.origin + self.y * view.row + self.c;
        Image { cells: &cells[first..], pixel: view.pixel, factor: self.floats(factor) }
    }

    /// Any terms.
    ///
    /// # Safety
    /// As of [`Strip::run`], and `x` is within the row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn sum<const V: usize>(&self, bias: Values<V>, spread: __m512i, x: usize) -> Values<V> {
        let mut sum = bias;
        for Term { cells, view, factor } in self.terms {
            let at = view.origin + self.y * view.row + x * view.pixel + self.c;
            let factor = self.floats::<V>(factor);
            for v in 0..V {
                // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                let cell = unsafe {
                    match cells {
                        Cells::Int8(cells) => load(cells.as_ptr().add(at + v * LANES), spread),
                        Cells::Float(cells) => _mm512_loadu_ps(cells.as_ptr().add(at + v * LANES)),
                    }
                };
                sum[v] = _mm512_fmadd_ps(factor[v], cell, sum[v]);
            }
        }
        sum
    }

    /// # Safety
    /// As of [`Strip::run`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn pixels<const V: usize>(
        &self,
        sum: impl Fn(usize) -> Values<V>,
        activate: impl Fn(Values<V>) -> Values<V>,
        target: &mut Target<'_>,
    ) {
        let mask = self.mask::<V>();
        match target {
            &mut Target::Int8 { ref mut cells, per_unit, zero_point, low, high } => {
                let low = _mm512_set1_ps((low - zero_point) as f32);
                let high = _mm512_set1_ps((high - zero_point) as f32);
                for x in 0..self.shape.width {
                    let rounded = activate(sum(x)).map(|value| {
                        let real = _mm512_mul_ps(value, _mm512_set1_ps(per_unit));
                        _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(real, low), high))
                    });
                    let bytes = pack(&rounded, zero_point);
                    let place = self.shape.place(self.line, x) + self.c;
                    // SAFETY: the mask has only channels of a pixel that the target holds.
                    let mut store =
                        |at| unsafe { _mm512_mask_storeu_epi8(cells.as_mut_ptr().add(at).cast(), mask, bytes) };
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
                    let mut store = |at: usize| {
                        for (v, &value) in values.iter().enumerate() {
                            let to = cells.as_mut_ptr().wrapping_add(at + v * LANES);
                            // SAFETY: as above.
                            unsafe { _mm512_mask_storeu_ps(to, (mask >> (v * LANES)) as u16, value) };
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
struct Image<'a, const V: usize> {
    cells: &'a [u8],
    pixel: usize,
    factor: Values<V>,
}

impl<const V: usize> Image<'_, V> {
    /// # Safety
    /// `x` is within the row, and `SLACK` cells can be read behind the pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn add(&self, sum: Values<V>, spread: __m512i, x: usize) -> Values<V> {
        // SAFETY: the caller's contract.
        let from = unsafe { self.cells.as_ptr().add(x * self.pixel) };
        // SAFETY: as above.
        from_fn(|v| _mm512_fmadd_ps(self.factor[v], unsafe { load(from.add(v * LANES), spread) }, sum[v]))
    }
}

/// The values of 16 stored cells. The bytes become the last ones of the floats 2^23 + byte, which saves a widening and a conversion.
///
/// # Safety
/// 16 cells can be read. `spread` has the numbers 0 to 15 in its 32-bit lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load(cells: *const u8, spread: __m512i) -> __m512 {
    let shift = _mm512_castps_si512(_mm512_set1_ps(8_388_608.0));
    let lowest = 0x1111_1111_1111_1111;
    // SAFETY: the caller's contract.
    let bytes = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(cells.cast()) });
    let floats = _mm512_castsi512_ps(_mm512_mask_shuffle_epi8(shift, lowest, bytes, spread));
    _mm512_sub_ps(floats, _mm512_set1_ps(8_388_608.0 + 128.0))
}

/// Of x not below −`LIMIT`. Of two operands of which one is no number, the second is the least and the largest: a NaN stays one.
#[inline]
#[target_feature(enable = "avx512f")]
fn one_plus_exp_of_minus(x: __m512) -> __m512 {
    let x = _mm512_min_ps(_mm512_set1_ps(LIMIT), x);
    let shifted = _mm512_fnmadd_ps(x, _mm512_set1_ps(LOG2_E), _mm512_set1_ps(MAGIC));
    let n = _mm512_sub_ps(shifted, _mm512_set1_ps(MAGIC));
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(LN_2), x);
    let r2 = _mm512_mul_ps(r, r);
    let high = _mm512_fnmadd_ps(r, _mm512_set1_ps(SHORT[1]), _mm512_set1_ps(SHORT[0]));
    let last = _mm512_fnmadd_ps(r, _mm512_set1_ps(SHORT[3]), _mm512_set1_ps(SHORT[2]));
    let high = _mm512_fmadd_ps(last, r2, high);
    let sum = _mm512_fmadd_ps(high, r2, _mm512_sub_ps(_mm512_set1_ps(1.0), r));
    let power = _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(shifted)));
    _mm512_fmadd_ps(sum, power, _mm512_set1_ps(1.0))
}

/// The stored cells of `rounded` + `zero_point`, which fit; what is behind 16 · `V` of them has no meaning.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack<const V: usize>(rounded: &[__m512i; V], zero_point: i32) -> __m512i {
    let zero = _mm512_set1_epi16((zero_point + 128) as i16);
    let [a, b, c, d] = from_fn(|v| rounded[v % V]);
    let ab = _mm512_add_epi16(_mm512_packs_epi32(a, b), zero);
    let cd = _mm512_add_epi16(_mm512_packs_epi32(c, d), zero);
    // Packing goes by 128 bits: each quarter has four cells of each vector.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd))
}
