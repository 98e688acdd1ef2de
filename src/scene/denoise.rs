//! From soft codes to classes: plain argmax, and Fast Denoising Semantic (GESCO: average-pool 3, max-pool 3, argmax, over the
//! classes that are present). Integers alone. Argmax keeps thin things where the channel is good; FDS survives where it isn't.

use crate::wire::Grid;
use alloc::vec;
use alloc::vec::Vec;

/// Below this SNR, in hundredths of dB, FDS reads more cells right than argmax: σ = 0.3 of the score unit.
pub const FDS_BELOW_CDB: i16 = 1046;

/// The soft codes of a frame: a plane of `known.len()` codes for each of `classes`.
#[derive(Debug, Clone, Copy)]
pub struct Soft<'a> {
    pub grid: Grid,
    pub codes: &'a [u8],
    pub classes: &'a [u8],
    pub known: &'a [bool],
    /// Code steps from score 0 to score 1.
    pub unit: u8,
}

/// Class and confidence per cell; cells that are not known stay as they were. Confidence is how far the best class leads the second,
/// 0 (a tie) to 255 (a unit or more; also when no second class is present).
pub fn argmax(soft: &Soft<'_>, cells: &mut [u8], confidence: &mut [u8]) {
    decide(soft, soft.codes.iter().map(|&code| code as u32), soft.unit as u32, cells, confidence);
}

/// As [`argmax`], after the mean over the known cells of the 3x3 neighbourhood and the maximum of those means over the 3x3 neighbourhood.
pub fn fast_denoise(soft: &Soft<'_>, cells: &mut [u8], confidence: &mut [u8]) {
    // Common multiple of the 1 to 9 cells that a mean can be over: means compare exactly.
    const MEAN: u32 = 2520;
    let count = pool(soft.grid, soft.known, |cell| soft.known[cell] as u32, |a, b| a + b);
    let pooled = (0..soft.classes.len()).flat_map(|plane| {
        let codes = &soft.codes[plane * soft.known.len()..];
        let sums = pool(soft.grid, soft.known, |cell| codes[cell] as u32, |a, b| a + b);
        let means: Vec<u32> = sums.iter().zip(&count).map(|(sum, count)| sum * MEAN / (*count).max(1)).collect();
        pool(soft.grid, soft.known, |cell| means[cell], u32::max)
    });
    decide(soft, pooled, soft.unit as u32 * MEAN, cells, confidence);
}

/// Folds `value` over the known cells of each cell's 3x3 neighbourhood, from 0.
fn pool(grid: Grid, known: &[bool], value: impl Fn(usize) -> u32, fold: impl Fn(u32, u32) -> u32) -> Vec<u32> {
    let (width, height) = (grid.width as usize, grid.height as usize);
    let mut pooled = vec![0; grid.cells()];
    for y in 0..height {
        for x in 0..width {
            let mut folded = 0;
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                let cells = row * width + x.saturating_sub(1)..row * width + (x + 2).min(width);
                folded = cells.filter(|&cell| known[cell]).fold(folded, |folded, cell| fold(folded, value(cell)));
            }
            pooled[y * width + x] = folded;
        }
    }
    pooled
}

fn decide(soft: &Soft<'_>, scores: impl Iterator<Item = u32>, unit: u32, cells: &mut [u8], confidence: &mut [u8]) {
    let count = soft.known.len();
    let mut best = vec![(0u32, 0u32); count];
    for (index, score) in scores.take(count * soft.classes.len()).enumerate() {
        let (plane, cell) = (index / count, index % count);
        let (first, second) = &mut best[cell];
        if plane == 0 || score > *first {
            *second = *first;
            *first = score;
            if soft.known[cell] {
                cells[cell] = soft.classes[plane];
            }
        } else {
            *second = score.max(*second);
        }
    }
    for (cell, (first, second)) in best.into_iter().enumerate().filter(|(cell, _)| soft.known[*cell]) {
        let lead = if soft.classes.len() < 2 { unit } else { first - second };
        confidence[cell] = (lead as u64 * 255 / unit as u64).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use crate::wire::soft;

    /// Left half class 2, right half class 5, with noise of `sigma`.
    fn noisy(sigma: f64) -> Vec<u8> {
        let grid = Grid::new(32, 16);
        let noise = Noise::new(1, 2);
        (0..2 * grid.cells())
            .map(|index| {
                let right = index % 32 >= 16;
                let hot = (index >= grid.cells()) == right;
                let score = hot as u8 as f64 + sigma * noise.normal_at(index as u64);
                (soft::zero_code(8) as f64 + score * 51.0).clamp(0.0, 255.0) as u8
            })
            .collect()
    }

    fn errors(method: fn(&Soft<'_>, &mut [u8], &mut [u8]), sigma: f64) -> usize {
        let codes = noisy(sigma);
        let known = [true; 512];
        let soft = Soft { grid: Grid::new(32, 16), codes: &codes, classes: &[2, 5], known: &known, unit: 51 };
        let (mut cells, mut confidence) = ([0; 512], [0; 512]);
        method(&soft, &mut cells, &mut confidence);
        (0..512).filter(|cell| cells[*cell] != if cell % 32 < 16 { 2 } else { 5 }).count()
    }

    #[test]
    fn each_is_better_on_its_side() {
        assert_eq!(errors(argmax, 0.1), 0);
        assert!(errors(fast_denoise, 0.9) < errors(argmax, 0.9) / 3);
    }

    #[test]
    fn unknown_cells_are_left_alone() {
        let codes = noisy(0.1);
        let mut known = [true; 512];
        known[40] = false;
        let soft = Soft { grid: Grid::new(32, 16), codes: &codes, classes: &[2, 5], known: &known, unit: 51 };
        for method in [argmax, fast_denoise] {
            let (mut cells, mut confidence) = ([99; 512], [7; 512]);
            method(&soft, &mut cells, &mut confidence);
            assert_eq!((cells[40], confidence[40]), (99, 7));
            assert_eq!(cells[41], 2);
            assert!(confidence[41] > 100);
        }
    }
}
