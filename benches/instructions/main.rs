//! What each step of a network takes on aarch64, for the counter in `count.c`: see `docs/cost-model.md`.
//!
//! Prints a line of JSON for each step: its name and its units. The counter says what they take, in the same order. With `--whole`, a line for
//! each network: what is predicted of it, beside what its plan takes here.

use clap::Parser;
use semrx::budget::{Held, Instructions, MacCount, Network, Unit, Work};
use semrx::engine::Planned;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use std::path::PathBuf;

/// A no-op on any machine; the counter's sign that a stretch ends, and another begins.
fn mark() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that no core knows does nothing.
    unsafe {
        std::arch::asm!("hint #112", options(nomem, nostack, preserves_flags));
    }
}

/// The sign that the last stretch has ended, for counters that ask for it.
fn end() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("hint #113", options(nomem, nostack, preserves_flags));
    }
}

#[derive(Parser)]
#[command(about = "What the steps of networks ask of a core")]
struct Options {
    /// ONNX files
    models: Vec<PathBuf>,
    /// Kernels that the units are of: neon, or neon-dot
    #[arg(long, default_value = "neon")]
    instructions: String,
    /// Mark the beginning and the end of each network, and no steps
    #[arg(long)]
    whole: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let instructions = match options.instructions.as_str() {
        "neon" => Instructions::Neon,
        "neon-dot" => Instructions::NeonDot,
        name => panic!("--instructions {name}: neon or neon-dot"),
    };
    let isa = Isa::best();
    assert!(!cfg!(target_arch = "aarch64") || isa.name() == options.instructions, "this machine's kernels are {isa}");
    for path in options.models {
        let mut model = match Planned::load(&path, &Machine::one_thread(isa)) {
            Ok(model) => model,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        model.fill_with_noise();
        // Once for what is only paid once.
        model.run().expect("a run");
        model.fill_with_noise();
        mark();
        model
            .run_watched(&mut |_| {
                if !options.whole {
                    mark()
                }
            })
            .expect("a run");
        end();
        if options.whole {
            mark();
        }
        let plan = model.plan();
        if options.whole {
            let network = Network::of("", plan, MacCount::default(), instructions);
            let held = Held::of(plan, instructions);
            let line = serde_json::json!({
                "model": path.display().to_string(), "instructions": instructions.predict(&network.first),
                "weights_bytes": held.weights, "arena_bytes": held.arena,
                "own_weights_bytes": plan.weights_bytes(), "own_arena_bytes": plan.arena_bytes(),
            });
            println!("{line}");
            continue;
        }
        for (step, label) in plan.steps().iter().zip(plan.labels()) {
            let work = Work::of(step, plan.slots(), instructions);
            let units: serde_json::Map<_, _> =
                work.units().map(|(unit, count): (Unit, u64)| (unit.to_string(), count.into())).collect();
            let model = path.display().to_string();
            println!(
                "{}",
                serde_json::json!({"model": model, "step": step.name(), "label": label, "complete": work.is_complete, "units": units})
            );
        }
    }
}
