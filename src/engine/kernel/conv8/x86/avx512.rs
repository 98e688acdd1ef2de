//! Four products to a lane by one VPDPBUSD: a register holds 16 outputs, 4 input channels each.

use super::super::super::tile::{BLOCK, HALF};
use super::super::super::walk::Walk;
use super::finish::{End, Rounding};
use super::{Form, Kernels, Line, Tile, few};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels {
    wide: Form { tiles: &WIDE, cells: 4, lines: 2, sharing: 1, arrange: arrange::<2> },
    narrow: Form { tiles: &NARROW, cells: 4, lines: 1, sharing: 1, arrange: arrange::<1> },
    few: Some(few::FORM),
};

const WIDE: [Tile; 14] = [
    tile::<1, 2>,
    tile::<2, 2>,
    tile::<3, 2>,
    tile::<4, 2>,
    tile::<5, 2>,
    tile::<6, 2>,
    tile::<7, 2>,
    tile::<8, 2>,
    tile::<9, 2>,
    tile::<10, 2>,
    tile::<11, 2>,
    tile::<12, 2>,
    tile::<13, 2>,
    tile::<14, 2>,
];
const NARROW: [Tile; 14] = [
    tile::<1, 1>,
    tile::<2, 1>,
    tile::<3, 1>,
    tile::<4, 1>,
    tile::<5, 1>,
    tile::<6, 1>,
    tile::<7, 1>,
    tile::<8, 1>,
    tile::<9, 1>,
    tile::<10, 1>,
    tile::<11, 1>,
    tile::<12, 1>,
    tile::<13, 1>,
    tile::<14, 1>,
];

fn arrange<const HALVES: usize>(weight: &dyn Fn(usize, usize) -> i8, lines: &mut Vec<Line>) {
    for half in 0..HALVES {
        lines.push(Line(std::array::from_fn(|at| weight(half * HALF + at / 4, at % 4))));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const PIXELS: usize, const HALVES: usize>(
    walk: &Walk,
    weights: &[Line],
    offset: &[i32; BLOCK],
    cells: &[u8],
    end: End<'_>,
) {
    assert!(weights.len() == walk.cells() / 4 * HALVES && cells.len() >= walk.reach(PIXELS));
    let mut acc = [[_mm512_setzero_si512(); HALVES]; PIXELS];
    for half in 0..HALVES {
        // SAFETY: a block's offsets are two halves.
        let offset = unsafe { _mm512_loadu_si512(offset.as_ptr().add(half * HALF).cast()) };
        for acc in &mut acc {
            acc[half] = offset;
        }
    }
    let mut weight = weights.as_ptr();
    for row in 0..walk.count[0] {
        for column in 0..walk.count[1] {
            let run = row * walk.step[0] + column * walk.step[1];
            for group in 0..walk.run / 4 {
                // SAFETY: the walk takes each line once, and ends within the cells.
                unsafe {
                    let from = cells.as_ptr().add(run + group * 4);
                    let own: [__m512i; HALVES] = std::array::from_fn(|half| _mm512_load_si512(weight.add(half).cast()));
                    weight = weight.add(HALVES);
                    for (pixel, acc) in acc.iter_mut().enumerate() {
                        let four = _mm512_set1_epi32(from.add(pixel * walk.pixel).cast::<i32>().read_unaligned());
                        for (acc, own) in acc.iter_mut().zip(own) {
                            *acc = _mm512_dpbusd_epi32(*acc, four, own);
                        }
                    }
                }
            }
        }
    }
    match end {
        End::Sums(sums) => {
            for (&acc, sums) in acc.as_flattened().iter().zip(&mut sums.0) {
                // SAFETY: 16 sums are a register's.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), acc) };
            }
        }
        End::Cells(stored) => {
            stored.check(PIXELS, HALVES);
            // Small loops, one after the other: the compiler unrolls what is short, and sums stay in registers only if all are unrolled.
            let scale: [__m512; HALVES] = std::array::from_fn(|half| {
                // SAFETY: 16 factors are a register's.
                unsafe { _mm512_load_ps(stored.rounding.scale[half].as_ptr()) }
            });
            let high = _mm512_set1_ps(stored.rounding.high);
            for acc in &mut acc {
                for (acc, scale) in acc.iter_mut().zip(scale) {
                    *acc = round(*acc, scale, high);
                }
            }
            let ends = ends(stored.rounding);
            let step = stored.places.pixel;
            let mut to = stored.cells.as_mut_ptr();
            let (fours, rest) = acc.as_flattened().as_chunks::<4>();
            let mut last = [_mm512_setzero_si512(); 4];
            last[..rest.len()].copy_from_slice(rest);
            let last = pack(&last, ends);
            // SAFETY: `check` found room for all pixels; masks name the outputs that there are.
            unsafe {
                if stored.places.outputs == HALVES * HALF {
                    for four in fours {
                        put_whole::<HALVES>(pack(four, ends), to, step, 4 / HALVES);
                        to = to.wrapping_add(4 / HALVES * step);
                    }
                    put_whole::<HALVES>(last, to, step, rest.len() / HALVES);
                } else {
                    let mask = u32::MAX >> (BLOCK - stored.places.outputs);
                    for four in fours {
                        put_part::<HALVES>(pack(four, ends), to, step, 4 / HALVES, mask);
                        to = to.wrapping_add(4 / HALVES * step);
                    }
                    put_part::<HALVES>(last, to, step, rest.len() / HALVES, mask);
                }
            }
        }
    }
}

/// Sums as whole numbers of the output's scale.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn round(sums: __m512i, scale: __m512, high: __m512) -> __m512i {
    _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale)))
}

/// Zero point and lowest cell. They are read before cells are written, which the compiler can't tell from them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn ends(rounding: &Rounding) -> [__m512i; 2] {
    [_mm512_set1_epi16(rounding.zero_point), _mm512_set1_epi8(rounding.low as i8)]
}

/// The cells of four sixteens, in their order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn pack(values: &[__m512i; 4], [zero_point, low]: [__m512i; 2]) -> __m512i {
    // Packing takes 128 bits of each of its operands in turn; this brings the sixteens back together.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let first = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), zero_point);
    let last = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), zero_point);
    _mm512_permutexvar_epi32(order, _mm512_max_epu8(_mm512_packus_epi16(first, last), low))
}

/// Puts the outputs of the first `pixels` pixels from `to` on, `step` cells from one to the next: `HALVES` sixteens each.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn put_whole<const HALVES: usize>(cells: __m512i, to: *mut u8, step: usize, pixels: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if HALVES == 1 {
            for (at, cells) in sixteens(cells).into_iter().enumerate().take(pixels) {
                _mm_storeu_si128(to.add(at * step).cast(), cells);
            }
        } else {
            for (at, cells) in blocks(cells).into_iter().enumerate().take(pixels) {
                _mm256_storeu_si256(to.add(at * step).cast(), cells);
            }
        }
    }
}

/// [`put_whole`], of the outputs that `mask` names.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn put_part<const HALVES: usize>(cells: __m512i, to: *mut u8, step: usize, pixels: usize, mask: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        if HALVES == 1 {
            for (at, cells) in sixteens(cells).into_iter().enumerate().take(pixels) {
                _mm_mask_storeu_epi8(to.add(at * step).cast(), mask as u16, cells);
            }
        } else {
            for (at, cells) in blocks(cells).into_iter().enumerate().take(pixels) {
                _mm256_mask_storeu_epi8(to.add(at * step).cast(), mask, cells);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sixteens(cells: __m512i) -> [__m128i; 4] {
    [
        _mm512_castsi512_si128(cells),
        _mm512_extracti32x4_epi32::<1>(cells),
        _mm512_extracti32x4_epi32::<2>(cells),
        _mm512_extracti32x4_epi32::<3>(cells),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn blocks(cells: __m512i) -> [__m256i; 2] {
    [_mm512_castsi512_si256(cells), _mm512_extracti64x4_epi64::<1>(cells)]
}
