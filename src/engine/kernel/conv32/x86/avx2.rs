//! Two registers hold 16 outputs.

use super::super::super::tile::{BLOCK, HALF, Tiled};
use super::super::super::walk::Walk;
use super::{Bounds, Kernels, Line, Tile};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels { block: HALF, tiles: &[&TILES] };

const TILES: [Tile; 6] = [tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>, tile::<6>];

#[target_feature(enable = "avx2,fma")]
fn tile<const PIXELS: usize>(
    walk: &Walk,
    weights: &[Line],
    bias: &[Line; BLOCK / HALF],
    bounds: Bounds,
    cells: &[f32],
    sums: &mut Tiled<f32>,
) {
    assert!(weights.len() == walk.cells() && cells.len() >= walk.reach(PIXELS));
    let mut acc = [load(&bias[0]); PIXELS];
    let mut weights = weights.iter();
    for row in 0..walk.count[0] {
        for column in 0..walk.count[1] {
            let run = row * walk.step[0] + column * walk.step[1];
            for (cell, own) in weights.by_ref().take(walk.run).enumerate() {
                let own = load(own);
                for (pixel, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the walk ends within the cells.
                    let cell = _mm256_set1_ps(unsafe { *cells.as_ptr().add(run + cell + pixel * walk.pixel) });
                    for (acc, own) in acc.iter_mut().zip(own) {
                        *acc = _mm256_fmadd_ps(own, cell, *acc);
                    }
                }
            }
        }
    }
    let (low, high) = (_mm256_set1_ps(bounds.low), _mm256_set1_ps(bounds.high));
    for (acc, sums) in acc.iter().zip(&mut sums.0) {
        for (acc, sums) in acc.iter().zip(sums.as_chunks_mut::<8>().0) {
            let bounded = _mm256_min_ps(_mm256_max_ps(*acc, low), high);
            // SAFETY: 8 sums are a register's.
            unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), bounded) };
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn load(line: &Line) -> [__m256; 2] {
    // SAFETY: a line is two registers, aligned.
    [0, 8].map(|at| unsafe { _mm256_load_ps(line.0.as_ptr().add(at)) })
}
