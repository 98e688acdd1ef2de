//! `semrx bench`: how long a model takes on its plan.

use super::Done;
use super::exit::Failure;
use super::grown;
use super::output::print;
use clap::Args;
use semrx::engine::Planned;
use semrx::engine::kernel::Isa;
use semrx::engine::kernel::threads::Threads;
use semrx::engine::plan::Machine;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Plan an ONNX model, run it on random inputs, and say what it takes.
///
/// Convolutions run in int8 where the model is quantized (QDQ or QLinearConv), else in f32; nodes that have no step run through
/// tract, and are named.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  semrx bench model.qdq.onnx\n  semrx bench model.qdq.onnx --isa scalar --runs 3 --json"
)]
pub struct Options {
    /// ONNX file
    model: PathBuf,
    /// Timed runs, after 3 that are not
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Instruction set of the kernels; the fastest of this machine if not given
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    threads: u8,
    /// Say what each step takes at least, the slowest first
    #[arg(long, conflicts_with = "json")]
    steps: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Done {
    let isa = match &options.isa {
        None => Isa::best(),
        Some(name) => {
            let available = Isa::available();
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            let found = available.iter().find(|isa| isa.name() == name);
            *found.ok_or_else(|| Failure::usage(format!("--isa {name}: this machine has {}", names.join(", "))))?
        }
    };
    let threads =
        Threads::new(options.threads as usize).map_err(|error| Failure::failed(format!("--threads: {error}")))?;
    let machine = Machine::with(isa, threads);
    let before = grown::Held::now();
    let mut model = Planned::load(&options.model, &machine)?;
    let mut times = Vec::new();
    let mut allocations = 0;
    for run in 0..options.runs + 3 {
        model.fill_with_noise();
        let (start, counted) = (Instant::now(), grown::allocations());
        model.run()?;
        allocations = grown::allocations() - counted;
        if run >= 3 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let grown = before.zip(grown::Held::now()).map(|(before, now)| now.since(&before));
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let (plan, macs) = (model.plan(), model.macs());
    let mut through_tract = std::collections::BTreeMap::<&str, u64>::new();
    for fallback in model.fallbacks() {
        *through_tract.entry(&fallback.op).or_default() += 1;
    }
    let (p50, p90, p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
    if options.json {
        let value = json!({
            "model": options.model.display().to_string(),
            "isa": isa.name(),
            "threads": options.threads,
            "runs": options.runs,
            "milliseconds": {"p50": p50, "p90": p90, "p99": p99, "least": times[0]},
            "macs": {"int8": macs.int8, "float": macs.float, "complete": !macs.incomplete},
            "steps": plan.steps().len(),
            "arena_bytes": plan.arena_bytes(),
            "weights_bytes": plan.weights_bytes(),
            "allocations": allocations,
            "grown_bytes": grown.map(|grown| grown.json()),
            "through_tract": through_tract,
        });
        return print(&format!("{value}\n"));
    }
    let through_tract: Vec<_> = through_tract.iter().map(|(op, count)| format!("{count} x {op}")).collect();
    let through_tract = if through_tract.is_empty() { "nothing".to_owned() } else { through_tract.join(", ") };
    print(&format!(
        "{}: {isa}, {} thread{}, {} runs\n\
         time         p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, least {:.2} ms\n\
         MACs         {:.1} M int8, {:.1} M float{}\n\
         arena        {} bytes\n\
         weights      {} bytes\n\
         memory       {}\n\
         steps        {}, {allocations} allocations a run\n\
         by tract     {through_tract}\n",
        options.model.display(),
        options.threads,
        if options.threads == 1 { "" } else { "s" },
        options.runs,
        times[0],
        macs.int8 as f64 / 1e6,
        macs.float as f64 / 1e6,
        if macs.incomplete { ", and what tract runs" } else { "" },
        plan.arena_bytes(),
        plan.weights_bytes(),
        grown.map_or("unknown".into(), |grown| grown.to_string()),
        plan.steps().len(),
    ))?;
    if options.steps {
        print(&by_step(&mut model, options.runs)?)?;
    }
    Ok(())
}

/// The least time that each step of the plan takes, the slowest first.
fn by_step(model: &mut Planned, runs: u32) -> Result<String, Failure> {
    let mut least = vec![Duration::MAX; model.plan().steps().len()];
    for _ in 0..runs {
        model.fill_with_noise();
        let mut start = Instant::now();
        model.run_watched(&mut |step| {
            least[step] = least[step].min(start.elapsed());
            start = Instant::now();
        })?;
    }
    let mut order: Vec<usize> = (0..least.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(least[index]));
    let plan = model.plan();
    let line = |index: usize| {
        let micros = least[index].as_secs_f64() * 1e6;
        format!("{micros:9.1} us  {:10}  {}\n", plan.steps()[index].name(), plan.labels()[index])
    };
    Ok(order.into_iter().map(line).collect())
}
