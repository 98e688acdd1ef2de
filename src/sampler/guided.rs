//! Classifier-free guidance (Ho, Salimans 2022): a model that is asked with its condition and without, or less where a cache knows enough;
//! and what that took.

use super::cache::{Memory, Turn};
use super::transition::Times;
use super::{Cache, SchedulerError};
use alloc::vec;
use alloc::vec::Vec;

/// Largest guidance scale, either way.
const MOST: f32 = 1000.0;

/// What a model is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    Condition,
    /// The condition that guidance leads away from.
    Null,
}

/// How much of a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Whole,
    /// The part around the deep feature, which is that of the last whole run of the same branch.
    Shallow,
}

/// One question to a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    pub branch: Branch,
    pub depth: Depth,
    pub times: Times,
    /// The step's guidance scale, for models that take it in.
    pub scale: f32,
}

/// A model that a sampler asks.
pub trait Network {
    type Error;

    /// Fills `output` with the answer for x as `input`.
    fn ask(&mut self, input: &[f32], question: Question, output: &mut [f32]) -> Result<(), Self::Error>;

    /// Multiply-accumulates of an answer.
    fn macs(&self, depth: Depth) -> u64;
}

/// Guidance scales: 1 is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    /// One for all steps, or one for each step that is taken.
    pub scales: Vec<f32>,
    /// The model takes the scale in, and is asked once.
    pub embedded: bool,
}

/// What the steps of a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Times that the model was asked.
    pub asked: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Steps that a cache made cheaper.
    pub cached_steps: u64,
    /// Multiply-accumulates that it saved.
    pub saved_macs: u64,
}

/// Asks a model on the way of a sample, step by step.
#[derive(Debug, Clone)]
pub struct Guided {
    guidance: Guidance,
    len: usize,
    outputs: usize,
    /// The answer without the condition; then what the condition adds to it, until the next.
    null: Vec<f32>,
    memory: Option<Memory>,
    steps: usize,
    step: usize,
    spent: Spent,
}

impl Guidance {
    /// No guidance.
    pub fn none() -> Self {
        Guidance { scales: vec![1.0], embedded: false }
    }

    /// Whether some step asks without the condition.
    pub fn needs_null(&self) -> bool {
        !self.embedded && self.scales.iter().any(|&scale| scale != 1.0)
    }

    fn scale(&self, step: usize) -> f32 {
        self.scales.get(step).or(self.scales.last()).copied().unwrap_or(1.0)
    }
}

impl Guided {
    /// For `steps` steps of samples with `len` values, from a model with `outputs` values.
    ///
    /// # Errors
    /// [`SchedulerError::Request`] when the scales are not one, or as many as steps, from -1000 to 1000; or the cache is one of guidance, and
    /// nothing is guided.
    pub fn new(
        guidance: Guidance,
        cache: Option<Cache>,
        steps: usize,
        len: usize,
        outputs: usize,
    ) -> Result<Self, SchedulerError> {
        let wrong = |expected| Err(SchedulerError::Request { field: "guidance", expected });
        if guidance.scales.len() != 1 && guidance.scales.len() != steps {
            return wrong("one scale, or one for each step that is taken");
        }
        if !guidance.scales.iter().all(|scale| scale.abs() <= MOST) {
            return wrong("scales from -1000 to 1000");
        }
        let null = vec![0.0; if guidance.needs_null() { outputs } else { 0 }];
        let mut guided = Guided { guidance, len, outputs, null, memory: None, steps, step: 0, spent: Spent::default() };
        guided.set_cache(cache)?;
        Ok(guided)
    }

    /// Asks with `cache` from the next sample on.
    ///
    /// # Errors
    /// [`SchedulerError::Request`] when the cache is one of guidance, and nothing is guided, or [`Cache::Turns`].
    pub fn set_cache(&mut self, cache: Option<Cache>) -> Result<(), SchedulerError> {
        if matches!(cache, Some(Cache::Difference { .. })) && !self.guidance.needs_null() {
            return Err(SchedulerError::Request { field: "cache", expected: "another one where no step is guided" });
        }
        if cache == Some(Cache::Turns) {
            return Err(SchedulerError::Request {
                field: "cache",
                expected: "another one: turns are a restore network's",
            });
        }
        self.memory = cache.map(|cache| Memory::new(cache, self.len, self.outputs));
        Ok(())
    }

    /// Begins a sample.
    pub fn begin(&mut self) {
        (self.step, self.spent) = (0, Spent::default());
        self.memory.iter_mut().for_each(|memory| memory.begin(self.steps));
    }

    /// Fills `output` with the guided answer of the next step: `null + scale (condition - null)`; a variance is the condition's.
    ///
    /// # Errors
    /// The model's own.
    pub fn ask<N: Network>(
        &mut self,
        network: &mut N,
        input: &[f32],
        times: Times,
        output: &mut [f32],
    ) -> Result<(), N::Error> {
        let (step, scale) = (self.step, self.guidance.scale(self.step));
        self.step += 1;
        let is_guided = !self.guidance.embedded && scale != 1.0;
        let turn = self.memory.as_mut().map_or(Turn::Whole, |memory| memory.turn(step, is_guided, input));
        let (before, whole) = (self.spent.macs, network.macs(Depth::Whole) * if is_guided { 2 } else { 1 });
        let depth = if turn == Turn::Shallow { Depth::Shallow } else { Depth::Whole };
        let question = Question { branch: Branch::Condition, depth, times, scale };
        match (turn, &mut self.memory) {
            (Turn::Nothing, Some(memory)) => memory.recall(step, output),
            _ => self.question(network, input, question, output)?,
        }
        if is_guided && turn == Turn::Conditioned {
            for (output, difference) in output.iter_mut().zip(&self.null).take(self.len) {
                *output += (scale - 1.0) * difference;
            }
        } else if is_guided && turn != Turn::Nothing {
            let mut null = core::mem::take(&mut self.null);
            let asked = self.question(network, input, Question { branch: Branch::Null, ..question }, &mut null);
            self.null = null;
            asked?;
            for (output, null) in output.iter_mut().zip(&mut self.null).take(self.len) {
                let difference = *output - *null;
                *output = *null + scale * difference;
                *null = difference;
            }
        }
        if let (Turn::Whole, Some(memory)) = (turn, &mut self.memory) {
            memory.keep(step, is_guided, output);
        }
        self.spent.saved_macs += whole.saturating_sub(self.spent.macs - before);
        let is_cached = turn != Turn::Whole && (is_guided || turn != Turn::Conditioned);
        self.spent.cached_steps += u64::from(is_cached);
        Ok(())
    }

    /// Since the sample began.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Asks, and counts it.
    fn question<N: Network>(
        &mut self,
        network: &mut N,
        input: &[f32],
        question: Question,
        output: &mut [f32],
    ) -> Result<(), N::Error> {
        self.spent.asked += 1;
        self.spent.macs += network.macs(question.depth);
        network.ask(input, question, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;

    /// Answers 3 with the condition, 1 without, -1 from the shallow part; twice as many values are a variance of 5, 7 or 0.
    struct Two;

    impl Network for Two {
        type Error = Infallible;

        fn ask(&mut self, _: &[f32], question: Question, output: &mut [f32]) -> Result<(), Infallible> {
            let answer = match (question.branch, question.depth) {
                (_, Depth::Shallow) => [-1.0, 0.0],
                (Branch::Condition, _) => [3.0, 5.0],
                (Branch::Null, _) => [1.0, 7.0],
            };
            output.copy_from_slice(&answer[..output.len()]);
            Ok(())
        }

        fn macs(&self, depth: Depth) -> u64 {
            if depth == Depth::Whole { 10 } else { 4 }
        }
    }

    #[test]
    fn scales_step_by_step_and_what_they_take() {
        let guidance = Guidance { scales: vec![1.0, 2.0, 0.0], embedded: false };
        let mut guided = Guided::new(guidance, None, 3, 1, 2).unwrap();
        for _ in 0..2 {
            guided.begin();
            for expected in [3.0, 5.0, 1.0] {
                let mut output = [0.0; 2];
                guided.ask(&mut Two, &[0.0], Times { t: 0.0, r: 0.0 }, &mut output).unwrap();
                assert_eq!(output, [expected, 5.0]);
            }
            assert_eq!(guided.spent(), Spent { asked: 5, macs: 50, ..Spent::default() });
        }
    }

    #[test]
    fn a_model_that_takes_the_scale_in_is_asked_once() {
        let mut guided = Guided::new(Guidance { scales: vec![8.0], embedded: true }, None, 3, 1, 1).unwrap();
        let mut output = [0.0];
        guided.ask(&mut Two, &[0.0], Times { t: 0.0, r: 0.0 }, &mut output).unwrap();
        assert_eq!((output, guided.spent().asked), ([3.0], 1));
    }

    #[test]
    fn scales_that_fit_no_steps_are_refused() {
        for scales in [vec![], vec![1.0, 2.0], vec![f32::NAN], vec![2000.0]] {
            let refused = Guided::new(Guidance { scales, embedded: false }, None, 3, 1, 1).unwrap_err();
            assert!(matches!(refused, SchedulerError::Request { field: "guidance", .. }));
        }
    }

    /// The answers of six steps with a scale of 2, and what they took.
    fn cached(cache: Cache) -> ([f32; 6], Spent) {
        let guidance = Guidance { scales: vec![2.0], embedded: false };
        let mut guided = Guided::new(guidance, Some(cache), 6, 1, 1).unwrap();
        let mut answers = [0.0; 6];
        for _ in 0..2 {
            guided.begin();
            for (step, answer) in answers.iter_mut().enumerate() {
                let (input, times) = ([1.0 + step as f32], Times { t: 0.0, r: 0.0 });
                guided.ask(&mut Two, &input, times, core::slice::from_mut(answer)).unwrap();
            }
        }
        (answers, guided.spent())
    }

    #[test]
    fn a_shallow_step_has_the_deep_features_that_it_needs() {
        let guidance = Guidance { scales: vec![1.0, 2.0, 2.0, 1.0, 2.0], embedded: false };
        let mut guided = Guided::new(guidance, Some(Cache::Deep { interval: 2 }), 5, 1, 1).unwrap();
        // The third step reuses both branches of the second; the fourth asks one of them, so the fifth is whole again.
        for expected in [3.0, 5.0, -1.0, 3.0, 5.0] {
            let mut output = [0.0];
            guided.ask(&mut Two, &[0.0], Times { t: 0.0, r: 0.0 }, &mut output).unwrap();
            assert_eq!(output, [expected]);
        }
    }

    #[test]
    fn caches_tell_what_they_saved() {
        let spent = |asked, macs, cached_steps| Spent { asked, macs, cached_steps, saved_macs: 120 - macs };
        let (answers, took) = cached(Cache::Deep { interval: 3 });
        assert_eq!((answers, took), ([5.0, -1.0, -1.0, 5.0, -1.0, -1.0], spent(12, 72, 4)));
        assert_eq!(cached(Cache::Difference { interval: 2 }), ([5.0; 6], spent(9, 90, 3)));
        assert_eq!(cached(Cache::Taylor { interval: 3 }), ([5.0; 6], spent(6, 60, 3)));
        // Changes of the input: 1, 1/2, 1/3, 1/4, 1/5.
        assert_eq!(cached(Cache::Bounded { threshold: 1.0 }), ([5.0; 6], spent(8, 80, 2)));
        for cache in [Cache::Difference { interval: 2 }, Cache::Turns] {
            let refused = Guided::new(Guidance::none(), Some(cache), 6, 1, 1);
            assert!(matches!(refused, Err(SchedulerError::Request { field: "cache", .. })));
        }
    }
}
