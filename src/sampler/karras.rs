//! Noise levels to visit.

use super::MAX_STEPS;
use heapless::Vec;

/// The levels of Karras et al. 2022, eq. 5: evenly spaced in `sigma^(1/rho)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Karras {
    pub sigma_min: f32,
    pub sigma_max: f32,
    pub rho: f32,
}

impl Karras {
    /// `steps` levels, 1..=[`MAX_STEPS`], from `sigma_max` down; the last one stays above `sigma_min`, which is where the sample ends.
    pub fn sigmas(&self, steps: usize) -> Vec<f32, MAX_STEPS> {
        let steps = steps.clamp(1, MAX_STEPS);
        let root = |sigma: f32| libm::pow(sigma as f64, 1.0 / self.rho as f64);
        let (high, low) = (root(self.sigma_max), root(self.sigma_min));
        (0..steps)
            .map(|step| libm::pow(high + step as f64 / steps as f64 * (low - high), self.rho as f64) as f32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_from_the_top() {
        let karras = Karras { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 };
        assert_eq!(karras.sigmas(1)[..], [80.0]);
        let four = karras.sigmas(4);
        // (80^(1/7) + k/4 (0.002^(1/7) - 80^(1/7)))^7, computed apart.
        for (sigma, expected) in four.iter().zip([80.0, 17.5278, 2.5152, 0.1698]) {
            assert!((sigma / expected - 1.0).abs() < 1e-3, "{four:?}");
        }
    }
}
