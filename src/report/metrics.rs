//! Scores of maps and decisions against the truth.

use crate::scene::rule::{COLUMNS, HazardSet, PAIRS};
use crate::scene::{LabelSet, Role};

/// Pairs that occur in fewer or more of the frames (of 1000) say little, and are left out of the macro mean.
const PREVALENCE_PERMILLE: core::ops::RangeInclusive<usize> = 20..=980;

/// Pooled confusion counts: `counts[truth][said]`. Cells whose truth is unlabelled are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    scored: Vec<bool>,
    counts: Vec<u64>,
}

impl Confusion {
    pub fn new(labels: &LabelSet) -> Self {
        let classes = labels.len();
        let scored = labels.classes.iter().map(|class| class.role != Role::Unlabelled).collect();
        Confusion { classes, scored, counts: vec![0; classes * classes] }
    }

    /// Counts a cell; `said` may be the unlabelled class, which is then wrong.
    pub fn add(&mut self, truth: u8, said: u8) {
        if self.scored.get(truth as usize) == Some(&true) && (said as usize) < self.classes {
            self.counts[truth as usize * self.classes + said as usize] += 1;
        }
    }

    pub fn merge(&mut self, other: &Confusion) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    pub fn cells(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Share of the cells that are right. `None` without cells.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.classes).map(|class| self.counts[class * self.classes + class]).sum();
        (self.cells() > 0).then(|| right as f64 / self.cells() as f64)
    }

    /// Mean intersection over union, over the scored classes that occur in the truth or in what was said. `None` without cells.
    pub fn mean_iou(&self) -> Option<f64> {
        let ious = (0..self.classes).filter(|&class| self.scored[class]).filter_map(|class| {
            let both = self.counts[class * self.classes + class];
            let truth: u64 = self.counts[class * self.classes..][..self.classes].iter().sum();
            let said: u64 = (0..self.classes).map(|truth| self.counts[truth * self.classes + class]).sum();
            let either = truth + said - both;
            (either > 0).then(|| both as f64 / either as f64)
        });
        let ious: Vec<f64> = ious.collect();
        (!ious.is_empty()).then(|| ious.iter().sum::<f64>() / ious.len() as f64)
    }
}

/// True and false positives and negatives of each zone x type pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HazardCounts {
    pub frames: u64,
    hits: [u32; PAIRS],
    misses: [u32; PAIRS],
    false_alarms: [u32; PAIRS],
}

impl HazardCounts {
    pub fn add(&mut self, truth: HazardSet, said: HazardSet) {
        self.frames += 1;
        for pair in 0..PAIRS {
            match (truth.contains(pair), said.contains(pair)) {
                (true, true) => self.hits[pair] += 1,
                (true, false) => self.misses[pair] += 1,
                (false, true) => self.false_alarms[pair] += 1,
                (false, false) => {}
            }
        }
    }

    pub fn merge(&mut self, other: &HazardCounts) {
        self.frames += other.frames;
        for pair in 0..PAIRS {
            self.hits[pair] += other.hits[pair];
            self.misses[pair] += other.misses[pair];
            self.false_alarms[pair] += other.false_alarms[pair];
        }
    }

    /// Share of the pairs and frames on which both agree. `None` without frames.
    pub fn agreement(&self) -> Option<f64> {
        let wrong: u64 = self.misses.iter().chain(&self.false_alarms).map(|&count| count as u64).sum();
        (self.frames > 0).then(|| 1.0 - wrong as f64 / (self.frames as f64 * PAIRS as f64))
    }

    /// Share of the frames, in thousandths, in which the truth has each pair.
    pub fn prevalence_permille(&self) -> [usize; PAIRS] {
        let frames = self.frames.max(1) as usize;
        core::array::from_fn(|pair| (self.hits[pair] + self.misses[pair]) as usize * 1000 / frames)
    }

    /// The pairs that occur in 2 to 98 % of the frames.
    pub fn scored(&self) -> impl Iterator<Item = usize> {
        let prevalence = self.prevalence_permille();
        (0..PAIRS).filter(move |&pair| PREVALENCE_PERMILLE.contains(&prevalence[pair]))
    }

    /// Mean F1 over `pairs`; a pair that was neither there nor called counts 1. `None` without pairs.
    pub fn macro_f1(&self, pairs: impl Iterator<Item = usize>) -> Option<f64> {
        let scores: Vec<f64> = pairs
            .map(|pair| {
                let wrong = (self.misses[pair] + self.false_alarms[pair]) as f64;
                let hits = 2.0 * self.hits[pair] as f64;
                if hits + wrong == 0.0 { 1.0 } else { hits / (hits + wrong) }
            })
            .collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// How often what was said with a probability is right, in 15 bins of equal width.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reliability {
    /// How many, the sum of their probabilities, how many are right.
    bins: [(u64, f64, u64); 15],
}

impl Reliability {
    /// Counts something that was said with probability `said`, 0 to 1.
    pub fn add(&mut self, said: f64, is_right: bool) {
        let last = self.bins.len() - 1;
        let bin = &mut self.bins[((said * (last + 1) as f64) as usize).min(last)];
        *bin = (bin.0 + 1, bin.1 + said, bin.2 + u64::from(is_right));
    }

    pub fn merge(&mut self, other: &Reliability) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin = (bin.0 + more.0, bin.1 + more.1, bin.2 + more.2);
        }
    }

    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.0).sum()
    }

    /// Expected calibration error (Naeini, Cooper, Hauskrecht 2015): by how much the share that is right is off the mean probability, over the bins. `None`
    /// of nothing.
    pub fn error(&self) -> Option<f64> {
        let off: f64 = self.bins.iter().map(|&(_, said, right)| (said - right as f64).abs()).sum();
        (self.count() > 0).then(|| off / self.count() as f64)
    }

    /// Of each bin with anything in it, the mean probability and the share that is right.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bins
            .iter()
            .filter(|bin| bin.0 > 0)
            .map(|&(count, said, right)| (said / count as f64, right as f64 / count as f64))
    }
}

/// Mean absolute error of the free space over the columns, as a share of the height.
pub fn free_error(truth_permille: &[u16; COLUMNS], said_permille: &[u16; COLUMNS]) -> f64 {
    let total: u32 = truth_permille.iter().zip(said_permille).map(|(a, b)| a.abs_diff(*b) as u32).sum();
    total as f64 / 1000.0 / COLUMNS as f64
}

/// Energy score of `samples` against the `truth` (Gneiting, Raftery 2007, eq. 20, with the samples as the forecast): mean distance to the truth minus half the
/// mean distance among the samples. Lower is better: samples should be near the truth, and as far from each other as the truth may lie from them. `None` without samples.
pub fn energy_score<T>(samples: &[T], truth: &T, distance: impl Fn(&T, &T) -> f64) -> Option<f64> {
    let count = samples.len() as f64;
    let to_truth: f64 = samples.iter().map(|sample| distance(sample, truth)).sum();
    let among: f64 = samples.iter().flat_map(|a| samples.iter().map(|b| distance(a, b))).sum();
    (!samples.is_empty()).then(|| to_truth / count - among / (2.0 * count * count))
}

/// Distance of two class maps: the root of the number of cells that differ, which is that of their one-hot vectors over the root of 2.
pub fn cell_distance(a: &[u8], b: &[u8]) -> f64 {
    libm::sqrt(a.iter().zip(b).filter(|(a, b)| a != b).count() as f64)
}

/// Euclidean distance of two arrays, such as [`block_shares`].
pub fn share_distance(a: &[f32], b: &[f32]) -> f64 {
    libm::sqrt(a.iter().zip(b).map(|(a, b)| ((a - b) * (a - b)) as f64).sum())
}

/// Share of each class in each block of 8 x 8 cells of a map with rows of `width` cells, block by block. Blocks at the right and at the bottom may be smaller.
pub fn block_shares(cells: &[u8], width: usize, classes: usize) -> Vec<f32> {
    const SIDE: usize = 8;
    let (across, down) = (width.div_ceil(SIDE), (cells.len() / width).div_ceil(SIDE));
    let mut counts = vec![0u32; across * down * classes];
    for (index, &class) in cells.iter().enumerate() {
        let block = index / width / SIDE * across + index % width / SIDE;
        counts[block * classes + class as usize] += 1;
    }
    let shares = counts.chunks(classes).flat_map(|block| {
        let all = block.iter().sum::<u32>().max(1) as f32;
        block.iter().map(move |&count| count as f32 / all)
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::CAMVID12;

    #[test]
    fn confusion_by_hand() {
        let mut confusion = Confusion::new(&CAMVID12);
        assert_eq!((confusion.accuracy(), confusion.mean_iou()), (None, None));
        for (truth, said, count) in [(0, 0, 6), (0, 1, 2), (1, 1, 2), (11, 1, 50), (1, 11, 2)] {
            (0..count).for_each(|_| confusion.add(truth, said));
        }
        assert_eq!(confusion.cells(), 12);
        assert_eq!(confusion.accuracy(), Some(8.0 / 12.0));
        // Sky 6 of 8, building 2 of 6; unlabelled is no class to score.
        assert_eq!(confusion.mean_iou(), Some((6.0 / 8.0 + 2.0 / 6.0) / 2.0));
    }

    #[test]
    fn hazards_by_hand() {
        let mut counts = HazardCounts::default();
        for frame in 0..100u32 {
            // Pair 0 always there, pair 1 in half of the frames, pair 2 never.
            let truth = HazardSet(1 | (frame % 2) << 1);
            let said = HazardSet(1 | u32::from(frame % 4 == 1) << 1 | u32::from(frame == 7) << 2);
            counts.add(truth, said);
        }
        assert_eq!(counts.scored().collect::<Vec<_>>(), [1]);
        assert_eq!(counts.macro_f1(counts.scored()), Some(2.0 * 25.0 / (2.0 * 25.0 + 25.0)));
        assert_eq!(counts.agreement(), Some(1.0 - 26.0 / 2700.0));
    }

    #[test]
    fn reliability_by_hand() {
        let mut reliability = Reliability::default();
        assert_eq!((reliability.error(), reliability.points().count()), (None, 0));
        // Said with 0.9, right in three of four; said surely, right.
        (0..4).for_each(|at| reliability.add(0.9, at > 0));
        let mut sure = Reliability::default();
        sure.add(1.0, true);
        reliability.merge(&sure);
        assert_eq!(reliability.count(), 5);
        assert!((reliability.error().unwrap() - 0.6 / 5.0).abs() < 1e-9);
        assert!((reliability.points().next().unwrap().1 - 0.75).abs() < 1e-9);
    }

    #[test]
    fn free_space_error() {
        let mut said = [500; COLUMNS];
        said[0] = 340;
        assert!((free_error(&[500; COLUMNS], &said) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn energy_scores_by_hand() {
        let distance = |a: &f64, b: &f64| (a - b).abs();
        assert_eq!(energy_score(&[], &0.0, distance), None);
        assert_eq!(energy_score(&[3.0], &1.0, distance), Some(2.0));
        // To the truth 1 and 3; among each other 4 in two of the four pairs.
        assert_eq!(energy_score(&[1.0, -3.0], &0.0, distance), Some(2.0 - 8.0 / 8.0));
        assert_eq!(cell_distance(&[0, 1, 2, 3, 4], &[0, 2, 1, 3, 9]), libm::sqrt(3.0));
    }

    #[test]
    fn shares_of_blocks() {
        // 10 x 9 cells, so four blocks, the last one of 2 x 1; class 1 in the first row.
        let cells: Vec<u8> = (0..90).map(|cell| u8::from(cell < 10)).collect();
        let shares = block_shares(&cells, 10, 2);
        assert_eq!(shares, [0.875, 0.125, 0.875, 0.125, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(share_distance(&shares[..2], &shares[4..6]), libm::sqrt(2.0 * 0.125 * 0.125));
    }
}
