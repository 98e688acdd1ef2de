//! How far the input of a model has moved since it was asked.

use alloc::vec;
use alloc::vec::Vec;

/// The last answer, and the changes since.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Change {
    threshold: f32,
    steps: usize,
    /// Of the relative changes from step to step since the last answer.
    sum: f64,
    input: Vec<f32>,
    output: Vec<f32>,
    has_output: bool,
}

impl Change {
    pub fn new(threshold: f32, inputs: usize, outputs: usize) -> Self {
        let (input, output) = (vec![0.0; inputs], vec![0.0; outputs]);
        Change { threshold, steps: 0, sum: 0.0, input, output, has_output: false }
    }

    pub fn begin(&mut self, steps: usize) {
        (self.steps, self.has_output) = (steps, false);
    }

    /// Whether the changes add up to the threshold with this `input`, which is new at every step.
    pub fn is_due(&mut self, step: usize, input: &[f32]) -> bool {
        let (mut moved, mut size) = (0.0, 0.0);
        for (now, before) in input.iter().zip(&self.input) {
            moved += (now - before).abs() as f64;
            size += before.abs() as f64;
        }
        self.input.copy_from_slice(input);
        self.sum += moved / size.max(f64::MIN_POSITIVE);
        !self.has_output || self.sum >= self.threshold as f64 || step + 1 == self.steps
    }

    pub fn keep(&mut self, output: &[f32]) {
        self.output.copy_from_slice(output);
        (self.sum, self.has_output) = (0.0, true);
    }

    pub fn recall(&self, output: &mut [f32]) {
        output.copy_from_slice(&self.output);
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.input[..]) + size_of_val(&self.output[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_when_changes_add_up_and_at_the_end() {
        let mut change = Change::new(0.25, 1, 1);
        for _ in 0..2 {
            change.begin(6);
            let mut asked = Vec::new();
            // Relative changes 0.1, 0.1, 0.1, 0, 0.
            for (step, input) in [1.0, 1.1, 1.21, 1.331, 1.331, 1.331].into_iter().enumerate() {
                let mut output = [step as f32];
                match change.is_due(step, &[input]) {
                    true => {
                        change.keep(&output);
                        asked.push(step);
                    }
                    false => change.recall(&mut output),
                }
                assert_eq!(output[0] as usize, *asked.last().unwrap());
            }
            assert_eq!(asked, [0, 3, 5]);
        }
    }
}
