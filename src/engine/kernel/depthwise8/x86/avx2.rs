//! Four taps of 32 channels, widened to 16 bits, by two VPMADDWD for each of four registers: VPMADDUBSW would saturate.

use super::{Kernels, Lanes, Rounding, Row, Taps};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels { block: BLOCK, sum, int8 };

const BLOCK: usize = 32;
/// Lanes of a register.
const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn sum(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8], sums: &mut Lanes<i32>) {
    assert!(weights.len() == taps.fours() * BLOCK * 4 && cells.len() >= taps.reach(BLOCK));
    // SAFETY: a block's offsets are four registers.
    let mut acc = [0, 1, 2, 3].map(|at| unsafe { _mm256_loadu_si256(offset.0.as_ptr().add(at * LANES).cast()) });
    let even = _mm256_set1_epi16(0xff);
    let mut own = weights.as_ptr().cast::<__m256i>();
    for ky in 0..taps.count[0] {
        for kx in (0..taps.count[1]).step_by(4) {
            // SAFETY: the taps end within the cells.
            let [a, b, c, d] = taps.four(ky, kx).map(|at| unsafe { _mm256_loadu_si256(cells.as_ptr().add(at).cast()) });
            let [ab, cd] = [(a, b), (c, d)].map(|(a, b)| [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)]);
            let fours = [
                _mm256_unpacklo_epi16(ab[0], cd[0]),
                _mm256_unpackhi_epi16(ab[0], cd[0]),
                _mm256_unpacklo_epi16(ab[1], cd[1]),
                _mm256_unpackhi_epi16(ab[1], cd[1]),
            ];
            for (acc, four) in acc.iter_mut().zip(fours) {
                // SAFETY: each four of taps has four registers of weights, taken once.
                let weights = unsafe { _mm256_loadu_si256(own) };
                own = own.wrapping_add(1);
                let weights = [_mm256_slli_epi16::<8>(weights), weights].map(|w| _mm256_srai_epi16::<8>(w));
                let evens = _mm256_madd_epi16(_mm256_and_si256(four, even), weights[0]);
                let odds = _mm256_madd_epi16(_mm256_srli_epi16::<8>(four), weights[1]);
                *acc = _mm256_add_epi32(*acc, _mm256_add_epi32(evens, odds));
            }
        }
    }
    for (at, acc) in acc.into_iter().enumerate() {
        // SAFETY: a block's sums are four registers.
        unsafe { _mm256_storeu_si256(sums.0.as_mut_ptr().add(at * LANES).cast(), acc) };
    }
}

#[target_feature(enable = "avx2,fma")]
fn int8(
    taps: &Taps,
    weights: &[i8],
    offset: &Lanes<i32>,
    rounding: &Rounding,
    row: Row,
    cells: &[u8],
    stored: &mut [u8],
) {
    let mut sums = *offset;
    for x in 0..row.width {
        sum(taps, weights, offset, &cells[x * row.input..], &mut sums);
        round(&sums, rounding, &mut stored[x * row.output..][..row.channels]);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn round(sums: &Lanes<i32>, rounding: &Rounding, cells: &mut [u8]) {
    let (high, zero_point) = (_mm256_set1_ps(rounding.high), _mm256_set1_epi16(rounding.zero_point));
    // SAFETY: a block's sums and factors are four registers each.
    let values = [0, LANES, 2 * LANES, 3 * LANES].map(|at| unsafe {
        let sum = _mm256_cvtepi32_ps(_mm256_loadu_si256(sums.0.as_ptr().add(at).cast()));
        let scale = _mm256_loadu_ps(rounding.scale.0.as_ptr().add(at));
        _mm256_cvtps_epi32(_mm256_min_ps(high, _mm256_mul_ps(sum, scale)))
    });
    let first = _mm256_adds_epi16(_mm256_packs_epi32(values[0], values[1]), zero_point);
    let last = _mm256_adds_epi16(_mm256_packs_epi32(values[2], values[3]), zero_point);
    let bytes = _mm256_max_epu8(_mm256_packus_epi16(first, last), _mm256_set1_epi8(rounding.low as i8));
    let mut stored = [0; BLOCK];
    // SAFETY: a block's cells are a register's.
    unsafe { _mm256_storeu_si256(stored.as_mut_ptr().cast(), bytes) };
    match cells.first_chunk_mut::<BLOCK>() {
        Some(cells) => *cells = stored,
        None => cells.copy_from_slice(&stored[..cells.len()]),
    }
}
