//! Four rows of taps of 16 channels, widened to 16 bits, two rows' products to a lane by VPMADDWD: VPMADDUBSW would saturate.

use super::{Kernels, Lanes, Rounding, Row, Taps};
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

const BLOCK: usize = 16;
/// Lanes of a register.
const LANES: usize = 8;
/// Of a block's sums.
const REGISTERS: usize = 2;

type Sums = [__m256i; REGISTERS];

/// Two rows after the other: weights of 16 bits.
fn arrange(weight: &dyn Fn(usize, usize) -> i8, packed: &mut Vec<i8>) {
    for two in [0, 2] {
        for at in 0..BLOCK * 2 {
            packed.extend(i16::from(weight(two + at % 2, at / 2)).to_ne_bytes().map(|byte| byte as i8));
        }
    }
}

/// The cells of two rows, those of a channel in one lane; then of two more.
///
/// # Safety
/// There are 16 cells from each.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn twos(cells: *const u8, at: [usize; 4]) -> [Sums; 2] {
    // SAFETY: the caller's promise.
    let [a, b, c, d] = at.map(|at| unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(cells.add(at).cast())) });
    [(a, b), (c, d)].map(|(a, b)| [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)])
}

/// Adds the products of four rows' cells and the weights from `own` on.
///
/// # Safety
/// There are weights for a block.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add(acc: &mut Sums, twos: [Sums; 2], own: *const __m256i) {
    for (at, acc) in acc.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let weights = unsafe { [_mm256_loadu_si256(own.add(at)), _mm256_loadu_si256(own.add(REGISTERS + at))] };
        let [first, last] = [0, 1].map(|two| _mm256_madd_epi16(twos[two][at], weights[two]));
        *acc = _mm256_add_epi32(*acc, _mm256_add_epi32(first, last));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(offset: &Lanes<i32>) -> Sums {
    // SAFETY: a block's lanes are two registers.
    [0, LANES].map(|at| unsafe { _mm256_load_si256(offset.0.as_ptr().add(at).cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn pixel(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8]) -> Sums {
    assert!(weights.len() == taps.steps() * BLOCK * 8 && cells.len() >= taps.reach(BLOCK));
    let mut acc = load(offset);
    let mut own = weights.as_ptr().cast::<__m256i>();
    for four in 0..taps.count[0].div_ceil(4) {
        let rows = taps.rows(four);
        for column in 0..taps.count[1] {
            // SAFETY: the taps end within the cells; each step has a block of weights, taken once.
            unsafe {
                add(&mut acc, twos(cells.as_ptr().add(column * taps.step[1]), rows), own);
                own = own.add(2 * REGISTERS);
            }
        }
    }
    acc
}

#[target_feature(enable = "avx2,fma")]
fn sum(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8], sums: &mut Lanes<i32>) {
    for (at, acc) in pixel(taps, weights, offset, cells).into_iter().enumerate() {
        // SAFETY: a block's sums are two registers.
        unsafe { _mm256_store_si256(sums.0.as_mut_ptr().add(at * LANES).cast(), acc) };
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
    for x in 0..row.width {
        let sums = pixel(taps, weights, offset, &cells[x * row.input..]);
        round(sums, rounding, &mut stored[x * row.output..][..row.channels]);
    }
}

/// Kernels of `SIZE` columns and as many rows, which are `FOURS` fours: the cells of a column are brought together once, for all of the `OPEN`
/// output pixels that it is under.
#[target_feature(enable = "avx2,fma")]
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
    assert!(weights.len() == FOURS * SIZE * BLOCK * 8 && cells.len() >= taps.down() + last * taps.step[1] + BLOCK);
    let rows: [[usize; 4]; FOURS] = std::array::from_fn(|four| taps.rows_of::<SIZE>(four));
    let own = weights.as_ptr().cast::<__m256i>();
    let offset = load(offset);
    // Of the output pixels x, x - 1 and so on.
    let mut acc = [offset; OPEN];
    for x in 0..row.width + OPEN - 1 {
        for side in 0..STRIDE {
            // Nothing is made of what the columns behind the last one would add.
            let at = (x * STRIDE + side).min(last) * taps.step[1];
            for (four, rows) in rows.iter().enumerate() {
                // SAFETY: the columns end within the cells; each four of rows and column has a block of weights.
                unsafe {
                    let twos = twos(cells.as_ptr().add(at), *rows);
                    for (open, acc) in acc.iter_mut().enumerate() {
                        let column = open * STRIDE + side;
                        if column < SIZE {
                            add(acc, twos, own.add((four * SIZE + column) * 2 * REGISTERS));
                        }
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
#[target_feature(enable = "avx2")]
fn round(sums: Sums, rounding: &Rounding, cells: &mut [u8]) {
    let (high, zero_point) = (_mm256_set1_ps(rounding.high), _mm256_set1_epi16(rounding.zero_point));
    let values = [0, 1].map(|at| {
        // SAFETY: a block's factors are two registers.
        let scale = unsafe { _mm256_load_ps(rounding.scale.0.as_ptr().add(at * LANES)) };
        _mm256_cvtps_epi32(_mm256_min_ps(high, _mm256_mul_ps(_mm256_cvtepi32_ps(sums[at]), scale)))
    });
    let both = _mm256_adds_epi16(_mm256_packs_epi32(values[0], values[1]), zero_point);
    let bytes = _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(rounding.low as i8));
    match cells.first_chunk_mut::<BLOCK>() {
        // SAFETY: a block's cells are a register's.
        Some(cells) => unsafe { _mm_storeu_si128(cells.as_mut_ptr().cast(), bytes) },
        None => {
            let mut stored = [0; BLOCK];
            // SAFETY: as above.
            unsafe { _mm_storeu_si128(stored.as_mut_ptr().cast(), bytes) };
            cells.copy_from_slice(&stored[..cells.len()]);
        }
    }
}
