//! Why a scheduler was refused, or stopped.

use crate::json::JsonError;
use core::fmt;
use heapless::String;

/// What stood in a configuration, as far as it fits into an error.
pub type Found = String<48>;

/// Every way in which a configuration, a request or a model's output can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchedulerError {
    /// The text is not one JSON object, from byte `at` on.
    Json { at: usize, reason: &'static str },
    /// `_class_name`, or the class that was asked for, is not one of [`CLASSES`](super::CLASSES).
    Class { found: Found },
    /// A key's value is of another type or out of range.
    Value { key: &'static str, expected: &'static str, found: Found },
    /// Keys that can't stand together.
    Conflict { keys: &'static str, reason: &'static str },
    /// More steps than the configuration has room for, or none.
    Steps { steps: usize, most: usize, limit: &'static str },
    /// What was asked for beside the configuration is out of range.
    Request { field: &'static str, expected: &'static str },
    /// The formulas divide by zero at this step.
    Singular { step: usize },
    /// A buffer has another length than the sampler was made for.
    Length { buffer: &'static str, expected: usize, found: usize },
    /// The model gave NaN or an infinity at this step.
    NotFinite { step: usize },
}

impl From<JsonError> for SchedulerError {
    fn from(JsonError { at, reason }: JsonError) -> Self {
        SchedulerError::Json { at, reason }
    }
}

/// The beginning of `text`, cut between characters.
pub(super) fn found(text: &str) -> Found {
    let mut found = Found::new();
    for character in text.chars() {
        if found.push(character).is_err() {
            break;
        }
    }
    found
}

impl fmt::Display for SchedulerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchedulerError::Json { at, reason } => write!(f, "byte {at}: {reason}"),
            SchedulerError::Class { found } => {
                write!(f, "_class_name: {found:?} is not one of ")?;
                super::CLASSES.iter().enumerate().try_for_each(|(index, class)| {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{class}")
                })
            }
            SchedulerError::Value { key, expected, found } => write!(f, "{key}: should be {expected}, is {found}"),
            SchedulerError::Conflict { keys, reason } => write!(f, "{keys}: {reason}"),
            SchedulerError::Steps { steps, most, limit } => {
                write!(f, "{steps} steps: should be 1 to {most}, for {limit}")
            }
            SchedulerError::Request { field, expected } => write!(f, "{field}: should be {expected}"),
            SchedulerError::Singular { step } => write!(
                f,
                "step {step}: the formulas divide by zero: with rescale_betas_zero_snr the prediction_type can't be epsilon, and steps can't repeat a timestep"
            ),
            SchedulerError::Length { buffer, expected, found } => {
                write!(f, "{buffer}: should have {expected} values, has {found}")
            }
            SchedulerError::NotFinite { step } => write!(f, "step {step}: the model gave NaN or an infinity"),
        }
    }
}

impl core::error::Error for SchedulerError {}
