//! A model on its plan.

use super::kernel::Isa;
use super::lower::{Fallback, Lowering};
use super::model::read;
use super::onnx::Graph;
use super::plan::Plan;
use super::{EngineError, Macs};
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
    /// Plans the ONNX file at `path` for `isa`. An open first dimension of an input is 1.
    ///
    /// # Errors
    /// [`EngineError::Read`], and [`EngineError::Load`] with the node that can't be planned.
    pub fn load(path: &Path, isa: Isa) -> Result<Self, EngineError> {
        let bytes = read(path)?;
        Self::from_bytes(path, &bytes, isa)
    }

    /// Plans an ONNX model in memory; `path` names it in errors.
    ///
    /// # Errors
    /// [`EngineError::Load`].
    pub fn from_bytes(path: &Path, bytes: &[u8], isa: Isa) -> Result<Self, EngineError> {
        let lower = || {
            let graph = Graph::read(bytes)?;
            let (draft, fallbacks, macs) = Lowering::new(&graph, isa).lower()?;
            for port in draft.inputs.iter().chain(&draft.outputs) {
                if port.datum_type != "F32" {
                    return Err(format!("{:?} holds {}; plans take and give float32", port.name, port.datum_type));
                }
            }
            Ok((Plan::new(draft, isa), fallbacks, macs))
        };
        let (plan, fallbacks, macs) = lower().map_err(|reason| EngineError::Load { model: path.to_owned(), reason })?;
        Ok(Planned { path: path.to_owned(), plan, fallbacks, macs })
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

    /// Runs it on what its inputs hold, which is gone afterwards.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.plan.run().map_err(|reason| EngineError::Run { model: self.path.clone(), reason })
    }
}
