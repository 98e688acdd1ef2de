//! How commands end that a device doesn't have.

use super::exit::Failure;
use semrx::engine::NpzError;
use semrx::evaluation::EvaluationError;
use semrx::generate::GenerateError;
use semrx::sampler::SchedulerError;

impl From<NpzError> for Failure {
    fn from(error: NpzError) -> Self {
        Failure::refused(error)
    }
}

impl From<EvaluationError> for Failure {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Bundle(error) => Failure::from(error),
            EvaluationError::Engine(error) => Failure::from(error),
            EvaluationError::Send { .. } | EvaluationError::NotFinite { .. } => Failure::refused(error),
        }
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Bundle(error) => Failure::from(error),
            GenerateError::Engine(error) => Failure::from(error),
            GenerateError::Scheduler { error: SchedulerError::NotFinite { .. }, .. } => Failure::failed(error),
            GenerateError::Request { .. } | GenerateError::Scheduler { error: SchedulerError::Request { .. }, .. } => {
                Failure::usage(error)
            }
            _ => Failure::refused(error),
        }
    }
}
