//! Why a model was not quantized.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Names the file, and the node or tensor.
#[derive(Debug)]
pub enum QuantizeError {
    /// The file could not be read.
    File { file: PathBuf, error: io::Error },
    /// The file could not be written.
    Write { file: PathBuf, error: io::Error },
    /// The model is none that can be quantized.
    Model { file: PathBuf, reason: String },
    /// The calibration doesn't fit the model, or says nothing.
    Calibration { file: PathBuf, reason: String },
}

impl QuantizeError {
    /// What is wrong with the calibration in `file`, whether `error` names it or not.
    pub(crate) fn calibration(file: &Path, error: impl fmt::Display) -> Self {
        let reason = error.to_string().replacen(&format!("{}: ", file.display()), "", 1);
        QuantizeError::Calibration { file: file.to_owned(), reason }
    }

    /// Whether what was given is at fault, not the machine.
    pub fn is_refusal(&self) -> bool {
        use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
        match self {
            QuantizeError::Write { .. } => false,
            QuantizeError::File { error, .. } => {
                matches!(error.kind(), NotFound | InvalidInput | IsADirectory | NotADirectory)
            }
            QuantizeError::Model { .. } | QuantizeError::Calibration { .. } => true,
        }
    }
}

impl fmt::Display for QuantizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuantizeError::File { file, error } | QuantizeError::Write { file, error } => {
                write!(f, "{}: {error}", file.display())
            }
            QuantizeError::Model { file, reason } | QuantizeError::Calibration { file, reason } => {
                write!(f, "{}: {reason}", file.display())
            }
        }
    }
}

impl std::error::Error for QuantizeError {}
