//! The refined scene: a few sampler steps of the restore network where the received one is unknown or noisy.

use super::arrived;
use super::condition::{self, BITS, Condition, class_bits};
use crate::bundle::{Bundle, BundleError};
use crate::engine::kernel::{Isa, softmax};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::noise::Noise;
use crate::sampler::{
    Broken, Cache, Ddim, Exploding, Karras, MAX_STEPS, MultistepConsistency, Part, Restorer, Step, Taken,
};

/// Stream of [`Noise`] that belongs to refinements.
const STREAM: u64 = 0x7265_6669_6e65;

/// Place of the deep feature among the inputs of the shallow part, behind x and sigma.
const SHALLOW_DEEP: usize = 2;

/// Multiply-accumulates of a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub macs: u64,
    /// Those that a cache saved.
    pub saved_macs: u64,
}

/// Which sampler moves between noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplerKind {
    #[default]
    Consistency,
    Ddim,
}

/// A refined scene, a value a cell.
#[derive(Debug, Clone, Copy)]
pub struct Refined<'a> {
    pub cells: &'a [u8],
    /// Probability of each class in each cell, a plane a class. Not calibrated: the head takes it.
    pub posterior: &'a [f32],
    /// 1 where the cell was received.
    pub(super) mask: &'a [f32],
    /// Of the probabilities of cells that did not arrive.
    pub(super) lost_temperature: f32,
}

impl Refined<'_> {
    /// Probability of each cell's class, 0..=255 for 0..=1, as far as the bundle has it calibrated.
    pub fn confidence(&self) -> Vec<u8> {
        let count = self.cells.len();
        let of = |(cell, &class): (usize, &u8)| match self.mask[cell] {
            0.0 if self.lost_temperature != 1.0 => {
                tempered(self.posterior, count, cell, class.into(), self.lost_temperature)
            }
            _ => self.posterior[usize::from(class) * count + cell],
        };
        self.cells.iter().enumerate().map(|cell| (of(cell) * 255.0) as u8).collect()
    }
}

/// A whole step of the restore network.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// By the names of the network's inputs.
    pub inputs: &'a [(&'a str, &'a [f32])],
    pub logits: &'a [f32],
    /// Empty where the cache doesn't ask for it.
    pub deep: &'a [f32],
}

/// The restore network with its buffers.
#[derive(Debug)]
pub(super) struct Refiner {
    isa: Isa,
    restore: Session,
    /// Its part around the deep feature, where the cache asks that.
    shallow: Option<Session>,
    karras: Karras,
    kind: SamplerKind,
    exploding: Exploding,
    /// Of what the channel says of each cell.
    weights: Vec<f32>,
    /// The last estimate, with what arrived put back.
    posterior: Vec<f32>,
    cells: Vec<u8>,
    /// Noise levels of the sample that was begun.
    sigmas: heapless::Vec<f32, MAX_STEPS>,
    /// Whether the network, and its part, have not been asked about the scene yet.
    is_first: bool,
    is_first_shallow: bool,
}

/// The restore network as the sampler asks it about one scene.
struct Asked<'a> {
    isa: Isa,
    restore: &'a mut Session,
    shallow: Option<&'a mut Session>,
    condition: &'a Condition,
    weights: &'a [f32],
    posterior: &'a mut [f32],
    is_first: &'a mut bool,
    is_first_shallow: &'a mut bool,
    watch: &'a mut dyn FnMut(Watched<'_>),
}

impl Refiner {
    pub fn open(
        bundle: &Bundle,
        kind: SamplerKind,
        steps: u16,
        cache: Option<Cache>,
        engine: &Engine,
    ) -> Result<Self, BundleError> {
        let field = |field, reason| BundleError::Field { file: bundle.path().to_owned(), field, reason };
        let (grid, classes) = (bundle.grid(), bundle.labels().len());
        if classes > 1 << BITS {
            let reason = format!("has {classes} classes, the restore network tells {} apart in {BITS} bits", 1 << BITS);
            return Err(field("label_set", reason));
        }
        let plane = |planes| vec![1, planes, grid.height as usize, grid.width as usize];
        let shared = condition::ports(grid, classes);
        let (x, logits) = (plane(BITS), plane(classes));
        let mut inputs: Vec<(&str, &[usize])> = vec![("x", &x), ("sigma", &[1])];
        inputs.extend(shared.iter().map(|(name, shape)| (*name, shape.as_slice())));
        // One step needs no memory of what lasts for several.
        let lasting = if steps > 1 { 2 } else { inputs.len() };
        let karras = bundle.scheduler().karras();
        let sigmas = karras.sigmas(steps as usize);
        let deep: Vec<usize> = bundle.deep().map(|[c, h, w]| vec![1, c, h, w]).unwrap_or_default();
        let values = if deep.is_empty() { 0 } else { deep.iter().product() };
        if let (Some(Cache::Turns), Some(turns)) = (cache, &bundle.learned.turns)
            && turns.steps() != steps as usize
        {
            return Err(field("cache", format!("turns are for {0} steps: ask for {0}", turns.steps())));
        }
        let cells = grid.cells();
        let exploding = Exploding::new(cache, bundle.learned.clone(), BITS * cells, classes * cells, values)
            .map_err(|error| field("restore", error.to_string()))?;
        let mut outputs: Vec<(&str, &[usize])> = vec![("logits", &logits)];
        if exploding.asks_shallow() {
            outputs.push(("deep", &deep));
        }
        let timestep = Some(("sigma", &sigmas[..]));
        let interface = Interface { inputs: &inputs, lasting, timestep, outputs: &outputs };
        let restore = bundle.session("restore", engine, &interface)?;
        let mut shallow = None;
        if exploding.asks_shallow() {
            inputs.insert(SHALLOW_DEEP, ("deep", &deep));
            let lasting = SHALLOW_DEEP + 1;
            let interface = Interface { inputs: &inputs, lasting, timestep, outputs: &outputs[..1] };
            shallow = Some(bundle.session("restore_shallow", engine, &interface)?);
        }
        Ok(Refiner {
            isa: engine.isa(),
            restore,
            shallow,
            karras,
            kind,
            exploding,
            weights: vec![0.0; cells],
            posterior: vec![0.0; classes * cells],
            cells: vec![0; cells],
            sigmas,
            is_first: true,
            is_first_shallow: true,
        })
    }

    /// The restore network, and its shallow part where that is asked.
    pub fn sessions(&self) -> [Option<&Session>; 2] {
        [Some(&self.restore), self.shallow.as_ref()]
    }

    /// Multiply-accumulates of one step.
    pub fn macs(&self) -> u64 {
        self.restore.macs().total()
    }

    /// Multiply-accumulates of a sample that has `taken` so much, and what its cache saved.
    pub fn spent(&self, taken: Taken) -> Spent {
        let (whole, shallow) = (self.macs(), self.shallow.as_ref().map_or(0, |shallow| shallow.macs().total()));
        let macs = (taken.steps - taken.shallow - taken.cached) as u64 * whole + taken.shallow as u64 * shallow;
        Spent { macs, saved_macs: taken.steps as u64 * whole - macs }
    }

    pub fn memory_bytes(&self) -> u64 {
        let planes = size_of_val(&self.weights[..]) + size_of_val(&self.posterior[..]) + self.cells.len();
        let models = [Some(&self.restore), self.shallow.as_ref()].into_iter().flatten();
        models.map(Session::memory_bytes).sum::<u64>() + (planes + self.exploding.memory_bytes()) as u64
    }

    /// Begins to refine the scene that `condition` was filled from, in `steps` steps.
    pub fn begin(&mut self, condition: &Condition, steps: u16, noise: Noise) {
        self.sigmas = self.karras.sigmas(steps as usize);
        (self.is_first, self.is_first_shallow) = (true, true);
        arrived::weigh(condition.channel(), &mut self.weights);
        self.exploding.begin(&self.sigmas, noise);
    }

    /// The next step of the refinement that was [begun](Refiner::begin) with this condition; `true` where it was the last. `watch` is shown whole steps.
    ///
    /// # Errors
    /// [`Broken`]: there is no refined scene then.
    pub fn advance(
        &mut self,
        condition: &Condition,
        watch: &mut dyn FnMut(Watched<'_>),
    ) -> Result<bool, Broken<EngineError>> {
        let consistency = MultistepConsistency { sigma_min: self.karras.sigma_min };
        let step: &dyn Step = match self.kind {
            SamplerKind::Consistency => &consistency,
            SamplerKind::Ddim => &Ddim,
        };
        let Refiner {
            isa, restore, shallow, weights, posterior, is_first, is_first_shallow, exploding, sigmas, ..
        } = self;
        let (isa, shallow) = (*isa, shallow.as_mut());
        let mut asked =
            Asked { isa, restore, shallow, condition, weights, posterior, is_first, is_first_shallow, watch };
        exploding.advance(sigmas, step, &mut asked)
    }

    /// Ends the refinement with what the last step gave.
    pub fn end(&mut self) {
        likeliest(&self.posterior, &mut self.cells);
    }

    /// All steps of a refinement: [`begin`](Refiner::begin) to [`end`](Refiner::end).
    ///
    /// # Errors
    /// As [`advance`](Refiner::advance).
    pub fn run(
        &mut self,
        condition: &Condition,
        steps: u16,
        noise: Noise,
        watch: &mut dyn FnMut(Watched<'_>),
    ) -> Result<(), Broken<EngineError>> {
        self.begin(condition, steps, noise);
        while !self.advance(condition, watch)? {}
        self.end();
        Ok(())
    }

    /// What the last refinement took so far.
    pub fn taken(&self) -> Taken {
        self.exploding.taken()
    }

    pub fn posterior(&self) -> &[f32] {
        &self.posterior
    }

    pub fn cells(&self) -> &[u8] {
        &self.cells
    }
}

/// The noise of the frame `sequence`.
pub(super) fn noise(seed: u64, sequence: u32) -> Noise {
    Noise::new(seed, STREAM).substream(sequence as u64)
}

impl Restorer for Asked<'_> {
    type Error = EngineError;

    fn answer(&mut self, x: &[f32], sigma: f32, part: Part<'_>, logits: &mut [f32]) -> Result<(), EngineError> {
        let [cond, mask, held, age, present] = self.condition.inputs();
        match (part, &mut self.shallow) {
            (Part::Shallow(deep), Some(shallow)) => {
                let inputs = [x, &[sigma], deep, cond, mask, held, age, present];
                match std::mem::replace(self.is_first_shallow, false) {
                    true => shallow.run(&inputs, &mut [logits]),
                    false => shallow.run_again(&inputs, &mut [logits]),
                }
            }
            (part, _) => {
                let deep = if let Part::Whole(deep) = part { deep } else { &mut [] };
                let inputs = [x, &[sigma], cond, mask, held, age, present];
                match std::mem::replace(self.is_first, false) {
                    true => self.restore.run(&inputs, &mut [logits, deep])?,
                    false => self.restore.run_again(&inputs, &mut [logits, deep])?,
                }
                let names = ["x", "sigma"].into_iter().chain(condition::NAMES);
                let named: heapless::Vec<(&str, &[f32]), 7> = names.zip(inputs).collect();
                (self.watch)(Watched { inputs: &named, logits, deep });
                Ok(())
            }
        }
    }

    fn estimate(&mut self, logits: &[f32], x0: &mut [f32]) {
        softmax::run(self.isa, logits, self.weights.len(), self.posterior);
        arrived::put_back(self.condition.channel(), self.weights, self.posterior);
        expected_bits(self.posterior, self.weights.len(), x0);
    }
}

/// The likeliest class of each cell.
pub(super) fn likeliest(posterior: &[f32], cells: &mut [u8]) {
    let count = cells.len();
    for (cell, class) in cells.iter_mut().enumerate() {
        let probability = |class: usize| posterior[class * count + cell];
        let best = (1..posterior.len() / count)
            .fold(0, |best, class| if probability(class) > probability(best) { class } else { best });
        *class = best as u8;
    }
}

/// Probability of `class` in `cell` if the logits behind the posterior had been divided by `temperature`.
fn tempered(posterior: &[f32], count: usize, cell: usize, class: usize, temperature: f32) -> f32 {
    let weight = |class: usize| libm::powf(posterior[class * count + cell], 1.0 / temperature);
    weight(class) / (0..posterior.len() / count).map(weight).sum::<f32>()
}

/// The mean of the class bits under `posterior`.
fn expected_bits(posterior: &[f32], count: usize, bits: &mut [f32]) {
    bits.fill(0.0);
    for (class, plane) in posterior.chunks_exact(count).enumerate() {
        for (bit, sign) in class_bits(class as u8).into_iter().enumerate() {
            for (bit, probability) in bits[bit * count..][..count].iter_mut().zip(plane) {
                *bit += sign * probability;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_divides_logits() {
        // Two cells, three classes.
        let logits = [2.0, 0.0, 0.5, 1.0, -3.0, 0.0];
        let (mut posterior, mut colder) = ([0.0; 6], [0.0; 6]);
        softmax::run(Isa::best(), &logits, 2, &mut posterior);
        softmax::run(Isa::best(), &logits.map(|logit| logit / 1.3), 2, &mut colder);
        for (cell, class) in [(0, 0), (1, 1)] {
            let found = tempered(&posterior, 2, cell, class, 1.3);
            assert!((found - colder[class * 2 + cell]).abs() < 1e-6, "{found}");
        }
    }

    #[test]
    fn softmax_and_bits_by_cell() {
        // Two cells, three classes: the first surely class 2, the second even between 0 and 1.
        let mut posterior = [0.0; 6];
        softmax::run(Isa::best(), &[0.0, 5.0, 0.0, 5.0, 40.0, -40.0], 2, &mut posterior);
        assert!((posterior[4] - 1.0).abs() < 1e-6 && (posterior[1] - 0.5).abs() < 1e-6);
        let mut bits = [9.0; 8];
        expected_bits(&posterior, 2, &mut bits);
        for (bit, expected) in bits.iter().zip([-1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) {
            assert!((bit - expected).abs() < 1e-5, "{bits:?}");
        }
    }
}
