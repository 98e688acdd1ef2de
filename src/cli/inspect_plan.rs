//! `semrx inspect` of a device: what is in a plan file, in words.

use super::described::{bundle_words, words};
use super::output::print;
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
    /// List every step of the models' plans
    #[arg(long)]
    plan: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Done {
    let described = bundle_words(&bundles::open(&options.what)?, options.plan)?;
    print(&match options.json {
        true => format!("{described}\n"),
        false => words(&described, 0),
    })
}
