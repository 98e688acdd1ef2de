//! Four taps of 64 channels by four VPDPBUSD.

use super::{BLOCK, Kernels, Lanes, Rounding, Row, Taps};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels { block: BLOCK, sum, int8 };

/// Lanes of a register.
const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8], sums: &mut Lanes<i32>) {
    assert!(weights.len() == taps.fours() * BLOCK * 4 && cells.len() >= taps.reach(BLOCK));
    // SAFETY: a block's offsets are four registers.
    let mut acc = [0, 1, 2, 3].map(|at| unsafe { _mm512_loadu_si512(offset.0.as_ptr().add(at * LANES).cast()) });
    let mut own = weights.as_ptr().cast::<__m512i>();
    for ky in 0..taps.count[0] {
        for kx in (0..taps.count[1]).step_by(4) {
            // SAFETY: the taps end within the cells.
            let [a, b, c, d] = taps.four(ky, kx).map(|at| unsafe { _mm512_loadu_si512(cells.as_ptr().add(at).cast()) });
            let [ab, cd] = [(a, b), (c, d)].map(|(a, b)| [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)]);
            let fours = [
                _mm512_unpacklo_epi16(ab[0], cd[0]),
                _mm512_unpackhi_epi16(ab[0], cd[0]),
                _mm512_unpacklo_epi16(ab[1], cd[1]),
                _mm512_unpackhi_epi16(ab[1], cd[1]),
            ];
            for (acc, four) in acc.iter_mut().zip(fours) {
                // SAFETY: each four of taps has four registers of weights, taken once.
                unsafe {
                    *acc = _mm512_dpbusd_epi32(*acc, four, _mm512_loadu_si512(own));
                    own = own.add(1);
                }
            }
        }
    }
    for (at, acc) in acc.into_iter().enumerate() {
        // SAFETY: a block's sums are four registers.
        unsafe { _mm512_storeu_si512(sums.0.as_mut_ptr().add(at * LANES).cast(), acc) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn round(sums: &Lanes<i32>, rounding: &Rounding, cells: &mut [u8]) {
    let (high, zero_point) = (_mm512_set1_ps(rounding.high), _mm512_set1_epi16(rounding.zero_point));
    // SAFETY: a block's sums and factors are four registers each.
    let values = [0, LANES, 2 * LANES, 3 * LANES].map(|at| unsafe {
        let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.0.as_ptr().add(at).cast()));
        let scale = _mm512_loadu_ps(rounding.scale.0.as_ptr().add(at));
        _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_mul_ps(sum, scale)))
    });
    let first = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), zero_point);
    let last = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), zero_point);
    let stored = _mm512_max_epu8(_mm512_packus_epi16(first, last), _mm512_set1_epi8(rounding.low as i8));
    let mask = u64::MAX >> (BLOCK - cells.len());
    // SAFETY: the mask names as many bytes as there are cells.
    unsafe { _mm512_mask_storeu_epi8(cells.as_mut_ptr().cast(), mask, stored) };
}
