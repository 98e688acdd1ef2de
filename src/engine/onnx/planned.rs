//! ONNX files on plans.

use super::{Bound, File, decode, read};
use crate::engine::graph::Graph;
use crate::engine::plan::{Machine, Stays};
use crate::engine::{EngineError, Planned, Source};
use crate::files;
use std::io::BufReader;
use std::path::Path;

impl Planned {
    /// Plans the ONNX file at `path` for `machine`. An open first dimension of an input is 1.
    ///
    /// # Errors
    /// [`EngineError::Read`], and [`EngineError::Load`] with the node that can't be planned.
    pub fn load(path: &Path, machine: &Machine) -> Result<Self, EngineError> {
        Self::load_staying(path, machine, Stays::default(), &[])
    }

    /// [`Planned::load`], where some inputs stay and some outputs are asked for: see [`Source::plan`].
    ///
    /// # Errors
    /// As `load`.
    pub fn load_staying(
        path: &Path,
        machine: &Machine,
        stays: Stays<'_>,
        outputs: &[&str],
    ) -> Result<Self, EngineError> {
        Source::Onnx(path.to_owned()).plan(machine, stays, outputs)
    }

    /// Plans an ONNX model in memory, with what is known of its inputs; `path` names it in errors.
    ///
    /// # Errors
    /// [`EngineError::Load`].
    pub fn from_bytes(path: &Path, bytes: &[u8], machine: &Machine, bound: &Bound) -> Result<Self, EngineError> {
        let load = |reason| EngineError::Load { model: path.to_owned(), reason };
        planned(path, decode(bytes, bytes.len() as u64).map_err(load)?, machine, bound, Stays::default())
    }
}

/// As [`Source::plan`], of the ONNX file at `path`.
pub fn plan(path: &Path, machine: &Machine, stays: Stays<'_>, outputs: &[&str]) -> Result<Planned, EngineError> {
    let outputs = outputs.iter().map(|name| name.to_string()).collect();
    planned(path, open(path)?, machine, &Bound { outputs, ..Bound::default() }, stays)
}

/// The graph of the ONNX file at `path`, with all of its outputs.
///
/// # Errors
/// [`EngineError::Read`] and [`EngineError::Load`].
pub fn graph(path: &Path) -> Result<Graph, EngineError> {
    let load = |reason| EngineError::Load { model: path.to_owned(), reason };
    read(open(path)?, &Bound::default()).map(|(graph, _)| graph).map_err(load)
}

fn open(path: &Path) -> Result<File, EngineError> {
    let unread = |error| EngineError::Read { model: path.to_owned(), error };
    let file = files::open(path, files::MAX_MODEL).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    decode(BufReader::new(file), size).map_err(|reason| EngineError::Load { model: path.to_owned(), reason })
}

fn planned(
    path: &Path,
    file: File,
    machine: &Machine,
    bound: &Bound,
    stays: Stays<'_>,
) -> Result<Planned, EngineError> {
    let (graph, front) = read(file, bound).map_err(|reason| EngineError::Load { model: path.to_owned(), reason })?;
    Planned::new(path, graph, Some(&front), machine, stays)
}
