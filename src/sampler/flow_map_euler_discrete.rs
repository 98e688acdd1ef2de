//! `FlowMapEulerDiscreteScheduler`: models of the mean velocity between two times (Geng et al. 2025), `x <- x - (t - r) u(x, t, r)`.

use super::betas::train_timesteps;
use super::bound::Bound;
use super::config::Keys;
use super::flow_match_euler_discrete::{shift, shifted};
use super::prediction::Line;
use super::transition::{Next, Plan, Times, Transition};
use super::{Request, SchedulerError};

/// The configuration of a `FlowMapEulerDiscreteScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowMapEulerDiscreteScheduler {
    train: u32,
    shift: f64,
}

impl FlowMapEulerDiscreteScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        Ok(FlowMapEulerDiscreteScheduler { train: train_timesteps(keys, 1000)?, shift: shift(keys)? })
    }

    /// x0 is estimated as if the mean velocity of the step lasted to the end, which it does on the last step alone.
    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let level = |step: usize| shifted(self.shift, 1.0 - step as f64 / request.steps as f64);
        let time = |sigma: f64| (sigma * self.train as f64) as f32;
        let transition = |step: usize| {
            let (from, to) = (level(step), level(step + 1));
            let x0 = Line { x: 1.0, output: -from };
            Transition {
                times: Times { t: time(from), r: time(to) },
                ..Transition::new(0.0, 1.0 - from, from, x0, Next::straight(from, to))
            }
        };
        Ok(Plan { transitions: (0..request.steps).map(transition).collect(), bound: Bound::None, initial: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_tells_the_model_where_it_leads() {
        let scheduler = FlowMapEulerDiscreteScheduler::read(&mut Keys::parse(b"{}").unwrap()).unwrap();
        let plan = scheduler.plan(&Request::steps(2)).unwrap();
        let times = [plan.transitions[0].times, plan.transitions[1].times];
        assert_eq!(times, [Times { t: 1000.0, r: 500.0 }, Times { t: 500.0, r: 0.0 }]);
    }
}
