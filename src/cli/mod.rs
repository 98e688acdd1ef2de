//! The command line.

mod bench;
mod budget;
mod bundles;
mod calibrate;
mod calibrate_fusion;
mod calibrate_gate;
mod config;
mod demo;
mod described;
mod engine;
mod eval;
mod eval_report;
mod exit;
mod fits;
mod front;
mod generative;
mod grown;
mod infer;
mod inspect;
mod keep;
mod lines;
mod measured;
mod memory;
mod notify;
mod output;
mod pace;
mod pins;
mod plan;
mod progress;
mod records;
mod refusals;
mod run;
mod sample;
mod send;
mod setup;
mod signals;
mod start;
mod street;
mod told;

use clap::{Parser, Subcommand};
use exit::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use std::process::ExitCode;
use std::sync::Arc;

/// A semantic receiver: from received semantics to a decision.
///
/// A transmitter sends what matters of a scene, a semantic map, over a channel that loses and corrupts. semrx decides on it within its
/// memory, its compute and its deadline: is the corridor free, and what stands in it? It decides on what arrived first, and generates the
/// rest only when the channel or its own doubt asks for it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Start with `semrx demo`. Then, on label maps of your own (index PNGs):
  semrx send --maps DIR --to drive.srx --channel tile-loss=0.3
  semrx run --from drive.srx

Exit codes: 0 done, 1 failed, 2 usage, 3 refused input, 4 over budget, 130 interrupted.
Logs go to stderr; RUST_LOG=debug shows more.";

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Options),
    Send(send::Options),
    Run(run::Options),
    Front(front::Options),
    Pins(pins::Options),
    Eval(eval::Options),
    Plan(plan::Options),
    Inspect(inspect::Options),
    Infer(infer::Options),
    Sample(sample::Options),
    Bench(bench::Options),
    Budget(budget::Options),
    Street(street::Options),
}

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start::log();
    if !matches!(arguments.verb, Verb::Run(_) | Verb::Front(_)) {
        // These settle their records first; the others have nothing to settle.
        for signal in [SIGINT, SIGTERM] {
            if let Err(error) = register_conditional_shutdown(signal, 130, Arc::new(true.into())) {
                log::warn!("signal handler: {error}");
            }
        }
    }
    start::end(match arguments.verb {
        Verb::Demo(options) => demo::run(&options),
        Verb::Send(options) => send::run(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Front(options) => front::run(&options),
        Verb::Pins(options) => pins::run(&options),
        Verb::Eval(options) => eval::run(&options),
        Verb::Plan(options) => plan::run(&options),
        Verb::Inspect(options) => inspect::run(&options),
        Verb::Infer(options) => infer::run(&options),
        Verb::Sample(options) => sample::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Budget(options) => budget::run(&options),
        Verb::Street(options) => street::run(&options),
    })
}

type Done = Result<(), Failure>;
