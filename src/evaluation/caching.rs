//! What a cache of the restore network costs: the threshold that keeps it within a bound, and the turns that lose least.

use super::EvaluationError;
use super::fitting::{Products, Seen};
use crate::bundle::Bundle;
use crate::engine::{Engine, EngineError};
use crate::noise::Noise;
use crate::receiver::{Config, Mode, Receiver, Spent, Watched};
use crate::sampler::{Broken, Cache, Learned, Profile, Turns};
use crate::scene::Scene;

/// What samples with a cache took, beside those without it from the same noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cached {
    /// Cells that had not arrived, over all samples, and those of them with the same class as without the cache.
    pub cells: u64,
    pub same: u64,
    /// Of the restore network, over all samples.
    pub spent: Spent,
}

impl Cached {
    /// Counts a sample: its cells and those without the cache, where `known` tells what arrived.
    pub fn add(&mut self, spent: Spent, cells: &[u8], without: &[u8], known: &[bool]) {
        let lost = cells.iter().zip(without).zip(known).filter(|(_, known)| !**known);
        for ((cell, without), _) in lost {
            self.cells += 1;
            self.same += u64::from(cell == without);
        }
        self.spent.macs += spent.macs;
        self.spent.saved_macs += spent.saved_macs;
    }

    /// Share of the lost cells that are as without the cache.
    pub fn agreement(&self) -> f64 {
        self.same as f64 / self.cells.max(1) as f64
    }

    /// How many times fewer multiply-accumulates the restore network takes.
    pub fn saving(&self) -> f64 {
        (self.spent.macs + self.spent.saved_macs) as f64 / self.spent.macs.max(1) as f64
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
/// Asks the whole model at every step, for its deep feature too.
const EVERY: Cache = Cache::Deep { interval: 1 };
/// Stream of [`Noise`] that belongs to the search for turns.
const SEARCH: u64 = 0x0074_7572_6e73;

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
    let mut samples = Samples { bundle, scenes, config, engine, without: Vec::new(), tick };
    let mut score = |threshold: f32, profile: &Profile| {
        let learned = Learned { profile: Some(profile.clone()), turns: None };
        samples.score(Cache::Bounded { threshold }, learned)
    };
    let mut costs = vec![0.0; sigmas.len()];
    for (skipped, cost) in costs.iter_mut().enumerate().skip(1) {
        // Every level costs what the threshold asks for, but for one that costs nothing.
        let others = |level: usize| if level == skipped { 0.0 } else { 1.0 };
        if let Some(profile) = profile(&sigmas, others) {
            *cost = libm::sqrt(1.0 - score(0.5, &profile)?.agreement()) as f32;
        }
    }
    let Some(profile) = profile(&sigmas, |level| costs[level]) else { return Ok(None) };
    let whole: f32 = costs.iter().sum();
    let threshold = |power: i32| whole * libm::exp2f(power as f32 / 8.0);
    let (mut fine, mut coarse) = (*POWERS.start() - 1, *POWERS.end() + 1);
    let mut best = None;
    while coarse - fine > 1 {
        let middle = fine + (coarse - fine) / 2;
        let cached = score(threshold(middle), &profile)?;
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

/// Turns of the restore network that save at least `saving` times the multiply-accumulates, and with which samples of the `scenes` agree best with those without a cache, from
/// the same noise; their weights are fitted to what the model gives there without one. The best of `tries`, each the best so far with one or two turns changed or exchanged, which begin with the bundle's own turns where it has
/// some for as many steps that save enough, and with two whole steps else. `None` where `saving` is more than those two have.
///
/// # Errors
/// [`EvaluationError`], also where the restore network's answers are not finite.
pub fn search_turns(
    bundle: &Bundle,
    scenes: &[Scene],
    config: Config,
    saving: f64,
    tries: usize,
    engine: &Engine,
    tick: &mut dyn FnMut(),
) -> Result<Option<(Turns, Cached)>, EvaluationError> {
    let steps = config.steps.unwrap_or(bundle.steps) as usize;
    let few: String = "W---W".chars().chain(std::iter::repeat('-')).take(steps).collect();
    let Some(few) = Turns::parse(&few) else { return Ok(None) };
    let letters: &[u8] = if bundle.deep().is_some() { b"W-S" } else { b"W-" };
    let mut samples = Samples { bundle, scenes, config, engine, without: Vec::new(), tick };
    let products = samples.products(steps)?;
    let mut score = |turns: &Turns| samples.score(Cache::Turns, Learned { profile: None, turns: Some(turns.clone()) });
    let own = bundle.learned.turns.clone().filter(|turns| turns.steps() == steps).map(|turns| products.fitted(turns));
    let own = own.map(|turns| Ok::<_, EvaluationError>((turns.clone(), score(&turns)?))).transpose()?;
    let mut best = match own.filter(|(_, cached)| cached.saving() >= saving) {
        Some(own) => own,
        None => {
            let few = products.fitted(few);
            (few.clone(), score(&few)?)
        }
    };
    if best.1.saving() < saving {
        return Ok(None);
    }
    let mut seen = vec![best.0.to_string()];
    for attempt in 1..tries {
        let noise = Noise::new(config.seed, SEARCH).substream(attempt as u64);
        let turns = changed(&best.0, letters, noise);
        if seen.contains(&turns.to_string()) {
            continue;
        }
        seen.push(turns.to_string());
        let turns = products.fitted(turns);
        let cached = score(&turns)?;
        if cached.saving() >= saving && cached.agreement() > best.1.agreement() {
            best = (turns, cached);
        }
    }
    Ok(Some(best))
}

/// `turns` with one or two of them, not the first, changed or exchanged with the next.
fn changed(turns: &Turns, letters: &[u8], noise: Noise) -> Turns {
    let mut text = turns.to_string().into_bytes();
    for change in 0..=noise.below_at(0, 2) {
        let draw = |what: u64, bound: usize| noise.below_at(1 + 3 * change + what, bound as u64) as usize;
        let place = 1 + draw(0, text.len() - 2);
        match draw(1, 2) {
            0 => text.swap(place, place + 1),
            _ => text[place] = letters[draw(2, letters.len())],
        }
    }
    std::str::from_utf8(&text).ok().and_then(Turns::parse).unwrap_or_else(|| turns.clone())
}

/// The samples that caches are judged on.
struct Samples<'a> {
    bundle: &'a Bundle,
    scenes: &'a [Scene<'a>],
    config: Config,
    engine: &'a Engine,
    /// Cells of those without a cache, once there are some.
    without: Vec<Vec<u8>>,
    tick: &'a mut dyn FnMut(),
}

impl Samples<'_> {
    /// What `cache` costs in a bundle of which so much was `learned`.
    fn score(&mut self, cache: Cache, learned: Learned) -> Result<Cached, EvaluationError> {
        if self.without.is_empty() {
            self.run(None, Learned::default())?;
        }
        self.run(Some(cache), learned)
    }

    /// What the model gives at the steps of the samples without a cache, which are judged against from here on.
    fn products(&mut self, steps: usize) -> Result<Products, EvaluationError> {
        let config = Config { mode: Mode::Hybrid, cache: self.bundle.deep().map(|_| EVERY), ..self.config };
        let mut receiver = Receiver::open(self.bundle, config, Default::default(), self.engine)?;
        let mut products = Products::new(steps);
        self.without.clear();
        for (index, scene) in self.scenes.iter().enumerate() {
            let mut seen = Seen::default();
            let mut watch = |step: Watched<'_>| {
                seen.logits.push(step.logits.to_vec());
                seen.deep.push(step.deep.to_vec());
            };
            receiver.sample_watched(scene, index as u32, &mut watch)?;
            products.add(&seen, scene.known());
            self.without.push(receiver.refined().map_or(Vec::new(), |refined| refined.cells.to_vec()));
            (self.tick)();
        }
        Ok(products)
    }

    fn run(&mut self, cache: Option<Cache>, learned: Learned) -> Result<Cached, EvaluationError> {
        let mut bundle = self.bundle.clone();
        bundle.learned = learned;
        let config = Config { mode: Mode::Hybrid, cache, ..self.config };
        let mut receiver = Receiver::open(&bundle, config, Default::default(), self.engine)?;
        let mut cached = Cached::default();
        for (index, scene) in self.scenes.iter().enumerate() {
            let taken = receiver.sample(scene, index as u32)?;
            let cells = receiver.refined().map_or(&[][..], |refined| refined.cells);
            match self.without.get(index) {
                Some(without) => cached.add(receiver.spent(taken), cells, without, scene.known()),
                None => self.without.push(cells.to_vec()),
            }
            (self.tick)();
        }
        Ok(cached)
    }
}

/// How many samples [`calibrate`] takes at most.
pub fn calibration_samples(scenes: usize, steps: u16) -> usize {
    scenes * (steps as usize + TRIES)
}

impl From<Broken<EngineError>> for EvaluationError {
    fn from(broken: Broken<EngineError>) -> Self {
        match broken {
            Broken::NotFinite { step } => EvaluationError::NotFinite { step },
            Broken::Model { error, .. } | Broken::Check(error) => EvaluationError::Engine(error),
        }
    }
}
