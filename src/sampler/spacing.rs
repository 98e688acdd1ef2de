//! Which training timesteps a sampler visits.

use super::SchedulerError;
use super::config::Keys;
use alloc::vec::Vec;

/// `timestep_spacing` (Lin et al. 2024, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    /// Even from the last timestep down to 0.
    Linspace,
    /// Whole multiples from 0 up: the last timesteps are left out.
    Leading,
    /// Even from the last timestep down, without 0.
    Trailing,
}

const SPACINGS: [(&str, Spacing); 3] =
    [("linspace", Spacing::Linspace), ("leading", Spacing::Leading), ("trailing", Spacing::Trailing)];

impl Spacing {
    pub fn read(keys: &mut Keys, default: Spacing) -> Result<Self, SchedulerError> {
        keys.word("timestep_spacing", &SPACINGS, default, "\"linspace\", \"leading\" or \"trailing\"")
    }

    /// `steps` falling timesteps of the first `last` of `train`: with `points` = `steps`, or `steps` + 1 where the lowest one is
    /// where the sample ends. `offset` is added to leading ones. Those of linspace are not whole.
    pub fn timesteps(self, train: u32, last: u32, points: usize, steps: usize, offset: u32) -> Vec<f64> {
        let last = last as f64;
        let descending = (points - steps..points).rev();
        match self {
            Spacing::Linspace => {
                // numpy's order of operations, so that ties round to the same side.
                let step = (last - 1.0) / points.saturating_sub(1).max(1) as f64;
                let at = |index| if index > 0 && index + 1 == points { last - 1.0 } else { index as f64 * step };
                descending.map(at).collect()
            }
            Spacing::Leading => {
                let ratio = last as u32 / points as u32;
                descending.map(|index| (index as u32 * ratio + offset) as f64).collect()
            }
            Spacing::Trailing => {
                let ratio = train as f64 / steps as f64;
                let step = (last - ratio) - last;
                let down = (0..steps).map(|index| libm::rint(last + index as f64 * step) - 1.0);
                down.take_while(|&timestep| timestep >= 0.0).collect()
            }
        }
    }
}

/// `steps_offset`.
pub(super) fn offset(keys: &mut Keys) -> Result<u32, SchedulerError> {
    keys.count("steps_offset", 0, 0..=super::betas::MAX_TRAIN, "a whole number from 0 to 10000")
}

/// Whole timesteps, ties to even.
pub(super) fn rounded(timesteps: Vec<f64>) -> Vec<i64> {
    timesteps.into_iter().map(|timestep| libm::rint(timestep) as i64).collect()
}

/// Whether `steps` is from 1 to `most`.
///
/// # Errors
/// [`SchedulerError::Steps`] with `limit`, the key that sets the bound.
pub(super) fn check_steps(steps: usize, most: u32, limit: &'static str) -> Result<(), SchedulerError> {
    if (1..=most as usize).contains(&steps) {
        Ok(())
    } else {
        Err(SchedulerError::Steps { steps, most: most as usize, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_trailing_and_linspace() {
        let whole = |spacing: Spacing, steps, offset| rounded(spacing.timesteps(1000, 1000, steps, steps, offset));
        assert_eq!(whole(Spacing::Leading, 4, 0), [750, 500, 250, 0]);
        assert_eq!(whole(Spacing::Leading, 5, 1), [801, 601, 401, 201, 1]);
        assert_eq!(whole(Spacing::Trailing, 4, 0), [999, 749, 499, 249]);
        assert_eq!(whole(Spacing::Linspace, 4, 0), [999, 666, 333, 0]);
        assert_eq!(whole(Spacing::Linspace, 1, 0), [0]);
        assert_eq!(rounded(Spacing::Linspace.timesteps(1000, 1000, 3, 2, 0)), [999, 500]);
        // 1000 - 61 * (1000 / 61) is not quite 0: the reference takes a 62nd step there, at timestep -1.
        assert_eq!(whole(Spacing::Trailing, 61, 0).len(), 61);
    }
}
