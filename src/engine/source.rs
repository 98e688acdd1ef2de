//! Where a model is.

use super::plan::{Machine, Stays};
use super::{EngineError, Planned};
use crate::files;
use std::path::{Path, PathBuf};

/// A model that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An ONNX file.
    Onnx(PathBuf),
    /// A network in a [plan file](crate::bundle::PlanFile), compiled ahead.
    Compiled { name: PathBuf, file: PathBuf, at: u64, bytes: u64 },
}

impl Source {
    /// What names the model in errors.
    pub fn name(&self) -> &Path {
        match self {
            Source::Onnx(path) => path,
            Source::Compiled { name, .. } => name,
        }
    }

    /// How many bytes it has; `None` where the file can't be found.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Source::Onnx(path) => Some(std::fs::metadata(path).ok()?.len()),
            Source::Compiled { bytes, .. } => Some(*bytes),
        }
    }

    /// Plans the model: see [`Stays`] for the inputs that don't change at every run. Of its outputs, those that `outputs` names are computed, and
    /// no others; all, if it names none, or one that the model doesn't have.
    ///
    /// # Errors
    /// [`EngineError::Read`], and [`EngineError::Load`] with the node that can't be planned.
    pub fn plan(&self, machine: &Machine, stays: Stays<'_>, outputs: &[&str]) -> Result<Planned, EngineError> {
        match self {
            Source::Onnx(path) => super::front::plan(path, machine, stays, outputs),
            Source::Compiled { name, file, at, bytes } => {
                let unread = |error| EngineError::Read { model: name.clone(), error };
                let network = files::read_part(file, *at, *bytes).map_err(unread)?;
                Planned::from_compiled(name, &network, machine, stays, outputs)
            }
        }
    }
}

/// The network of the ONNX file `path` as a plan file holds it: read, folded, and seen to have a step for each of its nodes.
///
/// # Errors
/// [`EngineError`]: the file, or the node that would need tract.
#[cfg(feature = "onnx")]
pub fn compile(path: &Path) -> Result<Vec<u8>, EngineError> {
    let load = |reason| EngineError::Load { model: path.to_owned(), reason };
    let bytes = super::front::graph(path)?.to_bytes().map_err(load)?;
    let graph = super::graph::Graph::from_bytes(&bytes).map_err(load)?;
    super::lower::lower(graph, super::kernel::Isa::Scalar, None).map_err(load)?;
    Ok(bytes)
}
