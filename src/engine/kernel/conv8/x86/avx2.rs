//! Cells and weights widened to 16 bits, and two products to a lane by VPMADDWD: VPMADDUBSW would saturate.
//!
//! A register of cells holds four channels in each lane, as bytes; the even ones and the odd ones are widened by one instruction each, so
//! the weights of the even channels lie before those of the odd ones.

use super::super::super::tile::{BLOCK, HALF, TILED, Tiled};
use super::super::super::walk::Walk;
use super::finish::{End, Rounding};
use super::{Form, Kernels, Line, Tile};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels {
    wide: Form { tiles: &WIDE, cells: 4, lines: 4, sharing: 1, arrange: arrange::<2> },
    narrow: Form { tiles: &NARROW, cells: 4, lines: 2, sharing: 1, arrange: arrange::<1> },
    few: None,
};

const NARROW: [Tile; 5] = [tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>];
const WIDE: [Tile; 3] = [tile::<1, 2>, tile::<2, 2>, tile::<3, 2>];

/// Lanes of a register.
const LANES: usize = 8;

/// For each half, a line of the even channels, then one of the odd ones: 16 outputs by two weights of 16 bits.
fn arrange<const HALVES: usize>(weight: &dyn Fn(usize, usize) -> i8, lines: &mut Vec<Line>) {
    for half in 0..HALVES {
        for odd in 0..2 {
            let own = |at: usize| i16::from(weight(half * HALF + at / 4, odd + (at / 2 % 2) * 2));
            lines.push(Line(std::array::from_fn(|at| own(at).to_ne_bytes()[at % 2] as i8)));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile<const PIXELS: usize, const HALVES: usize>(
    walk: &Walk,
    weights: &[Line],
    offset: &[i32; BLOCK],
    cells: &[u8],
    end: End<'_>,
) {
    assert!(weights.len() == walk.cells() / 4 * HALVES * 2 && cells.len() >= walk.reach(PIXELS));
    let mut acc = [[[_mm256_setzero_si256(); 2]; HALVES]; PIXELS];
    for half in 0..HALVES {
        for side in 0..2 {
            // SAFETY: a block's offsets are two halves of two registers.
            let offset = unsafe { _mm256_loadu_si256(offset.as_ptr().add(half * HALF + side * LANES).cast()) };
            for acc in &mut acc {
                acc[half][side] = offset;
            }
        }
    }
    let even = _mm256_set1_epi16(0xff);
    let mut weight = weights.as_ptr().cast::<__m256i>();
    for row in 0..walk.count[0] {
        for column in 0..walk.count[1] {
            let run = row * walk.step[0] + column * walk.step[1];
            for group in 0..walk.run / 4 {
                // SAFETY: the walk takes each line, two registers, once, and ends within the cells.
                unsafe {
                    let from = cells.as_ptr().add(run + group * 4);
                    for (pixel, acc) in acc.iter_mut().enumerate() {
                        let four = _mm256_set1_epi32(from.add(pixel * walk.pixel).cast::<i32>().read_unaligned());
                        let pairs = [_mm256_and_si256(four, even), _mm256_srli_epi16::<8>(four)];
                        for (half, acc) in acc.iter_mut().enumerate() {
                            for (side, acc) in acc.iter_mut().enumerate() {
                                for (odd, pair) in pairs.into_iter().enumerate() {
                                    let own = _mm256_load_si256(weight.add(half * 4 + odd * 2 + side));
                                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(pair, own));
                                }
                            }
                        }
                    }
                    weight = weight.add(HALVES * 4);
                }
            }
        }
    }
    put(acc.as_flattened(), end);
}

/// What becomes of sixteens of sums, at most as many as a tile has.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn put(acc: &[[__m256i; 2]], end: End<'_>) {
    match end {
        End::Sums(sums) => {
            for (acc, sums) in acc.iter().zip(&mut sums.0) {
                for (side, &acc) in acc.iter().enumerate() {
                    // SAFETY: 16 sums are two registers.
                    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().add(side * LANES).cast(), acc) };
                }
            }
        }
        End::Cells(stored) => {
            let mut tile = Tiled([[0; HALF]; TILED]);
            let twos = tile.0.as_chunks_mut::<2>().0.iter_mut();
            for (pair, to) in twos.take(acc.len().div_ceil(2)).enumerate() {
                let two = [0, 1].map(|at| acc[(pair * 2 + at).min(acc.len() - 1)]);
                // SAFETY: two sixteens of cells are a register's.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), round(two, pair, stored.rounding)) };
            }
            stored.places.put(&tile, stored.cells);
        }
    }
}

/// The cells of the two sixteens of sums of a `pair`, in their order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn round(sums: [[__m256i; 2]; 2], pair: usize, rounding: &Rounding) -> __m256i {
    // Packing takes 128 bits of each of its operands in turn; this brings the sixteens back together.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let (high, low) = (_mm256_set1_ps(rounding.high), _mm256_set1_epi8(rounding.low as i8));
    let zero_point = _mm256_set1_epi16(rounding.zero_point);
    let (sums, scale) = (sums.as_flattened(), rounding.scale[pair % 2 * 2..][..2].as_flattened());
    let values = [0, 1, 2, 3].map(|at| {
        // SAFETY: two sixteens of factors are four registers'.
        let scale = unsafe { _mm256_loadu_ps(scale.as_ptr().add(at * LANES)) };
        _mm256_cvtps_epi32(_mm256_min_ps(high, _mm256_mul_ps(_mm256_cvtepi32_ps(sums[at]), scale)))
    });
    let first = _mm256_adds_epi16(_mm256_packs_epi32(values[0], values[1]), zero_point);
    let last = _mm256_adds_epi16(_mm256_packs_epi32(values[2], values[3]), zero_point);
    _mm256_permutevar8x32_epi32(_mm256_max_epu8(_mm256_packus_epi16(first, last), low), order)
}
