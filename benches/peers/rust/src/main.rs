//! Times a model in tract or rten, and prints what it took as JSON. `benches/peers/run` starts it.

mod memory;
mod rten_engine;
mod tract_engine;

use memory::Memory;
use std::process::ExitCode;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

const WARM_UP: usize = 3;

/// A loaded model: runs it once, on the inputs it was loaded with.
type Run = Box<dyn FnMut() -> Result<(), Failure>>;

fn main() -> ExitCode {
    match measure() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // One line: the reason of a row in a table.
            eprintln!("{}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String, Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [engine, model, runs, threads] = &arguments[..] else {
        return Err("usage: semrx-peers tract|rten MODEL RUNS THREADS".into());
    };
    let (runs, threads): (usize, usize) = (runs.parse()?, threads.parse()?);
    let memory = Memory::now()?;
    let mut run = match engine.as_str() {
        "tract" => tract_engine::load(model, threads)?,
        "rten" => rten_engine::load(model, threads)?,
        other => return Err(format!("no engine {other:?}, there are tract and rten").into()),
    };
    let mut milliseconds = Vec::new();
    for index in 0..WARM_UP + runs {
        let start = Instant::now();
        run()?;
        if index >= WARM_UP {
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(serde_json::json!({"milliseconds": milliseconds, "kib": memory.growth()?}).to_string())
}

/// Uniform noise between 0 and 1, the same at every run: a noise level among the inputs must be positive.
fn noise(length: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 + 0.5) / (1 << 24) as f32
    };
    (0..length).map(|_| next()).collect()
}
