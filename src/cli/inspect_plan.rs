//! `semrx inspect` of a device: what is in a plan file, in words.

use super::described::{Shown, bundle_words};
use super::{Done, bundles};
use clap::Args;
use std::path::PathBuf;

/// Say what is in a plan file: of which files it was compiled, and what its models become here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx inspect street.plan
  semrx inspect street.plan --json")]
pub struct Options {
    /// Plan file
    what: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

pub fn run(options: &Options) -> Done {
    options.shown.print(&bundle_words(&bundles::open(&options.what)?, options.shown.plan)?)
}
