//! What the last answers weigh in a cache's own, by least squares.

use crate::sampler::{Turns, Weights};

/// Added to the diagonal, in shares of its mean: answers of neighbouring steps are nearly the same.
const RIDGE: f64 = 1e-4;
/// Added to the variance of a class: cells that are sure count a little.
const SURE: f32 = 1e-3;
/// Weights have four decimals.
const DECIMALS: f64 = 1e4;

/// Sums over samples of the products of what the model gave at two steps.
#[derive(Debug, Clone)]
pub(super) struct Products {
    steps: usize,
    /// Of logits less their mean in the cell, in cells that had not arrived, as the answer at a third step is wrong by them: by the variance of
    /// each class there. Third, first and second step.
    logits: Vec<f64>,
    /// Of deep features; first and second step.
    deep: Vec<f64>,
}

/// What the model gave at the steps of a sample that had no cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub logits: Vec<Vec<f32>>,
    /// Empty where the model gives none.
    pub deep: Vec<Vec<f32>>,
}

impl Products {
    pub fn new(steps: usize) -> Self {
        Products { steps, logits: vec![0.0; steps * steps * steps], deep: vec![0.0; steps * steps] }
    }

    /// Adds a sample, where `known` tells the cells that had arrived.
    pub fn add(&mut self, seen: &Seen, known: &[bool]) {
        let lost: Vec<usize> = (0..known.len()).filter(|&cell| !known[cell]).collect();
        let centered: Vec<Vec<f32>> = seen.logits.iter().map(|logits| centered(logits, known.len(), &lost)).collect();
        for target in 0..self.steps {
            let variance = variance(&centered[target], lost.len());
            for first in 0..=target {
                let weighed: Vec<f32> = centered[first].iter().zip(&variance).map(|(x, weight)| x * weight).collect();
                let row = &mut self.logits[(target * self.steps + first) * self.steps..];
                for (sum, other) in row.iter_mut().zip(&centered[..=target]) {
                    *sum += product(&weighed, other);
                }
            }
        }
        for (first, one) in seen.deep.iter().enumerate() {
            for (second, other) in seen.deep.iter().enumerate() {
                self.deep[first * self.steps + second] += product(one, other);
            }
        }
    }

    /// `turns` with the weights with which their sums come nearest to what the model gave.
    pub fn fitted(&self, turns: Turns) -> Turns {
        let text = turns.to_string();
        let skipped = text.bytes().enumerate().filter(|(_, letter)| *letter != b'W');
        let weights: Vec<Weights> = skipped
            .map(|(step, letter)| {
                let of = if letter == b'S' { &self.deep } else { &self.logits[step * self.steps * self.steps..] };
                let at = |first: usize, second: usize| of[first * self.steps + second];
                least_squares(&turns.sources(step), step, at)
            })
            .collect();
        turns.clone().weighed(&weights).unwrap_or(turns)
    }
}

/// Logits of the `lost` cells less their mean over the classes, the classes of a cell together.
fn centered(logits: &[f32], cells: usize, lost: &[usize]) -> Vec<f32> {
    let classes = logits.len() / cells;
    let mut centered = Vec::with_capacity(classes * lost.len());
    for &cell in lost {
        let of = |class: usize| logits[class * cells + cell];
        let mean = (0..classes).map(of).sum::<f32>() / classes as f32;
        centered.extend((0..classes).map(|class| of(class) - mean));
    }
    centered
}

/// p (1 − p) of each class, and a little more.
fn variance(logits: &[f32], cells: usize) -> Vec<f32> {
    let mut variance = logits.to_vec();
    for cell in variance.chunks_exact_mut((logits.len() / cells.max(1)).max(1)) {
        let highest = cell.iter().copied().fold(f32::MIN, f32::max);
        cell.iter_mut().for_each(|x| *x = libm::expf(*x - highest));
        let sum: f32 = cell.iter().sum();
        cell.iter_mut().for_each(|x| *x = *x / sum * (1.0 - *x / sum) + SURE);
    }
    variance
}

fn product(one: &[f32], other: &[f32]) -> f64 {
    // Sums of 64 don't lose what matters, and are vector instructions.
    let sum = |(one, other): (&[f32], &[f32])| one.iter().zip(other).map(|(x, y)| x * y).sum::<f32>();
    one.chunks(64).zip(other.chunks(64)).map(|pair| f64::from(sum(pair))).sum()
}

/// The weights of `sources` by which their sum is nearest to `target`, from products.
fn least_squares(sources: &[usize], target: usize, product: impl Fn(usize, usize) -> f64) -> Weights {
    let count = sources.len();
    let ridge = RIDGE * sources.iter().map(|&source| product(source, source)).sum::<f64>() / count.max(1) as f64;
    let row = |&own: &usize| {
        let mut row: Vec<f64> = sources.iter().map(|&other| product(own, other)).collect();
        row.push(product(own, target));
        row
    };
    let mut rows: Vec<Vec<f64>> = sources.iter().map(row).collect();
    for (at, row) in rows.iter_mut().enumerate() {
        row[at] += ridge;
    }
    // Gauss and Jordan: the matrix is positive definite, no row has to change places.
    for at in 0..count {
        let pivot = rows[at].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let factor = row[at] / pivot[at];
            row.iter_mut().zip(&pivot).for_each(|(x, y)| *x -= factor * y);
        }
    }
    let weight = |at: usize| (rows[at][count] / rows[at][at] * DECIMALS).round() / DECIMALS;
    (0..count).map(|at| weight(at) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_sums_of_earlier_ones_are_found() {
        // Two cells of three classes, the first arrived; the answer at step 3 is 2 · that at 2 − 0.5 · that at 0, plus what is the same in every class.
        let logits = |of: [f32; 3]| vec![9.0, of[0], -9.0, of[1], 0.0, of[2]];
        let (zero, two) = ([3.0, -1.0, 0.5], [1.0, 2.0, -0.5]);
        let three: [f32; 3] = core::array::from_fn(|class| 2.0 * two[class] - 0.5 * zero[class] + 5.0);
        let deep = |value: f32| vec![value, 1.0, -value];
        let seen = Seen {
            logits: [zero, [7.0, 0.0, 0.0], two, three].map(logits).to_vec(),
            deep: [0.5, 1.0, 1.5, 2.0].map(deep).to_vec(),
        };
        let mut products = Products::new(4);
        products.add(&seen, &[true, false]);
        let weights = |text| {
            let fitted = products.fitted(Turns::parse(text).unwrap());
            fitted.weights().last().unwrap().to_vec()
        };
        let near = |found: Vec<f32>, right: &[f32]| {
            assert!(
                found.len() == right.len() && found.iter().zip(right).all(|(a, b)| (a - b).abs() < 0.01),
                "{found:?}"
            );
        };
        near(weights("W-W-"), &[2.0, -0.5]);
        near(weights("W-WS"), &[1.5, -0.5]);
    }
}
