//! `EulerDiscreteScheduler`: Euler's method on the probability flow (Karras et al. 2022, algorithm 1), without churn.

use super::betas::{Process, Rise};
use super::bound::Bound;
use super::config::Keys;
use super::levels::{self, Grid};
use super::prediction::{Line, Prediction};
use super::spacing::{Spacing, check_steps, offset};
use super::transition::{Next, Plan, Transition};
use super::{Request, SchedulerError};
use alloc::vec::Vec;

/// Abar where it would be 0, so that the noise level stays finite.
pub(super) const LEAST_ABAR: f32 = 1.0 / (1 << 24) as f32;

/// The configuration of an `EulerDiscreteScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct EulerDiscreteScheduler {
    train: u32,
    /// The noise level of each training timestep.
    levels: Vec<f32>,
    prediction: Prediction,
    logarithmic: bool,
    continuous: bool,
    spacing: Spacing,
    offset: u32,
    grid: Grid,
    ends_at_zero: bool,
}

const PREDICTIONS: [(&str, Prediction); 4] = [
    ("epsilon", Prediction::Epsilon),
    ("v_prediction", Prediction::Velocity),
    ("sample", Prediction::Sample),
    ("original_sample", Prediction::Sample),
];

/// The noise level of every training timestep, with one for the last where the process ends without signal.
pub(super) fn finite_levels(process: &Process) -> Vec<f32> {
    let mut levels = levels::of_process(process.table());
    if let Some(last) = levels.last_mut().filter(|_| process.zero_snr) {
        *last = levels::of_process(&[LEAST_ABAR])[0];
    }
    levels
}

/// `final_sigmas_type`: whether the last step leads to 0, not to the level of the first training timestep.
pub(super) fn ends_at_zero(keys: &mut Keys) -> Result<bool, SchedulerError> {
    keys.word("final_sigmas_type", &[("zero", true), ("sigma_min", false)], true, "\"zero\" or \"sigma_min\"")
}

impl EulerDiscreteScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let process = Process::read(keys, 0.0001, 0.02, Rise::Linear)?;
        let expected = "\"epsilon\", \"v_prediction\" or \"sample\"";
        let prediction = keys.word("prediction_type", &PREDICTIONS, Prediction::Epsilon, expected)?;
        let interpolations = [("linear", false), ("log_linear", true)];
        let times = [("discrete", false), ("continuous", true)];
        Ok(EulerDiscreteScheduler {
            train: process.train(),
            levels: finite_levels(&process),
            prediction,
            logarithmic: keys.word("interpolation_type", &interpolations, false, "\"linear\" or \"log_linear\"")?,
            continuous: keys.word("timestep_type", &times, false, "\"discrete\" or \"continuous\"")?,
            spacing: Spacing::read(keys, Spacing::Linspace)?,
            offset: offset(keys)?,
            grid: Grid::read(keys)?,
            ends_at_zero: ends_at_zero(keys)?,
        })
    }

    /// The timesteps that the model is told, and the noise levels: one more, where the sample ends.
    fn schedule(&self, steps: usize) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
        let timesteps = self.spacing.timesteps(self.train, self.train, steps, steps, self.offset);
        let mut timesteps: Vec<f64> = timesteps.into_iter().map(|timestep| timestep as f32 as f64).collect();
        let (lowest, highest) = (self.levels[0] as f64, self.levels[self.levels.len() - 1] as f64);
        let mut sigmas = if self.logarithmic {
            levels::exponential(highest, lowest, steps + 1)
        } else {
            timesteps.iter().map(|&timestep| levels::interpolate(&self.levels, timestep)).collect()
        };
        if let Some(grid) = self.grid.levels(sigmas[0], sigmas[sigmas.len() - 1], steps)? {
            timesteps = grid.iter().map(|&sigma| levels::timestep_of(&self.levels, sigma)).collect();
            sigmas = grid;
        }
        sigmas.push(if self.ends_at_zero { 0.0 } else { lowest });
        let sigmas: Vec<f64> = sigmas.into_iter().map(|sigma| sigma as f32 as f64).collect();
        if self.continuous && self.prediction == Prediction::Velocity {
            // With log_linear one more than was asked for, as in diffusers.
            let visited = &sigmas[..sigmas.len() - 1];
            timesteps = visited.iter().map(|&sigma| 0.25 * libm::log(sigma)).collect();
        }
        Ok((timesteps, sigmas))
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.prediction
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        check_steps(request.steps, self.train, "num_train_timesteps")?;
        let (timesteps, sigmas) = self.schedule(request.steps)?;
        let transition = |(timestep, ends): (f64, &[f64])| {
            let (from, to) = (ends[0], ends[1]);
            let squares = from * from + 1.0;
            let x0 = match self.prediction {
                Prediction::Velocity => Line { x: 1.0 / squares, output: -from / libm::sqrt(squares) },
                prediction => prediction.x0(1.0, from),
            };
            Transition {
                input: 1.0 / libm::sqrt(squares),
                ..Transition::new(timestep, 1.0, from, x0, Next::straight(from, to))
            }
        };
        let highest = sigmas.iter().copied().fold(0.0, f64::max);
        let initial = match self.spacing {
            Spacing::Leading => libm::sqrt(highest * highest + 1.0),
            Spacing::Linspace | Spacing::Trailing => highest,
        };
        let transitions = timesteps.into_iter().zip(sigmas.windows(2)).map(transition).collect();
        Ok(Plan { transitions, bound: Bound::None, initial })
    }
}
