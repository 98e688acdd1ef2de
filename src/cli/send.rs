//! `semrx send`: label maps, or what a perceiver sees in photographs, to packets, over a simulated channel.

use super::engine::EngineOptions;
use super::exit::Failure;
use super::output::tell;
use super::pace::{Pace, Slowed};
use super::progress::progress;
use super::{Done, bundles};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use semrx::link::{Address, ChannelSpec, Sink};
use semrx::receiver::Perceiver;
use semrx::scene::{ClassMap, LABEL_SETS, LabelSet};
use semrx::sender::{self, Delta, Form, GivenUp, Packing, Sender, Sent, Settings};
use semrx::wire::{Cut, Grid, MAX_PARITY, Packet as WirePacket, Params, Payload, Tiling, WireError};
use semrx::{maps, photographs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Send label maps, or photographs: into a capture, to standard output, over UDP or a serial line, through a simulated channel.
///
/// The maps are the index PNGs of a folder, in the order of their names; each is resampled (nearest) to the grid. Of photographs, the bundle's
/// perceiver makes the maps: no pixel is sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Channel keys, joined by commas:
  tile-loss=0..1         share of the tiles that are lost
  burst=1..1000          mean run of lost tiles, 1 if not given
  frame-loss=0..1        share of the packets that are lost whole
  snr=-20..60            dB: bit flips on maps, noise on soft values
  sigma=0..10            noise on soft values, in place of the one that snr means
  delay-ms, jitter-ms    0..60000
  reorder, duplicate     0..1: share of the packets

With --max-bytes, a frame that takes more is simplified: small regions become what lies round them, borders are smoothed, as far as the rule
reads the same hazards and free space; tiles that the corridor ahead needs least go first. What does not fit then is left out, tile by tile, and
the receiver knows nothing of it; with --packet tile, a frame of which no tile fits is lost. Soft payloads are not simplified: their tiles are
left out.

With --delta, frames that are not key say what changed since the key frame before them: all of it, or as much as the rule needs to read the same
hazards and free space; scenery then stays as the key frame had it. A lost delta frame costs nothing but itself; while a key frame or a tile of it is
missing, the cells that lean on it are unknown. Over UDP the receiver asks for another key frame then. Nothing leans on a key frame of which
--max-bytes left tiles out.

At equal bytes, one or two tiles of parity decide best while up to a fifth of the tiles are lost, phases beyond that (docs/evidence.md).
Without --max-bytes, phases take about twice the bytes of blocks.

Tokens are boxes and the free way: for senders that have no map. Of a map they take more bytes than the map does, and lose what stands behind something else.

A soft frame is large: over UDP it needs --packet tile --tiles 16x16 --payload soft4, and few classes; over a serial line it needs tiles too.

A serial line carries a tenth of its baud rate in bytes a second; frames that come faster wait for it, and send says so.

Examples:
  semrx send --maps maps/ --to drive.srx --channel tile-loss=0.3,burst=4
  semrx send --maps maps/ --to drive.srx --payload soft8 --channel sigma=0.6
  semrx send --maps maps/ --to drive.srx --max-bytes 200
  semrx send --maps maps/ --to drive.srx --delta task
  semrx send --images photographs/ --to drive.srx --save-maps perceived/
  semrx send --maps maps/ --to udp://127.0.0.1:9000 --packet tile
  semrx send --maps maps/ --to serial:/dev/ttyUSB0@921600")]
pub struct Options {
    /// Folder of index PNGs
    #[arg(long, value_name = "DIR", required_unless_present = "images")]
    maps: Option<PathBuf>,
    /// Folder of photographs (JPEG, PNG, WebP): the maps are what the bundle's perceiver sees in them
    #[arg(long, value_name = "DIR", conflicts_with = "maps")]
    images: Option<PathBuf>,
    /// With --images, the bundle that has the perceiver: a folder, or a name; street if not given
    #[arg(long, value_name = "BUNDLE", requires = "images")]
    bundle: Option<PathBuf>,
    /// With --images, write the maps here too, as index PNGs of the grid
    #[arg(long, value_name = "DIR", requires = "images")]
    save_maps: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineOptions,
    /// Only files whose names begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Where to: a capture (drive.srx), -, udp://host:port or serial:/dev/ttyAMA0@921600
    #[arg(long, value_name = "LINK")]
    to: Address,
    /// Cells of the maps that are sent
    #[arg(long, value_name = "WxH", default_value = "128x96")]
    grid: Grid,
    /// Tiles of a frame
    #[arg(long, value_name = "ROWSxCOLS", default_value = "4x2")]
    tiles: Tiling,
    /// Which cells make a tile: blocks of neighbours, or phases, every so many rows and columns
    #[arg(long, value_name = "CUT", default_value = "blocks")]
    cut: Cut,
    /// Further tiles of each frame, from any of which a lost tile is restored (Reed-Solomon)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=MAX_PARITY as i64))]
    parity: u8,
    /// map (a class a cell), soft4 or soft8 (a score a class and cell, for analogue links), or tokens (boxes round what stands in the scene, and the
    /// free way)
    #[arg(long, default_value = "map", value_parser = payload)]
    payload: Payload,
    /// What travels in a packet
    #[arg(long, value_enum, default_value_t = Packet::Frame)]
    packet: Packet,
    /// The simulated channel
    #[arg(long, value_name = "SPEC", default_value = "none")]
    channel: ChannelSpec,
    /// Frames a second: capture times, and the pace over UDP and serial lines
    #[arg(long, default_value_t = 10.0, value_parser = sender::fps)]
    fps: f64,
    /// Frames from one key frame to the next
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    key_every: u32,
    /// Send changes since the last key frame in place of whole maps, where they are shorter: all, or those that the task needs. Of --payload map in
    /// --packet frame
    #[arg(long, value_name = "WHICH")]
    delta: Option<Delta>,
    /// Most bytes of a frame, all its packets together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_bytes: Option<u32>,
    /// Number of the stream
    #[arg(long, default_value_t = 1)]
    stream: u16,
    /// Seed of the channel
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What the values of the PNGs mean: camvid12 or cityscapes20
    #[arg(long, value_name = "SET", default_value = "camvid12", value_parser = labels)]
    labels: &'static LabelSet,
    /// Print the sums as JSON, on stderr: standard output may be the link
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Packet {
    Frame,
    Tile,
}

fn payload(text: &str) -> Result<Payload, &'static str> {
    text.parse()
}

pub fn labels(text: &str) -> Result<&'static LabelSet, String> {
    LabelSet::by_name(text).ok_or_else(|| {
        let names: Vec<_> = LABEL_SETS.iter().map(|set| set.name).collect();
        format!("the label sets are {}", names.join(", "))
    })
}

pub fn run(options: &Options) -> Done {
    if options.delta.is_some() && (options.payload != Payload::Map || matches!(options.packet, Packet::Tile)) {
        return Err(Failure::usage("--delta is for maps in whole frames: give --payload map and --packet frame"));
    }
    if options.images.is_none() && (options.save_maps.is_some() || options.bundle.is_some()) {
        return Err(Failure::usage("--save-maps and --bundle are for --images: leave them away"));
    }
    if options.max_bytes.is_some() && options.payload == Payload::Tokens {
        return Err(Failure::usage("--max-bytes is for maps and soft values: tokens take what they take"));
    }
    let params = Params {
        grid: options.grid,
        tiling: options.tiles,
        cut: options.cut,
        parity: options.parity,
        payload: options.payload,
        label_set: options.labels.id,
        classes: options.labels.len() as u8,
    };
    params
        .validate()
        .map_err(|error| Failure::usage(format!("--grid {} with --tiles {}: {error}", options.grid, options.tiles)))?;
    let (files, mut perceived) = match (&options.images, &options.maps) {
        (Some(dir), _) => {
            let files = photographs::list_beginning(dir, &options.only)?;
            // All of them before the first is sent: one that can't be read leaves an older capture alone.
            let maps = Camera::open(options)?.see_all(&files, options)?;
            (files, Some(maps.into_iter()))
        }
        (None, Some(dir)) => (maps::list_beginning(dir, &options.only)?, None),
        (None, None) => return Err(Failure::usage("give --maps or --images")),
    };
    let settings = Settings {
        stream: options.stream,
        tiling: options.tiles,
        cut: options.cut,
        parity: options.parity,
        payload: options.payload,
        packing: match options.packet {
            Packet::Frame => Packing::Frame,
            Packet::Tile => Packing::Tile,
        },
        key_every: options.key_every,
        delta: options.delta,
        max_bytes: options.max_bytes,
        channel: options.channel.clone(),
        seed: options.seed,
    };
    let mut sender = Sender::new(settings, options.labels);
    // Opened with the first frame: what can't be sent leaves an older capture alone.
    let mut sink: Option<Box<dyn Sink + Send>> = None;
    let (mut pace, mut packets) = (options.to.is_live().then(|| Pace::new(options.fps)), 0u64);
    let mut frames: Vec<Sent> = Vec::new();
    let bar = ProgressBar::new(files.len() as u64);
    let mut arrived = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let map = match &mut perceived {
            Some(maps) => maps.next().ok_or_else(|| Failure::failed("a photograph is missing"))?,
            None => maps::read(file, options.labels)?.resampled(options.grid),
        };
        if let Some(pace) = &mut pace {
            pace.wait(index, &options.to);
        }
        while let Some(packet) = sink.as_mut().and_then(|sink| sink.heard()) {
            if let Ok(WirePacket::Request(request)) = WirePacket::parse(&packet.bytes, None) {
                sender.ask_key(request);
            }
        }
        let sent = sender.send(&map, sender::capture_us(index, options.fps), &mut arrived);
        frames.push(sent.map_err(|error| match (error, options.max_bytes) {
            (WireError::Buffer { need, have }, Some(most)) if have == most as usize => {
                Failure::usage(format!("--max-bytes {most}: the header of a frame alone takes {need}"))
            }
            (error, _) => Failure::refused(format!("{}: {error}", file.display())),
        })?);
        if index + 1 == files.len() {
            sender.end(&mut arrived);
        }
        let sink = match &mut sink {
            Some(sink) => sink,
            None => sink.insert(options.to.sink()?),
        };
        let began = Instant::now();
        for packet in arrived.drain(..) {
            sink.send(&packet)?;
            packets += 1;
        }
        if let Some(pace) = &mut pace {
            pace.spent_on_link(began.elapsed());
        }
        bar.inc(1);
    }
    if let Some(mut sink) = sink {
        sink.finish()?;
    }
    bar.finish_and_clear();
    let bytes: usize = frames.iter().map(|sent| sent.bytes).sum();
    let (count, mean) = (frames.len(), bytes as f64 / frames.len() as f64);
    let lost = options.max_bytes.map(|_| Lost::of(&frames, options.tiles.tiles(), options.grid.cells()));
    let forms = options.delta.map(|_| Forms::of(&frames, options.grid.cells()));
    let slowed = pace.and_then(|pace| pace.slowed(count));
    if options.json {
        let mut sums = json!({"frames": count, "packets": packets, "bytes": bytes, "mean_bytes": mean});
        if let Some(lost) = &lost {
            sums["given_up"] = lost.json();
        }
        if let Some(forms) = &forms {
            sums["forms"] = forms.json();
        }
        if let Some(Slowed { fps, link_percent }) = slowed {
            sums["slowed"] = json!({"fps": fps, "link_percent": link_percent});
        }
        tell(&sums.to_string());
    } else {
        let lost = lost.map(|lost| format!("\n{lost}")).unwrap_or_default();
        let forms = forms.map(|forms| format!("\n{forms}")).unwrap_or_default();
        let slowed = slowed.map(|slowed| format!("\n{}", slowed_words(&slowed, options))).unwrap_or_default();
        tell(&format!(
            "sent {count} frames, {mean:.0} bytes a frame; {packets} packets left the channel for {}{forms}{lost}{slowed}",
            options.to
        ));
    }
    Ok(())
}

fn slowed_words(slowed: &Slowed, options: &Options) -> String {
    let carries = match options.to {
        Address::Serial { baud, .. } => format!(", which carries at most {} bytes a second,", baud / 10),
        _ => String::new(),
    };
    format!(
        "{:.1} frames a second got through, not {}; the link{carries} took {:.0} % of the time: give a lower --fps, or --max-bytes",
        slowed.fps, options.fps, slowed.link_percent
    )
}

/// Photographs to maps.
struct Camera {
    perceiver: Perceiver,
}

impl Camera {
    fn open(options: &Options) -> Result<Self, Failure> {
        let bundle = bundles::open(options.bundle.as_deref().unwrap_or(Path::new("street")))?;
        if bundle.labels() != options.labels {
            return Err(Failure::usage(format!(
                "bundle {0} perceives classes of {1}: give --labels {1}",
                bundle.name(),
                bundle.labels().name
            )));
        }
        if let (Some(dir), Some(images)) = (&options.save_maps, &options.images) {
            let place = |dir: &Path| dir.canonicalize().ok();
            if place(dir).is_some_and(|dir| Some(dir) == place(images)) {
                return Err(Failure::usage("--save-maps is the folder of the photographs: give another"));
            }
            std::fs::create_dir_all(dir).map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        }
        Ok(Camera { perceiver: Perceiver::open(&bundle, &options.engine.open()?)? })
    }

    /// The maps of photographs.
    fn see_all(&mut self, files: &[PathBuf], options: &Options) -> Result<Vec<ClassMap>, Failure> {
        let progress = progress(files.len(), "photographs");
        let see = |file: &PathBuf| {
            progress.inc(1);
            self.see(file, options)
        };
        let maps = files.iter().map(see).collect();
        progress.finish_and_clear();
        maps
    }

    /// The map of a photograph, on the grid that is sent.
    fn see(&mut self, file: &Path, options: &Options) -> Result<ClassMap, Failure> {
        self.perceiver.look(&photographs::read(file)?)?;
        let map = self.perceiver.map().resampled(options.grid);
        if let (Some(dir), Some(stem)) = (&options.save_maps, file.file_stem()) {
            maps::write(&dir.join(stem).with_extension("png"), &map, options.labels)?;
        }
        Ok(map)
    }
}

/// What `--delta` came to, over all frames.
struct Forms {
    /// How many frames of each form, and their mean bytes.
    key: (usize, f64),
    plain: (usize, f64),
    delta: (usize, f64),
    /// Of all cells.
    stale_percent: f64,
}

impl Forms {
    /// `cells` are those of a frame.
    fn of(frames: &[Sent], cells: usize) -> Self {
        let count = |form| {
            let bytes: Vec<usize> = frames.iter().filter(|sent| sent.form == form).map(|sent| sent.bytes).collect();
            (bytes.len(), bytes.iter().sum::<usize>() as f64 / bytes.len().max(1) as f64)
        };
        let stale: usize = frames.iter().map(|sent| sent.stale_cells).sum();
        Forms {
            key: count(Form::Key),
            plain: count(Form::Plain),
            delta: count(Form::Delta),
            stale_percent: 100.0 * stale as f64 / (frames.len().max(1) * cells) as f64,
        }
    }

    fn json(&self) -> Value {
        let form = |(frames, mean_bytes): (usize, f64)| json!({"frames": frames, "mean_bytes": mean_bytes});
        json!({
            "key": form(self.key), "plain": form(self.plain), "delta": form(self.delta), "stale_cells_percent": self.stale_percent,
        })
    }
}

impl std::fmt::Display for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Forms { key, plain, delta, stale_percent } = self;
        write!(f, "{} key frames of {:.0} bytes, {} delta frames of {:.0}", key.0, key.1, delta.0, delta.1)?;
        if plain.0 > 0 {
            write!(
                f,
                ", {} whole ones of {:.0}, where changes were longer or the key frame lacks a tile",
                plain.0, plain.1
            )?;
        }
        write!(f, "; {stale_percent:.1} % of the cells changed and were left as the key frame had them")
    }
}

/// What `--max-bytes` cost, over all frames.
struct Lost {
    /// Frames of which something was given up.
    frames: usize,
    /// Frames of which no tile was sent.
    empty: usize,
    /// Of all tiles and cells.
    tiles_percent: f64,
    cells_percent: f64,
    /// A frame.
    hazards: f64,
    free_percent: f64,
}

impl Lost {
    /// `tiles` and `cells` are those of a frame.
    fn of(sent: &[Sent], tiles: usize, cells: usize) -> Self {
        let given_up = || sent.iter().map(|sent| &sent.given_up);
        let sum = |what: fn(&GivenUp) -> usize| given_up().map(what).sum::<usize>() as f64;
        let frames = sent.len().max(1) as f64;
        Lost {
            frames: given_up().filter(|frame| **frame != GivenUp::default()).count(),
            empty: given_up().filter(|frame| frame.tiles == tiles).count(),
            tiles_percent: 100.0 * sum(|frame| frame.tiles) / (frames * tiles as f64),
            cells_percent: 100.0 * sum(|frame| frame.cells) / (frames * cells as f64),
            hazards: sum(|frame| frame.hazards) / frames,
            free_percent: sum(|frame| frame.free_permille.into()) / frames / 10.0,
        }
    }

    fn json(&self) -> Value {
        json!({
            "frames": self.frames, "empty_frames": self.empty, "tiles_percent": self.tiles_percent, "cells_percent": self.cells_percent,
            "hazards": self.hazards, "free_error_percent": self.free_percent,
        })
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lost { frames, empty, tiles_percent, cells_percent, hazards, free_percent } = self;
        write!(
            f,
            "given up in {frames} frames: {tiles_percent:.1} % of the tiles left out, {cells_percent:.2} % of the cells changed; a frame, \
             {hazards:.2} hazards and {free_percent:.2} % of the free space read otherwise"
        )?;
        if *empty > 0 {
            write!(f, "\nno tile of {empty} frames fits: give --max-bytes more, or more and smaller --tiles")?;
        }
        Ok(())
    }
}
