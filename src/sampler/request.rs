//! What a caller asks of a scheduler beside its configuration.

use super::transition::Transition;
use super::{MAX_STEPS, SchedulerError};

/// Where a sample begins.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Start {
    /// At the first step.
    #[default]
    First,
    /// At this step, counted from 0.
    Step(usize),
    /// With this share of the steps left, above 0, at most 1: img2img's `strength`.
    Strength(f64),
    /// At the last step that has at least the noise of a channel with this signal-to-noise ratio, a power ratio above 0, for unit
    /// signal power. In dB: `10^(dB / 10)`.
    Snr(f32),
}

/// How to sample. [`Request::steps`] gives diffusers' defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// 1..=[`MAX_STEPS`], counted from pure noise.
    pub steps: usize,
    pub start: Start,
    /// Share of fresh noise, 0..=1, of DDIM (0 where `None`) and TCD (0.3).
    pub eta: Option<f32>,
    /// The shift of a flow with `use_dynamic_shifting`, which diffusers' pipelines compute from the size of the image.
    pub mu: Option<f32>,
}

impl Request {
    /// `steps` steps from pure noise.
    pub fn steps(steps: usize) -> Self {
        Request { steps, start: Start::First, eta: None, mu: None }
    }

    pub(super) fn check(&self) -> Result<(), SchedulerError> {
        if !(1..=MAX_STEPS).contains(&self.steps) {
            return Err(SchedulerError::Steps { steps: self.steps, most: MAX_STEPS, limit: "any sampler" });
        }
        if self.eta.is_some_and(|eta| !(0.0..=1.0).contains(&eta)) {
            return Err(SchedulerError::Request { field: "eta", expected: "from 0 to 1" });
        }
        if self.mu.is_some_and(|mu| !(-20.0..=20.0).contains(&mu)) {
            return Err(SchedulerError::Request { field: "mu", expected: "from -20 to 20" });
        }
        Ok(())
    }
}

impl Start {
    /// The index of the step to begin with.
    pub(super) fn index(self, transitions: &[Transition]) -> Result<usize, SchedulerError> {
        let steps = transitions.len();
        let wrong = |expected| SchedulerError::Request { field: "start", expected };
        match self {
            Start::First => Ok(0),
            Start::Step(step) if step < steps => Ok(step),
            Start::Step(_) => Err(wrong("a step below the number of steps")),
            Start::Strength(strength) => {
                // As diffusers' pipelines count.
                let left = (steps as f64 * strength) as usize;
                let in_range = (0.0..=1.0).contains(&strength) && left > 0;
                if in_range { Ok(steps - left) } else { Err(wrong("a strength that leaves 1 step or more, at most 1")) }
            }
            Start::Snr(snr) if snr > 0.0 && snr.is_finite() => {
                let noisy = |step: &Transition| step.sigma * step.sigma * snr as f64 >= step.signal * step.signal;
                Ok(transitions.iter().rposition(noisy).unwrap_or(0))
            }
            Start::Snr(_) => Err(wrong("a signal-to-noise ratio above 0")),
        }
    }
}
