//! Answers of a model, continued in a straight line.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::swap;

/// The last two answers.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Forecast {
    interval: usize,
    /// Steps that gave an answer: the last one, and the one before it.
    steps: [Option<usize>; 2],
    last: Vec<f32>,
    before: Vec<f32>,
}

impl Forecast {
    pub fn new(interval: usize, outputs: usize) -> Self {
        Forecast { interval, steps: [None; 2], last: vec![0.0; outputs], before: vec![0.0; outputs] }
    }

    pub fn begin(&mut self) {
        self.steps = [None; 2];
    }

    /// A line needs two answers.
    pub fn is_due(&self, step: usize) -> bool {
        match self.steps {
            [Some(last), Some(_)] => step - last >= self.interval,
            _ => true,
        }
    }

    pub fn keep(&mut self, step: usize, output: &[f32]) {
        swap(&mut self.last, &mut self.before);
        self.steps = [Some(step), self.steps[0]];
        self.last.copy_from_slice(output);
    }

    pub fn recall(&self, step: usize, output: &mut [f32]) {
        let [Some(last), Some(before)] = self.steps else { return };
        let ahead = (step - last) as f32 / (last - before) as f32;
        for ((output, last), before) in output.iter_mut().zip(&self.last).zip(&self.before) {
            *output = last + ahead * (last - before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued_and_renewed() {
        let mut forecast = Forecast::new(3, 1);
        for _ in 0..2 {
            forecast.begin();
            let asked: Vec<usize> = (0..9)
                .filter(|&step| {
                    let (is_due, value) = (forecast.is_due(step), 2.0 * step as f32 + 1.0);
                    let mut output = [value];
                    match is_due {
                        true => forecast.keep(step, &output),
                        false => forecast.recall(step, &mut output),
                    }
                    assert_eq!(output, [value]);
                    is_due
                })
                .collect();
            assert_eq!(asked, [0, 1, 4, 7]);
        }
    }
}
