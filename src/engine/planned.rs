//! A model on its plan.

use super::EngineError;
use super::graph::Graph;
use super::lower::{Elsewhere, Fallback, Lowered, Macs, lower};
use super::plan::{Machine, Plan, Stays};
use std::path::{Path, PathBuf};

/// A model, quantized or not, as steps over one arena. What has no step of its own runs through tract inside.
#[derive(Debug)]
pub struct Planned {
    path: PathBuf,
    plan: Plan,
    fallbacks: Vec<Fallback>,
    macs: Macs,
}

impl Planned {
    /// Plans a graph; `path` names it in errors. What has no step of its own runs `elsewhere`.
    ///
    /// # Errors
    /// [`EngineError::Load`] with the node that can't be planned.
    pub(super) fn new(
        path: &Path,
        graph: Graph,
        elsewhere: Option<&dyn Elsewhere>,
        machine: &Machine,
        stays: Stays<'_>,
    ) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        let Lowered { draft, fallbacks, macs } = lower(graph, machine.isa, elsewhere).map_err(load)?;
        let plan = Plan::new(draft, machine.clone(), stays).map_err(load)?;
        Ok(Planned { path: path.to_owned(), plan, fallbacks, macs })
    }

    /// Plans a network as a [plan file](crate::bundle::PlanFile) holds it; `path` names it in errors. Of its outputs, those that `outputs` names are
    /// computed: see [`Source::plan`](super::Source::plan).
    ///
    /// # Errors
    /// [`EngineError::Load`].
    pub fn from_compiled(
        path: &Path,
        network: &[u8],
        machine: &Machine,
        stays: Stays<'_>,
        outputs: &[&str],
    ) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        let mut graph = Graph::from_bytes(network).map_err(load)?;
        graph.keep(&outputs.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        Self::new(path, graph, None, machine, stays)
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
