//! What a cache of the restore network costs, and the threshold that keeps it within a bound.

use super::EvaluationError;
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::receiver::{Config, Mode, Receiver};
use crate::sampler::{Broken, Cache, Profile, Taken};
use crate::scene::Scene;

/// What samples with a cache took, beside those without it from the same noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cached {
    /// Cells that had not arrived, over all samples, and those of them with the same class as without the cache.
    pub cells: u64,
    pub same: u64,
    /// Steps of all samples, and those of them at which the model was not asked.
    pub steps: u64,
    pub cached: u64,
}

impl Cached {
    /// Counts a sample: its cells and those without the cache, where `known` tells what arrived.
    pub fn add(&mut self, taken: Taken, cells: &[u8], without: &[u8], known: &[bool]) {
        let lost = cells.iter().zip(without).zip(known).filter(|(_, known)| !**known);
        for ((cell, without), _) in lost {
            self.cells += 1;
            self.same += u64::from(cell == without);
        }
        self.steps += taken.steps as u64;
        self.cached += taken.cached as u64;
    }

    /// Share of the lost cells that are as without the cache.
    pub fn agreement(&self) -> f64 {
        self.same as f64 / self.cells.max(1) as f64
    }

    /// How many times fewer multiply-accumulates the restore network takes.
    pub fn saving(&self) -> f64 {
        self.steps as f64 / (self.steps - self.cached).max(1) as f64
    }
}

/// What [`calibrate`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    pub profile: Profile,
    pub threshold: f32,
    /// With both.
    pub cached: Cached,
}

/// Thresholds that are tried: the whole cost times powers of the eighth root of 2.
const POWERS: core::ops::RangeInclusive<i32> = -64..=-2;
/// More than the bisection of that range takes.
const TRIES: usize = 7;

/// The profile of the restore network, and the largest threshold of [`Cache::Bounded`] at which samples of the `scenes` agree with those without a cache, from
/// the same noise, in `agreement` of the lost cells at least; `None` where even the smallest doesn't. The cost of a noise level is the root of the share of the
/// lost cells that end in another class when that level alone is skipped: what several skipped levels cost grows like the square of their number, so that roots add up. `config` tells sampler, seed and steps, as many as a profile has levels at most. `tick` is called after
/// each sample, of which there are [`calibration_samples`] at most.
///
/// # Errors
/// [`EvaluationError`], also where the restore network's answers are not finite.
pub fn calibrate(
    bundle: &Bundle,
    scenes: &[Scene],
    config: Config,
    agreement: f64,
    engine: &Engine,
    tick: &mut dyn FnMut(),
) -> Result<Option<Calibrated>, EvaluationError> {
    let sigmas = bundle.scheduler().karras().sigmas(config.steps.unwrap_or(bundle.steps) as usize);
    let mut without: Vec<Vec<u8>> = Vec::new();
    let mut score = |cache: Option<(f32, &Profile)>| -> Result<Cached, EvaluationError> {
        let mut bundle = bundle.clone();
        bundle.cache_profile = cache.map(|(_, profile)| profile.clone());
        let cache = cache.map(|(threshold, _)| Cache::Bounded { threshold });
        let config = Config { mode: Mode::Hybrid, cache, ..config };
        let mut receiver = Receiver::open(&bundle, config, Default::default(), engine)?;
        let mut cached = Cached::default();
        for (index, scene) in scenes.iter().enumerate() {
            let taken = receiver.sample(scene, index as u32).map_err(broken)?;
            let cells = receiver.refined().map_or(&[][..], |refined| refined.cells);
            match without.get(index) {
                Some(without) => cached.add(taken, cells, without, scene.known()),
                None => without.push(cells.to_vec()),
            }
            tick();
        }
        Ok(cached)
    };
    score(None)?;
    let mut costs = vec![0.0; sigmas.len()];
    for (skipped, cost) in costs.iter_mut().enumerate().skip(1) {
        // Every level costs what the threshold asks for, but for one that costs nothing.
        let others = |level: usize| if level == skipped { 0.0 } else { 1.0 };
        if let Some(profile) = profile(&sigmas, others) {
            *cost = libm::sqrt(1.0 - score(Some((0.5, &profile)))?.agreement()) as f32;
        }
    }
    let Some(profile) = profile(&sigmas, |level| costs[level]) else { return Ok(None) };
    let whole: f32 = costs.iter().sum();
    let threshold = |power: i32| whole * libm::exp2f(power as f32 / 8.0);
    let (mut fine, mut coarse) = (*POWERS.start() - 1, *POWERS.end() + 1);
    let mut best = None;
    while coarse - fine > 1 {
        let middle = fine + (coarse - fine) / 2;
        let cached = score(Some((threshold(middle), &profile)))?;
        if cached.agreement() >= agreement {
            (fine, best) =
                (middle, Some(Calibrated { profile: profile.clone(), threshold: threshold(middle), cached }));
        } else {
            coarse = middle;
        }
    }
    Ok(best.filter(|best| best.threshold > 0.0))
}

/// Levels with the sum of their costs.
fn profile(sigmas: &[f32], cost: impl Fn(usize) -> f32) -> Option<Profile> {
    let mut sum = 0.0;
    let levels = sigmas.iter().enumerate().map(|(level, &sigma)| {
        sum += cost(level);
        [sigma, sum]
    });
    Profile::new(&levels.collect::<Vec<_>>())
}

/// How many samples [`calibrate`] takes at most.
pub fn calibration_samples(scenes: usize, steps: u16) -> usize {
    scenes * (steps as usize + TRIES)
}

fn broken(broken: Broken<crate::engine::EngineError>) -> EvaluationError {
    match broken {
        Broken::NotFinite { step } => EvaluationError::NotFinite { step },
        Broken::Model { error, .. } | Broken::Check(error) => EvaluationError::Engine(error),
    }
}
