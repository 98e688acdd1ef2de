//! For at most 4 outputs, by AVX-512: 128 bits are 4 input channels of each, and a register holds 16 input channels.

use super::super::super::tile::{BLOCK, HALF};
use super::super::super::walk::Walk;
use super::avx512::{ends, pack, round};
use super::finish::End;
use super::{FEW, Form, Line, Tile};
use std::arch::x86_64::*;

pub const FORM: Form = Form { tiles: &TILES, cells: CELLS, lines: 1, sharing: HALF / FEW, arrange };

/// Input channels of a step.
const CELLS: usize = 16;

const TILES: [Tile; 14] = [
    tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>, tile::<6>, tile::<7>, tile::<8>, tile::<9>, tile::<10>,
    tile::<11>, tile::<12>, tile::<13>, tile::<14>,
];

fn arrange(weight: &dyn Fn(usize, usize) -> i8, lines: &mut Vec<Line>) {
    lines.push(Line(std::array::from_fn(|at| weight(at / 4 % FEW, at / 16 * 4 + at % 4))));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const PIXELS: usize>(walk: &Walk, weights: &[Line], offset: &[i32; BLOCK], cells: &[u8], end: End<'_>) {
    assert!(weights.len() == walk.cells() / CELLS && cells.len() >= walk.reach(PIXELS));
    let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let mut acc = [_mm512_setzero_si512(); PIXELS];
    let mut weights = weights.iter();
    for row in 0..walk.count[0] {
        for column in 0..walk.count[1] {
            let run = row * walk.step[0] + column * walk.step[1];
            for (step, own) in weights.by_ref().take(walk.run / CELLS).enumerate() {
                // SAFETY: a line is a register's, aligned; the walk ends within the cells.
                unsafe {
                    let own = _mm512_load_si512(own.0.as_ptr().cast());
                    let from = cells.as_ptr().add(run + step * CELLS);
                    for (pixel, acc) in acc.iter_mut().enumerate() {
                        let sixteen = _mm512_castsi128_si512(_mm_loadu_si128(from.add(pixel * walk.pixel).cast()));
                        *acc = _mm512_dpbusd_epi32(*acc, _mm512_permutexvar_epi32(spread, sixteen), own);
                    }
                }
            }
        }
    }
    // SAFETY: the first outputs' offsets are a register's.
    let offset = unsafe { _mm_loadu_si128(offset.as_ptr().cast()) };
    // Four pixels to a sixteen.
    let mut sums = [[0i32; HALF]; 4];
    let flat = sums.as_flattened_mut();
    for (acc, sums) in acc.iter().zip(flat.as_chunks_mut::<FEW>().0) {
        let halves = _mm256_add_epi32(_mm512_castsi512_si256(*acc), _mm512_extracti64x4_epi64::<1>(*acc));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
        // SAFETY: four sums are a register's.
        unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_add_epi32(sum, offset)) };
    }
    match end {
        End::Sums(tile) => {
            for (from, to) in flat.as_chunks::<FEW>().0.iter().zip(&mut tile.0).take(PIXELS) {
                to[..FEW].copy_from_slice(from);
            }
        }
        End::Cells(stored) => {
            let high = _mm512_set1_ps(stored.rounding.high);
            let values = [0, 1, 2, 3].map(|at| {
                // SAFETY: 16 sums or factors are a register's.
                let (sums, scale) = unsafe {
                    (_mm512_loadu_si512(sums[at].as_ptr().cast()), _mm512_load_ps(stored.rounding.scale[0].as_ptr()))
                };
                round(sums, scale, high)
            });
            let mut cells = [[0u8; FEW]; 16];
            // SAFETY: the cells are a register's.
            unsafe { _mm512_storeu_si512(cells.as_mut_ptr().cast(), pack(&values, ends(stored.rounding))) };
            let outputs = stored.places.outputs;
            for (from, to) in cells.iter().take(PIXELS).zip(stored.cells.chunks_mut(stored.places.pixel)) {
                for (from, to) in from.iter().zip(to).take(outputs) {
                    *to = *from;
                }
            }
        }
    }
}
