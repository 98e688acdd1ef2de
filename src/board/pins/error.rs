//! Why there are no pins.

use std::fmt;
use std::path::PathBuf;

/// Always names the file, the key, the line or the backend.
#[derive(Debug)]
pub enum PinsError {
    Read {
        file: PathBuf,
        error: std::io::Error,
    },
    /// What stands in the configuration.
    Config {
        file: PathBuf,
        reason: String,
    },
    /// Nothing here drives pins as it was asked for.
    Backend {
        reason: String,
    },
    Line {
        pin: &'static str,
        line: u32,
        reason: String,
    },
    Thread(std::io::Error),
}

impl fmt::Display for PinsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinsError::Read { file, error } => write!(f, "{}: {error}", file.display()),
            PinsError::Config { file, reason } => write!(f, "{}: {reason}", file.display()),
            PinsError::Backend { reason } => write!(f, "pins: {reason}"),
            PinsError::Line { pin, line, reason } => write!(f, "pin {pin}: line {line}: {reason}"),
            PinsError::Thread(error) => write!(f, "pins: no thread for the dead-man: {error}"),
        }
    }
}

impl std::error::Error for PinsError {}
