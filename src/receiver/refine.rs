//! The refined scene: a few sampler steps of the restore network where the received one is unknown or noisy.

use super::condition::{self, BITS, Condition, class_bits};
use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::noise::Noise;
use crate::sampler::{self, Ddim, Karras, MultistepConsistency, Step};
use crate::scene::Scene;

/// Stream of [`Noise`] that belongs to refinements.
const STREAM: u64 = 0x7265_6669_6e65;

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
    /// Probability of the cell's class, 0..=255 for 0..=1. Not calibrated.
    pub confidence: &'a [u8],
}

/// The restore network with its buffers.
#[derive(Debug)]
pub(super) struct Refiner {
    restore: Session,
    karras: Karras,
    kind: SamplerKind,
    x: Vec<f32>,
    x0: Vec<f32>,
    logits: Vec<f32>,
    /// Probability of each class in each cell, a plane a class: the last estimate, received cells put back.
    posterior: Vec<f32>,
    cells: Vec<u8>,
    confidence: Vec<u8>,
}

impl Refiner {
    pub fn open(bundle: &Bundle, kind: SamplerKind, steps: u16, engine: &Engine) -> Result<Self, BundleError> {
        let (grid, classes) = (bundle.grid(), bundle.labels().len());
        if classes > 1 << BITS {
            let reason = format!("has {classes} classes, the restore network tells {} apart in {BITS} bits", 1 << BITS);
            return Err(BundleError::Field { file: bundle.dir().to_owned(), field: "label_set", reason });
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
        let interface =
            Interface { inputs: &inputs, lasting, timestep: Some(("sigma", &sigmas)), outputs: &[("logits", &logits)] };
        let restore = bundle.session("restore", engine, &interface)?;
        let cells = grid.cells();
        Ok(Refiner {
            restore,
            karras,
            kind,
            x: vec![0.0; BITS * cells],
            x0: vec![0.0; BITS * cells],
            logits: vec![0.0; classes * cells],
            posterior: vec![0.0; classes * cells],
            cells: vec![0; cells],
            confidence: vec![0; cells],
        })
    }

    /// Multiply-accumulates of one step.
    pub fn macs(&self) -> u64 {
        self.restore.macs().total()
    }

    pub fn memory_bytes(&self) -> u64 {
        let buffers = [&self.x, &self.x0, &self.logits, &self.posterior].map(|buffer| size_of_val(&buffer[..]) as u64);
        self.restore.memory_bytes() + buffers.iter().sum::<u64>() + 2 * self.cells.len() as u64
    }

    /// Asks the network once, at the highest noise level.
    pub fn estimate_once(&mut self, condition: &Condition) -> Result<(), EngineError> {
        let [cond, mask, held, age, present] = condition.inputs();
        let sigma = [self.karras.sigma_max];
        self.restore.run(&[&self.x, &sigma, cond, mask, held, age, present], &mut [&mut self.logits])
    }

    /// Refines `scene`, which `condition` was filled from, in `steps` steps.
    pub fn run(
        &mut self,
        scene: &Scene,
        condition: &Condition,
        steps: u16,
        seed: u64,
        sequence: u32,
    ) -> Result<(), EngineError> {
        // Soft cells did not arrive intact: what the channel says of them is in the condition.
        let intact = |cell: usize| scene.params().payload.soft_bits().is_none() && scene.known()[cell];
        let count = self.cells.len();
        let sigmas = self.karras.sigmas(steps as usize);
        let consistency = MultistepConsistency { sigma_min: self.karras.sigma_min };
        let step: &dyn Step = match self.kind {
            SamplerKind::Consistency => &consistency,
            SamplerKind::Ddim => &Ddim,
        };
        let Refiner { restore, logits, posterior, .. } = self;
        let mut first = true;
        let estimate = |x: &[f32], sigma: f32, x0: &mut [f32]| {
            let [cond, mask, held, age, present] = condition.inputs();
            let inputs = [x, &[sigma], cond, mask, held, age, present];
            match std::mem::replace(&mut first, false) {
                true => restore.run(&inputs, &mut [logits])?,
                false => restore.run_again(&inputs, &mut [logits])?,
            }
            softmax(logits, count, posterior);
            expected_bits(posterior, count, x0);
            Ok(())
        };
        let put_back = |x0: &mut [f32]| {
            for cell in (0..count).filter(|&cell| intact(cell)) {
                for (bit, value) in class_bits(scene.cells()[cell]).into_iter().enumerate() {
                    x0[bit * count + cell] = value;
                }
            }
        };
        let noise = Noise::new(seed, STREAM).substream(sequence as u64);
        sampler::sample(&sigmas, step, noise, &mut self.x, &mut self.x0, estimate, put_back)?;
        for cell in 0..count {
            if intact(cell) {
                (0..condition.classes()).for_each(|class| self.posterior[class * count + cell] = 0.0);
                self.posterior[scene.cells()[cell] as usize * count + cell] = 1.0;
            }
            let probability = |class: usize| self.posterior[class * count + cell];
            let best = (1..condition.classes())
                .fold(0, |best, class| if probability(class) > probability(best) { class } else { best });
            self.cells[cell] = best as u8;
            self.confidence[cell] = (probability(best) * 255.0) as u8;
        }
        Ok(())
    }

    pub fn posterior(&self) -> &[f32] {
        &self.posterior
    }

    pub fn refined(&self) -> Refined<'_> {
        Refined { cells: &self.cells, confidence: &self.confidence }
    }
}

/// Per cell over planes of `count` values.
fn softmax(logits: &[f32], count: usize, out: &mut [f32]) {
    let classes = logits.len() / count;
    for cell in 0..count {
        let highest = (0..classes).map(|class| logits[class * count + cell]).fold(f32::MIN, f32::max);
        let mut sum = 0.0;
        for class in 0..classes {
            let weight = libm::expf(logits[class * count + cell] - highest);
            out[class * count + cell] = weight;
            sum += weight;
        }
        (0..classes).for_each(|class| out[class * count + cell] /= sum);
    }
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
    fn softmax_and_bits_by_cell() {
        // Two cells, three classes: the first surely class 2, the second even between 0 and 1.
        let mut posterior = [0.0; 6];
        softmax(&[0.0, 5.0, 0.0, 5.0, 40.0, -40.0], 2, &mut posterior);
        assert!((posterior[4] - 1.0).abs() < 1e-6 && (posterior[1] - 0.5).abs() < 1e-6);
        let mut bits = [9.0; 8];
        expected_bits(&posterior, 2, &mut bits);
        for (bit, expected) in bits.iter().zip([-1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) {
            assert!((bit - expected).abs() < 1e-5, "{bits:?}");
        }
    }
}
