//! Sampling with a model that tells x0 and its noise level alone, such as the shipped restore network: `x = x0 + sigma z`, as Karras et al.
//! 2022 have it.
//!
//! A schedule is a falling list of noise levels. At each the model is asked, or a cache answers for it, and a [`Step`] moves between them.

use super::cache::{Forecast, Memory, Turn};
use super::{Cache, Learned, SchedulerError, Turns};
use crate::noise::Noise;
use alloc::vec;
use alloc::vec::Vec;

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

/// How much of a model answers.
#[derive(Debug)]
pub enum Part<'a> {
    /// All of it, which also fills its deep feature; empty where no cache wants that.
    Whole(&'a mut [f32]),
    /// What lies around the deep feature, which is given.
    Shallow(&'a [f32]),
}

/// What the loop asks on its way.
pub trait Restorer {
    type Error;

    /// Fills `output` with the model's answer for `x` at noise level `sigma`.
    ///
    /// # Errors
    /// The model's own.
    fn answer(&mut self, x: &[f32], sigma: f32, part: Part<'_>, output: &mut [f32]) -> Result<(), Self::Error>;

    /// Fills `x0` with the estimate that lies in `output`, all of it finite. What is known of x0 is put back here: for a mask operator that
    /// is DDNM's projection (Wang, Yu, Zhang 2023).
    fn estimate(&mut self, output: &[f32], x0: &mut [f32]);
}

/// Why a sample ended without an estimate. Steps are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken<E> {
    /// The model gave NaN or an infinity.
    NotFinite { step: usize },
    /// What the model returned.
    Model { step: usize, error: E },
    /// Of what whoever samples asked beside the model.
    Check(E),
}

/// What a sample took, also one that broke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Noise levels that were visited.
    pub steps: usize,
    /// Those of them at which the shallow part answered.
    pub shallow: usize,
    /// Those of them at which a cache answered, and the model was not asked.
    pub cached: usize,
}

/// The loop, with its buffers: allocates when it is made, and never again.
#[derive(Debug, Clone)]
pub struct Exploding {
    memory: Option<Memory>,
    /// Of deep features, where the cache asks the shallow part.
    deeps: Option<Forecast>,
    deep: Vec<f32>,
    x: Vec<f32>,
    x0: Vec<f32>,
    output: Vec<f32>,
    taken: Taken,
    noise: Noise,
}

impl Exploding {
    /// For samples of `len` values, from a model with `outputs` values, of which caches know what was `learned`, and whose shallow part
    /// takes `deep` values; 0 where it has none.
    ///
    /// # Errors
    /// [`SchedulerError::Request`] for a cache that needs a shallow model or guidance.
    pub fn new(
        cache: Option<Cache>,
        learned: Learned,
        len: usize,
        outputs: usize,
        deep: usize,
    ) -> Result<Self, SchedulerError> {
        let has_shallow_turns = learned.turns.as_ref().is_some_and(Turns::has_shallow);
        let order = match cache {
            Some(Cache::Turns) if learned.turns.is_none() => {
                let expected = "another one: the model has no turns";
                return Err(SchedulerError::Request { field: "cache", expected });
            }
            Some(Cache::Turns) if has_shallow_turns && deep > 0 => Some(2),
            Some(Cache::Turns) if !has_shallow_turns => None,
            Some(Cache::Deep { .. } | Cache::Turns) if deep == 0 => {
                let expected = "taylor or bounded: the model has no shallow part";
                return Err(SchedulerError::Request { field: "cache", expected });
            }
            Some(Cache::Difference { .. }) => {
                let expected = "deep, taylor or bounded: nothing is guided";
                return Err(SchedulerError::Request { field: "cache", expected });
            }
            Some(Cache::Deep { .. }) => Some(0),
            _ => None,
        };
        Ok(Exploding {
            memory: cache.map(|cache| Memory::by_level(cache, learned, len, outputs)),
            deeps: order.map(|order| Forecast::new(order, deep)),
            deep: vec![0.0; order.map_or(0, |_| deep)],
            x: vec![0.0; len],
            x0: vec![0.0; len],
            output: vec![0.0; outputs],
            taken: Taken::default(),
            noise: Noise::new(0, 0),
        })
    }

    /// Begins a sample on the schedule `sigmas`, falling and all above 0. Noise of step `k` is substream `k` of `noise`: 0 begins, `k + 1` is added
    /// by step `k`.
    pub fn begin(&mut self, sigmas: &[f32], noise: Noise) {
        (self.taken, self.noise) = (Taken::default(), noise);
        self.memory.iter_mut().for_each(|memory| memory.begin_at(sigmas));
        self.deeps.iter_mut().for_each(Forecast::begin);
        let start = noise.substream(0);
        let first = sigmas.first().copied().unwrap_or(0.0);
        self.x.iter_mut().enumerate().for_each(|(index, x)| *x = first * start.normal_at(index as u64) as f32);
    }

    /// Takes the next step of the schedule that the sample was [begun](Exploding::begin) on. `true` where it was the last; with what is estimated
    /// after any of them a sample may end.
    ///
    /// # Errors
    /// [`Broken`]; what was [taken](Exploding::taken) counts until there.
    pub fn advance<R: Restorer>(
        &mut self,
        sigmas: &[f32],
        step: &dyn Step,
        restorer: &mut R,
    ) -> Result<bool, Broken<R::Error>> {
        let Exploding { memory, deeps, deep, x, x0, output, taken, noise } = self;
        let index = taken.steps;
        let Some(&sigma) = sigmas.get(index) else { return Ok(true) };
        if let Some(before) = index.checked_sub(1) {
            step.step(x, x0, sigmas[before], sigma, noise.substream(index as u64));
        }
        taken.steps += 1;
        let turn = memory.as_mut().map_or(Turn::Whole, |memory| memory.turn(index, false, x));
        let answered = match (&mut *memory, &mut *deeps) {
            (Some(memory), _) if turn == Turn::Nothing => {
                taken.cached += 1;
                memory.recall(index, output);
                Ok(())
            }
            (_, Some(deeps)) if turn == Turn::Shallow => {
                taken.shallow += 1;
                match memory.as_ref().and_then(|memory| memory.deep_weights(index)) {
                    Some(weights) => deeps.weigh(weights, deep),
                    None => deeps.recall(index, deep),
                }
                restorer.answer(x, sigma, Part::Shallow(deep), output)
            }
            (_, deeps) => {
                let answered = restorer.answer(x, sigma, Part::Whole(deep), output);
                deeps.iter_mut().for_each(|deeps| deeps.keep(index, deep));
                answered
            }
        };
        answered.map_err(|error| Broken::Model { step: index, error })?;
        if !output.iter().all(|value| value.is_finite()) {
            return Err(Broken::NotFinite { step: index });
        }
        match (memory.as_mut(), turn) {
            (Some(memory), Turn::Whole) => memory.keep(index, false, output),
            (Some(memory), Turn::Shallow) => memory.keep_shallow(index, output),
            _ => {}
        }
        restorer.estimate(output, x0);
        Ok(taken.steps == sigmas.len())
    }

    /// Takes every step of the schedule `sigmas`: [`begin`](Exploding::begin), and [`advance`](Exploding::advance) to its end.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn run<R: Restorer>(
        &mut self,
        sigmas: &[f32],
        step: &dyn Step,
        noise: Noise,
        restorer: &mut R,
    ) -> Result<(), Broken<R::Error>> {
        self.begin(sigmas, noise);
        while !self.advance(sigmas, step, restorer)? {}
        Ok(())
    }

    /// Whether the cache asks the shallow part.
    pub fn asks_shallow(&self) -> bool {
        self.deeps.is_some()
    }

    /// What the last run took.
    pub fn taken(&self) -> Taken {
        self.taken
    }

    pub fn memory_bytes(&self) -> usize {
        let own = [&self.deep, &self.x, &self.x0, &self.output].map(|buffer| size_of_val(&buffer[..]));
        let remembered = self.memory.as_ref().map_or(0, Memory::memory_bytes);
        own.iter().sum::<usize>() + remembered + self.deeps.as_ref().map_or(0, Forecast::memory_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Karras, Profile};

    /// Answers by a function.
    struct Model<F> {
        answer: F,
        asked: usize,
        /// That the shallow part was given.
        deeps: Vec<f32>,
    }

    impl<F: FnMut(usize, &[f32], f32, &mut [f32]) -> Result<(), &'static str>> Restorer for Model<F> {
        type Error = &'static str;

        fn answer(&mut self, x: &[f32], sigma: f32, part: Part<'_>, output: &mut [f32]) -> Result<(), &'static str> {
            self.asked += 1;
            match part {
                Part::Whole(deep) => {
                    deep.fill(self.asked as f32);
                    (self.answer)(self.asked, x, sigma, output)
                }
                Part::Shallow(deep) => {
                    self.deeps.extend(deep);
                    output.fill(0.5);
                    Ok(())
                }
            }
        }

        fn estimate(&mut self, output: &[f32], x0: &mut [f32]) {
            x0.copy_from_slice(output);
            // The last value is known.
            x0[2] = 9.0;
        }
    }

    const KARRAS: Karras = Karras { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 };

    #[test]
    fn a_perfect_model_is_done_at_once() {
        let perfect = |_, _: &[f32], _, output: &mut [f32]| {
            output.copy_from_slice(&[1.0, -1.0, 0.5]);
            Ok(())
        };
        for step in [&MultistepConsistency { sigma_min: 0.002 } as &dyn Step, &Ddim] {
            for (steps, taken) in [(1, 1), (2, 2), (4, 4), (4, 1), (4, 3)] {
                let mut model = Model { answer: perfect, asked: 0, deeps: vec![] };
                let mut exploding = Exploding::new(None, Learned::default(), 3, 3, 0).unwrap();
                let sigmas = KARRAS.sigmas(steps);
                exploding.begin(&sigmas, Noise::new(1, 1));
                for index in 1..=taken {
                    assert_eq!(exploding.advance(&sigmas, step, &mut model), Ok(index == steps));
                }
                assert_eq!((&exploding.x0[..], model.asked), (&[1.0, -1.0, 9.0][..], taken));
                assert_eq!(exploding.taken(), Taken { steps: taken, ..Taken::default() });
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_sample() {
        let run = |seed| {
            let answer = |_, x: &[f32], sigma: f32, output: &mut [f32]| {
                output.iter_mut().zip(x).for_each(|(output, x)| *output = x / (1.0 + sigma));
                Ok(())
            };
            let mut model = Model { answer, asked: 0, deeps: vec![] };
            let mut exploding = Exploding::new(None, Learned::default(), 8, 8, 0).unwrap();
            let step = MultistepConsistency { sigma_min: 0.0 };
            exploding.run(&[80.0, 5.0, 1.0], &step, Noise::new(seed, 0), &mut model).unwrap();
            exploding.x0.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn what_is_not_finite_or_fails_ends_it() {
        let broken = |asked, _: &[f32], _, output: &mut [f32]| match asked {
            3 => Err("torn"),
            2 => {
                output[1] = f32::INFINITY;
                Ok(())
            }
            _ => Ok(()),
        };
        let mut exploding = Exploding::new(None, Learned::default(), 3, 3, 0).unwrap();
        let mut model = Model { answer: broken, asked: 0, deeps: vec![] };
        let mut run = || {
            let result = exploding.run(&KARRAS.sigmas(4), &Ddim, Noise::new(1, 1), &mut model);
            (result, exploding.taken().steps)
        };
        assert_eq!(run(), (Err(Broken::NotFinite { step: 1 }), 2));
        assert_eq!(run(), (Err(Broken::Model { step: 0, error: "torn" }), 1));
    }

    #[test]
    fn caches_answer_for_the_model() {
        let profile = Profile::new(&[[80.0, 0.0], [0.002, 10.0]]);
        let learned = Learned { profile, turns: Turns::parse("W-WS-WS--W") };
        let nothing = Learned::default();
        for (cache, learned, deep, asked, deeps) in [
            ("taylor:3", &nothing, 0, 4, &[][..]),
            ("bounded:1e6", &nothing, 0, 2, &[]),
            ("bounded:1e6", &learned, 0, 1, &[]),
            ("bounded:1", &learned, 0, 7, &[]),
            // The model's deep feature is how often it was asked: 1 at step 0, 2 at step 2, 4 at step 5.
            ("turns", &learned, 1, 6, &[2.5, 4.0 + 2.0 / 3.0]),
            ("deep:4", &nothing, 1, 10, &[1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 9.0]),
        ] {
            let answer = |_, _: &[f32], _, output: &mut [f32]| {
                output.fill(0.5);
                Ok(())
            };
            let cache = Cache::parse(cache, None).unwrap();
            let mut exploding = Exploding::new(Some(cache), learned.clone(), 3, 3, deep).unwrap();
            for _ in 0..2 {
                let mut model = Model { answer, asked: 0, deeps: vec![] };
                exploding.run(&KARRAS.sigmas(10), &Ddim, Noise::new(1, 1), &mut model).unwrap();
                assert_eq!(model.asked, asked, "{cache:?}");
                assert_eq!(exploding.taken(), Taken { steps: 10, shallow: deeps.len(), cached: 10 - asked });
                assert_eq!(exploding.x0, [0.5, 0.5, 9.0], "{cache:?}");
                let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
                assert!(model.deeps.len() == deeps.len() && model.deeps.iter().zip(deeps).all(is_near), "{cache:?}");
            }
        }
        for cache in [Cache::Deep { interval: 2 }, Cache::Difference { interval: 2 }, Cache::Turns] {
            for learned in [&learned, &nothing] {
                let refused = Exploding::new(Some(cache), learned.clone(), 3, 3, 0);
                assert!(matches!(refused, Err(SchedulerError::Request { field: "cache", .. })));
            }
        }
    }
}
