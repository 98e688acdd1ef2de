//! A sampler: a scheduler's steps with the buffers that they need.

use super::noise::Normals;
use super::transition::{Plan, Spread, Times, Transition};
use super::{Request, Scheduler, SchedulerError};
use alloc::vec;
use alloc::vec::Vec;

/// The steps of a scheduler for samples of one length. Allocates when it is made, and never again.
///
/// [`Sampler::run`] is the whole loop. Who needs another one asks step by step: [`times`](Sampler::times) and
/// [`model_input`](Sampler::model_input), then the model, [`estimate`](Sampler::estimate), what has to be done to x0, and
/// [`advance`](Sampler::advance).
#[derive(Debug, Clone)]
pub struct Sampler {
    plan: Plan,
    begin: usize,
    len: usize,
    learns_variance: bool,
    last_x0: Vec<f32>,
    scratch: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
}

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError<E> {
    Scheduler(SchedulerError),
    /// What the model returned.
    Model(E),
}

impl<E> From<SchedulerError> for RunError<E> {
    fn from(error: SchedulerError) -> Self {
        RunError::Scheduler(error)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RunError::Scheduler(error) => write!(f, "{error}"),
            RunError::Model(error) => write!(f, "{error}"),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for RunError<E> {}

impl Sampler {
    /// A sampler of `len` values, from a model with `outputs` values: `len`, or twice as many where it was trained with a variance.
    ///
    /// # Errors
    /// [`SchedulerError`] when the configuration has no such steps, or `outputs` doesn't fit.
    pub fn new(scheduler: &Scheduler, request: &Request, len: usize, outputs: usize) -> Result<Self, SchedulerError> {
        let (plan, begin) = scheduler.plan(request)?;
        let learns_variance = scheduler.learns_variance();
        let sampler = Sampler {
            plan,
            begin,
            len,
            learns_variance,
            last_x0: vec![0.0; len],
            scratch: vec![0.0; len],
            input: vec![0.0; len],
            output: vec![0.0; outputs],
        };
        sampler.check_output(&sampler.output)?;
        Ok(sampler)
    }

    /// The steps to take, by their indices: not from 0 where a sample begins later.
    pub fn steps(&self) -> core::ops::Range<usize> {
        self.begin..self.plan.transitions.len()
    }

    /// Draws of noise that a run reads, the first of them for pure noise.
    pub fn draws(&self) -> usize {
        let is_noisy = |step: &usize| self.plan.transitions[*step].next.noise != Spread::Fixed(0.0);
        self.steps().rev().find(is_noisy).map_or(1, |step| step + 2)
    }

    /// What the model is told at `step`, one of [`Sampler::steps`].
    pub fn times(&self, step: usize) -> Times {
        self.plan.transitions[step].times
    }

    /// Signal and noise in x before the first step that is taken: `x = signal x0 + sigma z`.
    pub fn start_levels(&self) -> (f32, f32) {
        let first = &self.plan.transitions[self.begin];
        (first.signal as f32, first.sigma as f32)
    }

    /// Fills `x` with pure noise.
    pub fn start(&self, noise: &impl Normals, x: &mut [f32]) {
        let initial = self.plan.initial as f32;
        for (index, x) in x.iter_mut().enumerate() {
            *x = initial * noise.normal(0, index);
        }
    }

    /// Fills `x` with `sample` and the noise of the first step that is taken. `snr` is what the sample already has of it, a power
    /// ratio for unit signal power: infinity for a clean one. Where it has more than the step, none is added.
    ///
    /// # Errors
    /// [`SchedulerError::Length`] unless `x` and `sample` are as long as the sampler's.
    pub fn start_from(
        &self,
        sample: &[f32],
        snr: f32,
        noise: &impl Normals,
        x: &mut [f32],
    ) -> Result<(), SchedulerError> {
        self.check("sample", sample)?;
        self.check("x", x)?;
        let Transition { signal, sigma, .. } = self.plan.transitions[self.begin];
        // Noise in the sample grows or shrinks with the signal.
        let there = if snr > 0.0 { signal * signal / snr as f64 } else { 0.0 };
        let missing = libm::sqrt((sigma * sigma - there).max(0.0)) as f32;
        let signal = signal as f32;
        for (index, (x, sample)) in x.iter_mut().zip(sample).enumerate() {
            *x = signal * sample + missing * noise.normal(0, index);
        }
        Ok(())
    }

    /// Fills `input` with what the model sees of `x` at `step`.
    pub fn model_input(&self, step: usize, x: &[f32], input: &mut [f32]) {
        scale(self.plan.transitions[step].input, x, input);
    }

    /// Fills `x0` with the estimate of x0 at `step`, from x and the model's output.
    ///
    /// # Errors
    /// [`SchedulerError::Length`], or [`SchedulerError::NotFinite`] when the estimate is.
    pub fn estimate(&mut self, step: usize, x: &[f32], output: &[f32], x0: &mut [f32]) -> Result<(), SchedulerError> {
        self.check("x", x)?;
        self.check("x0", x0)?;
        self.check_output(output)?;
        let Transition { x0: line, bounded, skip, .. } = &self.plan.transitions[step];
        let (from_x, from_output) = (line.x as f32, line.output as f32);
        for ((x0, x), output) in x0.iter_mut().zip(x).zip(output) {
            *x0 = from_x * x + from_output * output;
        }
        if !x0.iter().all(|value| value.is_finite()) {
            return Err(SchedulerError::NotFinite { step });
        }
        self.plan.bound.apply(x0, &mut self.scratch);
        let (bounded, skip) = (*bounded as f32, *skip as f32);
        if skip != 0.0 {
            for (x0, x) in x0.iter_mut().zip(x) {
                *x0 = bounded * *x0 + skip * x;
            }
        }
        Ok(())
    }

    /// Moves `x` to the next step, given the model's output and the estimate at `step`. Steps come in their order.
    ///
    /// # Errors
    /// [`SchedulerError::Length`], or [`SchedulerError::NotFinite`] when x is no longer finite.
    pub fn advance(
        &mut self,
        step: usize,
        x: &mut [f32],
        output: &[f32],
        x0: &[f32],
        noise: &impl Normals,
    ) -> Result<(), SchedulerError> {
        self.check("x", x)?;
        self.check("x0", x0)?;
        self.check_output(output)?;
        let next = self.plan.transitions[step].next;
        let (from_x, from_output, from_x0, from_last) =
            (next.x as f32, next.output as f32, next.x0 as f32, next.last_x0 as f32);
        for (((x, output), x0), last) in x.iter_mut().zip(output).zip(x0).zip(&self.last_x0) {
            *x = from_x * *x + from_output * output + from_x0 * x0 + from_last * last;
        }
        self.last_x0.copy_from_slice(x0);
        let variances = output.get(self.len..).unwrap_or(&[]);
        let draw = |index| noise.normal(step + 1, index);
        match next.noise {
            Spread::Fixed(0.0) => {}
            Spread::Fixed(level) => {
                let level = level as f32;
                x.iter_mut().enumerate().for_each(|(index, x)| *x += level * draw(index));
            }
            Spread::Learned => {
                for (index, (x, variance)) in x.iter_mut().zip(variances).enumerate() {
                    *x += libm::sqrtf(*variance) * draw(index);
                }
            }
            Spread::LearnedRange { low, high } => {
                let (low, high) = (low as f32, high as f32);
                for (index, (x, at)) in x.iter_mut().zip(variances).enumerate() {
                    let share = (at + 1.0) / 2.0;
                    *x += libm::expf(0.5 * (share * high + (1.0 - share) * low)) * draw(index);
                }
            }
        }
        if x.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(SchedulerError::NotFinite { step }) }
    }

    /// Takes every step, and leaves the sample in `x` and the last estimate in `x0`. `x` begins as [`Sampler::start`] or
    /// [`Sampler::start_from`] left it.
    ///
    /// `model(input, times, output)` asks the model. `project(x0)` puts back what is known of x0, after every estimate: for a mask
    /// operator this is DDNM's projection (Wang, Yu, Zhang 2023).
    ///
    /// # Errors
    /// [`RunError`]: the model's own, or what the steps found wrong.
    pub fn run<E>(
        &mut self,
        noise: &impl Normals,
        x: &mut [f32],
        x0: &mut [f32],
        mut model: impl FnMut(&[f32], Times, &mut [f32]) -> Result<(), E>,
        mut project: impl FnMut(&mut [f32]),
    ) -> Result<(), RunError<E>> {
        self.check("x", x)?;
        let mut output = core::mem::take(&mut self.output);
        let mut result = Ok(());
        for step in self.steps() {
            let Transition { times, input, .. } = self.plan.transitions[step];
            scale(input, x, &mut self.input);
            result = model(&self.input, times, &mut output).map_err(RunError::Model).and_then(|()| {
                self.estimate(step, x, &output, x0)?;
                project(x0);
                Ok(self.advance(step, x, &output, x0, noise)?)
            });
            if result.is_err() {
                break;
            }
        }
        self.output = output;
        result
    }

    fn check(&self, buffer: &'static str, values: &[f32]) -> Result<(), SchedulerError> {
        if values.len() == self.len {
            Ok(())
        } else {
            Err(SchedulerError::Length { buffer, expected: self.len, found: values.len() })
        }
    }

    fn check_output(&self, output: &[f32]) -> Result<(), SchedulerError> {
        let (len, found) = (self.len, output.len());
        if found == 2 * len || found == len && !self.learns_variance {
            return Ok(());
        }
        let expected = if self.learns_variance { 2 * len } else { len };
        Err(SchedulerError::Length { buffer: "model output", expected, found })
    }
}

fn scale(factor: f64, x: &[f32], out: &mut [f32]) {
    let factor = factor as f32;
    out.iter_mut().zip(x).for_each(|(out, x)| *out = factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use crate::sampler::{CLASSES, Recorded, Start};
    use core::convert::Infallible;

    fn scheduler(text: &str) -> Scheduler {
        Scheduler::parse(text.as_bytes(), None).unwrap().0
    }

    fn ddim() -> Scheduler {
        scheduler(r#"{"_class_name": "DDIMScheduler"}"#)
    }

    fn from(start: Start) -> Result<Sampler, SchedulerError> {
        Sampler::new(&ddim(), &Request { start, ..Request::steps(10) }, 2, 2)
    }

    #[test]
    fn samples_begin_where_they_are_asked_to() {
        assert_eq!(from(Start::First).unwrap().steps(), 0..10);
        assert_eq!(from(Start::Step(9)).unwrap().steps(), 9..10);
        assert_eq!(from(Start::Strength(0.75)).unwrap().steps(), 3..10);
        // 0 dB is timestep 258: 300 is the last of 900, 800, ... with more noise.
        let sampler = from(Start::Snr(1.0)).unwrap();
        assert_eq!((sampler.steps(), sampler.times(6).t), (6..10, 300.0));
        for start in [Start::Step(10), Start::Strength(0.05), Start::Strength(f64::NAN), Start::Snr(0.0)] {
            assert!(matches!(from(start), Err(SchedulerError::Request { field: "start", .. })), "{start:?}");
        }
    }

    #[test]
    fn a_noisy_sample_gets_what_noise_is_missing() {
        let sampler = from(Start::Snr(1.0)).unwrap();
        let (signal, sigma) = sampler.start_levels();
        let noise = Recorded::new(&[1.0, -2.0], 2);
        let mut x = [0.0; 2];
        sampler.start_from(&[0.5, 0.5], f32::INFINITY, &noise, &mut x).unwrap();
        assert_eq!(x, [signal * 0.5 + sigma, signal * 0.5 - 2.0 * sigma]);
        sampler.start_from(&[0.5, 0.5], 1.0, &noise, &mut x).unwrap();
        let missing = (sigma * sigma - signal * signal).sqrt();
        assert!((x[0] - (signal * 0.5 + missing)).abs() < 1e-6);
        sampler.start_from(&[0.5, 0.5], 0.01, &noise, &mut x).unwrap();
        assert_eq!(x, [signal * 0.5; 2]);
        assert!(sampler.start_from(&[0.5], 1.0, &noise, &mut x).is_err());
    }

    /// What is projected is what the step uses, in every class; where the last step ends at no noise, it is the sample.
    #[test]
    fn known_values_are_put_back_in_every_class() {
        for class in CLASSES {
            let scheduler = Scheduler::parse(b"{}", Some(class)).unwrap().0;
            let mut sampler = Sampler::new(&scheduler, &Request::steps(4), 3, 3).unwrap();
            let noise = Noise::new(7, 0);
            let (mut x, mut x0) = ([0.0; 3], [0.0; 3]);
            sampler.start(&noise, &mut x);
            let model = |input: &[f32], _: Times, output: &mut [f32]| {
                output.copy_from_slice(input);
                Ok::<(), Infallible>(())
            };
            sampler.run(&noise, &mut x, &mut x0, model, |x0| x0[1] = 0.25).unwrap();
            assert_eq!(x0[1], 0.25);
            // TCD ends at the first timestep of the training, whose noise is not quite 0.
            let tolerance = if class == "TCDScheduler" { 0.1 } else { 1e-6 };
            assert!((x[1] - 0.25).abs() < tolerance, "{class}: {x:?}");
        }
    }

    #[test]
    fn a_learned_variance_is_left_alone_or_used() {
        let noise = Noise::new(7, 0);
        let sample = |scheduler: &Scheduler, outputs: usize, variance: f32| {
            let mut sampler = Sampler::new(scheduler, &Request::steps(4), 2, outputs)?;
            let (mut x, mut x0) = ([0.0; 2], [0.0; 2]);
            sampler.start(&noise, &mut x);
            let model = |input: &[f32], _: Times, output: &mut [f32]| {
                output.fill(variance);
                output[..2].copy_from_slice(input);
                Ok::<(), Infallible>(())
            };
            sampler.run(&noise, &mut x, &mut x0, model, |_| {}).unwrap();
            Ok::<_, SchedulerError>(x)
        };
        assert_eq!(sample(&ddim(), 2, 0.0), sample(&ddim(), 4, 0.5));
        let learned = scheduler(r#"{"_class_name": "DDPMScheduler", "variance_type": "learned_range"}"#);
        assert_ne!(sample(&learned, 4, 0.0), sample(&learned, 4, 0.5));
        assert!(matches!(sample(&learned, 2, 0.0), Err(SchedulerError::Length { expected: 4, found: 2, .. })));
    }

    #[test]
    fn a_model_that_fails_or_gives_nan_ends_the_run() {
        let mut sampler = Sampler::new(&ddim(), &Request::steps(4), 2, 2).unwrap();
        let noise = Noise::new(7, 0);
        let mut asked = 0;
        let mut run = |at: usize, value: Result<f32, &'static str>| {
            asked = 0;
            let model = |_: &[f32], _: Times, output: &mut [f32]| {
                asked += 1;
                output.fill(if asked > at { value? } else { 0.0 });
                Ok(())
            };
            let (mut x, mut x0) = ([0.0; 2], [0.0; 2]);
            sampler.start(&noise, &mut x);
            sampler.run(&noise, &mut x, &mut x0, model, |_| {})
        };
        assert_eq!(run(2, Ok(f32::NAN)), Err(SchedulerError::NotFinite { step: 2 }.into()));
        assert_eq!(run(1, Err("no model")), Err(RunError::Model("no model")));
        assert_eq!(run(9, Ok(0.0)), Ok(()));
    }
}
