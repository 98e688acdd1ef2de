//! `CMStochasticIterativeScheduler`: multistep sampling of consistency models (Song et al. 2023, algorithm 1).

use super::bound::Bound;
use super::config::Keys;
use super::levels::{karras_at, ordered};
use super::prediction::Line;
use super::spacing::check_steps;
use super::transition::{Next, Plan, Spread, Transition};
use super::{Karras, Request, SchedulerError, betas};

/// The configuration of a `CMStochasticIterativeScheduler`.
#[derive(Debug, Clone, PartialEq)]
pub struct CmStochasticIterativeScheduler {
    train: u32,
    sigma_min: f64,
    sigma_max: f64,
    sigma_data: f64,
    s_noise: f64,
    rho: f64,
    bound: Bound,
}

impl Default for CmStochasticIterativeScheduler {
    fn default() -> Self {
        CmStochasticIterativeScheduler {
            train: 40,
            sigma_min: 0.002,
            sigma_max: 80.0,
            sigma_data: 0.5,
            s_noise: 1.0,
            rho: 7.0,
            bound: Bound::Clip(1.0),
        }
    }
}

impl CmStochasticIterativeScheduler {
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let default = Self::default();
        let (levels, expected) = (1e-6..=1e4, "a number from 0.000001 to 10000");
        let scheduler = CmStochasticIterativeScheduler {
            train: betas::train_timesteps(keys, default.train)?,
            sigma_min: keys.number("sigma_min", default.sigma_min, levels.clone(), expected)?,
            sigma_max: keys.number("sigma_max", default.sigma_max, levels.clone(), expected)?,
            sigma_data: keys.number("sigma_data", default.sigma_data, levels, expected)?,
            s_noise: keys.number("s_noise", default.s_noise, 0.0..=100.0, "a number from 0 to 100")?,
            rho: keys.number("rho", default.rho, 1.0..=100.0, "a number from 1 to 100")?,
            bound: if keys.flag("clip_denoised", true)? { default.bound } else { Bound::None },
        };
        ordered(scheduler.sigma_min, scheduler.sigma_max)?;
        Ok(scheduler)
    }

    /// The grid of noise levels, for samplers that place steps on it themselves.
    pub fn karras(&self) -> Karras {
        Karras { sigma_min: self.sigma_min as f32, sigma_max: self.sigma_max as f32, rho: self.rho as f32 }
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, SchedulerError> {
        let (min, max, data) = (self.sigma_min, self.sigma_max, self.sigma_data);
        check_steps(request.steps, self.train, "num_train_timesteps")?;
        let stride = self.train as usize / request.steps;
        // A grid of one point is its upper end.
        let at = |step: usize| (step * stride) as f64 / self.train.saturating_sub(1).max(1) as f64;
        let level = |step| karras_at(max, min, self.rho, at(step)) as f32 as f64;
        let transition = |step: usize| {
            let sigma = level(step);
            let next = if step + 1 < request.steps { level(step + 1).clamp(min, max) } else { min };
            let squares = sigma * sigma + data * data;
            let skip = data * data / ((sigma - min) * (sigma - min) + data * data);
            // The model sees x scaled to unit variance; the boundary condition holds for x itself.
            let x0 = Line { x: skip, output: (sigma - min) * data / libm::sqrt(squares) };
            let noise = Spread::Fixed(self.s_noise * libm::sqrt(next * next - min * min));
            let time = 250.0 * libm::log(karras_at(max, min, self.rho, at(step)) + 1e-44);
            Transition {
                input: 1.0 / libm::sqrt(squares),
                ..Transition::new(time, 1.0, sigma, x0, Next { x0: 1.0, noise, ..Next::NOTHING })
            }
        };
        Ok(Plan { transitions: (0..request.steps).map(transition).collect(), bound: self.bound, initial: max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_adds_no_noise() {
        let plan = CmStochasticIterativeScheduler::default().plan(&Request::steps(2)).unwrap();
        let [first, last] = &plan.transitions[..] else { panic!("two steps") };
        assert_eq!((first.sigma, last.next.noise), (80.0, Spread::Fixed(0.0)));
        // Step 20 of 0..=39 on the grid.
        assert!((last.sigma - 2.1).abs() < 0.5, "{}", last.sigma);
        assert!(CmStochasticIterativeScheduler::default().plan(&Request::steps(41)).is_err());
    }

    #[test]
    fn bounds_that_cross_are_refused() {
        let read = |text: &[u8]| CmStochasticIterativeScheduler::read(&mut Keys::parse(text).unwrap());
        assert_eq!(read(b"{}"), Ok(CmStochasticIterativeScheduler::default()));
        assert!(read(br#"{"rho": 0}"#).is_err());
        assert!(read(br#"{"sigma_min": 9, "sigma_max": 3}"#).is_err());
        // 0 in 32 bits.
        assert!(read(br#"{"sigma_min": 1e-300}"#).is_err());
    }
}
