//! What a cache remembers, and what a step computes with it.

use super::change::Change;
use super::forecast::Forecast;
use super::profile::Profiled;
use super::turns::Turned;
use super::{Cache, Learned, Turns};

/// What a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sampler) enum Turn {
    Whole,
    /// The shallow part of the model.
    Shallow,
    /// The answer with the condition alone.
    Conditioned,
    Nothing,
}

/// A whole step.
#[derive(Debug, Clone, Copy)]
pub(in crate::sampler) struct Asked {
    step: usize,
    guided: bool,
}

/// What a cache remembers of the steps before.
#[derive(Debug, Clone)]
pub(in crate::sampler) enum Memory {
    Deep { interval: usize, last: Option<Asked> },
    Difference { interval: usize, last: Option<usize> },
    Taylor { interval: usize, forecast: Forecast },
    Bounded(Change),
    Profiled(Profiled),
    Turned(Turned),
}

impl Memory {
    /// For `inputs` values of x and `outputs` of the model.
    pub fn new(cache: Cache, inputs: usize, outputs: usize) -> Self {
        match cache {
            Cache::Deep { interval } => Memory::Deep { interval, last: None },
            Cache::Difference { interval } => Memory::Difference { interval, last: None },
            Cache::Taylor { interval } => Memory::Taylor { interval, forecast: Forecast::new(1, outputs) },
            Cache::Bounded { threshold } => Memory::Bounded(Change::new(threshold, inputs, outputs)),
            Cache::Turns => Memory::Turned(Turned::new(Turns::default(), outputs)),
        }
    }

    /// [`Memory::new`] for a model that is asked at noise levels, and may have what was `learned` of it.
    pub fn by_level(cache: Cache, learned: Learned, inputs: usize, outputs: usize) -> Self {
        match (cache, learned) {
            (Cache::Bounded { threshold }, Learned { profile: Some(profile), .. }) => {
                Memory::Profiled(Profiled::new(threshold, profile, outputs))
            }
            (Cache::Turns, Learned { turns: Some(turns), .. }) => Memory::Turned(Turned::new(turns, outputs)),
            _ => Memory::new(cache, inputs, outputs),
        }
    }

    /// [`Memory::begin`] for a sample at these noise levels.
    pub fn begin_at(&mut self, sigmas: &[f32]) {
        match self {
            Memory::Profiled(profiled) => profiled.begin(sigmas),
            _ => self.begin(sigmas.len()),
        }
    }

    /// Forgets the sample before, for one of `steps` steps.
    pub fn begin(&mut self, steps: usize) {
        match self {
            Memory::Deep { last, .. } => *last = None,
            Memory::Difference { last, .. } => *last = None,
            Memory::Taylor { forecast, .. } => forecast.begin(),
            Memory::Bounded(change) => change.begin(steps),
            Memory::Profiled(profiled) => profiled.begin(&[]),
            Memory::Turned(turned) => turned.begin(steps),
        }
    }

    /// What `step` computes, guided or not; `input` is what the model would see.
    pub fn turn(&mut self, step: usize, is_guided: bool, input: &[f32]) -> Turn {
        let (is_due, other) = match self {
            Memory::Deep { interval, last } => {
                // A guided step needs the deep feature without the condition too.
                let serves = |last: &Asked| step - last.step < *interval && (last.guided || !is_guided);
                (!last.as_ref().is_some_and(serves), Turn::Shallow)
            }
            Memory::Difference { interval, last } => {
                (last.is_none_or(|last| step - last >= *interval), Turn::Conditioned)
            }
            Memory::Taylor { interval, forecast } => {
                (forecast.last_of_enough().is_none_or(|last| step - last >= *interval), Turn::Nothing)
            }
            Memory::Profiled(profiled) => (profiled.is_due(step), Turn::Nothing),
            Memory::Turned(turned) => return turned.turn(step),
            Memory::Bounded(change) => (change.is_due(step, input), Turn::Nothing),
        };
        if is_due { Turn::Whole } else { other }
    }

    /// Keeps the `output` of a whole step, which asked without the condition too where it was guided.
    pub fn keep(&mut self, step: usize, guided: bool, output: &[f32]) {
        match self {
            Memory::Deep { last, .. } => *last = Some(Asked { step, guided }),
            Memory::Difference { last, .. } if guided => *last = Some(step),
            Memory::Taylor { forecast, .. } => forecast.keep(step, output),
            Memory::Profiled(profiled) => profiled.forecast.keep(step, output),
            Memory::Turned(turned) => turned.forecast.keep(step, output),
            Memory::Bounded(change) => change.keep(output),
            _ => {}
        }
    }

    /// Keeps the `output` of a shallow step where later ones are continued from it.
    pub fn keep_shallow(&mut self, step: usize, output: &[f32]) {
        if let Memory::Turned(turned) = self {
            turned.forecast.keep(step, output);
        }
    }

    /// Fills `output` at a step that computes nothing.
    pub fn recall(&self, step: usize, output: &mut [f32]) {
        match self {
            Memory::Taylor { forecast, .. } => forecast.recall(step, output),
            Memory::Profiled(profiled) => profiled.forecast.recall(step, output),
            Memory::Turned(turned) => turned.forecast.weigh(turned.weights(step), output),
            Memory::Bounded(change) => change.recall(output),
            _ => {}
        }
    }

    /// What the last deep features weigh in that of `step`, if that is told.
    pub fn deep_weights(&self, step: usize) -> Option<&[f32]> {
        if let Memory::Turned(turned) = self { Some(turned.weights(step)) } else { None }
    }

    /// Bytes of its buffers.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Memory::Deep { .. } | Memory::Difference { .. } => 0,
            Memory::Taylor { forecast, .. } => forecast.memory_bytes(),
            Memory::Profiled(profiled) => profiled.forecast.memory_bytes(),
            Memory::Turned(turned) => turned.forecast.memory_bytes(),
            Memory::Bounded(change) => change.memory_bytes(),
        }
    }
}
