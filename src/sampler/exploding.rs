//! Sampling with a model that tells x0 and its noise level alone, such as the shipped restore network: `x = x0 + sigma z`, as Karras et al.
//! 2022 have it.
//!
//! A schedule is a falling list of noise levels; the model is asked once at each, and a [`Step`] moves between them.

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

/// Runs the schedule `sigmas` (falling, all above 0) and leaves the last estimate of x0 in `x0`.
///
/// `estimate(x, sigma, x0)` asks the model. `project(x0)` puts back what is known of x0, after every estimate: for a mask operator this
/// is DDNM's projection (Wang, Yu, Zhang 2023). `x` and `x0` are as long as the sample; `x` is overwritten. Noise of step `k` is
/// substream `k` of `noise`.
///
/// # Errors
/// What `estimate` returns.
pub fn sample<E>(
    sigmas: &[f32],
    step: &dyn Step,
    noise: Noise,
    x: &mut [f32],
    x0: &mut [f32],
    mut estimate: impl FnMut(&[f32], f32, &mut [f32]) -> Result<(), E>,
    mut project: impl FnMut(&mut [f32]),
) -> Result<(), E> {
    let Some(&first) = sigmas.first() else { return Ok(()) };
    let start = noise.substream(0);
    for (index, x) in x.iter_mut().enumerate() {
        *x = first * start.normal_at(index as u64) as f32;
    }
    for (index, &sigma) in sigmas.iter().enumerate() {
        estimate(x, sigma, x0)?;
        project(x0);
        if let Some(&next) = sigmas.get(index + 1) {
            step.step(x, x0, sigma, next, noise.substream(index as u64 + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Karras;

    /// A model that knows the answer gets there in one step and stays; what is known is put back each time.
    #[test]
    fn a_perfect_model_is_done_at_once() {
        for step in [&MultistepConsistency { sigma_min: 0.002 } as &dyn Step, &Ddim] {
            for steps in [1, 2, 4] {
                let sigmas = Karras { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 }.sigmas(steps);
                let (mut x, mut x0) = ([0.0; 3], [0.0; 3]);
                let mut asked = 0;
                let estimate = |_: &[f32], _: f32, x0: &mut [f32]| {
                    asked += 1;
                    x0.copy_from_slice(&[1.0, -1.0, 0.5]);
                    Ok::<(), ()>(())
                };
                let known = |x0: &mut [f32]| x0[2] = 9.0;
                sample(&sigmas, step, Noise::new(1, 1), &mut x, &mut x0, estimate, known).unwrap();
                assert_eq!(x0, [1.0, -1.0, 9.0]);
                assert_eq!(asked, steps);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_sample() {
        let run = |seed| {
            let (mut x, mut x0) = ([0.0; 8], [0.0; 8]);
            let estimate = |x: &[f32], sigma: f32, x0: &mut [f32]| {
                x0.iter_mut().zip(x).for_each(|(x0, x)| *x0 = x / (1.0 + sigma));
                Ok::<(), ()>(())
            };
            let step = MultistepConsistency { sigma_min: 0.0 };
            sample(&[80.0, 5.0, 1.0], &step, Noise::new(seed, 0), &mut x, &mut x0, estimate, |_| {}).unwrap();
            x0.map(f32::to_bits)
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }
}
