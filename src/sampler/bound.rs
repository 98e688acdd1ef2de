//! Bounds on the estimate of x0.

use super::SchedulerError;
use super::config::Keys;

/// What happens to an estimate of x0 that is out of range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    None,
    /// Cut off beyond this value on both sides.
    Clip(f32),
    /// Dynamic thresholding (Saharia et al. 2022): cut off at this quantile of the sizes, which is kept between 1 and `most`, and
    /// divided by it.
    Dynamic {
        quantile: f32,
        most: f32,
    },
}

impl Bound {
    /// Reads `thresholding` with its keys, `clip_sample` and `clip_sample_range`. Thresholding goes first.
    pub fn read(keys: &mut Keys, clips: bool) -> Result<Self, SchedulerError> {
        let clips = keys.flag("clip_sample", clips)?;
        let range = keys.number("clip_sample_range", 1.0, f64::MIN_POSITIVE..=1e6, "a number above 0")?;
        Ok(match Bound::read_thresholding(keys)? {
            Bound::None if clips => Bound::Clip(range as f32),
            bound => bound,
        })
    }

    /// Reads `thresholding`, `dynamic_thresholding_ratio` and `sample_max_value`.
    pub fn read_thresholding(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let thresholds = keys.flag("thresholding", false)?;
        let quantile = keys.number("dynamic_thresholding_ratio", 0.995, 0.0..=1.0, "a number from 0 to 1")?;
        let most = keys.number("sample_max_value", 1.0, f64::MIN_POSITIVE..=1e6, "a number above 0")?;
        Ok(if thresholds { Bound::Dynamic { quantile: quantile as f32, most: most as f32 } } else { Bound::None })
    }

    /// Bounds `x0` in place. `sizes` is scratch, as long as `x0`.
    pub fn apply(self, x0: &mut [f32], sizes: &mut [f32]) {
        match self {
            Bound::None => {}
            Bound::Clip(range) => x0.iter_mut().for_each(|value| *value = value.clamp(-range, range)),
            Bound::Dynamic { quantile, most } => {
                sizes.iter_mut().zip(&*x0).for_each(|(size, value)| *size = value.abs());
                let range = self::quantile(sizes, quantile).max(1.0).min(most);
                x0.iter_mut().for_each(|value| *value = value.clamp(-range, range) / range);
            }
        }
    }
}

/// The value below which a share `at` of `values` lies, linear between two of them. Reorders `values`; 0 of none.
fn quantile(values: &mut [f32], at: f32) -> f32 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let rank = at * last as f32;
    let below = (rank as usize).min(last);
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    low + (high - low) * (rank - below as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_clipped_or_thresholded() {
        let mut x0 = [-3.0, 0.5, 2.0];
        Bound::Clip(2.5).apply(&mut x0, &mut [0.0; 3]);
        assert_eq!(x0, [-2.5, 0.5, 2.0]);
        // Sizes 0, 1, 2, 3, 4: the quantile of 0.875 is 3.5.
        let mut x0 = [4.0, -3.0, 2.0, 1.0, 0.0];
        Bound::Dynamic { quantile: 0.875, most: 10.0 }.apply(&mut x0, &mut [0.0; 5]);
        assert_eq!(x0, [1.0, -3.0 / 3.5, 2.0 / 3.5, 1.0 / 3.5, 0.0]);
        let mut x0 = [4.0, -0.5];
        Bound::Dynamic { quantile: 1.0, most: 2.0 }.apply(&mut x0, &mut [0.0; 2]);
        assert_eq!(x0, [1.0, -0.25]);
    }
}
