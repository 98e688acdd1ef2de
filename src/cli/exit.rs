//! How a command ends when it doesn't end well.

use super::output::tell;
use semrx::board::ProfileError;
use semrx::board::pins::PinsError;
use semrx::bundle::BundleError;
use semrx::engine::EngineError;
use semrx::link::{AddressError, LinkError};
use semrx::maps::MapError;
use std::fmt::Display;
use std::process::ExitCode;

/// An exit code and the line that explains it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub fn failed(message: impl Display) -> Self {
        Failure { code: 1, message: message.to_string() }
    }

    pub fn usage(message: impl Display) -> Self {
        Failure { code: 2, message: message.to_string() }
    }

    pub fn refused(message: impl Display) -> Self {
        Failure { code: 3, message: message.to_string() }
    }

    /// A file that can't be read. What is not there may come, with a mount or a plug, and a service is started again for it; what is there and wrong stays so.
    pub fn unread(error: &std::io::Error, message: impl Display) -> Self {
        use std::io::ErrorKind::{FileTooLarge, InvalidData, InvalidInput};
        match error.kind() {
            FileTooLarge | InvalidData | InvalidInput => Failure::refused(message),
            _ => Failure::failed(message),
        }
    }

    pub fn over_budget(message: impl Display) -> Self {
        Failure { code: 4, message: message.to_string() }
    }

    pub fn interrupted() -> Self {
        Failure { code: 130, message: "interrupted".into() }
    }

    /// The line that explains it.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn report(self) -> ExitCode {
        tell(&format!("semrx: {}", self.message));
        ExitCode::from(self.code)
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        match &error {
            BundleError::Read { error: cause, .. } => Failure::unread(cause, &error),
            _ => Failure::refused(error),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Run { .. } => Failure::failed(error),
            _ => Failure::refused(error),
        }
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        Failure::refused(error)
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        Failure::refused(error)
    }
}

impl From<PinsError> for Failure {
    fn from(error: PinsError) -> Self {
        match &error {
            PinsError::Config { .. } => Failure::refused(error),
            PinsError::Read { error: cause, .. } => Failure::unread(cause, &error),
            _ => Failure::failed(error),
        }
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Failure::usage(error)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Interrupted => Failure::interrupted(),
            LinkError::Address(_) => Failure::usage(error),
            LinkError::Damaged { .. } => Failure::refused(error),
            _ => Failure::failed(error),
        }
    }
}
