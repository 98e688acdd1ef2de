//! NEON: sums over four adjacent cells of products of cells, by SDOT where there is one, else by SMULL and SADALP: a product of two int8 cells
//! fits in 16 bits, and a pair of them is added in 32.

use super::super::{Isa, View};
use super::{Block, Part, TERMS, WIDTH, groups};
use std::arch::aarch64::*;
use std::arch::asm;
use std::array::from_fn;

const LANES: usize = 16;

/// Vectors whose sums of spans are taken in one go over the pixels: more don't fit in the registers.
const ABREAST: usize = 2;

/// The sums of one group over 16 cells: four sums with SDOT in the first vector; else eight sums of pairs.
type Sums = [int32x4_t; 2];

pub fn sums(isa: Isa, part: &Part, channels: usize, span: usize, terms: &[(&[u8], View)], block: &mut Block) {
    let width = (channels - part.channel).min(WIDTH);
    // SAFETY: every 64-bit ARM has NEON; whoever chose SDOT has found it on this machine; the slices' lengths were checked.
    unsafe {
        match isa {
            Isa::NeonDot => of_terms::<true>(part, width, span, terms, block),
            _ => of_terms::<false>(part, width, span, terms, block),
        }
    }
}

/// # Safety
/// The images reach to `SLACK` behind the part's last pixel, and the machine has SDOT if `DOT`.
#[target_feature(enable = "neon")]
unsafe fn of_terms<const DOT: bool>(
    part: &Part,
    width: usize,
    span: usize,
    terms: &[(&[u8], View)],
    block: &mut Block,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match (terms, span) {
            (&[a], 4) => spans::<DOT, 1>([a], part, width, block),
            (&[a, b], 4) => spans::<DOT, 2>([a, b], part, width, block),
            (&[a, b, c], 4) => spans::<DOT, 3>([a, b, c], part, width, block),
            (&[a, b, c, d], 4) => spans::<DOT, 4>([a, b, c, d], part, width, block),
            (&[a], _) => channels::<DOT, 1>([a], part, width, block),
            (&[a, b], _) => channels::<DOT, 2>([a, b], part, width, block),
            (&[a, b, c], _) => channels::<DOT, 3>([a, b, c], part, width, block),
            (&[a, b, c, d], _) => channels::<DOT, 4>([a, b, c, d], part, width, block),
            _ => unreachable!("checked by the caller"),
        }
    }
}

/// Four adjacent channels to a sum.
///
/// # Safety
/// As of [`of_terms`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn spans<const DOT: bool, const T: usize>(
    terms: [(&[u8], View); T],
    part: &Part,
    width: usize,
    block: &mut Block,
) {
    for c in (0..width).step_by(ABREAST * LANES) {
        let mut sums = [[[vdupq_n_s32(0); 2]; groups(TERMS)]; ABREAST];
        for y in part.rows.clone() {
            let row = terms.map(|(cells, view)| (&cells[at(&view, part, c, y, 0)..], view.pixel));
            for x in part.columns.clone() {
                for (v, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                    let q = row.map(|(cells, pixel)| unsafe { load(cells, x * pixel + v * LANES) });
                    // SAFETY: the caller's contract.
                    unsafe { accumulate::<DOT, T>(q, sums) };
                }
            }
        }
        for (v, sums) in sums.iter().enumerate() {
            for (group, &sums) in block.iter_mut().zip(sums).take(groups(T)) {
                store(whole::<DOT>(sums), &mut group[c / 4 + v * 4..]);
            }
        }
    }
}

/// Each channel for itself. Cells of four pixels are brought together so that the four that are added are of one channel.
///
/// # Safety
/// As of [`of_terms`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn channels<const DOT: bool, const T: usize>(
    terms: [(&[u8], View); T],
    part: &Part,
    width: usize,
    block: &mut Block,
) {
    for c in (0..width).step_by(LANES) {
        let mut sums = [[[vdupq_n_s32(0); 2]; groups(TERMS)]; 4];
        for y in part.rows.clone() {
            for x in part.columns.clone().step_by(4) {
                let mut q = [[vdupq_n_s8(0); 4]; T];
                for (q, (cells, view)) in q.iter_mut().zip(&terms) {
                    let first = at(view, part, c, y, x);
                    // SAFETY: the first of these cells is within the image, and SLACK is more than the others.
                    *q = transposed(from_fn(|p| unsafe { load(cells, first + p * view.pixel) }));
                }
                // Not a loop, so that the sums stay in registers.
                // SAFETY: the caller's contract.
                unsafe {
                    accumulate::<DOT, T>(q.map(|q| q[0]), &mut sums[0]);
                    accumulate::<DOT, T>(q.map(|q| q[1]), &mut sums[1]);
                    accumulate::<DOT, T>(q.map(|q| q[2]), &mut sums[2]);
                    accumulate::<DOT, T>(q.map(|q| q[3]), &mut sums[3]);
                }
            }
        }
        for (v, sums) in sums.iter().enumerate() {
            for (group, &sums) in block.iter_mut().zip(sums).take(groups(T)) {
                store(whole::<DOT>(sums), &mut group[c + v * 4..]);
            }
        }
    }
}

/// Adds the sums and products of 16 cells of each image.
///
/// # Safety
/// The machine has SDOT if `DOT`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn accumulate<const DOT: bool, const T: usize>(q: [int8x16_t; T], sums: &mut [Sums; groups(TERMS)]) {
    let mut pair = T;
    for t in 0..T {
        // SAFETY: the caller's contract.
        sums[t] = unsafe { dot::<DOT>(sums[t], q[t], vdupq_n_s8(1)) };
        for u in t..T {
            // SAFETY: as above.
            sums[pair] = unsafe { dot::<DOT>(sums[pair], q[t], q[u]) };
            pair += 1;
        }
    }
}

/// # Safety
/// The machine has SDOT if `DOT`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot<const DOT: bool>([mut first, second]: Sums, a: int8x16_t, b: int8x16_t) -> Sums {
    if DOT {
        // SAFETY: the caller's contract; it touches only these registers.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
                sums = inout(vreg) first,
                a = in(vreg) a,
                b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        return [first, second];
    }
    let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    [vpadalq_s16(first, low), vpadalq_s16(second, vmull_high_s8(a, b))]
}

/// The sums of four.
#[inline]
#[target_feature(enable = "neon")]
fn whole<const DOT: bool>([first, second]: Sums) -> int32x4_t {
    if DOT { first } else { vpaddq_s32(first, second) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(sums: int32x4_t, to: &mut [i32]) {
    let to = &mut to[..4];
    // SAFETY: there are four.
    unsafe { vst1q_s32(to.as_mut_ptr(), sums) };
}

/// In vector v: of the channels 4 v..4 v + 4, the cells of four pixels.
#[inline]
#[target_feature(enable = "neon")]
fn transposed([a, b, c, d]: [int8x16_t; 4]) -> [int8x16_t; 4] {
    let pairs = [vzip1q_s8(a, b), vzip1q_s8(c, d), vzip2q_s8(a, b), vzip2q_s8(c, d)];
    let [ab, cd, ab_high, cd_high] = pairs.map(|pairs| vreinterpretq_s16_s8(pairs));
    let fours = [vzip1q_s16(ab, cd), vzip2q_s16(ab, cd), vzip1q_s16(ab_high, cd_high), vzip2q_s16(ab_high, cd_high)];
    from_fn(|v| vreinterpretq_s8_s16(fours[v]))
}

#[inline(always)]
fn at(view: &View, part: &Part, c: usize, y: usize, x: usize) -> usize {
    view.origin + y * view.row + x * view.pixel + part.channel + c
}

/// # Safety
/// There are 16 cells from `at` on.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(cells: &[u8], at: usize) -> int8x16_t {
    // SAFETY: the caller's contract.
    unsafe { vld1q_s8(cells.as_ptr().add(at).cast()) }
}
