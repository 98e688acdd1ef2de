//! `FlowMatchEulerDiscreteScheduler`: Euler's method on a flow (Lipman et al. 2023; the shift of Esser et al. 2024).

use super::betas::train_timesteps;
use super::bound::Bound;
use super::config::Keys;
use super::levels::Grid;
use super::prediction::Line;
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};
use alloc::vec::Vec;

/// The configuration of a `FlowMatchEulerDiscreteScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowMatchEulerDiscreteScheduler {
    train: u32,
    shift: f64,
    dynamic: Option<Dynamic>,
    shift_terminal: Option<f64>,
    inverted: bool,
    stochastic: bool,
    grid: Grid,
}

/// `time_shift_type`, where `use_dynamic_shifting` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dynamic {
    Exponential,
    Linear,
}

/// `shift`, for both classes of flows.
pub(super) fn shift(keys: &mut Keys) -> Result<f64, SchedulerError> {
    keys.number("shift", 1.0, 0.001..=1000.0, "a number from 0.001 to 1000")
}

/// Moves a noise level towards 1 where `shift` is above 1.
pub(super) fn shifted(shift: f64, sigma: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

impl FlowMatchEulerDiscreteScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let is_dynamic = keys.flag("use_dynamic_shifting", false)?;
        let kinds = [("exponential", Dynamic::Exponential), ("linear", Dynamic::Linear)];
        let kind = keys.word("time_shift_type", &kinds, Dynamic::Exponential, "\"exponential\" or \"linear\"")?;
        let terminal = keys.optional_number("shift_terminal", 0.0..=0.999, "null or a number from 0 to 0.999")?;
        // What pipelines compute mu from: they give it, and the scheduler doesn't use these.
        for key in ["base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"] {
            keys.optional_number(key, 0.0..=1e9, "null or a number from 0 to 1000000000")?;
        }
        let scheduler = FlowMatchEulerDiscreteScheduler {
            train: train_timesteps(keys, 1000)?,
            shift: shift(keys)?,
            dynamic: is_dynamic.then_some(kind),
            shift_terminal: terminal.filter(|&terminal| terminal > 0.0),
            inverted: keys.flag("invert_sigmas", false)?,
            stochastic: keys.flag("stochastic_sampling", false)?,
            grid: Grid::read(keys)?,
        };
        if scheduler.inverted && scheduler.stochastic {
            let reason = "only one of them can be true: the sample would end in noise";
            return Err(SchedulerError::Conflict { keys: "invert_sigmas, stochastic_sampling", reason });
        }
        Ok(scheduler)
    }

    /// `steps` noise levels from 1 down, before 0.
    fn levels(&self, request: &Request) -> Result<Vec<f64>, SchedulerError> {
        let mu = match (self.dynamic, request.mu) {
            (Some(_), None) => {
                let expected = "given, since the configuration has use_dynamic_shifting";
                return Err(SchedulerError::Request { field: "mu", expected });
            }
            (_, mu) => mu.unwrap_or(0.0) as f64,
        };
        let shift = |sigma: f64| match self.dynamic {
            None => shifted(self.shift, sigma),
            Some(Dynamic::Exponential) => libm::exp(mu) / (libm::exp(mu) + (1.0 / sigma - 1.0)),
            Some(Dynamic::Linear) => mu / (mu + (1.0 / sigma - 1.0)),
        };
        // The lowest level of the training is shifted twice, as diffusers does.
        let lowest = 1.0 / self.train as f64;
        let lowest = if self.dynamic.is_some() { lowest } else { shifted(self.shift, lowest) } as f32 as f64;
        let stride = (lowest - 1.0) / request.steps.saturating_sub(1).max(1) as f64;
        let mut levels: Vec<f64> = (0..request.steps).map(|step| shift(1.0 + step as f64 * stride)).collect();
        let (first, last) = (levels[0], levels[request.steps - 1]);
        if let Some(terminal) = self.shift_terminal {
            let scale = (1.0 - last) / (1.0 - terminal);
            levels.iter_mut().for_each(|level| *level = 1.0 - (1.0 - *level) / scale);
        }
        let last = if self.shift_terminal.is_some() { levels[request.steps - 1] } else { last };
        Ok(self.grid.levels(first, last, request.steps)?.unwrap_or(levels))
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let levels: Vec<f64> = self.levels(request)?.into_iter().map(|level| level as f32 as f64).collect();
        let train = self.train as f64;
        let transition = |(step, &sigma): (usize, &f64)| {
            let to = levels.get(step + 1).copied().unwrap_or(0.0);
            // Inverted, time counts the signal, and the model says the way towards x0.
            let (time, sign) = if self.inverted { (1.0 - sigma, 1.0) } else { (sigma, -1.0) };
            let next = if self.stochastic {
                Next { x0: 1.0 - to, noise: Spread::Fixed(to), ..Next::NOTHING }
            } else {
                Next::straight(sigma, to)
            };
            let x0 = Line { x: 1.0, output: sign * sigma };
            Transition::new(time * train, 1.0 - sigma, sigma, x0, next)
        };
        let transitions = levels.iter().enumerate().map(transition).collect();
        Ok(Plan { transitions, bound: Bound::None, initial: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<FlowMatchEulerDiscreteScheduler, SchedulerError> {
        FlowMatchEulerDiscreteScheduler::read(&mut Keys::parse(text)?)
    }

    /// The reference's levels.
    #[test]
    fn the_lowest_level_is_shifted_twice() {
        let levels = read(br#"{"shift": 3}"#).unwrap().levels(&Request::steps(4)).unwrap();
        for (level, expected) in levels.iter().zip([1.0, 0.857692, 0.602151, 0.008929]) {
            assert!((level - expected).abs() < 5e-7, "{levels:?}");
        }
    }

    #[test]
    fn what_cannot_be_sampled_is_refused() {
        let dynamic = read(br#"{"use_dynamic_shifting": true}"#).unwrap();
        assert!(matches!(dynamic.plan(&Request::steps(4)), Err(SchedulerError::Request { field: "mu", .. })));
        assert!(dynamic.plan(&Request { mu: Some(1.0), ..Request::steps(4) }).is_ok());
        assert!(read(br#"{"shift": 0}"#).is_err());
        assert!(read(br#"{"use_beta_sigmas": true}"#).is_err());
        assert!(read(br#"{"invert_sigmas": true, "stochastic_sampling": true}"#).is_err());
    }
}
