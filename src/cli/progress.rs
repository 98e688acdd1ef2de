//! How far a command has come.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error over `count` of `what`, with the time that is left.
pub fn progress(count: usize, what: &str) -> ProgressBar {
    let progress = ProgressBar::new(count as u64);
    let style = ProgressStyle::with_template(&format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left"));
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}
