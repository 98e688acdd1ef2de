//! From soft codes to classes: plain argmax, and Fast Denoising Semantic (GESCO: average-pool 3, max-pool 3, argmax, over the
//! classes that are present). Integers alone. Argmax keeps thin things where the channel is good; FDS survives where it isn't.

use crate::wire::Grid;
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

/// Decides class and confidence per cell; cells that are not known stay as they were. Confidence is how far the best class leads the second,
/// 0 (a tie) to 255 (a unit or more; also when no second class is present). It keeps its memory for the next frame.
#[derive(Debug, Clone, Default)]
pub struct Decider {
    /// Of the class that is looked at.
    scores: Vec<u32>,
    means: Vec<u32>,
    /// Known cells around each.
    count: Vec<u32>,
    /// The best and the second best score so far.
    best: Vec<(u32, u32)>,
}

/// Common multiple of the 1 to 9 cells that a mean can be over: means compare exactly.
const MEAN: u32 = 2520;

impl Decider {
    /// The class with the highest code.
    pub fn argmax(&mut self, soft: &Soft<'_>, cells: &mut [u8], confidence: &mut [u8]) {
        self.begin(soft);
        for (plane, codes) in soft.codes.chunks_exact(soft.known.len()).enumerate().take(soft.classes.len()) {
            self.scores.clear();
            self.scores.extend(codes.iter().map(|&code| u32::from(code)));
            self.weigh(soft, plane, cells);
        }
        self.leads(soft, soft.unit as u32, confidence);
    }

    /// As [`argmax`](Decider::argmax), after the mean over the known cells of the 3x3 neighbourhood and the maximum of those means over the 3x3
    /// neighbourhood.
    pub fn fast_denoise(&mut self, soft: &Soft<'_>, cells: &mut [u8], confidence: &mut [u8]) {
        self.begin(soft);
        pool(soft, &mut self.count, |_| 1, |a, b| a + b);
        for (plane, codes) in soft.codes.chunks_exact(soft.known.len()).enumerate().take(soft.classes.len()) {
            pool(soft, &mut self.means, |cell| u32::from(codes[cell]), |a, b| a + b);
            for (mean, count) in self.means.iter_mut().zip(&self.count) {
                *mean = *mean * MEAN / (*count).max(1);
            }
            pool(soft, &mut self.scores, |cell| self.means[cell], u32::max);
            self.weigh(soft, plane, cells);
        }
        self.leads(soft, soft.unit as u32 * MEAN, confidence);
    }

    fn begin(&mut self, soft: &Soft<'_>) {
        self.best.clear();
        self.best.resize(soft.known.len(), (0, 0));
    }

    /// Compares the scores of a class with those of the classes before.
    fn weigh(&mut self, soft: &Soft<'_>, plane: usize, cells: &mut [u8]) {
        for (cell, (&score, (first, second))) in self.scores.iter().zip(&mut self.best).enumerate() {
            if plane == 0 || score > *first {
                (*second, *first) = (*first, score);
                if soft.known[cell] {
                    cells[cell] = soft.classes[plane];
                }
            } else {
                *second = score.max(*second);
            }
        }
    }

    fn leads(&self, soft: &Soft<'_>, unit: u32, confidence: &mut [u8]) {
        for (cell, (first, second)) in self.best.iter().enumerate().filter(|(cell, _)| soft.known[*cell]) {
            let lead = if soft.classes.len() < 2 { unit } else { first - second };
            confidence[cell] = (lead as u64 * 255 / unit as u64).min(255) as u8;
        }
    }
}

/// Folds `value` over the known cells of each cell's 3x3 neighbourhood, from 0.
fn pool(soft: &Soft<'_>, pooled: &mut Vec<u32>, value: impl Fn(usize) -> u32, fold: impl Fn(u32, u32) -> u32) {
    let (width, height) = (soft.grid.width as usize, soft.grid.height as usize);
    pooled.clear();
    for y in 0..height {
        for x in 0..width {
            let mut folded = 0;
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                let cells = row * width + x.saturating_sub(1)..row * width + (x + 2).min(width);
                folded = cells.filter(|&cell| soft.known[cell]).fold(folded, |folded, cell| fold(folded, value(cell)));
            }
            pooled.push(folded);
        }
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

    fn errors(method: fn(&mut Decider, &Soft<'_>, &mut [u8], &mut [u8]), sigma: f64) -> usize {
        let codes = noisy(sigma);
        let known = [true; 512];
        let soft = Soft { grid: Grid::new(32, 16), codes: &codes, classes: &[2, 5], known: &known, unit: 51 };
        let (mut cells, mut confidence) = ([0; 512], [0; 512]);
        method(&mut Decider::default(), &soft, &mut cells, &mut confidence);
        (0..512).filter(|cell| cells[*cell] != if cell % 32 < 16 { 2 } else { 5 }).count()
    }

    #[test]
    fn each_is_better_on_its_side() {
        assert_eq!(errors(Decider::argmax, 0.1), 0);
        assert!(errors(Decider::fast_denoise, 0.9) < errors(Decider::argmax, 0.9) / 3);
    }

    #[test]
    fn unknown_cells_are_left_alone() {
        let codes = noisy(0.1);
        let mut known = [true; 512];
        known[40] = false;
        let soft = Soft { grid: Grid::new(32, 16), codes: &codes, classes: &[2, 5], known: &known, unit: 51 };
        for method in [Decider::argmax, Decider::fast_denoise] {
            let (mut cells, mut confidence) = ([99; 512], [7; 512]);
            method(&mut Decider::default(), &soft, &mut cells, &mut confidence);
            assert_eq!((cells[40], confidence[40]), (99, 7));
            assert_eq!(cells[41], 2);
            assert!(confidence[41] > 100);
        }
    }
}
