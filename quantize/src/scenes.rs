//! Calibration where the model lives: what the networks of a bundle are given while a receiver works on maps that crossed a channel.

use crate::samples::lacking;
use crate::{Network, QuantizeError, Samples, Store};
use semrx::bundle::Bundle;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::engine::{Arrays, Engine};
use semrx::evaluation::{Case, EvaluationError, Recording, receive};
use semrx::maps;
use semrx::receiver::{Config, Mode, Receiver, SamplerKind, Watched};
use semrx::sampler::Cache;
use semrx::scene::{ClassMap, Scene};
use semrx::wire::{Cut, Payload};
use std::path::Path;

/// Channels that the maps cross, one after another: each map adds samples of one of them.
const CHANNELS: [(Payload, &str); 8] = [
    (Payload::Map, "tile-loss=0.1"),
    (Payload::Soft8, "sigma=0.36"),
    (Payload::Map, "tile-loss=0.3,burst=4"),
    (Payload::Soft8, "sigma=0.9"),
    (Payload::Map, "tile-loss=0.5"),
    (Payload::Soft8, "sigma=1.3"),
    (Payload::Map, "tile-loss=0.7"),
    (Payload::Map, "tile-loss=0.5,burst=4"),
];

/// Samplers and their steps, in turn: of each sample one step is taken, the first, the second and so on, so that every noise level has its share.
const SAMPLERS: [(SamplerKind, u16); 4] = [
    (SamplerKind::Consistency, 1),
    (SamplerKind::Consistency, 4),
    (SamplerKind::Ddim, 20),
    (SamplerKind::Consistency, 2),
];

/// How many samples, by which seed, and of which maps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw<'a> {
    pub samples: usize,
    pub seed: u64,
    /// What the names of the maps begin with.
    pub only: &'a str,
    /// Maps a second.
    pub fps: f64,
}

impl Default for Draw<'_> {
    fn default() -> Self {
        Draw { samples: 0, seed: 0, only: "", fps: 10.0 }
    }
}

impl Samples {
    /// What `network` is given where `bundle` is at work: where it is the head, the restore network or its shallow part, by [its receiver](Self::of_scenes), else by
    /// [its sampler](Self::of_generator).
    ///
    /// # Errors
    /// [`QuantizeError`].
    pub fn of_bundle(
        network: &Network,
        bundle: &Path,
        folder: &Path,
        draw: Draw<'_>,
        store: &Store,
        tick: impl FnMut(),
    ) -> Result<Self, QuantizeError> {
        let has = |name: &str| network.graph.input.iter().any(|input| input.name == name);
        match has("cond") && has("mask") && (has("sigma") || !has("x")) {
            true => Self::of_scenes(network, bundle, folder, draw, store, tick),
            false => Self::of_generator(network, bundle, folder, draw, store, tick),
        }
    }

    /// What `network`, the head, the restore network or its shallow part, is given when the receiver of `bundle` works on the maps in the folder `folder`. `tick` is called
    /// after each sample; those that `store` has are not drawn again.
    ///
    /// # Errors
    /// [`QuantizeError`]: no bundle, a network that none of its roles is, maps that can't be read.
    pub fn of_scenes(
        network: &Network,
        bundle: &Path,
        folder: &Path,
        draw: Draw<'_>,
        store: &Store,
        mut tick: impl FnMut(),
    ) -> Result<Self, QuantizeError> {
        let opened = Bundle::open(bundle).map_err(|error| QuantizeError::calibration(bundle, error))?;
        let has = |name: &str| network.graph.input.iter().any(|input| input.name == name);
        let is_restore = has("sigma") && has("x");
        let mut truths: Vec<ClassMap> = Vec::new();
        let files = maps::list_beginning(folder, draw.only);
        for file in files.map_err(|error| QuantizeError::calibration(folder, error))? {
            let map = maps::read(&file, opened.labels()).map_err(|error| QuantizeError::calibration(&file, error))?;
            truths.push(map.resampled(opened.grid()));
        }
        let engine = Engine::Plan(Machine::one_thread(Isa::best()));
        let mut receivers = Vec::new();
        for (sampler, steps) in SAMPLERS {
            // Its deep feature is asked for where the model takes it.
            let cache = has("deep").then_some(Cache::Deep { interval: 1 });
            let config =
                Config { mode: Mode::Hybrid, steps: Some(steps), sampler, cache, seed: draw.seed, ..Config::default() };
            let receiver = Receiver::open(&opened, config, Default::default(), &engine);
            receivers.push(receiver.map_err(|error| QuantizeError::calibration(bundle, error))?);
        }
        let (mut held, mut drawn, mut missing, mut failed) = (Vec::new(), 0, None, None);
        for (number, (payload, channel)) in CHANNELS.iter().enumerate() {
            let channel = channel.parse().map_err(|error| QuantizeError::calibration(folder, error))?;
            let case = Case {
                payload: *payload,
                channel,
                blind: false,
                max_bytes: None,
                delta: None,
                cut: Cut::Blocks,
                parity: 0,
            };
            // So many maps of this channel, as evenly as whole numbers go.
            let share = (draw.samples + CHANNELS.len() - 1 - number) / CHANNELS.len();
            let mut taken = 0;
            let each = |scene: &Scene, _: &ClassMap, sequence: u32| {
                let is_due = (sequence as usize + 1) * share / truths.len() > taken;
                if !is_due {
                    return Ok(());
                }
                let turn = CHANNELS.len() * taken + number;
                (taken, drawn) = (taken + 1, drawn + 1);
                if store.has(drawn - 1) || failed.is_some() {
                    tick();
                    return Ok(());
                }
                let (receiver, (_, steps)) = (&mut receivers[turn % SAMPLERS.len()], SAMPLERS[turn % SAMPLERS.len()]);
                let wanted = turn / SAMPLERS.len() % steps as usize;
                let (mut step, mut given) = (0, Arrays::default());
                let mut watch = |watched: Watched<'_>| {
                    if is_restore && step == wanted {
                        watched.inputs.iter().for_each(|(name, values)| insert(&mut given, network, name, values));
                        insert(&mut given, network, "deep", watched.deep);
                    }
                    step += 1;
                };
                receiver.sample_watched(scene, turn as u32, &mut watch)?;
                if !is_restore {
                    let inputs = receiver.head_inputs(turn % 2 == 1);
                    inputs.iter().for_each(|(name, values)| insert(&mut given, network, name, values));
                }
                missing = missing.take().or_else(|| lacking(network, &given));
                match store.keep(drawn - 1, given) {
                    Ok(given) => held.extend(given),
                    Err(error) => failed = Some(error),
                }
                tick();
                Ok(())
            };
            receive(opened.labels(), Recording { maps: &truths, fps: draw.fps }, &case, draw.seed, each)
                .map_err(|error: EvaluationError| QuantizeError::calibration(folder, error))?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(input) = missing {
            let reason = format!(
                "input {input:?} is none, or not in the shape, that the receiver of {} gives its networks",
                bundle.display()
            );
            return Err(QuantizeError::Model { file: network.file.clone(), reason });
        }
        Samples::drawn(folder, drawn, held, store)
    }
}

/// Adds `values` for the input `name`, if the model has it, in its shape.
fn insert(given: &mut Arrays, network: &Network, name: &str, values: &[f32]) {
    if let Some(shape) = network.input_shape(name)
        && shape.iter().product::<usize>() == values.len()
    {
        given.insert_floats(name, &shape, values);
    }
}
