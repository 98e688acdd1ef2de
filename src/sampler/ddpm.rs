//! `DDPMScheduler`: the ancestral sampler of denoising diffusion models (Ho, Jain, Abbeel 2020).

use super::betas::Process;
use super::config::Keys;
use super::ddim::Visited;
use super::prediction::Prediction;
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};

/// The configuration of a `DDPMScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdpmScheduler {
    visited: Visited,
    variance: Variance,
}

/// `variance_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variance {
    /// That of the posterior.
    Small,
    /// Beta.
    Large,
    Learned,
    /// Between the two, in the logarithm (Nichol, Dhariwal 2021).
    LearnedRange,
}

const VARIANCES: [(&str, Variance); 5] = [
    ("fixed_small", Variance::Small),
    ("fixed_small_log", Variance::Small),
    ("fixed_large", Variance::Large),
    ("learned", Variance::Learned),
    ("learned_range", Variance::LearnedRange),
];

impl DdpmScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        // fixed_large_log is the square root of a logarithm in diffusers: NaN.
        let expected = "\"fixed_small\", \"fixed_small_log\", \"fixed_large\", \"learned\" or \"learned_range\"";
        Ok(DdpmScheduler {
            visited: Visited::read(keys)?,
            variance: keys.word("variance_type", &VARIANCES, Variance::Small, expected)?,
        })
    }

    /// Whether the model's second half of channels is a variance that the step needs.
    pub(super) fn learns_variance(&self) -> bool {
        matches!(self.variance, Variance::Learned | Variance::LearnedRange)
    }

    pub(super) fn process(&self) -> &Process {
        &self.visited.process
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.visited.prediction
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let prediction = self.visited.prediction;
        let timesteps = self.visited.timesteps(request.steps)?;
        let transition = |(step, &(timestep, abar)): (usize, &(i64, f64))| {
            let abar_next = timesteps.get(step + 1).map_or(1.0, |next| next.1);
            let alpha = abar / abar_next;
            let (signal, sigma) = (libm::sqrt(abar), libm::sqrt(1.0 - abar));
            let small = ((1.0 - abar_next) / (1.0 - abar) * (1.0 - alpha)).max(1e-20);
            let noise = match self.variance {
                _ if timestep == 0 => Spread::Fixed(0.0),
                Variance::Small => Spread::Fixed(libm::sqrt(small)),
                Variance::Large => Spread::Fixed(libm::sqrt(1.0 - alpha)),
                Variance::Learned => Spread::Learned,
                Variance::LearnedRange => Spread::LearnedRange { low: libm::log(small), high: libm::log(1.0 - alpha) },
            };
            let next = Next {
                x: libm::sqrt(alpha) * (1.0 - abar_next) / (1.0 - abar),
                x0: libm::sqrt(abar_next) * (1.0 - alpha) / (1.0 - abar),
                noise,
                ..Next::NOTHING
            };
            Transition::new(timestep as f64, signal, sigma, prediction.x0(signal, sigma), next)
        };
        let transitions = timesteps.iter().enumerate().map(transition).collect();
        Ok(Plan { transitions, bound: self.visited.bound, initial: 1.0 })
    }
}
