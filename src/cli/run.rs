//! `semrx run`: receive, decide, record.

use super::engine::EngineOptions;
use super::exit::Failure;
use super::lines::{self, Summary};
use super::output::Printer;
use super::records::{self, RecordFile};
use super::{Done, bundles, fits};
use clap::{Args, ValueEnum};
use semrx::board::pins::{self, Pins};
use semrx::bundle::Bundle;
use semrx::link::{Address, Counters, Packet, SourceOptions};
use semrx::receiver::{Config, Depth, Mode, SamplerKind};
use semrx::sampler::Cache;
use semrx::scene::{Dropped, Reception};
use semrx::station::{Drops, Published, Station};
use semrx::wire::emit_request;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Receive a stream, decide on every frame, and write a record for each.
///
/// The decision on what arrived is made first. When the gate asks for it, the sampler fills in the rest, and the decision is made again on
/// both. Every frame, and every gap in the sequence, ends in one record.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx run --from drive.srx --record out.jsonl
  semrx run --from udp://127.0.0.1:9000 --deadline-ms 50
  semrx run --from serial:/dev/ttyAMA0@921600
  semrx run --from drive.srx --board raspberry-pi-5 --deadline-ms 100
  semrx run --from drive.srx --steps 4 --depth adaptive
  semrx run --from drive.srx --steps 20 --sampler ddim --cache bounded")]
pub struct Options {
    /// Where from: a capture (drive.srx), -, udp://host:port or serial:/dev/ttyAMA0@921600
    #[arg(long, value_name = "LINK")]
    from: Address,
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    /// The bundle's head of this name, in the place of the one that decides where none is asked for: for other tasks, or other tastes
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    head: Option<String>,
    /// Which of the modes may decide
    #[arg(long, value_enum, default_value_t = ModeName::Auto)]
    mode: ModeName,
    /// Sampler steps of a refinement; the bundle's own number if not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    steps: Option<u16>,
    /// How the sampler moves between noise levels
    #[arg(long, value_enum, default_value_t = SamplerName::Consistency)]
    sampler: SamplerName,
    /// Steps that ask less of the restore network: deep[:N], taylor[:N], bounded[:T], the bundle's threshold if T is not given, or turns, the
    /// bundle's. Pays from about 10 steps on
    #[arg(long, value_name = "CACHE")]
    cache: Option<String>,
    /// Whether a refinement may end before its last step: adaptive, once the decision has settled
    #[arg(long, value_enum, default_value_t = DepthName::Fixed)]
    depth: DepthName,
    /// Time from a frame's arrival to its decision; sampler steps that don't fit are left out
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    deadline_ms: Option<u64>,
    /// Plan for this board: a name, a profile's path, or auto for this machine, which is also checked where none is given
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// Run what doesn't fit the board or the deadline, and warn of it
    #[arg(long)]
    over_budget: bool,
    /// Show the decisions on the pins of this file (docs/pins.md)
    #[arg(long, value_name = "FILE")]
    pins: Option<PathBuf>,
    /// Write a record a frame as JSON lines
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seed of the sampler's noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    engine: EngineOptions,
    /// End when no packet came for so long (UDP, serial)
    #[arg(long, value_name = "MS")]
    idle_ms: Option<u64>,
    /// Print records and the summary as JSON lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeName {
    Auto,
    SemanticFirst,
    Hybrid,
    /// One step of the restore network, read by a head of its own; no map is made
    Latent,
    /// A photograph of every frame, and a perceiver's look at it
    View,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DepthName {
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
    let interrupt = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C ends at once.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupt.clone())
            .and_then(|_| signal_hook::flag::register(signal, interrupt.clone()))
            .map_err(|error| Failure::failed(format!("signal handler: {error}")))?;
    }
    check(options)?;
    // First of all, so that the levels are those of the start while the models are loaded.
    let pins = options.pins.as_deref().map(|file| Pins::open(&pins::Config::read(file)?)).transpose()?;
    let bundle = bundles::open(&options.bundle)?;
    let config = Config {
        mode: options.mode.into(),
        steps: options.steps,
        sampler: options.sampler.into(),
        cache: cache(options.cache.as_deref(), options.steps.unwrap_or(bundle.steps), &bundle)?,
        depth: match options.depth {
            DepthName::Fixed => Depth::Fixed,
            DepthName::Adaptive => Depth::Adaptive,
        },
        deadline_us: options.deadline_ms.map(|ms| ms * 1000),
        seed: options.seed,
    };
    let live = options.from.is_live();
    // A socket or a device is opened before the models are loaded, so that it misses nothing meanwhile.
    let idle = options.idle_ms.map(Duration::from_millis);
    let mut source = options.from.source(&SourceOptions { idle, interrupt })?;
    let mut station =
        Station::open_with_head(&bundle, options.head.as_deref(), config, !live, &options.engine.open()?)?;
    fits::check(
        station.receiver(),
        &fits::Question {
            bundle: &bundle,
            mode: config.mode,
            steps: config.steps.unwrap_or(bundle.steps),
            threads: options.engine.threads(),
            board: options.board.as_deref(),
            deadline_us: config.deadline_us,
            over_budget: options.over_budget,
        },
    )?;
    let mut recorder = options.record.as_deref().map(|path| RecordFile::create(path, &options.from)).transpose()?;
    let mut printer = Printer::default();

    let mut summary = Summary::default();
    let trouble = RefCell::new(None);
    let mut publish = |published: Published<'_>| {
        if let Some(pins) = &pins {
            pins.observe(&published);
        }
        if trouble.borrow().is_some() {
            return;
        }
        let done = match published {
            Published::Record { record, .. } => {
                summary.add(record);
                let text =
                    if options.json { records::line(record) } else { Ok((lines::line(record) + "\n").into_bytes()) };
                let printed = text.and_then(|text| printer.print(&text));
                printed.and_then(|()| recorder.as_mut().map_or(Ok(()), |recorder| recorder.write(record)))
            }
            Published::Dropped(why) => {
                log::info!("dropped a packet: {}", reason(&why));
                Ok(())
            }
            Published::Provisional { .. } => Ok(()),
        };
        *trouble.borrow_mut() = done.err();
    };
    let (mut ending, mut asked) = (Ok(()), 0u64);
    loop {
        let heard_bytes = source.counters().bytes;
        let packet = match source.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                ending = Err(Failure::from(error));
                break;
            }
        };
        let reception = Reception {
            snr_cdb: packet.info.snr_cdb,
            delay_us: packet.info.delay_us,
            link_bytes: (source.counters().bytes - heard_bytes) as usize,
        };
        if let Some(pins) = &pins {
            pins.feed();
            station.receiver().set_generating(!pins.is_mode_held());
        }
        let erased = |tile: usize| u8::try_from(tile).is_ok_and(|tile| packet.info.erased.contains(tile));
        station.push(&packet.bytes, reception, erased, &mut publish)?;
        if let Some(request) = station.key_request() {
            source.reply(&Packet::new(emit_request(request).to_vec()));
            asked += 1;
        }
        if trouble.borrow().is_some() || live && station.complete() {
            break;
        }
        if live && station.ended() {
            // What the end marker overtook may still come.
            source.end_after(LINGER);
        }
    }
    station.end(&mut publish)?;
    let drops = station.drops();
    let ended = station.ended();
    let link = source.counters();
    if let Some(failure) = trouble.take() {
        return Err(failure);
    }
    if summary.frames() > 0 {
        let text = conclude(&summary, drops, asked, link, ended, options.json);
        printer.print(text.as_bytes())?;
    }
    let refused = |why: &str| Err(Failure::refused(format!("{}: {why}", options.from)));
    match (summary.frames(), summary.decided(), summary.refused()) {
        _ if ending.is_err() => ending,
        (0, ..) => refused("no frame could be read from it"),
        (_, 0, 1..) => refused("none of its frames could be decided with this bundle: the records say why"),
        _ => Ok(()),
    }
}

/// Refuses what the mode has no use for.
fn check(options: &Options) -> Done {
    if options.head.is_some() && matches!(options.mode, ModeName::Latent) {
        return Err(Failure::usage("--mode latent has a head of its own: leave --head away"));
    }
    let refined = options.cache.is_some()
        || matches!(options.sampler, SamplerName::Ddim)
        || matches!(options.depth, DepthName::Adaptive);
    let (has_steps, name) = match options.mode {
        ModeName::Auto | ModeName::Hybrid => return Ok(()),
        ModeName::SemanticFirst => (options.steps.is_some(), "semantic-first"),
        ModeName::Latent => (options.steps.is_some_and(|steps| steps != 1), "latent"),
        ModeName::View => (false, "view"),
    };
    if !refined && !has_steps {
        return Ok(());
    }
    let away = if has_steps { "--steps, --sampler, --cache and --depth" } else { "--sampler, --cache and --depth" };
    Err(Failure::usage(format!("--mode {name} refines nothing: leave {away} away")))
}

/// The cache that was asked for, with the bundle's threshold where none is given.
fn cache(text: Option<&str>, steps: u16, bundle: &Bundle) -> Result<Option<Cache>, Failure> {
    let parse = |text| Cache::parse(text, bundle.cache_threshold);
    let cache = text.map(parse).transpose().map_err(|error| Failure::usage(error.to_string()))?;
    match (cache, &bundle.learned.turns) {
        (Some(Cache::Difference { .. }), _) => Err(Failure::usage(
            "--cache difference is for `semrx sample`: nothing is guided here; take deep, taylor, bounded or turns",
        )),
        (Some(Cache::Turns), Some(turns)) if turns.steps() != steps as usize => {
            Err(Failure::usage(format!("the bundle's turns are for {0} steps: add --steps {0}", turns.steps())))
        }
        _ => Ok(cache),
    }
}

/// How long a socket is listened to behind the end marker, while frames are missing.
const LINGER: Duration = Duration::from_millis(500);

/// `asked`: frames that lean on a key frame, or on a tile of it, that isn't there.
fn conclude(summary: &Summary, drops: Drops, asked: u64, link: Counters, ended: bool, json: bool) -> String {
    if json {
        let drops = serde_json::json!({
            "refused": drops.refused, "duplicate": drops.duplicate, "stale": drops.stale, "other_stream": drops.other_stream,
            "damaged_tiles": drops.damaged_tiles, "repaired_headers": drops.repaired_headers,
            "malformed": link.malformed, "oversized": link.oversized, "reopened": link.reopened,
        });
        let (modes, failed) = (summary.json(), summary.failed());
        serde_json::json!({"summary": {"modes": modes, "failed": failed, "lacked_key": asked, "drops": drops, "end_marker": ended}})
            .to_string()
            + "\n"
    } else {
        let mut text = format!("{}\n\n{}", lines::LEGEND, summary.table());
        let counts = [
            (summary.failed(), "refinements failed: those frames were decided on what arrived"),
            (asked, "frames lean on a key frame, or on a tile of it, that didn't arrive"),
            (drops.refused, "packets whose header can't be read, or that lean on a key frame not heard"),
            (drops.duplicate, "duplicates"),
            (drops.stale, "packets too late for their frame"),
            (drops.other_stream, "packets of other streams"),
            (drops.damaged_tiles, "damaged tiles"),
            (drops.repaired_headers, "damaged headers, mended"),
            (link.malformed, "damaged stretches of the link"),
            (link.oversized, "oversized stretches or datagrams"),
            (link.reopened, "times the device went away and came back"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!("{count} {what}\n");
        }
        if !ended {
            text += "no end marker came: frames lost at the end can't be counted\n";
        }
        text
    }
}

fn reason(why: &Dropped) -> String {
    match why {
        Dropped::Refused(error) => error.to_string(),
        Dropped::Duplicate { sequence } => format!("frame {sequence} came before"),
        Dropped::Stale { sequence } => format!("frame {sequence} is settled"),
        Dropped::OtherStream { stream } => format!("stream {stream} is not the one followed"),
        Dropped::NoRoom { sequence } => format!("frame {sequence} is longer than there is memory for"),
    }
}
