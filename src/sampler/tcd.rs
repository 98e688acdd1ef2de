//! `TCDScheduler`: strategic stochastic sampling of trajectory consistency models (Zheng et al. 2024).

use super::betas::Process;
use super::bound::Bound;
use super::config::Keys;
use super::lcm::Distilled;
use super::prediction::Prediction;
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};

/// Share of fresh noise when nobody asks for another: the default of diffusers' `step`.
const ETA: f32 = 0.3;

/// The configuration of a `TCDScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct TcdScheduler {
    distilled: Distilled,
}

impl TcdScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let distilled = Distilled::read(keys)?;
        // Keys of the class that its step leaves alone.
        Bound::read(keys, false)?;
        keys.number("timestep_scaling", 10.0, 0.0..=1e6, "a number from 0 to 1000000")?;
        Ok(TcdScheduler { distilled })
    }

    pub(super) fn process(&self) -> &Process {
        &self.distilled.process
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.distilled.prediction
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let Distilled { prediction, .. } = self.distilled;
        let eta = request.eta.unwrap_or(ETA) as f64;
        let timesteps = self.distilled.timesteps(request.steps)?;
        let transition = |(step, &timestep): (usize, &i64)| {
            let abar = self.distilled.abar(timestep);
            let (signal, sigma) = (libm::sqrt(abar), libm::sqrt(1.0 - abar));
            let (x0, epsilon) = (prediction.x0(signal, sigma), prediction.epsilon(signal, sigma));
            let next = timesteps.get(step + 1).copied();
            // First without noise to s, below the next timestep, then up again with noise. In 32 bits, as diffusers rounds.
            let s = libm::floorf((1.0 - eta) as f32 * next.unwrap_or(0) as f32) as i64;
            let abar_s = self.distilled.abar(s);
            let (up, fresh) = match next {
                Some(next) if eta > 0.0 => {
                    let left = self.distilled.abar(next) / abar_s;
                    (libm::sqrt(left), libm::sqrt(1.0 - left))
                }
                _ => (1.0, 0.0),
            };
            let toward = up * libm::sqrt(1.0 - abar_s);
            let next = Next {
                x: toward * epsilon.x,
                output: toward * epsilon.output,
                x0: up * libm::sqrt(abar_s),
                noise: Spread::Fixed(fresh),
                ..Next::NOTHING
            };
            Transition::new(timestep as f64, signal, sigma, x0, next)
        };
        Ok(Plan {
            transitions: timesteps.iter().enumerate().map(transition).collect(),
            bound: Bound::None,
            initial: 1.0,
        })
    }
}
