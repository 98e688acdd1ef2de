//! Four rows of taps of 64 channels by four VPDPBUSD.

use super::{BLOCK, Kernels, Lanes, Rounding, Row, Taps};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels {
    block: BLOCK,
    registers: REGISTERS,
    arrange,
    sum,
    int8,
    three: [rolling::<3, 1, 3, 1>, rolling::<3, 2, 2, 1>],
    five: [rolling::<5, 1, 5, 2>, rolling::<5, 2, 3, 2>],
};

/// Lanes of a register.
const LANES: usize = 16;
/// Of a block's sums.
const REGISTERS: usize = 4;

type Sums = [__m512i; REGISTERS];

fn arrange(weight: &dyn Fn(usize, usize) -> i8, packed: &mut Vec<i8>) {
    packed.extend((0..BLOCK * 4).map(|at| weight(at % 4, at / 4)));
}

/// The cells of four rows, those of a channel in one lane.
///
/// # Safety
/// There are 64 cells from each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn fours(cells: *const u8, at: [usize; 4]) -> Sums {
    // SAFETY: the caller's promise.
    let [a, b, c, d] = at.map(|at| unsafe { _mm512_loadu_si512(cells.add(at).cast()) });
    let [ab, cd] = [(a, b), (c, d)].map(|(a, b)| [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)]);
    [
        _mm512_unpacklo_epi16(ab[0], cd[0]),
        _mm512_unpackhi_epi16(ab[0], cd[0]),
        _mm512_unpacklo_epi16(ab[1], cd[1]),
        _mm512_unpackhi_epi16(ab[1], cd[1]),
    ]
}

/// The weights of four rows and a column.
///
/// # Safety
/// There are so many from `own` on.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn block(own: *const __m512i) -> Sums {
    // SAFETY: the caller's promise.
    [0, 1, 2, 3].map(|at| unsafe { _mm512_loadu_si512(own.add(at)) })
}

/// Adds the products of four rows' cells and their weights.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add(acc: &mut Sums, fours: Sums, weights: Sums) {
    for (at, acc) in acc.iter_mut().enumerate() {
        *acc = _mm512_dpbusd_epi32(*acc, fours[at], weights[at]);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(offset: &Lanes<i32>) -> Sums {
    // SAFETY: a block's lanes are four registers.
    [0, 1, 2, 3].map(|at| unsafe { _mm512_load_si512(offset.0.as_ptr().add(at * LANES).cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn pixel(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8]) -> Sums {
    assert!(weights.len() == taps.steps() * BLOCK * 4 && cells.len() >= taps.reach(BLOCK));
    let mut acc = load(offset);
    let mut own = weights.as_ptr().cast::<__m512i>();
    for four in 0..taps.count[0].div_ceil(4) {
        let rows = taps.rows(four);
        for column in 0..taps.count[1] {
            // SAFETY: the taps end within the cells; each step has a block of weights, taken once.
            unsafe {
                add(&mut acc, fours(cells.as_ptr().add(column * taps.step[1]), rows), block(own));
                own = own.add(REGISTERS);
            }
        }
    }
    acc
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8], sums: &mut Lanes<i32>) {
    for (at, acc) in pixel(taps, weights, offset, cells).into_iter().enumerate() {
        // SAFETY: a block's sums are four registers.
        unsafe { _mm512_store_si512(sums.0.as_mut_ptr().add(at * LANES).cast(), acc) };
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
    for x in 0..row.width {
        let sums = pixel(taps, weights, offset, &cells[x * row.input..]);
        round(sums, rounding, &mut stored[x * row.output..][..row.channels]);
    }
}

/// Kernels of `SIZE` columns and as many rows, which are `FOURS` fours: the cells of a column are brought together once, for all of the `OPEN`
/// output pixels that it is under.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rolling<const SIZE: usize, const STRIDE: usize, const OPEN: usize, const FOURS: usize>(
    taps: &Taps,
    weights: &[i8],
    offset: &Lanes<i32>,
    rounding: &Rounding,
    row: Row,
    cells: &[u8],
    stored: &mut [u8],
) {
    const { assert!(OPEN == SIZE.div_ceil(STRIDE) && FOURS == SIZE.div_ceil(4)) };
    let last = (row.width - 1) * STRIDE + SIZE - 1;
    assert!(taps.count == [SIZE; 2] && row.input == STRIDE * taps.step[1]);
    assert!(weights.len() == FOURS * SIZE * BLOCK * 4 && cells.len() >= taps.down() + last * taps.step[1] + BLOCK);
    let rows: [[usize; 4]; FOURS] = std::array::from_fn(|four| taps.rows_of::<SIZE>(four));
    let own = weights.as_ptr().cast::<__m512i>();
    // Those of 3 x 3 taps stay in registers.
    let weights: [[Sums; SIZE]; FOURS] = std::array::from_fn(|four| {
        std::array::from_fn(|column| {
            // SAFETY: each four of rows and column has a block of weights.
            unsafe { block(own.add((four * SIZE + column) * REGISTERS)) }
        })
    });
    let offset = load(offset);
    // Of the output pixels x, x - 1 and so on.
    let mut acc = [offset; OPEN];
    for x in 0..row.width + OPEN - 1 {
        for side in 0..STRIDE {
            // Nothing is made of what the columns behind the last one would add.
            let at = (x * STRIDE + side).min(last) * taps.step[1];
            for (four, rows) in rows.iter().enumerate() {
                // SAFETY: the columns end within the cells.
                let fours = unsafe { fours(cells.as_ptr().add(at), *rows) };
                for (open, acc) in acc.iter_mut().enumerate() {
                    let column = open * STRIDE + side;
                    if column < SIZE {
                        add(acc, fours, weights[four][column]);
                    }
                }
            }
        }
        if x + 1 >= OPEN {
            round(acc[OPEN - 1], rounding, &mut stored[(x + 1 - OPEN) * row.output..][..row.channels]);
        }
        for open in (1..OPEN).rev() {
            acc[open] = acc[open - 1];
        }
        acc[0] = offset;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn round(sums: Sums, rounding: &Rounding, cells: &mut [u8]) {
    let (high, zero_point) = (_mm512_set1_ps(rounding.high), _mm512_set1_epi16(rounding.zero_point));
    let values = [0, 1, 2, 3].map(|at| {
        // SAFETY: a block's factors are four registers.
        let scale = unsafe { _mm512_load_ps(rounding.scale.0.as_ptr().add(at * LANES)) };
        _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[at]), scale)))
    });
    let first = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), zero_point);
    let last = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), zero_point);
    let stored = _mm512_max_epu8(_mm512_packus_epi16(first, last), _mm512_set1_epi8(rounding.low as i8));
    // SAFETY: the mask names as many bytes as there are cells.
    unsafe {
        match cells.len() {
            BLOCK => _mm512_storeu_si512(cells.as_mut_ptr().cast(), stored),
            len => _mm512_mask_storeu_epi8(cells.as_mut_ptr().cast(), u64::MAX >> (BLOCK - len), stored),
        }
    }
}
