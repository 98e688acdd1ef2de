//! Answers of a model, continued by the polynomial through the last ones.

use alloc::vec;
use alloc::vec::Vec;

/// Most answers that a forecast looks back on.
pub const ANSWERS: usize = 3;

/// The last answers, the newest first, as many as the order asks for and one more.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Forecast {
    answers: heapless::Vec<Answer, ANSWERS>,
    /// How many of them belong to this sample.
    kept: usize,
}

#[derive(Debug, Clone)]
struct Answer {
    step: usize,
    output: Vec<f32>,
}

impl Forecast {
    /// Of `order` 0, 1 or 2: the last answer, a line or a parabola, where there are answers enough.
    pub fn new(order: usize, outputs: usize) -> Self {
        let answers = (0..=order).map(|_| Answer { step: 0, output: vec![0.0; outputs] }).take(ANSWERS).collect();
        Forecast { answers, kept: 0 }
    }

    pub fn begin(&mut self) {
        self.kept = 0;
    }

    /// The step of the last answer, where there are as many as the order asks for.
    pub fn last_of_enough(&self) -> Option<usize> {
        (self.kept == self.answers.len()).then(|| self.answers[0].step)
    }

    pub fn keep(&mut self, step: usize, output: &[f32]) {
        self.answers.rotate_right(1);
        self.answers[0].step = step;
        self.answers[0].output.copy_from_slice(output);
        self.kept = (self.kept + 1).min(self.answers.len());
    }

    /// Fills `output` by Newton's formula on the answers that there are; leaves it alone where there is none.
    pub fn recall(&self, step: usize, output: &mut [f32]) {
        let at = |index: usize| self.answers[index].step as f32;
        let now = step as f32;
        match &self.answers[..self.kept] {
            [] => {}
            [last] => output.copy_from_slice(&last.output),
            [last, before] => {
                let ahead = (now - at(0)) / (at(0) - at(1));
                for ((output, last), before) in output.iter_mut().zip(&last.output).zip(&before.output) {
                    *output = last + ahead * (last - before);
                }
            }
            [last, before, first, ..] => {
                let (slope, next) = (1.0 / (at(0) - at(1)), 1.0 / (at(1) - at(2)));
                let (ahead, curve) = (now - at(0), (now - at(0)) * (now - at(1)) / (at(0) - at(2)));
                let answers = last.output.iter().zip(&before.output).zip(&first.output);
                for (output, ((last, before), first)) in output.iter_mut().zip(answers) {
                    let line = (last - before) * slope;
                    *output = last + ahead * line + curve * (line - (before - first) * next);
                }
            }
        }
    }

    /// Fills `output` with the sum of the last answers, the newest first, as much as they weigh; leaves it alone where there are fewer.
    pub fn weigh(&self, weights: &[f32], output: &mut [f32]) {
        if weights.is_empty() || weights.len() > self.kept {
            return;
        }
        output.fill(0.0);
        for (answer, weight) in self.answers.iter().zip(weights) {
            for (output, value) in output.iter_mut().zip(&answer.output) {
                *output += weight * value;
            }
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.answers.iter().map(|answer| size_of_val(&answer.output[..])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_continued() {
        for (order, polynomial) in [(1, [1.0, 2.0, 0.0]), (2, [1.0, 2.0, -0.5])] {
            let value = |step: usize| {
                let step = step as f32;
                polynomial[0] + step * (polynomial[1] + step * polynomial[2])
            };
            let mut forecast = Forecast::new(order, 1);
            for _ in 0..2 {
                forecast.begin();
                let mut output = [7.0];
                forecast.recall(0, &mut output);
                assert_eq!((output, forecast.last_of_enough()), ([7.0], None));
                forecast.keep(0, &[9.0]);
                forecast.recall(1, &mut output);
                assert_eq!(output, [9.0]);
                [1, 2, 5].iter().for_each(|&step| forecast.keep(step, &[value(step)]));
                assert_eq!(forecast.last_of_enough(), Some(5));
                forecast.recall(8, &mut output);
                assert!((output[0] - value(8)).abs() < 1e-4, "{output:?}");
                forecast.weigh(&[0.5, 2.0], &mut output);
                assert_eq!(output, [0.5 * value(5) + 2.0 * value(2)]);
            }
        }
    }
}
