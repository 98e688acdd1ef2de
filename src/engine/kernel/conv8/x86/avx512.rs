//! Four products to a lane by one VPDPBUSD: a register holds 16 outputs, 4 input channels each.

use super::super::super::tile::{BLOCK, HALF, Places, TILED, Tiled};
use super::super::super::walk::Walk;
use super::{Form, Kernels, Line, Rounding, Tile, few};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels {
    wide: Form { tiles: &WIDE, cells: 4, lines: 2, arrange: arrange::<2> },
    narrow: Form { tiles: &NARROW, cells: 4, lines: 1, arrange: arrange::<1> },
    few: Some(few::FORM),
    int8,
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
    sums: &mut Tiled<i32>,
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
    for (acc, sums) in acc.as_flattened().iter().zip(&mut sums.0) {
        // SAFETY: 16 sums are a register's.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), *acc) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn int8(sums: &Tiled<i32>, rounding: &Rounding, places: Places, cells: &mut [u8]) {
    // Packing takes 128 bits of each of its operands in turn; this brings the sixteens back together.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let (high, low) = (_mm512_set1_ps(rounding.high), _mm512_set1_epi8(rounding.low as i8));
    let zero_point = _mm512_set1_epi16(rounding.zero_point);
    let mut stored = Tiled([[0; HALF]; TILED]);
    let fours = sums.0.as_chunks::<4>().0.iter().zip(stored.0.as_chunks_mut::<4>().0);
    for (sums, stored) in fours.take((places.pixels * places.halves).div_ceil(4)) {
        // SAFETY: 16 sums or factors are a register's.
        let values = [0, 1, 2, 3].map(|at| unsafe {
            let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums[at].as_ptr().cast()));
            _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_mul_ps(sum, _mm512_loadu_ps(rounding.scale[at].as_ptr()))))
        });
        let first = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), zero_point);
        let last = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), zero_point);
        let bytes = _mm512_max_epu8(_mm512_packus_epi16(first, last), low);
        // SAFETY: four sixteens of cells are a register's.
        unsafe { _mm512_storeu_si512(stored.as_mut_ptr().cast(), _mm512_permutexvar_epi32(order, bytes)) };
    }
    let mask = u32::MAX >> (BLOCK - places.outputs);
    for (from, to) in places.pairs(&stored, cells) {
        // SAFETY: the mask names as many cells as both have.
        unsafe {
            let cells = _mm256_maskz_loadu_epi8(mask, from.as_ptr().cast());
            _mm256_mask_storeu_epi8(to.as_mut_ptr().cast(), mask, cells);
        }
    }
}
