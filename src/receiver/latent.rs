//! The mode `latent`: one step of the restore network as far as its deep feature, which a small head reads. No map is decoded.

use super::belief::Belief;
use super::condition::{self, BITS, Condition};
use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::noise::Noise;
use crate::scene::rule::{COLUMNS, PAIRS};

/// The restore network's coarse part, and the head on it.
#[derive(Debug)]
pub(super) struct Latent {
    coarse: Session,
    head: Session,
    /// Noise level of the step.
    sigma: f32,
    x: Vec<f32>,
    deep: Vec<f32>,
}

impl Latent {
    /// # Errors
    /// [`BundleError`]: a missing role, or a model that isn't what its role asks.
    pub fn open(bundle: &Bundle, engine: &Engine) -> Result<Self, BundleError> {
        let (grid, classes) = (bundle.grid(), bundle.labels().len());
        let [channels, height, width] =
            bundle.deep().ok_or(BundleError::Role { dir: bundle.path().to_owned(), role: "latent" })?;
        let deep = [1, channels, height, width];
        let x = [1, BITS, grid.height as usize, grid.width as usize];
        let shared = condition::ports(grid, classes);
        let mut inputs: Vec<(&str, &[usize])> = vec![("x", &x), ("sigma", &[1])];
        inputs.extend(shared.iter().map(|(name, shape)| (*name, shape.as_slice())));
        let sigma = bundle.scheduler().karras().sigma_max;
        let sigmas = [sigma];
        let timestep = Some(("sigma", &sigmas[..]));
        let outputs = [("deep", &deep[..])];
        let interface = Interface { inputs: &inputs, lasting: inputs.len(), timestep, outputs: &outputs };
        let coarse = bundle.session("restore", engine, &interface)?;
        let (columns, pairs) = ([1, COLUMNS], [1, PAIRS]);
        let inputs = [("deep", &deep[..]), ("first_free", &columns), ("first_hazard", &pairs)];
        let outputs = [("free", &columns[..]), ("hazard", &pairs)];
        let interface = Interface { inputs: &inputs, lasting: inputs.len(), timestep: None, outputs: &outputs };
        let head = bundle.session("latent", engine, &interface)?;
        let (x, deep) = (vec![0.0; x.iter().product()], vec![0.0; deep.iter().product()]);
        Ok(Latent { coarse, head, sigma, x, deep })
    }

    /// The restore network's coarse part, and the head on it.
    pub fn sessions(&self) -> [&Session; 2] {
        [&self.coarse, &self.head]
    }

    pub fn macs(&self) -> u64 {
        self.coarse.macs().total() + self.head.macs().total()
    }

    pub fn memory_bytes(&self) -> u64 {
        let planes = size_of_val(&self.x[..]) + size_of_val(&self.deep[..]);
        self.coarse.memory_bytes() + self.head.memory_bytes() + planes as u64
    }

    /// Turns `belief`, the head's on the received scene, into that which the deep feature corrects.
    ///
    /// # Errors
    /// What a model's run says.
    pub fn run(&mut self, condition: &Condition, noise: Noise, belief: &mut Belief) -> Result<(), EngineError> {
        let (start, sigma) = (noise.substream(0), self.sigma);
        let x = self.x.iter_mut().zip(0..);
        x.for_each(|(value, index)| *value = sigma * start.normal_at(index) as f32);
        let [cond, mask, held, age, present] = condition.inputs();
        let inputs = [&self.x[..], &[self.sigma], cond, mask, held, age, present];
        self.coarse.run(&inputs, &mut [&mut self.deep])?;
        let Belief { free, hazard, .. } = *belief;
        self.head.run(&[&self.deep, &free, &hazard], &mut [&mut belief.free, &mut belief.hazard])
    }
}
