//! `LCMScheduler`: multistep sampling of latent consistency models (Luo et al. 2023).

use super::betas::{Process, Rise};
use super::bound::Bound;
use super::config::Keys;
use super::prediction::Prediction;
use super::spacing::{Spacing, check_steps, offset};
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};
use alloc::vec::Vec;

/// `sigma_data` of the boundary condition, which has no key.
const SIGMA_DATA: f64 = 0.5;

/// The configuration of an `LCMScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct LcmScheduler {
    distilled: Distilled,
    bound: Bound,
    timestep_scaling: f64,
}

/// What LCM and TCD share: a process, and the timesteps that the model was distilled on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distilled {
    pub process: Process,
    pub prediction: Prediction,
    original_inference_steps: u32,
}

impl Distilled {
    pub fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let process = Process::read(keys, 0.00085, 0.012, Rise::ScaledLinear)?;
        let expected = "a whole number from 1 to num_train_timesteps";
        let original_inference_steps = keys.count("original_inference_steps", 50, 1..=process.train(), expected)?;
        if original_inference_steps > process.train() {
            let reason = "the original steps should not be more than the timesteps";
            return Err(SchedulerError::Conflict { keys: "original_inference_steps, num_train_timesteps", reason });
        }
        // Neither class uses these in sampling.
        keys.flag("set_alpha_to_one", true)?;
        offset(keys)?;
        Spacing::read(keys, Spacing::Leading)?;
        Ok(Distilled { process, prediction: Prediction::read(keys)?, original_inference_steps })
    }

    /// `steps` of the timesteps that the model was distilled on, falling.
    pub fn timesteps(&self, steps: usize) -> Result<Vec<i64>, SchedulerError> {
        check_steps(steps, self.original_inference_steps, "original_inference_steps")?;
        let original = self.original_inference_steps as usize;
        let ratio = self.process.train() as usize / original;
        let stride = original as f64 / steps as f64;
        let skipped = (0..steps).map(|step| (step as f64 * stride) as usize);
        Ok(skipped.map(|skipped| ((original - skipped) * ratio) as i64 - 1).collect())
    }

    /// Abar at a timestep of the schedule.
    pub fn abar(&self, timestep: i64) -> f64 {
        // The schedule stays within the process, whose timestep 0 is the lowest.
        self.process.abar(timestep.max(0), 1.0).unwrap_or(1.0)
    }
}

impl LcmScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        Ok(LcmScheduler {
            distilled: Distilled::read(keys)?,
            bound: Bound::read(keys, false)?,
            timestep_scaling: keys.number("timestep_scaling", 10.0, 0.0..=1e6, "a number from 0 to 1000000")?,
        })
    }

    pub(super) fn process(&self) -> &Process {
        &self.distilled.process
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.distilled.prediction
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let timesteps = self.distilled.timesteps(request.steps)?;
        let transition = |(step, &timestep): (usize, &i64)| {
            let abar = self.distilled.abar(timestep);
            let (signal, sigma) = (libm::sqrt(abar), libm::sqrt(1.0 - abar));
            let next = match timesteps.get(step + 1) {
                None => Next { x0: 1.0, ..Next::NOTHING },
                Some(&next) => {
                    let abar = self.distilled.abar(next);
                    Next { x0: libm::sqrt(abar), noise: Spread::Fixed(libm::sqrt(1.0 - abar)), ..Next::NOTHING }
                }
            };
            let scaled = timestep as f64 * self.timestep_scaling;
            let squares = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
            let x0 = self.distilled.prediction.x0(signal, sigma);
            Transition {
                bounded: scaled / libm::sqrt(squares),
                skip: SIGMA_DATA * SIGMA_DATA / squares,
                ..Transition::new(timestep as f64, signal, sigma, x0, next)
            }
        };
        Ok(Plan {
            transitions: timesteps.iter().enumerate().map(transition).collect(),
            bound: self.bound,
            initial: 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_steps_of_fifty() {
        let scheduler = LcmScheduler::read(&mut Keys::parse(b"{}").unwrap()).unwrap();
        assert_eq!(scheduler.distilled.timesteps(4).unwrap(), [999, 759, 499, 259]);
        assert!(scheduler.distilled.timesteps(51).is_err());
        let boundary = &scheduler.plan(&Request::steps(4)).unwrap().transitions[0];
        assert!((boundary.skip - 0.25 / (9990.0 * 9990.0 + 0.25)).abs() < 1e-15);
        assert!((boundary.bounded - 1.0).abs() < 1e-8);
    }
}
