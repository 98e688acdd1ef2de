//! How a sample moves from one noise level to the next.

use crate::noise::Noise;

/// One move of a sampler.
pub trait Step {
    /// Moves `x` from noise level `from` to `to`, given the estimate `x0` at `from`. Both are as long.
    fn step(&self, x: &mut [f32], x0: &[f32], from: f32, to: f32, noise: Noise);
}

/// Multistep consistency (Song et al. 2023, algorithm 1): the estimate with fresh noise, `x0 + sqrt(to^2 - sigma_min^2) z`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MultistepConsistency {
    pub sigma_min: f32,
}

impl Step for MultistepConsistency {
    fn step(&self, x: &mut [f32], x0: &[f32], _from: f32, to: f32, noise: Noise) {
        let level = libm::sqrtf((to * to - self.sigma_min * self.sigma_min).max(0.0));
        for (index, (x, x0)) in x.iter_mut().zip(x0).enumerate() {
            *x = x0 + level * noise.normal_at(index as u64) as f32;
        }
    }
}

/// DDIM without fresh noise (Song, Meng, Ermon 2021, eta 0), in the variance-exploding form: `x0 + to / from (x - x0)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ddim;

impl Step for Ddim {
    fn step(&self, x: &mut [f32], x0: &[f32], from: f32, to: f32, _noise: Noise) {
        let share = to / from;
        for (x, x0) in x.iter_mut().zip(x0) {
            *x = x0 + share * (*x - x0);
        }
    }
}
