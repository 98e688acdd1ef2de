//! A register holds 16 outputs.

use super::super::super::tile::{BLOCK, HALF, Tiled};
use super::super::super::walk::Walk;
use super::{Bounds, Kernels, Line, Tile};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels { block: BLOCK, tiles: &[&NARROW, &WIDE] };

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

#[target_feature(enable = "avx512f")]
fn tile<const PIXELS: usize, const HALVES: usize>(
    walk: &Walk,
    weights: &[Line],
    bias: &[Line; BLOCK / HALF],
    bounds: Bounds,
    cells: &[f32],
    sums: &mut Tiled<f32>,
) {
    assert!(weights.len() == walk.cells() * HALVES && cells.len() >= walk.reach(PIXELS));
    let bias: [__m512; HALVES] = std::array::from_fn(|half| load(&bias[half]));
    let mut acc = [bias; PIXELS];
    let mut weight = weights.as_ptr();
    for row in 0..walk.count[0] {
        for column in 0..walk.count[1] {
            let run = row * walk.step[0] + column * walk.step[1];
            for cell in 0..walk.run {
                // SAFETY: the walk takes each line once, and ends within the cells.
                unsafe {
                    let from = cells.as_ptr().add(run + cell);
                    let own: [__m512; HALVES] = std::array::from_fn(|half| load(&*weight.add(half)));
                    weight = weight.add(HALVES);
                    for (pixel, acc) in acc.iter_mut().enumerate() {
                        let cell = _mm512_set1_ps(*from.add(pixel * walk.pixel));
                        for (acc, own) in acc.iter_mut().zip(own) {
                            *acc = _mm512_fmadd_ps(own, cell, *acc);
                        }
                    }
                }
            }
        }
    }
    let (low, high) = (_mm512_set1_ps(bounds.low), _mm512_set1_ps(bounds.high));
    for (acc, sums) in acc.as_flattened().iter().zip(&mut sums.0) {
        let bounded = _mm512_min_ps(_mm512_max_ps(*acc, low), high);
        // SAFETY: 16 sums are a register's.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), bounded) };
    }
}

#[target_feature(enable = "avx512f")]
fn load(line: &Line) -> __m512 {
    // SAFETY: a line is a register's, aligned.
    unsafe { _mm512_load_ps(line.0.as_ptr()) }
}
