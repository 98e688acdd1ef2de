//! A cache whose steps are chosen by what skipping each noise level costs, as data has shown.

use super::forecast::Forecast;
use crate::sampler::MAX_STEPS;
use alloc::vec::Vec;

/// Most noise levels of a profile.
pub const MAX_LEVELS: usize = 32;

/// What it costs to skip the noise levels down to each: `[sigma, sum of costs]`, sigma falling and above 0, the sum not. Between levels it is linear in
/// ln sigma.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile(Vec<[f32; 2]>);

impl Profile {
    /// `None` if the levels are not as they should be, or fewer than two.
    pub fn new(levels: &[[f32; 2]]) -> Option<Self> {
        let is_finite = levels.iter().flatten().all(|value| value.is_finite());
        let is_ordered = levels.windows(2).all(|pair| pair[0][0] > pair[1][0] && pair[0][1] <= pair[1][1]);
        let is_positive = levels.last().is_some_and(|[sigma, _]| *sigma > 0.0);
        let is_valid = is_finite && is_ordered && is_positive && (2..=MAX_LEVELS).contains(&levels.len());
        is_valid.then(|| Profile(levels.to_vec()))
    }

    pub fn levels(&self) -> &[[f32; 2]] {
        &self.0
    }

    /// The sum of costs down to `sigma`.
    fn sum(&self, sigma: f32) -> f32 {
        let below = self.0.partition_point(|[level, _]| *level > sigma);
        match (self.0.get(below.wrapping_sub(1)), self.0.get(below)) {
            (Some([high, first]), Some([low, second])) => {
                let share = libm::logf(high / sigma) / libm::logf(high / low);
                first + share * (second - first)
            }
            (Some([_, sum]), None) | (None, Some([_, sum])) => *sum,
            (None, None) => 0.0,
        }
    }
}

/// The steps of a sample that ask, and a parabola for the others.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Profiled {
    threshold: f32,
    profile: Profile,
    /// A bit a step.
    due: u128,
    pub forecast: Forecast,
}

impl Profiled {
    pub fn new(threshold: f32, profile: Profile, outputs: usize) -> Self {
        Profiled { threshold, profile, due: 0, forecast: Forecast::new(2, outputs) }
    }

    /// Begins a sample on the noise levels `sigmas`: one asks when the costs since the last that did, its own included, come to the threshold.
    pub fn begin(&mut self, sigmas: &[f32]) {
        self.due = 0;
        let mut asked: Option<f32> = None;
        for (step, &sigma) in sigmas.iter().enumerate().take(MAX_STEPS) {
            let sum = self.profile.sum(sigma);
            let is_due = asked.is_none_or(|asked| sum - asked >= self.threshold);
            if is_due {
                asked = Some(sum);
                self.due |= 1 << step;
            }
        }
        self.forecast.begin();
    }

    pub fn is_due(&self, step: usize) -> bool {
        self.due >> step & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_checked_and_read_between_their_levels() {
        assert!(Profile::new(&[[1.0, 0.0]]).is_none());
        assert!(Profile::new(&[[1.0, 0.0], [2.0, 1.0]]).is_none());
        assert!(Profile::new(&[[2.0, 1.0], [1.0, 0.5]]).is_none());
        assert!(Profile::new(&[[2.0, 0.0], [0.0, 0.5]]).is_none());
        assert!(Profile::new(&[[2.0, 0.0], [1.0, f32::NAN]]).is_none());
        let profile = Profile::new(&[[8.0, 1.0], [2.0, 2.0], [1.0, 4.0]]).unwrap();
        for (sigma, sum) in [(80.0, 1.0), (8.0, 1.0), (4.0, 1.5), (2.0, 2.0), (1.0, 4.0), (0.1, 4.0)] {
            assert!((profile.sum(sigma) - sum).abs() < 1e-6, "{sigma}");
        }
    }

    #[test]
    fn asks_where_the_costs_are() {
        let profile = Profile::new(&[[16.0, 0.0], [4.0, 0.5], [1.0, 4.5]]).unwrap();
        let mut profiled = Profiled::new(1.0, profile, 1);
        for _ in 0..2 {
            profiled.begin(&[16.0, 8.0, 4.0, 2.83, 2.0, 1.41, 1.0, 0.5]);
            let asked: std::vec::Vec<usize> = (0..8).filter(|&step| profiled.is_due(step)).collect();
            assert_eq!(asked, [0, 3, 4, 5]);
        }
    }
}
