//! AVX-512: dot products of unsigned and signed bytes, 64 at a time. A stored cell is q + 128, so the product of a stored cell and a value is
//! q · p + 128 · p, and what is too much is 128 times a sum that is taken anyway.

use super::super::View;
use super::float::all_rows;
use super::{Block, Part, TERMS, groups};
use std::arch::x86_64::*;
use std::array::from_fn;
use std::ops::Range;

/// The largest `groups`.
const GROUPS: usize = groups(TERMS);

pub fn sums(part: &Part, span: usize, terms: &[(&[u8], View)], block: &mut Block) {
    // SAFETY: whoever chose this instruction set has found it on this machine; the slices' lengths were checked.
    unsafe {
        match (terms, span) {
            (&[a], 4) => spans([a], part, block),
            (&[a, b], 4) => spans([a, b], part, block),
            (&[a, b, c], 4) => spans([a, b, c], part, block),
            (&[a, b, c, d], 4) => spans([a, b, c, d], part, block),
            (&[a], _) => channels([a], part, block),
            (&[a, b], _) => channels([a, b], part, block),
            (&[a, b, c], _) => channels([a, b, c], part, block),
            (&[a, b, c, d], _) => channels([a, b, c, d], part, block),
            _ => unreachable!("checked by the caller"),
        }
    }
}

/// Adds the sums and products of 64 stored cells of each image, four cells to a lane; the products are too large by 128 · the second sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn accumulate<const T: usize>(cells: [__m512i; T], sums: &mut [__m512i; GROUPS]) {
    let values = cells.map(|cells| _mm512_xor_si512(cells, _mm512_set1_epi8(-128)));
    let mut pair = T;
    for t in 0..T {
        sums[t] = _mm512_dpbusd_epi32(sums[t], _mm512_set1_epi8(1), values[t]);
        for &value in &values[t..] {
            sums[pair] = _mm512_dpbusd_epi32(sums[pair], cells[t], value);
            pair += 1;
        }
    }
}

/// The sums without what is too much in them.
#[inline]
#[target_feature(enable = "avx512f")]
fn corrected<const T: usize>(mut sums: [__m512i; GROUPS]) -> [__m512i; GROUPS] {
    let mut pair = T;
    for t in 0..T {
        for u in t..T {
            sums[pair] = _mm512_sub_epi32(sums[pair], _mm512_slli_epi32::<7>(sums[u]));
            pair += 1;
        }
    }
    sums
}

/// Four adjacent channels to a sum.
///
/// # Safety
/// The images reach to `SLACK` behind the part's last pixel.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn spans<const T: usize>(terms: [(&[u8], View); T], part: &Part, block: &mut Block) {
    // Two sets by turns, since a dot product waits longer for the one before than for its turn.
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; 2];
    for y in part.rows.clone() {
        for x in part.columns.clone().step_by(2) {
            // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
            accumulate(terms.map(|(cells, view)| unsafe { load(cells, at(&view, part, y, x)) }), &mut sums[0]);
            if x + 1 < part.columns.end {
                // SAFETY: as above.
                accumulate(terms.map(|(cells, view)| unsafe { load(cells, at(&view, part, y, x + 1)) }), &mut sums[1]);
            }
        }
    }
    for (even, odd) in sums[0].into_iter().zip(&mut sums[1]) {
        *odd = _mm512_add_epi32(*odd, even);
    }
    for (group, sums) in block.iter_mut().zip(corrected::<T>(sums[1])).take(groups(T)) {
        // SAFETY: a group has 64 sums.
        unsafe { _mm512_storeu_si512(group.as_mut_ptr().cast(), sums) };
    }
}

/// Each channel for itself. Cells of four pixels are brought together so that the four that are added are of one channel.
///
/// # Safety
/// As of [`spans`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn channels<const T: usize>(terms: [(&[u8], View); T], part: &Part, block: &mut Block) {
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; 4];
    for y in part.rows.clone() {
        for x in part.columns.clone().step_by(4) {
            let mut cells = [[_mm512_setzero_si512(); 4]; T];
            for (cells, (all, view)) in cells.iter_mut().zip(&terms) {
                let first = at(view, part, y, x);
                // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                *cells = transposed(from_fn(|p| unsafe { load(all, first + p * view.pixel) }));
            }
            // Not a loop, so that the sums stay in registers.
            accumulate(cells.map(|cells| cells[0]), &mut sums[0]);
            accumulate(cells.map(|cells| cells[1]), &mut sums[1]);
            accumulate(cells.map(|cells| cells[2]), &mut sums[2]);
            accumulate(cells.map(|cells| cells[3]), &mut sums[3]);
        }
    }
    for (v, sums) in sums.into_iter().enumerate() {
        for (group, sums) in block.iter_mut().zip(corrected::<T>(sums)).take(groups(T)) {
            let mut lanes = [0_i32; 16];
            // SAFETY: there are 16 lanes.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums) };
            for (quarter, lanes) in lanes.chunks_exact(4).enumerate() {
                group[quarter * 16 + v * 4..][..4].copy_from_slice(lanes);
            }
        }
    }
}

/// In vector v: of each of 64 channels whose number modulo 16 is in 4 v..4 v + 4, the cells of four pixels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

#[inline(always)]
fn at(view: &View, part: &Part, y: usize, x: usize) -> usize {
    view.origin + y * view.row + x * view.pixel + part.channel
}

/// # Safety
/// There are 64 cells from `at` on.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(cells: &[u8], at: usize) -> __m512i {
    // SAFETY: the caller's contract.
    unsafe { _mm512_loadu_si512(cells.as_ptr().add(at).cast()) }
}

/// As [`all_rows`].
pub fn float_rows(width: usize, rows: Range<usize>, cells: &[f32], view: View, center: &[f32], sums: &mut [f64]) {
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
    fn rows_of(width: usize, rows: Range<usize>, cells: &[f32], view: View, center: &[f32], sums: &mut [f64]) {
        all_rows(width, rows, cells, view, center, sums);
    }
    // SAFETY: whoever chose this instruction set has found it on this machine.
    unsafe { rows_of(width, rows, cells, view, center, sums) };
}
