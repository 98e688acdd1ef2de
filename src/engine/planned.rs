//! A model on its plan.

use super::lower::{Fallback, Lowered, lower};
use super::onnx::{Bound, File, Graph, decode};
use super::plan::{Machine, Plan, Stays};
use super::{EngineError, Macs};
use crate::files;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// An ONNX model, quantized or not, as steps over one arena. What has no step of its own runs through tract inside.
#[derive(Debug)]
pub struct Planned {
    path: PathBuf,
    plan: Plan,
    fallbacks: Vec<Fallback>,
    macs: Macs,
}

impl Planned {
    /// Plans the ONNX file at `path` for `machine`. An open first dimension of an input is 1.
    ///
    /// # Errors
    /// [`EngineError::Read`], and [`EngineError::Load`] with the node that can't be planned.
    pub fn load(path: &Path, machine: &Machine) -> Result<Self, EngineError> {
        Self::load_staying(path, machine, Stays::default(), &[])
    }

    /// [`Planned::load`], where some inputs stay: what hangs on lasting ones alone is computed by [`run`](Planned::run), and not by
    /// [`run_again`](Planned::run_again); what hangs on the timestep alone once for each that is [folded](Plan::fold_timestep). Of its outputs, those that
    /// `outputs` names are computed, and no others; all, if it names none, or one that the model doesn't have.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_staying(
        path: &Path,
        machine: &Machine,
        stays: Stays<'_>,
        outputs: &[&str],
    ) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        let unread = |error| EngineError::Read { model: path.to_owned(), error };
        let file = files::open(path, files::MAX_MODEL).map_err(unread)?;
        let size = file.metadata().map_err(unread)?.len();
        let file = decode(BufReader::new(file), size).map_err(load)?;
        let outputs = outputs.iter().map(|name| name.to_string()).collect();
        Self::new(path, file, machine, &Bound { outputs, ..Bound::default() }, stays)
    }

    /// Plans an ONNX model in memory, with what is known of its inputs; `path` names it in errors.
    ///
    /// # Errors
    /// [`EngineError::Load`].
    pub fn from_bytes(path: &Path, bytes: &[u8], machine: &Machine, bound: &Bound) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        Self::new(path, decode(bytes, bytes.len() as u64).map_err(load)?, machine, bound, Stays::default())
    }

    fn new(path: &Path, file: File, machine: &Machine, bound: &Bound, stays: Stays<'_>) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        let Lowered { draft, fallbacks, macs } =
            Graph::new(file, bound).and_then(|graph| lower(graph, machine.isa)).map_err(load)?;
        Ok(Planned { path: path.to_owned(), plan: Plan::new(draft, machine.clone(), stays), fallbacks, macs })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// To write its inputs.
    pub fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// The nodes that run through tract.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// Multiply-accumulates of its convolutions in one run; those that run through tract are not counted.
    pub fn macs(&self) -> Macs {
        self.macs
    }

    /// [`Plan::fold_timestep`]
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn fold_timestep(&mut self, timestep: &[f32]) -> Result<(), EngineError> {
        self.plan.fold_timestep(timestep).map_err(|reason| EngineError::Run { model: self.path.clone(), reason })
    }

    /// Fills the float inputs with uniform noise that has the variance of a unit normal, the same every time: for whoever looks at what a run takes.
    pub fn fill_with_noise(&mut self) {
        for index in 0..self.plan.inputs().len() {
            if !self.plan.inputs()[index].is_float() {
                continue;
            }
            let mut state = index as u32 + 1;
            for value in self.plan.input_mut(index) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = ((state >> 8) as f32 / (1 << 24) as f32 - 0.5) * 12f32.sqrt();
            }
        }
    }

    /// Runs it on what its inputs hold but the lasting ones, which hold what they held before.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run_again(&mut self) -> Result<(), EngineError> {
        self.plan.run_again().map_err(|reason| EngineError::Run { model: self.path.clone(), reason })
    }

    /// [`Plan::run_watched`]
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run_watched(&mut self, done: &mut dyn FnMut(usize)) -> Result<(), EngineError> {
        self.plan.run_watched(done).map_err(|reason| EngineError::Run { model: self.path.clone(), reason })
    }

    /// Runs it on what its inputs hold, which is gone afterwards but for lasting ones.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.plan.run().map_err(|reason| EngineError::Run { model: self.path.clone(), reason })
    }
}
