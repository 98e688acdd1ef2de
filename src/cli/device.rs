//! The command line of the program for a device (`boards/device/`): of the verbs of the whole program those that a board needs.

mod bundles;
mod config;
mod described;
mod engine;
mod exit;
mod fits;
mod inspect_plan;
mod lines;
mod measured;
mod memory;
mod notify;
mod output;
mod pins;
mod records;
mod run;
mod setup;
mod signals;
mod start;
mod told;

use clap::{Parser, Subcommand};
use exit::Failure;
use std::process::ExitCode;

/// A semantic receiver: from received semantics to a decision.
///
/// This is the program for a device. It runs what `semrx plan` of the whole program has compiled of a bundle: give it with --bundle.
#[derive(Debug, Parser)]
#[command(name = "semrx", version, max_term_width = 110, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
  semrx run --from udp://0.0.0.0:9000 --bundle street.plan
  semrx inspect street.plan

Exit codes: 0 done, 1 failed, 2 usage, 3 refused input, 4 over budget, 130 interrupted.
Logs go to stderr; RUST_LOG=debug shows more.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Options>),
    Inspect(inspect_plan::Options),
    Pins(pins::Options),
}

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start::log();
    start::end(match arguments.verb {
        Verb::Run(options) => run::run(&options),
        Verb::Inspect(options) => inspect_plan::run(&options),
        Verb::Pins(options) => pins::run(&options),
    })
}

type Done = Result<(), Failure>;
