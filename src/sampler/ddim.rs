//! `DDIMScheduler`: denoising diffusion implicit models (Song, Meng, Ermon 2021).

use super::betas::{Process, Rise};
use super::bound::Bound;
use super::config::Keys;
use super::prediction::Prediction;
use super::spacing::{Spacing, check_steps, offset, rounded};
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};
use alloc::vec::Vec;

/// The configuration of a `DDIMScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdimScheduler {
    visited: Visited,
    set_alpha_to_one: bool,
}

/// What DDIM and DDPM share: a process, which of its timesteps are visited, and what the model says there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Visited {
    pub process: Process,
    pub prediction: Prediction,
    pub bound: Bound,
    spacing: Spacing,
    offset: u32,
}

impl Visited {
    pub fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        Ok(Visited {
            process: Process::read(keys, 0.0001, 0.02, Rise::Linear)?,
            prediction: Prediction::read(keys)?,
            bound: Bound::read(keys, true)?,
            spacing: Spacing::read(keys, Spacing::Leading)?,
            offset: offset(keys)?,
        })
    }

    /// `steps` falling timesteps with abar at each.
    pub fn timesteps(&self, steps: usize) -> Result<Vec<(i64, f64)>, SchedulerError> {
        let train = self.process.train();
        check_steps(steps, train, "num_train_timesteps")?;
        let timesteps = rounded(self.spacing.timesteps(train, train, steps, steps, self.offset)).into_iter();
        let with_abar = timesteps.map(|timestep| Some((timestep, self.process.abar(timestep, 1.0)?)));
        with_abar.collect::<Option<_>>().ok_or(SchedulerError::Conflict {
            keys: "steps_offset, num_train_timesteps",
            reason: "the first timestep lies beyond the last one of the training",
        })
    }
}

impl DdimScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        Ok(DdimScheduler { visited: Visited::read(keys)?, set_alpha_to_one: keys.flag("set_alpha_to_one", true)? })
    }

    pub(super) fn process(&self) -> &Process {
        &self.visited.process
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.visited.prediction
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let Visited { process, prediction, bound, .. } = &self.visited;
        let eta = request.eta.unwrap_or(0.0) as f64;
        // Not the next timestep of the list: with an offset, or even spacing, they differ.
        let stride = process.train() as i64 / request.steps as i64;
        let last = if self.set_alpha_to_one { 1.0 } else { process.table()[0] as f64 };
        let transition = |(timestep, abar): (i64, f64)| {
            let abar_next = process.abar(timestep - stride, last).unwrap_or(last);
            let (signal, sigma) = (libm::sqrt(abar), libm::sqrt(1.0 - abar));
            let epsilon = prediction.epsilon(signal, sigma);
            let variance = (1.0 - abar_next) / (1.0 - abar) * (1.0 - abar / abar_next);
            let fresh = eta * libm::sqrt(variance.max(0.0));
            let toward = libm::sqrt((1.0 - abar_next - fresh * fresh).max(0.0));
            let next = Next {
                x: toward * epsilon.x,
                output: toward * epsilon.output,
                x0: libm::sqrt(abar_next),
                noise: Spread::Fixed(fresh),
                ..Next::NOTHING
            };
            Transition::new(timestep as f64, signal, sigma, prediction.x0(signal, sigma), next)
        };
        let transitions = self.visited.timesteps(request.steps)?.into_iter().map(transition).collect();
        Ok(Plan { transitions, bound: *bound, initial: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_with_an_offset_stay_inside() {
        let read = |text: &[u8]| DdimScheduler::read(&mut Keys::parse(text).unwrap()).unwrap();
        let timesteps = read(br#"{"steps_offset": 1}"#).visited.timesteps(5).unwrap();
        assert_eq!(timesteps.iter().map(|(timestep, _)| *timestep).collect::<Vec<_>>(), [801, 601, 401, 201, 1]);
        let error = read(br#"{"steps_offset": 201}"#).plan(&Request::steps(5)).unwrap_err();
        assert!(matches!(error, SchedulerError::Conflict { .. }));
        assert!(read(br#"{"num_train_timesteps": 4}"#).plan(&Request::steps(5)).is_err());
    }
}
