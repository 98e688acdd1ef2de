//! Samples of a model that was exported elsewhere: what its contract says of it on the planned engine, its scheduler, guidance and caches.

mod calibrate;
mod embedding;
mod error;
mod given;
mod graph;
mod graphs;
mod picture;
mod values;

pub use calibrate::{Calibration, calibrate};
pub use error::GenerateError;
pub use given::{Beginning, Given, Known};
pub use graphs::Asked;

use crate::bundle::{Generative, Kind, Layout};
use crate::engine::plan::Machine;
use crate::engine::{Arrays, EngineError, Planned};
use crate::sampler::{
    Cache, Guidance, Guided, Normals, Prediction, Request, RunError, Sampler, Scheduler, Spent, Times,
};
use graph::Conditions;
use graphs::Graphs;
use std::path::PathBuf;

/// How to sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub request: Request,
    /// Guidance scales, one for all steps or one for each; 1 is none.
    pub guidance: Vec<f32>,
    pub cache: Option<Cache>,
}

/// A model with its steps and its buffers.
#[derive(Debug)]
pub struct Generator {
    model: PathBuf,
    layout: Layout,
    network: Graphs,
    sampler: Sampler,
    guided: Guided,
    x: Vec<f32>,
    x0: Vec<f32>,
}

impl Generator {
    /// Loads the model, with the arrays of its condition and its mask by the names of its inputs.
    ///
    /// # Errors
    /// [`GenerateError`]: a model that doesn't keep its contract, arrays that don't fit it, a scheduler that has no such steps or takes
    /// the output for something else.
    pub fn open(
        generative: &Generative,
        scheduler: &Scheduler,
        settings: &Settings,
        arrays: &Arrays,
        machine: &Machine,
    ) -> Result<Self, GenerateError> {
        let (contract, model) = (&generative.contract, &generative.model);
        let interface = |reason| GenerateError::Engine(EngineError::Interface { model: model.clone(), reason });
        check_kind(contract.kind, scheduler).map_err(interface)?;
        if contract.r.is_some() != scheduler.tells_two_times() {
            let says = if contract.r.is_some() { "names an r" } else { "names no r" };
            return Err(interface(format!("its contract {says}: {} doesn't go with that", scheduler.class())));
        }
        let guidance = Guidance { scales: settings.guidance.clone(), embedded: contract.guidance.is_some() };
        let nulls = guidance.needs_null();
        if nulls && contract.condition.is_empty() {
            let reason = "a scale other than 1 needs a model whose contract names a condition or a guidance input";
            return Err(GenerateError::Request { field: "guidance", reason: reason.into() });
        }
        let null_arrays = match &generative.null_condition {
            Some(file) if nulls => Some(Arrays::read(file)?),
            _ => None,
        };
        let conditions = Conditions { arrays, nulls, null_arrays: null_arrays.as_ref() };
        let shallow = match (settings.cache, &generative.shallow, &contract.deep) {
            (Some(Cache::Deep { .. }), Some(shallow), Some(_)) => Some(shallow.as_path()),
            (Some(Cache::Deep { .. }), ..) => {
                let reason = "deep needs the role generate_shallow, and a contract that names the deep feature";
                return Err(GenerateError::Request { field: "cache", reason: reason.into() });
            }
            _ => None,
        };
        let network = Graphs::load(model, shallow, contract, conditions, machine)?;
        let graph = network.whole();
        let len: usize = graph.x_shape().iter().product();
        let steps = |error| GenerateError::Scheduler { model: model.clone(), error };
        let sampler = Sampler::new(scheduler, &settings.request, len, graph.outputs()).map_err(steps)?;
        if graph.takes_whole_times() {
            let parts = sampler.steps().find(|&step| {
                let Times { t, r } = sampler.times(step);
                t.fract() != 0.0 || r.fract() != 0.0
            });
            if let Some(step) = parts {
                let Times { t, .. } = sampler.times(step);
                return Err(interface(format!(
                    "its times are I64, and {} tells it {t} at step {step}: export it with float32 times",
                    scheduler.class()
                )));
            }
        }
        let guided =
            Guided::new(guidance, settings.cache, sampler.steps().len(), len, graph.outputs()).map_err(steps)?;
        let (x, x0) = (vec![0.0; len], vec![0.0; len]);
        Ok(Generator { model: model.clone(), layout: contract.layout, network, sampler, guided, x, x0 })
    }

    /// Of a sample, in the model's layout.
    pub fn shape(&self) -> &[usize] {
        self.network.whole().x_shape()
    }

    /// Steps that a sample takes.
    pub fn steps(&self) -> usize {
        self.sampler.steps().len()
    }

    /// Draws of noise that a sample reads.
    pub fn draws(&self) -> usize {
        self.sampler.draws()
    }

    /// The model on its plan; not its shallow part.
    pub fn planned(&self) -> &Planned {
        self.network.whole().planned()
    }

    /// Multiply-accumulates of a sample without a cache, whose first step computes what hangs on the conditions alone.
    pub fn macs(&self) -> u64 {
        let graph = self.network.whole();
        graph.macs() + graph.macs_again() * (self.steps() as u64).saturating_sub(1)
    }

    /// Bytes of the models in memory and of the sample.
    pub fn memory_bytes(&self) -> u64 {
        self.network.memory_bytes() + 2 * size_of_val(&self.x[..]) as u64
    }

    /// Gives a float32 condition other values, in the layout of the array that it was opened with.
    ///
    /// # Errors
    /// [`GenerateError::Request`]: the model has no such condition, or not of so many values.
    pub fn set_condition(&mut self, name: &str, values: &[f32]) -> Result<(), GenerateError> {
        match self.network.set_condition(name, values) {
            true => Ok(()),
            false => {
                let reason = format!("there is no float32 condition {name:?} of {} values", values.len());
                Err(GenerateError::Request { field: "condition", reason })
            }
        }
    }

    /// Takes a sample; `stepped` is called after each step.
    ///
    /// # Errors
    /// [`GenerateError::Scheduler`] when the model gives NaN or infinities, with the step, or the beginning has another length;
    /// [`GenerateError::Request`] when what is known doesn't fit; [`GenerateError::Engine`] when the model fails.
    pub fn run(
        &mut self,
        noise: &impl Normals,
        given: Given<'_>,
        mut stepped: impl FnMut(),
    ) -> Result<&[f32], GenerateError> {
        let Generator { model, network, sampler, guided, x, x0, .. } = self;
        let failed = |error| GenerateError::Scheduler { model: model.clone(), error };
        given.known.iter().try_for_each(|known| known.check(x.len()))?;
        match given.beginning {
            None => sampler.start(noise, x),
            Some(Beginning { sample, snr }) => sampler.start_from(sample, snr, noise, x).map_err(failed)?,
        }
        guided.begin();
        let ask = |input: &[f32], times: Times, output: &mut [f32]| {
            guided.ask(network, input, times, output)?;
            stepped();
            Ok::<(), EngineError>(())
        };
        let put_back = |x0: &mut [f32]| given.known.iter().for_each(|known| known.put_back(x0));
        sampler.run(noise, x, x0, ask, put_back).map_err(|error| match error {
            RunError::Scheduler(error) => failed(error),
            RunError::Model(error) => GenerateError::Engine(error),
        })?;
        Ok(x)
    }

    /// What the model was asked since the last call, if that one asked for it: from now on it is `kept`, all of it in memory.
    pub fn asked(&mut self, kept: bool) -> Vec<Asked> {
        self.network.asked(kept)
    }

    /// Takes the next samples with `cache`, one that needs no other graph than the ones that are loaded.
    ///
    /// # Errors
    /// [`GenerateError::Request`] for `deep`, which is asked for when a model is opened; [`GenerateError::Scheduler`] when nothing is guided.
    pub fn set_cache(&mut self, cache: Option<Cache>) -> Result<(), GenerateError> {
        if matches!(cache, Some(Cache::Deep { .. })) {
            let reason = "deep has to be asked for when the model is opened";
            return Err(GenerateError::Request { field: "cache", reason: reason.into() });
        }
        let failed = |error| GenerateError::Scheduler { model: self.model.clone(), error };
        self.guided.set_cache(cache).map_err(failed)
    }

    /// The last sample as a PNG: grey or RGB, -1 black and 1 white.
    ///
    /// # Errors
    /// [`GenerateError::Request`] when it has not 1 or 3 channels, height and width.
    pub fn picture(&self) -> Result<Vec<u8>, GenerateError> {
        let png = picture::png(&self.x, self.shape(), self.layout);
        png.map_err(|reason| GenerateError::Request { field: "picture", reason })
    }

    /// What the last sample took.
    pub fn spent(&self) -> Spent {
        self.guided.spent()
    }
}

/// Why the scheduler takes the model's output for something else than its contract says.
fn check_kind(kind: Option<Kind>, scheduler: &Scheduler) -> Result<(), String> {
    let takes = scheduler.prediction();
    let gives = match kind {
        None => return Ok(()),
        Some(Kind::Prediction(gives)) => gives,
        Some(Kind::Logits) => Prediction::Sample,
    };
    match takes {
        Some(takes) if takes == gives => Ok(()),
        Some(takes) => Err(format!(
            "by its contract it gives {}, the configuration of {} takes it for {}",
            gives.name(),
            scheduler.class(),
            takes.name()
        )),
        None => {
            Err(format!("by its contract it gives {}, {} takes a consistency model", gives.name(), scheduler.class()))
        }
    }
}
