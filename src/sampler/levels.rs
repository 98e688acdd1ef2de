//! Noise levels of the variance-exploding form, `x = x0 + sigma z`, and the training timesteps that they belong to.

use super::SchedulerError;
use super::config::Keys;
use alloc::vec::Vec;

/// Exponent of the Karras grid where a class has no key for it.
const RHO: f64 = 7.0;

/// What takes the place of the levels at the timesteps: `use_karras_sigmas`, `use_exponential_sigmas`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub kind: GridKind,
    /// Bounds that take the place of the schedule's own.
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GridKind {
    /// The levels at the timesteps.
    Timesteps,
    /// Karras et al. 2022, eq. 5.
    Karras,
    /// Even in the logarithm.
    Exponential,
}

impl Grid {
    /// Reads `use_karras_sigmas`, `use_exponential_sigmas`, `use_beta_sigmas`, `sigma_min`, `sigma_max`.
    pub fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let karras = keys.flag("use_karras_sigmas", false)?;
        let exponential = keys.flag("use_exponential_sigmas", false)?;
        if keys.flag("use_beta_sigmas", false)? {
            let reason = "sigmas from the beta distribution are not supported, only use_karras_sigmas and use_exponential_sigmas";
            return Err(SchedulerError::Conflict { keys: "use_beta_sigmas", reason });
        }
        let kind = match (karras, exponential) {
            (false, false) => GridKind::Timesteps,
            (true, false) => GridKind::Karras,
            (false, true) => GridKind::Exponential,
            (true, true) => {
                let reason = "only one of them can be true";
                return Err(SchedulerError::Conflict { keys: "use_karras_sigmas, use_exponential_sigmas", reason });
            }
        };
        let (range, expected) = (1e-6..=1e6, "null or a number from 0.000001 to 1000000");
        let sigma_min = keys.optional_number("sigma_min", range.clone(), expected)?;
        let sigma_max = keys.optional_number("sigma_max", range, expected)?;
        if let (Some(min), Some(max)) = (sigma_min, sigma_max) {
            ordered(min, max)?;
        }
        Ok(Grid { kind, sigma_min, sigma_max })
    }

    /// `steps` levels between `high` and `low`, or the bounds of the configuration; `None` at the timesteps.
    ///
    /// # Errors
    /// When a bound of the configuration is on the wrong side of the schedule's.
    pub fn levels(&self, high: f64, low: f64, steps: usize) -> Result<Option<Vec<f64>>, SchedulerError> {
        let (high, low) = (self.sigma_max.unwrap_or(high), self.sigma_min.unwrap_or(low));
        if self.kind == GridKind::Timesteps {
            return Ok(None);
        }
        if low > high {
            ordered(low, high)?;
        }
        Ok(Some(if self.kind == GridKind::Karras {
            karras(high, low, RHO, steps)
        } else {
            exponential(high, low, steps)
        }))
    }
}

/// # Errors
/// [`SchedulerError::Conflict`] unless `min` is below `max`.
pub(super) fn ordered(min: f64, max: f64) -> Result<(), SchedulerError> {
    if min < max {
        Ok(())
    } else {
        Err(SchedulerError::Conflict { keys: "sigma_min, sigma_max", reason: "sigma_min should be below sigma_max" })
    }
}

/// Levels of Karras et al. 2022 from `high` to `low`, both included.
fn karras(high: f64, low: f64, rho: f64, steps: usize) -> Vec<f64> {
    ramp(steps).map(|at| karras_at(high, low, rho, at)).collect()
}

/// The level at `at`, 0 at `high` and 1 at `low`.
pub(super) fn karras_at(high: f64, low: f64, rho: f64, at: f64) -> f64 {
    let (high, low) = (libm::pow(high, 1.0 / rho), libm::pow(low, 1.0 / rho));
    libm::pow(high + at * (low - high), rho)
}

/// Levels from `high` to `low`, both included, even in the logarithm.
pub(super) fn exponential(high: f64, low: f64, steps: usize) -> Vec<f64> {
    let (high, low) = (libm::log(high), libm::log(low));
    ramp(steps).map(|at| libm::exp(high + at * (low - high))).collect()
}

/// `steps` values from 0 to 1; 0 alone where there is one.
fn ramp(steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |step| step as f64 / steps.saturating_sub(1).max(1) as f64)
}

/// The level of every training timestep, rising.
pub(super) fn of_process(abar: &[f32]) -> Vec<f32> {
    abar.iter().map(|&abar| libm::sqrtf((1.0 - abar) / abar)).collect()
}

/// The level at a timestep between two.
pub(super) fn interpolate(levels: &[f32], timestep: f64) -> f64 {
    let below = (libm::floor(timestep) as usize).min(levels.len() - 1);
    let above = (below + 1).min(levels.len() - 1);
    let (low, high) = (levels[below] as f64, levels[above] as f64);
    low + (high - low) * (timestep - below as f64).clamp(0.0, 1.0)
}

/// The logarithm of a level, rounded as in diffusers: on it hangs which timestep a level that is cut to a whole one belongs to.
pub(super) fn logarithm(level: f32) -> f64 {
    libm::log(level as f64) as f32 as f64
}

/// The timestep between two whose level is `sigma`, even in the logarithm.
pub(super) fn timestep_of(levels: &[f32], sigma: f64) -> f64 {
    let sigma = libm::log(sigma.max(1e-10));
    // From above: where a process ends without signal, the last level can lie below the one before it.
    let not_above = levels.iter().rposition(|&level| logarithm(level) <= sigma).unwrap_or(0);
    let below = not_above.min(levels.len().saturating_sub(2));
    let above = (below + 1).min(levels.len() - 1);
    let (low, high) = (logarithm(levels[below]), logarithm(levels[above]));
    let share = ((low - sigma) / (low - high)).clamp(0.0, 1.0);
    (1.0 - share) * below as f64 + share * above as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_and_levels_lead_to_each_other() {
        let levels = [0.01, 0.1, 1.0, 10.0];
        assert_eq!(interpolate(&levels, 2.0), 1.0);
        assert_eq!(interpolate(&levels, 2.5), 5.5);
        assert_eq!(interpolate(&levels, 7.0), 10.0);
        assert!((timestep_of(&levels, 1.0) - 2.0).abs() < 1e-6);
        assert!((timestep_of(&levels, 0.031_622_777) - 0.5).abs() < 1e-6);
        assert_eq!((timestep_of(&levels, 0.001), timestep_of(&levels, 99.0)), (0.0, 3.0));
    }

    #[test]
    fn grids_hold_both_ends() {
        let grid = karras(80.0, 0.002, 7.0, 3);
        assert!((grid[0] - 80.0).abs() < 1e-9 && (grid[1] - 2.5152).abs() < 1e-3 && (grid[2] - 0.002).abs() < 1e-12);
        let grid = exponential(100.0, 1.0, 3);
        assert!((grid[1] - 10.0).abs() < 1e-9 && (grid[2] - 1.0).abs() < 1e-9);
    }
}
