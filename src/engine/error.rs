//! Why a model could not be loaded or run.

use std::fmt;
use std::path::PathBuf;

/// Always names the model.
#[derive(Debug)]
pub enum EngineError {
    /// The file can't be read.
    Read { model: PathBuf, error: std::io::Error },
    /// The file is not an ONNX model that this engine can run.
    Load { model: PathBuf, reason: String },
    /// The caller asks for an input or output that the model doesn't have as asked.
    Interface { model: PathBuf, reason: String },
    /// The model failed while it ran.
    Run { model: PathBuf, reason: String },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Read { model, error } => write!(f, "{}: {error}", model.display()),
            EngineError::Load { model, reason } => {
                write!(f, "{}: not an ONNX model that semrx can load: {reason}", model.display())
            }
            EngineError::Interface { model, reason } => write!(f, "{}: {reason}", model.display()),
            EngineError::Run { model, reason } => write!(f, "{}: failed while running: {reason}", model.display()),
        }
    }
}

impl std::error::Error for EngineError {}
