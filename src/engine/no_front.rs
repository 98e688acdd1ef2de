//! Without tract: there are no ONNX files, and no reference.

use super::plan::{Machine, Stays};
use super::{EngineError, Interface, Macs, Planned};
use std::path::Path;

const WITHOUT: &str = "this build of semrx has no ONNX front: compile the bundle ahead with `semrx plan`, and give --bundle the plan file";

/// # Errors
/// Always: [`EngineError::Load`].
pub fn plan(path: &Path, _: &Machine, _: Stays<'_>, _: &[&str]) -> Result<Planned, EngineError> {
    Err(EngineError::Load { model: path.to_owned(), reason: WITHOUT.into() })
}

/// There is none.
#[derive(Debug)]
pub enum Reference {}

impl Reference {
    /// # Errors
    /// Always: [`EngineError::Load`].
    pub fn load(path: &Path, _: &Interface<'_>) -> Result<Self, EngineError> {
        Err(EngineError::Load { model: path.to_owned(), reason: WITHOUT.into() })
    }

    pub fn macs(&self) -> Macs {
        match *self {}
    }

    pub fn memory_bytes(&self) -> u64 {
        match *self {}
    }

    /// # Errors
    /// None.
    pub fn run(&mut self, _: &[&[f32]], _: &mut [&mut [f32]]) -> Result<(), EngineError> {
        match *self {}
    }
}
