//! Why a model gives no sample.

use crate::bundle::BundleError;
use crate::engine::{EngineError, NpzError};
use crate::sampler::SchedulerError;
use std::fmt;
use std::path::PathBuf;

/// Names the file, or what was asked for.
#[derive(Debug)]
pub enum GenerateError {
    Bundle(BundleError),
    /// Of a model that doesn't keep its contract this is [`EngineError::Interface`].
    Engine(EngineError),
    Arrays(NpzError),
    /// The scheduler has no such steps for this model, or the model's values ended them.
    Scheduler {
        model: PathBuf,
        error: SchedulerError,
    },
    /// What was asked for doesn't fit the model.
    Request {
        field: &'static str,
        reason: String,
    },
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GenerateError::Bundle(error) => write!(f, "{error}"),
            GenerateError::Engine(error) => write!(f, "{error}"),
            GenerateError::Arrays(error) => write!(f, "{error}"),
            GenerateError::Scheduler { model, error } => write!(f, "{}: {error}", model.display()),
            GenerateError::Request { field, reason } => write!(f, "{field}: {reason}"),
        }
    }
}

impl std::error::Error for GenerateError {}

impl From<BundleError> for GenerateError {
    fn from(error: BundleError) -> Self {
        GenerateError::Bundle(error)
    }
}

impl From<EngineError> for GenerateError {
    fn from(error: EngineError) -> Self {
        GenerateError::Engine(error)
    }
}

impl From<NpzError> for GenerateError {
    fn from(error: NpzError) -> Self {
        GenerateError::Arrays(error)
    }
}
