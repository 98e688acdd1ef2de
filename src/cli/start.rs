//! What comes before a verb, and after it.

use super::Done;
use std::process::ExitCode;

/// Logs to stderr, as RUST_LOG says.
pub fn log() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,tract=error"))
        .format_timestamp(None)
        .init();
}

/// The exit code of what is done, or not.
pub fn end(done: Done) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
