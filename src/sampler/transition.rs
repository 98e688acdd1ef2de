//! One step of any scheduler, as the numbers that it multiplies with.
//!
//! Every scheduler here is linear in x, the model's output, the estimates of x0 and the noise, but for the bound on the estimate. So each
//! computes its steps once, in 64 bits, and one loop runs them all.

use super::SchedulerError;
use super::bound::Bound;
use super::prediction::Line;
use alloc::vec::Vec;

/// The times that a model is told, in the scheduler's own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Of x.
    pub t: f32,
    /// Where the step leads to, in `FlowMapEulerDiscreteScheduler` (MeanFlow); 0 elsewhere.
    pub r: f32,
}

/// How much fresh noise a step adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spread {
    Fixed(f64),
    /// The model's second half of channels is the variance.
    Learned,
    /// It tells where the logarithm of the variance lies between these, from -1 to 1.
    LearnedRange {
        low: f64,
        high: f64,
    },
}

/// What the next x is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Next {
    pub x: f64,
    pub output: f64,
    pub x0: f64,
    /// The estimate of the step before.
    pub last_x0: f64,
    pub noise: Spread,
}

impl Next {
    /// Nothing: what to add to.
    pub const NOTHING: Next = Next { x: 0.0, output: 0.0, x0: 0.0, last_x0: 0.0, noise: Spread::Fixed(0.0) };

    /// Along the straight line through x at noise level `from` and the estimate at 0, to level `to`.
    pub fn straight(from: f64, to: f64) -> Next {
        Next { x: to / from, x0: 1.0 - to / from, ..Next::NOTHING }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transition {
    pub times: Times,
    /// The model sees x times this.
    pub input: f64,
    /// `x = signal x0 + sigma z` at this step.
    pub signal: f64,
    pub sigma: f64,
    /// What the bound is put on: x0 as the model sees it.
    pub x0: Line,
    /// The estimate is `bounded` times that, and `skip` times x (the boundary condition of consistency models).
    pub bounded: f64,
    pub skip: f64,
    pub next: Next,
}

impl Transition {
    /// A step of a model that sees x as it is and estimates x0 on the line `x0`.
    pub fn new(t: f64, signal: f64, sigma: f64, x0: Line, next: Next) -> Self {
        let times = Times { t: t as f32, r: 0.0 };
        Transition { times, input: 1.0, signal, sigma, x0, bounded: 1.0, skip: 0.0, next }
    }

    fn is_finite(&self) -> bool {
        let Transition { times, input, signal, sigma, x0, bounded, skip, next } = self;
        let spread = match next.noise {
            Spread::Fixed(level) => level,
            Spread::Learned => 0.0,
            Spread::LearnedRange { low, high } => low + high,
        };
        let all =
            [*input, *signal, *sigma, x0.x, x0.output, *bounded, *skip, next.x, next.output, next.x0, next.last_x0];
        all.into_iter().chain([spread, times.t as f64, times.r as f64]).all(f64::is_finite)
    }
}

/// The steps of a sampler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub transitions: Vec<Transition>,
    pub bound: Bound,
    /// Pure noise begins as this times z.
    pub initial: f64,
}

impl Plan {
    /// # Errors
    /// [`SchedulerError::Singular`] when a step divides by zero.
    pub fn checked(self) -> Result<Self, SchedulerError> {
        match self.transitions.iter().position(|transition| !transition.is_finite()) {
            Some(step) => Err(SchedulerError::Singular { step }),
            None => Ok(self),
        }
    }
}
