//! `semrx budget`: what a bundle takes on a board, before it runs there.

use super::engine::EngineName;
use super::exit::Failure;
use super::measured::{self, Key};
use super::output::print;
use super::progress::progress;
use super::run::ModeName;
use super::{Done, bundles, fits};
use clap::Args;
use semrx::board::Profile;
use semrx::budget::{Instructions, Range, Resident, Total};
use semrx::bundle::Bundle;
use semrx::receiver::{Config, Mode, Pace, Receiver};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What a bundle takes on a board: memory, multiply-accumulates, and time as a cost model has it.
///
/// Nothing runs on the board for it. Instructions are predicted from counted kernels, and time from what its core is said to do with them: a range that
/// was never validated on a board. With --measure, the models run here, and `semrx run` holds this machine to what they took.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx budget --board zero2w
  semrx budget --board pi5 --mode hybrid --steps 2 --fps 10
  semrx budget --board mine.json --json
  semrx budget --measure")]
pub struct Options {
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    /// Another head of the bundle
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
    /// A board's name, the path of a profile, or auto for this machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    board: String,
    /// The mode that has to fit
    #[arg(long, value_enum, default_value_t = ModeName::Auto)]
    mode: ModeName,
    /// Sampler steps of a refinement; the bundle's own number if not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    steps: Option<u16>,
    /// Frames a second that have to be decided
    #[arg(long, value_name = "N")]
    fps: Option<f64>,
    /// Run the models of this mode here, and keep what they take for `semrx run`
    #[arg(long, conflicts_with = "board")]
    measure: bool,
    /// Threads of the plan; as many as the board has cores, at most 4, if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    threads: Option<u8>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs of which the slowest counts.
const RUNS: usize = 30;

/// A mode with its figures.
struct Row {
    mode: Mode,
    steps: u64,
    total: Total,
    provisional: Option<Range>,
    time: Option<Range>,
    instructions: Option<u64>,
    resident: Resident,
}

pub fn run(options: &Options) -> Done {
    if options.fps.is_some_and(|fps| !(fps > 0.0 && fps.is_finite())) {
        return Err(Failure::usage("--fps: should be above 0"));
    }
    let board = fits::board(&options.board)?;
    let bundle = bundles::open(&options.bundle)?;
    let threads = options.threads.map_or(usize::from(board.cores).min(4), usize::from);
    let mode = options.mode.into();
    if options.measure {
        return measure(options, &bundle, mode, threads);
    }
    let mut rows = Vec::new();
    for other in [Mode::SemanticFirst, Mode::Hybrid, Mode::Latent, Mode::View] {
        match row(options, &bundle, other, options.steps, threads, &board) {
            Ok(row) => rows.push(row),
            // A bundle needn't have every mode; the one that was asked for it has to.
            Err(error) if other == mode || other == Mode::SemanticFirst => return Err(error),
            Err(_) => {}
        }
    }
    // What auto takes at most is what hybrid takes.
    let chosen = if mode == Mode::Auto { Mode::Hybrid } else { mode };
    let Some(own) = rows.iter().find(|row| row.mode == chosen) else {
        return Err(Failure::refused(format!("bundle {} has no mode {}", bundle.name(), measured::name(mode))));
    };
    let period_us = options.fps.map(|fps| (1e6 / fps) as u64);
    let verdict = Verdict::new(own, &rows, &board, period_us);
    if options.json {
        return print(&format!("{}\n", as_json(options, &bundle, &board, own, &rows, &verdict)));
    }
    print(&as_text(options, &bundle, &board, own, &rows, &verdict))?;
    match verdict.fits() {
        true => Ok(()),
        false => Err(Failure::over_budget(format!("{} does not fit {}", measured::name(mode), board.name))),
    }
}

fn row(
    options: &Options,
    bundle: &Bundle,
    mode: Mode,
    steps: Option<u16>,
    threads: usize,
    board: &Profile,
) -> Result<Row, Failure> {
    let steps = if mode == Mode::Hybrid { steps } else { None };
    let config = Config { mode, steps, ..Config::default() };
    let engine = EngineName::Plan.open(threads)?;
    let receiver = Receiver::open_with_head(bundle, options.head.as_deref(), config, Pace::default(), &engine)?;
    let networks = receiver.networks(board.instructions);
    let frame = receiver.frame(&networks);
    let instructions = board.instructions.predict(&frame.whole.work);
    let time = |total: &Total| Some(board.pace?.time(board.instructions.predict(&total.work)?));
    Ok(Row {
        mode,
        steps: receiver.steps(),
        provisional: time(&frame.provisional),
        time: time(&frame.whole),
        total: frame.whole,
        instructions,
        resident: fits::resident(&receiver, bundle, board),
    })
}

/// Whether a mode fits, and if not, what would.
struct Verdict {
    memory: bool,
    /// `None` where nothing is asked, or nothing is known.
    time: Option<bool>,
    instead: Vec<String>,
}

impl Verdict {
    fn new(own: &Row, rows: &[Row], board: &Profile, period_us: Option<u64>) -> Self {
        let memory_fits = |row: &Row| row.resident.total() <= board.receiver_bytes;
        let time_fits = |row: &Row| Some(row.time?.most_us <= period_us?);
        let (memory, time) = (memory_fits(own), time_fits(own));
        let mut instead = Vec::new();
        if !memory || time == Some(false) {
            if let (Some(false), Some(range), Some(provisional), Some(period_us)) =
                (time, own.time, own.provisional, period_us)
                && own.steps > 1
            {
                let step_us = (range.most_us - provisional.most_us) / own.steps;
                let steps = period_us.saturating_sub(provisional.most_us) / step_us.max(1);
                if steps > 0 {
                    instead.push(format!("--steps {steps}"));
                }
            }
            let others = rows.iter().filter(|row| row.mode != own.mode);
            let fitting = others.filter(|row| memory_fits(row) && time_fits(row) != Some(false));
            instead.extend(fitting.map(|row| format!("--mode {}", measured::name(row.mode))));
            if !memory {
                // 4 bits and a factor for each 32.
                let saved = own.resident.weights * 2 / 5;
                instead.push(format!("weights of 4 bits, which save about {saved} bytes (`semrx-quantize --help`)"));
            }
        }
        Verdict { memory, time, instead }
    }

    fn fits(&self) -> bool {
        self.memory && self.time != Some(false)
    }
}

const fn yes(fits: bool) -> &'static str {
    if fits { "fits" } else { "does not fit" }
}

fn as_text(options: &Options, bundle: &Bundle, board: &Profile, own: &Row, rows: &[Row], verdict: &Verdict) -> String {
    let clock = board.pace.map_or(String::new(), |pace| format!(" at {} MHz", pace.clock_mhz));
    let plural = if board.cores == 1 { "" } else { "s" };
    let mut text = format!(
        "bundle {} on {}: {} core{plural} {}{clock}, {} kernels\n\nmemory of mode {}, bytes at worst\n",
        bundle.name(),
        board.name,
        board.cores,
        board.core,
        board.instructions.name(),
        measured::name(options.mode.into()),
    );
    for (name, bytes) in own.resident.lines() {
        text += &format!("  {name:20} {bytes:>12}\n");
    }
    text += &format!(
        "  {:20} {:>12}   of {} that a receiver may take there: {}\n\n",
        "in all",
        own.resident.total(),
        board.receiver_bytes,
        yes(verdict.memory)
    );
    text += "a frame, of one core      MMAC int8  MMAC float    GBOP    Minstr           ms\n";
    let first = rows.iter().find(|row| row.mode == Mode::SemanticFirst);
    for row in rows {
        let name = match row.mode {
            Mode::Hybrid | Mode::View => {
                format!("{}, {} step{}", measured::name(row.mode), row.steps, if row.steps == 1 { "" } else { "s" })
            }
            mode => measured::name(mode).to_owned(),
        };
        let instructions = row.instructions.map_or("unknown".into(), |count| format!("{:.0}", count as f64 / 1e6));
        let time = row.time.map_or("unknown".into(), |range| {
            format!("{:.1}..{:.1}", range.least_us as f64 / 1e3, range.most_us as f64 / 1e3)
        });
        text += &format!(
            "  {name:22} {:>10.1} {:>11.1} {:>7.1} {instructions:>9} {time:>12}\n",
            row.total.macs.int8 as f64 / 1e6,
            row.total.macs.float as f64 / 1e6,
            row.total.macs.bops() as f64 / 1e9,
        );
    }
    if first.is_some_and(|row| row.time.is_some()) {
        text += &format!(
            "\nEvery decision is made as in semantic-first before anything is generated. Time is predicted, and was never validated on a {}.\n",
            board.core
        );
    } else {
        text += "\nTime is unknown there: run `semrx budget --measure` on the board.\n";
    }
    if let Some(fps) = options.fps {
        let fits = verdict.time.map_or("unknown", yes);
        text += &format!("{fps} frames a second, {:.1} ms each: {fits}\n", 1e3 / fps);
    }
    if !verdict.instead.is_empty() {
        text += &format!("What would fit: {}\n", verdict.instead.join("; "));
    } else if !verdict.fits() {
        text += "No mode of this bundle fits: take a smaller one.\n";
    }
    text
}

fn as_json(options: &Options, bundle: &Bundle, board: &Profile, own: &Row, rows: &[Row], verdict: &Verdict) -> Value {
    let range = |range: Option<Range>| range.map(|range| json!([range.least_us, range.most_us]));
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "mode": measured::name(row.mode), "steps": row.steps,
                "macs": {"int8": row.total.macs.int8, "float": row.total.macs.float}, "bops": row.total.macs.bops(),
                "instructions": row.instructions, "provisional_us": range(row.provisional), "decision_us": range(row.time),
                "resident_bytes": row.resident.total(),
            })
        })
        .collect();
    let lines: serde_json::Map<_, _> =
        own.resident.lines().into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into())).collect();
    json!({
        "bundle": bundle.name(), "board": board.name, "core": board.core, "cores": board.cores,
        "instructions": board.instructions.name(), "mode": measured::name(options.mode.into()), "memory": lines,
        "resident_bytes": own.resident.total(), "receiver_bytes": board.receiver_bytes, "fps": options.fps,
        "modes": rows, "memory_fits": verdict.memory, "time_fits": verdict.time, "fits": verdict.fits(), "instead": verdict.instead,
        "validated": false, "source": board.source,
    })
}

/// Runs the mode's models, and keeps how long they took.
fn measure(options: &Options, bundle: &Bundle, mode: Mode, threads: usize) -> Done {
    let config = Config { mode, steps: options.steps, ..Config::default() };
    let engine = EngineName::Plan.open(threads)?;
    let mut receiver = Receiver::open_with_head(bundle, options.head.as_deref(), config, Pace::default(), &engine)?;
    let bar = progress(RUNS, "runs");
    let mut paces = Vec::new();
    for _ in 0..RUNS {
        paces.push(receiver.measure_pace()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let of = |field: fn(&Pace) -> u64| {
        let mut sorted: Vec<u64> = paces.iter().map(field).collect();
        sorted.sort_unstable();
        (sorted[RUNS / 2], sorted[RUNS - 1])
    };
    let ((head, head_us), (step, step_us)) = (of(|pace| pace.head_us), of(|pace| pace.step_us));
    let pace = Pace { head_us, step_us };
    let key = Key::new(bundle, mode, threads, Instructions::here().name());
    let kept = key.ok_or_else(|| Failure::failed("no place to keep it: set HOME or XDG_CACHE_HOME"))?.write(pace)?;
    if options.json {
        return print(&format!(
            "{}\n",
            json!({
                "bundle": bundle.name(), "mode": measured::name(mode), "threads": threads, "runs": RUNS,
                "head_us": {"p50": head, "most": head_us}, "step_us": {"p50": step, "most": step_us}, "kept": kept.display().to_string(),
            })
        ));
    }
    let ms = |us: u64| us as f64 / 1e3;
    print(&format!(
        "bundle {}, mode {}, here with {threads} threads, {RUNS} runs: p50 and most\n  head  {:8.2} {:8.2} ms\n  step  {:8.2} {:8.2} ms\nkept in {}: `semrx run` refuses what takes longer than its deadline\n",
        bundle.name(),
        measured::name(mode),
        ms(head),
        ms(head_us),
        ms(step),
        ms(step_us),
        kept.display()
    ))
}
