//! `semrx run`: receive, decide, record.

use super::engine::EngineOptions;
use super::exit::Failure;
use super::fits;
use super::lines::Summary;
use super::notify::Notifier;
use super::output::tell;
use super::records::RecordFile;
use super::setup::{Fixed, Loaded, Setup};
use super::signals::Signals;
use super::told::{self, Told};
use super::{Done, memory};
use clap::{Args, ValueEnum};
use semrx::board::Watch;
use semrx::board::pins::{self, Pins};
use semrx::engine::Engine;
use semrx::link::{Address, Interrupt, SourceOptions};
use semrx::receiver::{Mode, Receiver, SamplerKind};
use semrx::service::{Lane, Link, Service};
use semrx::station::Published;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Receive a stream, decide on every frame, and write a record for each.
///
/// The decision on what arrived is made first. When the gate asks for it, the sampler fills in the rest, and the decision is made again on
/// both. Every frame, and every gap in the sequence, ends in one record.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  semrx run --from drive.srx --record out.jsonl
  semrx run --from udp://127.0.0.1:9000 --deadline-ms 50
  semrx run --from drive.srx --board raspberry-pi-5 --deadline-ms 100
  semrx run --from drive.srx --steps 4 --depth adaptive
  semrx run --from drive.srx --steps 20 --sampler ddim --cache bounded
  semrx run --config /etc/semrx/semrx.json")]
pub struct Options {
    /// What is to be run, as JSON: several streams, and all that follows here, which goes first where both say something. SIGHUP reads it and the
    /// bundle anew
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where from: a capture (drive.srx), -, udp://host:port or serial:/dev/ttyAMA0@921600
    #[arg(long, value_name = "LINK", required_unless_present = "config")]
    pub from: Option<Address>,
    /// The models: a folder, or the name of a bundle; street if not given
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<PathBuf>,
    /// The bundle's head of this name, in the place of the one that decides where none is asked for: for other tasks, or other tastes
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub head: Option<String>,
    /// Which of the modes may decide; auto if not given
    #[arg(long, value_enum)]
    pub mode: Option<ModeName>,
    /// Sampler steps of a refinement; the bundle's own number if not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub steps: Option<u16>,
    /// How the sampler moves between noise levels; consistency if not given
    #[arg(long, value_enum)]
    pub sampler: Option<SamplerName>,
    /// Steps that ask less of the restore network: deep[:N], taylor[:N], bounded[:T], the bundle's threshold if T is not given, or turns, the
    /// bundle's. Pays from about 10 steps on
    #[arg(long, value_name = "CACHE")]
    pub cache: Option<String>,
    /// Whether a refinement may end before its last step: adaptive, once the decision has settled; fixed if not given
    #[arg(long, value_enum)]
    pub depth: Option<DepthName>,
    /// Time from a frame's arrival to its decision; sampler steps that don't fit are left out
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline_ms: Option<u64>,
    /// Plan for this board: a name, a profile's path, or auto for this machine, which is also checked where none is given
    #[arg(long, value_name = "NAME")]
    pub board: Option<String>,
    /// Run what doesn't fit the board or the deadline, and warn of it
    #[arg(long)]
    pub over_budget: bool,
    /// Show the decisions on the pins of this file (docs/pins.md)
    #[arg(long, value_name = "FILE")]
    pub pins: Option<PathBuf>,
    /// Write a record a frame as JSON lines
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Seed of the sampler's noise; 0 if not given
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub engine: EngineOptions,
    /// End when no packet came for so long (UDP, serial lines)
    #[arg(long, value_name = "MS")]
    pub idle_ms: Option<u64>,
    /// Wait for the next stream when one has ended, or was silent for so long (UDP, serial lines)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub stay_ms: Option<u64>,
    /// Print records and the summary as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    Auto,
    SemanticFirst,
    Hybrid,
    /// One step of the restore network, read by a head of its own; no map is made
    Latent,
    /// A photograph of every frame, and a perceiver's look at it
    View,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SamplerName {
    Consistency,
    Ddim,
}

impl From<SamplerName> for SamplerKind {
    fn from(name: SamplerName) -> Self {
        match name {
            SamplerName::Consistency => SamplerKind::Consistency,
            SamplerName::Ddim => SamplerKind::Ddim,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DepthName {
    Fixed,
    Adaptive,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Auto => Mode::Auto,
            ModeName::SemanticFirst => Mode::SemanticFirst,
            ModeName::Hybrid => Mode::Hybrid,
            ModeName::Latent => Mode::Latent,
            ModeName::View => Mode::View,
        }
    }
}

pub fn run(options: &Options) -> Done {
    let signals = Signals::hear(options.config.is_some())?;
    let setup = Setup::of(options)?;
    let fixed = setup.fixed.clone();
    // First of all, so that the levels are those of the start while the models are loaded.
    let header = || fits::header(setup.board());
    let pins = fixed.pins.as_deref().map(|file| Pins::open(&pins::Config::read(file, header)?)).transpose()?;
    // A socket is bound before the models are loaded, so that it misses nothing meanwhile.
    let links = fixed.links();
    let open = |from: &&Address| {
        let interrupt = Interrupt::default();
        // Where another stream may follow, silence ends a stream, and not the link.
        let idle = fixed.idle.filter(|_| fixed.stays.is_none());
        let source = from.source(&SourceOptions { idle, interrupt: interrupt.clone() })?;
        Ok(Link { source, interrupt, is_live: from.is_live() })
    };
    let opened = links.iter().map(open).collect::<Result<Vec<_>, Failure>>()?;
    let engine = fixed.engine.open()?;
    let Loaded { lanes, watch } = setup.load(&engine)?;
    let recorder = |path: &Path| match fixed.appends {
        true => RecordFile::append(path),
        false => RecordFile::create(path, links.iter().copied()),
    };
    let recorder = fixed.record.as_deref().map(recorder).transpose()?;
    let shown = first_of(&lanes);
    let lanes = fixed.streams.iter().zip(lanes).map(|((from, stream), (priority, receiver))| Lane {
        link: links.iter().position(|link| *link == from).unwrap_or(0),
        stream: *stream,
        priority,
        receiver,
    });
    let mut service = Service::start(opened, lanes.collect(), watch, fixed.stays)
        .map_err(|error| Failure::failed(format!("a thread for a link: {error}")))?;
    let mut teller = Teller { records: Told::new(recorder, options.json, fixed.is_live()), pins, shown };
    let reloads = work(&mut service, &mut teller, &signals, &Reload { options, fixed: &fixed, engine: &engine })?;
    let Told { mut printer, summary, trouble, unrecorded, .. } = teller.records;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    let ending = service.error();
    if summary.frames() > 0 {
        printer.print(conclude(&summary, unrecorded, &service, reloads, options.json).as_bytes())?;
    }
    let from: Vec<_> = links.iter().map(|link| link.to_string()).collect();
    let refused = |why: &str| Err(Failure::refused(format!("{}: {why}", from.join(", "))));
    match (summary.frames(), summary.decided(), summary.refused()) {
        _ if ending.is_some() => Err(ending.map_or_else(Failure::interrupted, Failure::from)),
        _ if unrecorded > 0 => Err(told::incomplete(unrecorded)),
        // Sockets have no end that would be missing.
        _ if signals.ends() && signals.terminated() && fixed.is_live() => Ok(()),
        _ if signals.ends() => Err(Failure::interrupted()),
        (0, ..) => refused("no frame could be read from it"),
        (_, 0, 1..) => refused("none of its frames could be decided with this bundle: the records say why"),
        _ => Ok(()),
    }
}

/// The first of the lanes with the highest priority.
fn first_of(lanes: &[(u8, Receiver)]) -> usize {
    let highest = lanes.iter().map(|(priority, _)| *priority).max();
    lanes.iter().position(|(priority, _)| Some(*priority) == highest).unwrap_or(0)
}

/// How long the loop waits for packets before it looks at its signals.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs the service to its end, or to the first thing that can't be told. Returns how often it loaded anew, and how often in vain.
fn work(
    service: &mut Service,
    teller: &mut Teller,
    signals: &Signals,
    reload: &Reload<'_>,
) -> Result<Reloads, Failure> {
    let (mut notifier, mut reloads) = (Notifier::new(), Reloads::default());
    let (mut drains, mut loading) = (false, None);
    notifier.ready();
    while !service.is_done() && teller.records.trouble.is_none() {
        if signals.ends() && !drains {
            drains = true;
            notifier.stopping();
            service.drain();
        }
        if loading.is_none() && !drains && signals.reloads() {
            notifier.reloading();
            loading = Some(reload.begin()?);
        }
        if let Some(thread) = loading.take_if(|thread: &mut JoinHandle<_>| thread.is_finished()) {
            let loaded = thread.join().unwrap_or_else(|_| Err(Failure::failed("it panicked")));
            match loaded {
                Ok(Loaded { lanes, watch }) => {
                    teller.shown = first_of(&lanes);
                    service.change(lanes, &mut |lane, published| teller.tell(lane, &published))?;
                    service.change_watch(watch);
                    reloads.done += 1;
                    tell("semrx: loaded anew");
                }
                Err(failure) => {
                    reloads.failed += 1;
                    tell(&format!("semrx: not loaded anew: {}; what was loaded before stays", failure.message()));
                }
            }
            notifier.ready();
        }
        if let Some(pins) = &teller.pins {
            pins.feed();
            pins.set_alarm(service.watch().is_spent() || teller.records.is_blocked());
            let may_generate = !pins.is_mode_held();
            service.receivers().for_each(|receiver| receiver.set_generating(may_generate));
        }
        let has_worked = service.turn(&mut |lane, published| teller.tell(lane, &published))?;
        if service.look(Instant::now()) {
            let watch = service.watch();
            tell(&format!("semrx: {} sampler steps are allowed now{}", watch.steps(), board(watch)));
        }
        notifier.ping();
        notifier.status(|| status(&teller.records, service.watch()));
        if !has_worked {
            service.wait(PATIENCE);
        }
    }
    Ok(reloads)
}

/// How often SIGHUP was heard.
#[derive(Debug, Clone, Copy, Default)]
struct Reloads {
    done: u64,
    failed: u64,
}

/// What is loaded anew.
struct Reload<'a> {
    options: &'a Options,
    fixed: &'a Fixed,
    engine: &'a Engine,
}

impl Reload<'_> {
    /// Reads the configuration and loads the models beside those that decide.
    fn begin(&self) -> Result<JoinHandle<Result<Loaded, Failure>>, Failure> {
        let (options, fixed, engine) = (self.options.clone(), self.fixed.clone(), self.engine.clone());
        let load = move || {
            let setup = Setup::of(&options)?;
            if setup.fixed != fixed {
                return Err(Failure::refused(
                    "from and stream of each stream, engine, threads, record, pins, idle_ms and stay_ms stay as they are until it is started again",
                ));
            }
            setup.load(&engine)
        };
        let thread = thread::Builder::new().name("reload".into()).spawn(load);
        thread.map_err(|error| Failure::failed(format!("a thread to load with: {error}")))
    }
}

/// Tells what is published: on pins, and as records.
struct Teller {
    records: Told,
    pins: Option<Pins>,
    /// The stream that the pins show: the first of those with the highest priority.
    shown: usize,
}

impl Teller {
    fn tell(&mut self, lane: usize, published: &Published<'_>) {
        if let Some(pins) = self.pins.as_ref().filter(|_| lane == self.shown) {
            pins.observe(published);
        }
        match published {
            Published::Record { record, .. } => self.records.take(record),
            Published::Dropped(why) => self.records.dropped(why),
            Published::Provisional { .. } => {}
        }
    }
}

/// What the board says, where it is asked.
fn board(watch: &Watch) -> String {
    let heat = watch.temperature_millicelsius().map(|value| format!(", {:.1} °C", f64::from(value) / 1000.0));
    let memory = watch.rss_bytes().map(|bytes| format!(", {} MiB resident", bytes >> 20));
    heat.unwrap_or_default() + &memory.unwrap_or_default()
}

fn status(records: &Told, watch: &Watch) -> String {
    let Told { summary, unrecorded, .. } = records;
    let throttled =
        if watch.is_throttled() { format!(", {} sampler steps at most", watch.steps()) } else { String::new() };
    let gaps = if *unrecorded > 0 { format!(", {unrecorded} records not written") } else { String::new() };
    format!("{} of {} frames decided{gaps}{throttled}{}", summary.decided(), summary.frames(), board(watch))
}

fn conclude(summary: &Summary, unrecorded: u64, service: &Service, reloads: Reloads, json: bool) -> String {
    let (drops, counted, ended) = (service.drops(), service.counted(), service.has_ended());
    if json {
        let mut drops = told::drops_json(&drops, &counted.links);
        drops.insert("queue".into(), counted.queue.into());
        let (modes, failed) = (summary.json(), summary.failed());
        serde_json::json!({"summary": {
            "modes": modes, "failed": failed, "preempted": summary.preempted(), "lacked_key": counted.lacked_key, "unrecorded": unrecorded, "drops": drops,
            "reloads": reloads.done, "failed_reloads": reloads.failed, "end_marker": ended,
            "peak_bytes": memory::peak_bytes(),
        }})
        .to_string()
            + "\n"
    } else {
        let before = [
            (summary.failed(), "refinements failed: those frames were decided on what arrived"),
            (summary.preempted(), "refinements were given up for others: those frames were decided on what arrived"),
            (counted.lacked_key, "frames lean on a key frame, or on a tile of it, that didn't arrive"),
        ];
        let after =
            [(counted.queue, "packets that came faster than they could be taken"), (reloads.failed, "reloads failed")];
        let drops = told::drops_lines(&drops, &counted.links);
        told::conclusion(summary, unrecorded, before.into_iter().chain(drops).chain(after), ended)
    }
}
