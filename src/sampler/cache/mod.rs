//! Caches: steps that compute less, from what an earlier step left.

mod change;
mod forecast;
mod memory;
mod profile;
mod turns;

pub(super) use forecast::Forecast;
pub(super) use memory::{Memory, Turn};
pub use profile::{MAX_LEVELS, Profile};
pub use turns::{Turns, Weights};

use super::{MAX_STEPS, SchedulerError};

/// Which steps compute less, and how. The first step of a sample is always whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cache {
    /// DeepCache (Ma, Fang, Wang 2024): one of `interval` steps runs the whole model, the others its shallow part on the deep feature of
    /// that one.
    Deep { interval: usize },
    /// One of `interval` guided steps asks without the condition, the others reuse its difference.
    Difference { interval: usize },
    /// TaylorSeer (Liu et al. 2025) of order 1 on the model's output: one of `interval` steps asks the model, the others continue the
    /// line through the last two answers.
    Taylor { interval: usize },
    /// After TeaCache (Liu et al. 2025): the last answer is reused until the relative changes of the model's input add up to
    /// `threshold`. The last step asks. For a model with a [`Profile`]: the last answers are continued until the profile's costs do.
    Bounded { threshold: f32 },
    /// The model's own [`Turns`].
    Turns,
}

/// What data has shown of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learned {
    pub profile: Option<Profile>,
    pub turns: Option<Turns>,
}

impl Cache {
    /// Reads `deep`, `difference` or `taylor`, with `:N` behind it for another interval than 3, 2 or 3; `bounded:T`, where
    /// `threshold` is taken for a missing T; or `turns`.
    ///
    /// # Errors
    /// [`SchedulerError::Request`].
    pub fn parse(text: &str, threshold: Option<f32>) -> Result<Self, SchedulerError> {
        let expected = "deep[:N], difference[:N], taylor[:N] with N from 2 to 100, bounded[:T] with T above 0 or a bundle's cache_threshold, or turns";
        let wrong = SchedulerError::Request { field: "cache", expected };
        let (name, parameter) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
        let interval = |default: usize| match parameter {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|interval| (2..=MAX_STEPS).contains(interval)),
        };
        let cache = match name {
            "deep" => interval(3).map(|interval| Cache::Deep { interval }),
            "difference" => interval(2).map(|interval| Cache::Difference { interval }),
            "taylor" => interval(3).map(|interval| Cache::Taylor { interval }),
            "bounded" => parameter
                .map_or(threshold, |text| text.parse().ok())
                .filter(|threshold| *threshold > 0.0 && threshold.is_finite())
                .map(|threshold| Cache::Bounded { threshold }),
            "turns" if parameter.is_none() => Some(Cache::Turns),
            _ => None,
        };
        cache.ok_or(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_by_name() {
        assert_eq!(Cache::parse("deep", None), Ok(Cache::Deep { interval: 3 }));
        assert_eq!(Cache::parse("difference:5", None), Ok(Cache::Difference { interval: 5 }));
        assert_eq!(Cache::parse("taylor:2", None), Ok(Cache::Taylor { interval: 2 }));
        assert_eq!(Cache::parse("bounded:0.2", Some(0.5)), Ok(Cache::Bounded { threshold: 0.2 }));
        assert_eq!(Cache::parse("bounded", Some(0.5)), Ok(Cache::Bounded { threshold: 0.5 }));
        assert_eq!(Cache::parse("turns", None), Ok(Cache::Turns));
        for text in ["", "turns:3", "deep:", "deep:1", "taylor:101", "bounded", "bounded:0", "bounded:NaN", "tea"] {
            assert!(matches!(Cache::parse(text, None), Err(SchedulerError::Request { field: "cache", .. })), "{text}");
        }
    }
}
