//! AVX2: products of 16-bit numbers, added in pairs. Dot products of bytes would saturate.

use super::super::View;
use super::float::all_rows;
use super::{Block, Part, TERMS, WIDTH, groups};
use std::arch::x86_64::*;
use std::ops::Range;

const LANES: usize = 16;

/// The sums of one group over 16 numbers, in pairs.
type Sums = [__m256i; groups(TERMS)];

pub fn sums(part: &Part, channels: usize, span: usize, terms: &[(&[u8], View)], block: &mut Block) {
    let width = (channels - part.channel).min(WIDTH);
    // SAFETY: whoever chose this instruction set has found it on this machine; the slices' lengths were checked.
    unsafe {
        match (terms, span) {
            (&[a], 4) => spans([a], part, width, block),
            (&[a, b], 4) => spans([a, b], part, width, block),
            (&[a, b, c], 4) => spans([a, b, c], part, width, block),
            (&[a, b, c, d], 4) => spans([a, b, c, d], part, width, block),
            (&[a], _) => all_channels([a], part, width, block),
            (&[a, b], _) => all_channels([a, b], part, width, block),
            (&[a, b, c], _) => all_channels([a, b, c], part, width, block),
            (&[a, b, c, d], _) => all_channels([a, b, c, d], part, width, block),
            _ => unreachable!("checked by the caller"),
        }
    }
}

/// Four adjacent channels to a sum.
///
/// # Safety
/// The images reach to `SLACK` behind the part's last pixel.
#[target_feature(enable = "avx2")]
unsafe fn spans<const T: usize>(terms: [(&[u8], View); T], part: &Part, width: usize, block: &mut Block) {
    for c in (0..width).step_by(LANES) {
        let mut sums: Sums = [_mm256_setzero_si256(); groups(TERMS)];
        for y in part.rows.clone() {
            for x in part.columns.clone() {
                let mut q = [_mm256_setzero_si256(); T];
                for (q, (cells, view)) in q.iter_mut().zip(&terms) {
                    // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                    *q = unsafe { load(cells, at(view, part, c, y, x)) };
                }
                accumulate(q, &mut sums);
            }
        }
        for (group, sums) in block.iter_mut().zip(sums).take(groups(T)) {
            let pairs = lanes(sums);
            for (sum, pair) in group[c / 4..].iter_mut().zip(pairs.chunks_exact(2)) {
                *sum = pair[0] + pair[1];
            }
        }
    }
}

/// Each channel for itself. Cells of two pixels are brought together so that the pairs that are added are of one channel.
///
/// # Safety
/// As of [`spans`].
#[target_feature(enable = "avx2")]
unsafe fn all_channels<const T: usize>(terms: [(&[u8], View); T], part: &Part, width: usize, block: &mut Block) {
    for c in (0..width).step_by(LANES) {
        let mut low_sums: Sums = [_mm256_setzero_si256(); groups(TERMS)];
        let mut high_sums = low_sums;
        for y in part.rows.clone() {
            for x in part.columns.clone().step_by(2) {
                let (mut low, mut high) = ([_mm256_setzero_si256(); T], [_mm256_setzero_si256(); T]);
                for (t, (cells, view)) in terms.iter().enumerate() {
                    let first = at(view, part, c, y, x);
                    // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                    let (a, b) = unsafe { (load(cells, first), load(cells, first + view.pixel)) };
                    (low[t], high[t]) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
                }
                accumulate(low, &mut low_sums);
                accumulate(high, &mut high_sums);
            }
        }
        for (group, (low, high)) in block.iter_mut().zip(low_sums.into_iter().zip(high_sums)).take(groups(T)) {
            // Interleaving goes by 128 bits: each half has four channels in `low` and the next four in `high`.
            let (low, high) = (lanes(low), lanes(high));
            for half in 0..2 {
                let group = &mut group[c + half * 8..];
                group[..4].copy_from_slice(&low[half * 4..][..4]);
                group[4..8].copy_from_slice(&high[half * 4..][..4]);
            }
        }
    }
}

/// Adds the sums and products of 16 numbers of each image.
#[inline]
#[target_feature(enable = "avx2")]
fn accumulate<const T: usize>(q: [__m256i; T], sums: &mut Sums) {
    let mut pair = T;
    for t in 0..T {
        sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(q[t], _mm256_set1_epi16(1)));
        for u in t..T {
            sums[pair] = _mm256_add_epi32(sums[pair], _mm256_madd_epi16(q[t], q[u]));
            pair += 1;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(sums: __m256i) -> [i32; 8] {
    let mut lanes = [0; 8];
    // SAFETY: there are eight lanes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes
}

#[inline(always)]
fn at(view: &View, part: &Part, c: usize, y: usize, x: usize) -> usize {
    view.origin + y * view.row + x * view.pixel + part.channel + c
}

/// The values of 16 stored cells, in 16 bits.
///
/// # Safety
/// There are 16 cells from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(cells: &[u8], at: usize) -> __m256i {
    // SAFETY: the caller's contract.
    let cells = unsafe { _mm_loadu_si128(cells.as_ptr().add(at).cast()) };
    _mm256_cvtepi8_epi16(_mm_xor_si128(cells, _mm_set1_epi8(-128)))
}

/// As [`all_rows`].
pub fn float_rows(width: usize, rows: Range<usize>, cells: &[f32], view: View, center: &[f32], sums: &mut [f64]) {
    #[target_feature(enable = "avx2,fma")]
    fn rows_of(width: usize, rows: Range<usize>, cells: &[f32], view: View, center: &[f32], sums: &mut [f64]) {
        all_rows(width, rows, cells, view, center, sums);
    }
    // SAFETY: whoever chose this instruction set has found it on this machine.
    unsafe { rows_of(width, rows, cells, view, center, sums) };
}
