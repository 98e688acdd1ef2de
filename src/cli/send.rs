//! `semrx send`: label maps to packets, over a simulated channel.

use super::Done;
use super::exit::Failure;
use super::output::tell;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use semrx::link::{Address, ChannelSpec, Sink};
use semrx::maps;
use semrx::scene::{LABEL_SETS, LabelSet};
use semrx::sender::{Packing, Sender, Settings};
use semrx::wire::{Grid, Params, Payload, Tiling};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Send label maps: into a capture, to standard output, or over UDP, through a simulated channel.
///
/// The maps are the index PNGs of a folder, in the order of their names; each is resampled (nearest) to the grid.
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

A soft frame is large: over UDP it needs --packet tile --tiles 16x16 --payload soft4, and few classes.

Examples:
  semrx send --maps maps/ --to drive.srx --channel tile-loss=0.3,burst=4
  semrx send --maps maps/ --to drive.srx --payload soft8 --channel snr=3
  semrx send --maps maps/ --to udp://127.0.0.1:9000 --packet tile")]
pub struct Options {
    /// Folder of index PNGs
    #[arg(long, value_name = "DIR")]
    maps: PathBuf,
    /// Only files whose names begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Where to: a capture (drive.srx), - or udp://host:port
    #[arg(long, value_name = "LINK")]
    to: Address,
    /// Cells of the maps that are sent
    #[arg(long, value_name = "WxH", default_value = "128x96")]
    grid: Grid,
    /// Tiles of a frame
    #[arg(long, value_name = "ROWSxCOLS", default_value = "4x2")]
    tiles: Tiling,
    /// map (a class a cell), soft4 or soft8 (a score a class and cell, for analogue links)
    #[arg(long, default_value = "map", value_parser = payload)]
    payload: Payload,
    /// What travels in a packet
    #[arg(long, value_enum, default_value_t = Packet::Frame)]
    packet: Packet,
    /// The simulated channel
    #[arg(long, value_name = "SPEC", default_value = "none")]
    channel: ChannelSpec,
    /// Frames a second: capture times, and the pace over UDP
    #[arg(long, default_value_t = 10.0)]
    fps: f64,
    /// Frames from one key frame to the next
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    key_every: u32,
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
    if !(0.001..=1000.0).contains(&options.fps) {
        return Err(Failure::usage("--fps should be 0.001 to 1000"));
    }
    let params = Params {
        grid: options.grid,
        tiling: options.tiles,
        payload: options.payload,
        label_set: options.labels.id,
        classes: options.labels.len() as u8,
    };
    params
        .validate()
        .map_err(|error| Failure::usage(format!("--grid {} with --tiles {}: {error}", options.grid, options.tiles)))?;
    let mut files = maps::list(&options.maps)?;
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&options.only)));
    if files.is_empty() {
        return Err(Failure::refused(format!("{}: no PNG begins with {:?}", options.maps.display(), options.only)));
    }
    let settings = Settings {
        stream: options.stream,
        tiling: options.tiles,
        payload: options.payload,
        packing: match options.packet {
            Packet::Frame => Packing::Frame,
            Packet::Tile => Packing::Tile,
        },
        key_every: options.key_every,
        channel: options.channel.clone(),
        seed: options.seed,
    };
    let mut sender = Sender::new(settings, options.labels);
    // Opened with the first frame: what can't be sent leaves an older capture alone.
    let mut sink: Option<Box<dyn Sink + Send>> = None;
    let live = matches!(options.to, Address::Udp { .. });
    let period = Duration::from_secs_f64(1.0 / options.fps);
    let (start, mut bytes, mut packets) = (Instant::now(), 0u64, 0u64);
    let progress = ProgressBar::new(files.len() as u64);
    let mut arrived = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let map = maps::read(file, options.labels)?;
        let map = if map.grid == options.grid { map } else { map.resampled(options.grid) };
        if live {
            std::thread::sleep((start + period * index as u32).saturating_duration_since(Instant::now()));
        }
        let capture_us = (index as f64 / options.fps * 1e6).round() as u64;
        let sent = sender.send(&map, capture_us, &mut arrived);
        bytes += sent.map_err(|error| Failure::refused(format!("{}: {error}", file.display())))? as u64;
        if index + 1 == files.len() {
            sender.end(&mut arrived);
        }
        let sink = match &mut sink {
            Some(sink) => sink,
            None => sink.insert(options.to.sink()?),
        };
        for packet in arrived.drain(..) {
            sink.send(&packet)?;
            packets += 1;
        }
        progress.inc(1);
    }
    if let Some(mut sink) = sink {
        sink.finish()?;
    }
    progress.finish_and_clear();
    let frames = files.len();
    let mean = bytes as f64 / frames as f64;
    if options.json {
        let sums = serde_json::json!({"frames": frames, "packets": packets, "bytes": bytes, "mean_bytes": mean});
        tell(&sums.to_string());
    } else {
        tell(&format!(
            "sent {frames} frames, {mean:.0} bytes a frame; {packets} packets left the channel for {}",
            options.to
        ));
    }
    Ok(())
}
