//! Calibration where a generative model lives: what it is asked while a sampler takes samples of it, with its condition and without.

use crate::samples::lacking;
use crate::{Draw, Network, QuantizeError, Samples, Store};
use semrx::bundle::{BundleError, Generative};
use semrx::engine::Arrays;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::generate::{Asked, Generator, Given, Settings};
use semrx::noise::Noise;
use semrx::sampler::{Branch, Cache, Depth, Request};
use std::path::Path;

/// Stream of [`Noise`] that samples are taken with.
const STREAM: u64 = 0x6361_6c69_6272;
/// Steps of the samples, in turn.
const STEPS: [usize; 3] = [20, 8, 40];
/// With which guidance: the answers of both branches shape what comes next.
const GUIDANCE: f32 = 2.0;
/// Samples of the model that are taken at most: of each, several steps are kept.
const MOST_RUNS: usize = 24;
/// From run to run, in places of the schedule.
const STRIDE: usize = 7;

impl Samples {
    /// What `network`, the whole model or the shallow part of `bundle`, is asked while it is sampled with the conditions in `folder`, one `.npz`
    /// each, by the scheduler of the bundle: steps from the first to the last, and both branches of guidance where it has a condition. `tick` is
    /// called for each sample; those that `store` has are not drawn again.
    ///
    /// # Errors
    /// [`QuantizeError`]: no bundle with the role `generate`, conditions that don't fit, a model of another bundle.
    pub fn of_generator(
        network: &Network,
        bundle: &Path,
        folder: &Path,
        draw: Draw<'_>,
        store: &Store,
        mut tick: impl FnMut(),
    ) -> Result<Self, QuantizeError> {
        let of_bundle = |error: &dyn std::fmt::Display| QuantizeError::calibration(bundle, error);
        let generative = Generative::open(bundle).map_err(|error| match error {
            BundleError::Role { role: "generate", .. } => QuantizeError::Model {
                file: network.file.clone(),
                reason: format!(
                    "with --bundle the model is the head, the restore network or its shallow part, which have inputs cond and mask; or that of the role generate, which {} hasn't",
                    bundle.display()
                ),
            },
            error => of_bundle(&error),
        })?;
        let scheduler = generative.scheduler(None).map_err(|error| of_bundle(&error))?;
        let conditions = match generative.contract.condition.is_empty() {
            true => None,
            false => Some(Samples::open(folder).and_then(|all| all.beginning(draw.only)).map_err(|error| match error {
                QuantizeError::Calibration { file, .. } => QuantizeError::Calibration {
                    file,
                    reason: "holds no .npz: the model wants conditions, one each, as semrx sample --condition takes them".into(),
                },
                error => error,
            })?),
        };
        let has = |name: &str| network.graph.input.iter().any(|input| input.name == name);
        let depth = if generative.contract.deep.as_deref().is_some_and(has) { Depth::Shallow } else { Depth::Whole };
        let runs = draw.samples.min(MOST_RUNS);
        let (mut held, mut number) = (Vec::new(), 0);
        for run in 0..runs {
            // As evenly as whole numbers go.
            let count = (run + 1) * draw.samples / runs - run * draw.samples / runs;
            if (number..number + count).all(|number| store.has(number)) {
                number += count;
                (0..count).for_each(|_| tick());
                continue;
            }
            let (condition, file) = match &conditions {
                Some(conditions) => {
                    let number = run * conditions.len() / runs;
                    (conditions.read(number)?.into_owned(), conditions.file(number))
                }
                None => (Arrays::default(), bundle),
            };
            let settings = Settings {
                request: Request::steps(STEPS[run % STEPS.len()]),
                guidance: vec![if conditions.is_some() { GUIDANCE } else { 1.0 }],
                cache: (depth == Depth::Shallow).then_some(Cache::Deep { interval: 2 }),
            };
            let machine = Machine::one_thread(Isa::best());
            let mut generator = Generator::open(&generative, &scheduler, &settings, &condition, &machine)
                .map_err(|error| QuantizeError::calibration(file, error))?;
            generator.asked(true);
            let noise = Noise::new(draw.seed, STREAM).substream(run as u64);
            generator.run(&noise, Given::default(), || ()).map_err(|error| QuantizeError::calibration(file, error))?;
            let asked = generator.asked(false);
            let asked: Vec<&Asked> = asked.iter().filter(|asked| asked.question.depth == depth).collect();
            for at in 0..count {
                // Every run has its own steps: together they are spread over the whole schedule.
                let place = (at * runs + run * STRIDE % runs) as f64 / (count * runs) as f64;
                let Some(asked) = chosen(&asked, run + at, place) else { continue };
                if let Some(input) = lacking(network, &asked.inputs) {
                    let bundle = bundle.display();
                    let reason = format!("input {input:?} is none, or not in the shape, that {bundle} gives its model");
                    return Err(QuantizeError::Model { file: network.file.clone(), reason });
                }
                held.extend(store.keep(number, asked.inputs.clone())?);
                number += 1;
                tick();
            }
        }
        Samples::drawn(folder, number, held, store)
    }
}

/// The step at a `place` from 0 to below 1 among those that were asked; of both branches by turns.
fn chosen<'a>(asked: &[&'a Asked], turn: usize, place: f64) -> Option<&'a Asked> {
    let branch = if turn % 2 == 1 { Branch::Null } else { Branch::Condition };
    let own: Vec<&Asked> = asked.iter().copied().filter(|asked| asked.question.branch == branch).collect();
    let own = if own.is_empty() { asked.to_vec() } else { own };
    own.get((place * own.len() as f64) as usize).copied()
}
