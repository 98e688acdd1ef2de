//! `DPMSolverMultistepScheduler`: DPM-Solver++ of orders 1 and 2, without and with noise (Lu et al. 2022).

use super::betas::{Process, Rise};
use super::bound::Bound;
use super::config::Keys;
use super::euler_discrete::{ends_at_zero, finite_levels};
use super::flow_match_euler_discrete::shifted;
use super::levels::{self, Grid, GridKind};
use super::prediction::Prediction;
use super::spacing::{Spacing, check_steps, offset, rounded};
use super::transition::{Next, Plan, Spread, Transition};
use super::{Request, SchedulerError};
use alloc::vec::Vec;

/// Below this many steps the last one is of order 1, where `lower_order_final` holds.
const FEW_STEPS: usize = 15;

/// The configuration of a `DPMSolverMultistepScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct DpmSolverMultistepScheduler {
    train: u32,
    /// The noise level of each training timestep.
    levels: Vec<f32>,
    prediction: Prediction,
    bound: Bound,
    order: u32,
    stochastic: bool,
    solver: Solver,
    lower_order_final: bool,
    euler_at_final: bool,
    path: Path,
    ends_at_zero: bool,
    spacing: Spacing,
    offset: u32,
    /// Timesteps from this one on are not visited: `lambda_min_clipped` cuts them off.
    end: u32,
}

/// `solver_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Solver {
    Midpoint,
    Heun,
}

/// Where the noise levels come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Path {
    /// The timesteps, or a grid whose timesteps may be rounded.
    Process { grid: Grid, rounds: bool },
    /// All levels of the process, even in the logarithm: `use_lu_lambdas`.
    Lu { rounds: bool },
    /// A flow with this `flow_shift`, which a caller may give instead.
    Flow { shift: f64, dynamic: bool },
}

const ALGORITHMS: [(&str, bool); 3] = [("dpmsolver++", false), ("sde-dpmsolver++", true), ("deis", false)];
const SOLVERS: [(&str, Solver); 5] = [
    ("midpoint", Solver::Midpoint),
    ("heun", Solver::Heun),
    // Those of DEIS and UniPC, which diffusers takes for the midpoint.
    ("logrho", Solver::Midpoint),
    ("bh1", Solver::Midpoint),
    ("bh2", Solver::Midpoint),
];
const PREDICTIONS: [(&str, Prediction); 4] = [
    ("epsilon", Prediction::Epsilon),
    ("v_prediction", Prediction::Velocity),
    ("sample", Prediction::Sample),
    ("flow_prediction", Prediction::Flow),
];

impl Path {
    fn read(keys: &mut Keys, rise: Rise) -> Result<Self, SchedulerError> {
        let grid = Grid::read(keys)?;
        let is_lu = keys.flag("use_lu_lambdas", false)?;
        let is_flow = keys.flag("use_flow_sigmas", false)?;
        let shift = keys.number("flow_shift", 1.0, 0.001..=1000.0, "a number from 0.001 to 1000")?;
        let dynamic = keys.flag("use_dynamic_shifting", false)?;
        keys.word("time_shift_type", &[("exponential", ())], (), "\"exponential\"")?;
        let rounds = rise != Rise::SquaredCosine;
        if is_flow && (is_lu || grid.kind != GridKind::Timesteps) {
            return Err(SchedulerError::Conflict {
                keys: "use_flow_sigmas",
                reason: "a flow has levels of its own, and can't be true beside use_karras_sigmas, use_exponential_sigmas or use_lu_lambdas",
            });
        }
        // A grid goes before Lu's, as in diffusers.
        Ok(match grid.kind {
            GridKind::Timesteps if is_lu => Path::Lu { rounds },
            GridKind::Timesteps if is_flow => Path::Flow { shift, dynamic },
            kind => Path::Process { grid, rounds: rounds && kind == GridKind::Karras },
        })
    }
}

impl DpmSolverMultistepScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let process = Process::read(keys, 0.0001, 0.02, Rise::Linear)?;
        let levels = finite_levels(&process);
        let predictions = "\"epsilon\", \"v_prediction\", \"sample\" or \"flow_prediction\"";
        let algorithms = "\"dpmsolver++\" or \"sde-dpmsolver++\"";
        let any = f64::NEG_INFINITY..=f64::INFINITY;
        // Lambda is the logarithm of signal over noise: minus that of the level.
        let lambda_min = keys.number("lambda_min_clipped", f64::NEG_INFINITY, any, "a number or -Infinity")?;
        let end = levels.partition_point(|&level| -libm::log(level as f64) >= lambda_min) as u32;
        // The model's output is taken by its first half, whatever the second one is.
        keys.string("variance_type");
        Ok(DpmSolverMultistepScheduler {
            train: process.train(),
            levels,
            prediction: keys.word("prediction_type", &PREDICTIONS, Prediction::Epsilon, predictions)?,
            bound: Bound::read_thresholding(keys)?,
            order: keys.count("solver_order", 2, 1..=2, "1 or 2")?,
            stochastic: keys.word("algorithm_type", &ALGORITHMS, false, algorithms)?,
            solver: keys.word("solver_type", &SOLVERS, Solver::Midpoint, "\"midpoint\" or \"heun\"")?,
            lower_order_final: keys.flag("lower_order_final", true)?,
            euler_at_final: keys.flag("euler_at_final", false)?,
            path: Path::read(keys, process.rise)?,
            ends_at_zero: ends_at_zero(keys)?,
            spacing: Spacing::read(keys, Spacing::Linspace)?,
            offset: offset(keys)?,
            end,
        })
    }

    /// The timesteps that the model is told, and the noise levels: one more, where the sample ends.
    fn schedule(&self, request: &Request) -> Result<(Vec<i64>, Vec<f64>), SchedulerError> {
        let steps = request.steps;
        let (lowest, highest) = (self.levels[0] as f64, self.levels[self.levels.len() - 1] as f64);
        let timestep_of = |sigma: &f64| levels::timestep_of(&self.levels, *sigma);
        let on_grid = |grid: Vec<f64>, rounds: bool| {
            let timesteps = grid.iter().map(timestep_of);
            let timesteps =
                timesteps.map(|timestep| if rounds { libm::rint(timestep) as i64 } else { timestep as i64 });
            (timesteps.collect(), grid)
        };
        let (timesteps, mut sigmas): (Vec<i64>, Vec<f64>) = match self.path {
            Path::Process { grid, rounds } => match grid.levels(highest, lowest, steps)? {
                Some(grid) => on_grid(grid, rounds),
                None => {
                    let timesteps = self.spacing.timesteps(self.train, self.end, steps + 1, steps, self.offset);
                    let timesteps = rounded(timesteps);
                    let level = |&timestep: &i64| levels::interpolate(&self.levels, timestep as f64);
                    let sigmas = timesteps.iter().map(level).collect();
                    (timesteps, sigmas)
                }
            },
            Path::Lu { rounds } => {
                let bound = |level: f64| libm::exp(levels::logarithm(level as f32));
                on_grid(levels::exponential(bound(highest), bound(lowest), steps), rounds)
            }
            Path::Flow { shift, dynamic } => {
                let shift = request.mu.filter(|_| dynamic).map_or(shift, |mu| libm::exp(mu as f64));
                let highest = 1.0 - 1.0 / self.train as f64;
                let sigmas = (0..steps).map(|step| shifted(shift, highest * (1.0 - step as f64 / steps as f64)));
                let sigmas: Vec<f64> = sigmas.collect();
                (sigmas.iter().map(|sigma| (sigma * self.train as f64) as i64).collect(), sigmas)
            }
        };
        sigmas.push(if self.ends_at_zero { 0.0 } else { lowest });
        Ok((timesteps, sigmas.into_iter().map(|sigma| sigma as f32 as f64).collect()))
    }

    /// Signal and noise at a noise level.
    fn signal_and_noise(&self, sigma: f64) -> (f64, f64) {
        match self.path {
            Path::Flow { .. } => (1.0 - sigma, sigma),
            Path::Process { .. } | Path::Lu { .. } => {
                let signal = 1.0 / libm::sqrt(sigma * sigma + 1.0);
                (signal, sigma * signal)
            }
        }
    }

    /// Half the logarithm of the signal-to-noise ratio.
    fn lambda(&self, sigma: f64) -> f64 {
        let (signal, noise) = self.signal_and_noise(sigma);
        libm::log(signal) - libm::log(noise)
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The step `begin` is of order 1, since it has no estimate before it.
    pub(super) fn plan(&self, request: &Request, begin: usize) -> Result<Plan, SchedulerError> {
        check_steps(request.steps, self.train, "num_train_timesteps")?;
        if (self.end as usize) < request.steps + 1 {
            let reason = "too few timesteps are left above it";
            return Err(SchedulerError::Conflict { keys: "lambda_min_clipped", reason });
        }
        let (timesteps, sigmas) = self.schedule(request)?;
        let is_first_order = |step: usize| {
            let is_last = step + 1 == timesteps.len();
            let few = self.lower_order_final && timesteps.len() < FEW_STEPS;
            self.order == 1 || step <= begin || is_last && (self.euler_at_final || few || self.ends_at_zero)
        };
        let transition = |(step, &timestep): (usize, &i64)| {
            let (from, to) = (sigmas[step], sigmas[step + 1]);
            let (signal, noise) = self.signal_and_noise(from);
            let (signal_to, noise_to) = self.signal_and_noise(to);
            let h = self.lambda(to) - self.lambda(from);
            // With noise, the way is twice as long.
            let way = if self.stochastic { 2.0 * h } else { h };
            let kept = libm::exp(-way);
            let (x, fresh) = match self.stochastic {
                // Rounding can leave a step to the level where it is a little below it.
                true => (noise_to / noise * libm::exp(-h), noise_to * libm::sqrt((1.0 - kept).max(0.0))),
                false => (noise_to / noise, 0.0),
            };
            let toward = signal_to * (1.0 - kept);
            let mut next = Next { x, x0: toward, noise: Spread::Fixed(fresh), ..Next::NOTHING };
            // Where a grid ends at the last level, the last step goes nowhere.
            if !is_first_order(step) && h != 0.0 {
                let slope = match self.solver {
                    Solver::Midpoint => 0.5 * toward,
                    Solver::Heun => signal_to * (1.0 - (1.0 - kept) / way),
                };
                // How much longer this step is than the last one.
                let ratio = h / (self.lambda(from) - self.lambda(sigmas[step - 1]));
                next.x0 += slope * ratio;
                next.last_x0 = -slope * ratio;
            }
            Transition::new(timestep as f64, signal, noise, self.prediction.x0(signal, noise), next)
        };
        let transitions = timesteps.iter().enumerate().map(transition).collect();
        Ok(Plan { transitions, bound: self.bound, initial: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DpmSolverMultistepScheduler, SchedulerError> {
        DpmSolverMultistepScheduler::read(&mut Keys::parse(text.as_bytes())?)
    }

    #[test]
    fn the_first_step_and_the_last_of_few_are_of_order_1() {
        let scheduler = read("{}").unwrap();
        let history = |begin| {
            let plan = scheduler.plan(&Request::steps(5), begin).unwrap();
            plan.transitions.iter().map(|step| step.next.last_x0 != 0.0).collect::<Vec<_>>()
        };
        assert_eq!(history(0), [false, true, true, true, false]);
        assert_eq!(history(2)[2..], [false, true, false]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_its_key() {
        for (text, key) in [
            (r#"{"solver_order": 3}"#, "solver_order"),
            (r#"{"algorithm_type": "dpmsolver"}"#, "algorithm_type"),
            (r#"{"prediction_type": "noise"}"#, "prediction_type"),
            (r#"{"use_karras_sigmas": true, "use_exponential_sigmas": true}"#, "use_karras_sigmas"),
            (r#"{"sigma_min": 3, "sigma_max": 1}"#, "sigma_min"),
        ] {
            let error = std::format!("{}", read(text).unwrap_err());
            assert!(error.starts_with(key), "{error}");
        }
        let clipped = read(r#"{"lambda_min_clipped": 100}"#).unwrap();
        assert!(matches!(clipped.plan(&Request::steps(5), 0), Err(SchedulerError::Conflict { .. })));
        assert_eq!(read(r#"{"lambda_min_clipped": -Infinity}"#).unwrap().end, 1000);
    }
}
