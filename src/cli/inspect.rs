//! `semrx inspect`: what is in a file, in words.

use super::described::{Shown, bundle_words, model_words};
use super::exit::Failure;
use super::{Done, bundles, generative};
use clap::Args;
use semrx::bundle::{Generative, PlanFile};
use semrx::engine::Source as Model;
use semrx::files;
use semrx::link::srx::{self, SrxReader};
use semrx::link::{Interrupt, Packet as LinkPacket, Source};
use semrx::scene::LabelSet;
use semrx::wire::header::SYNC;
use semrx::wire::{Header, KeyRequest, Packet};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Say what is in a capture (.srx), a single packet, an ONNX model, a bundle, a plan file, or a folder with a model to sample.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx inspect drive.srx
  semrx inspect models/street
  semrx inspect model.onnx --plan
  semrx inspect model.onnx --json")]
pub struct Options {
    /// Capture, packet, ONNX file, plan file, or bundle (a folder, or a name)
    what: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

pub fn run(options: &Options) -> Done {
    let described = if PlanFile::is_one(&options.what) {
        bundle(&options.what, options.shown.plan)?
    } else if options.what.is_file() {
        let mut magic = [0; 4];
        let mut file = File::open(&options.what).map_err(|error| cannot(&options.what, &error))?;
        let read = file.read(&mut magic).map_err(|error| cannot(&options.what, &error))?;
        match &magic[..read] {
            [] => return Err(Failure::refused(format!("{}: the file is empty", options.what.display()))),
            start if start.starts_with(&srx::MAGIC[..3]) => capture(&options.what)?,
            [SYNC, ..] => packet(&options.what)?,
            _ => model(&options.what, options.shown.plan)?,
        }
    } else if options.what.exists() || options.what.components().count() == 1 {
        bundle(&options.what, options.shown.plan)?
    } else {
        return Err(Failure::refused(format!("{}: no such file or folder", options.what.display())));
    };
    options.shown.print(&described)?;
    match described.get("damage").and_then(Value::as_str) {
        Some(damage) => Err(Failure::refused(damage)),
        None => Ok(()),
    }
}

fn cannot(file: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(format!("{}: {error}", file.display()))
}

/// A model to sample, with its scheduler.
fn generative_words(generative: &Generative, whole: bool) -> Result<Value, Failure> {
    let (contract, scheduler) = (&generative.contract, generative.scheduler(None)?);
    let shallow = generative.shallow.as_ref().map(|file| model_words(&Model::Onnx(file.clone()), whole)).transpose()?;
    Ok(json!({
        "to sample": generative.model.display().to_string(),
        "scheduler": scheduler.class(),
        "contract": {
            "x": contract.x.as_str(), "t": contract.t.as_str(), "r": contract.r.as_deref(),
            "condition": contract.condition.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            "mask": contract.mask.as_deref(), "guidance": contract.guidance.as_deref(),
            "output": contract.output.as_str(), "deep": contract.deep.as_deref(),
        },
        "model": model_words(&Model::Onnx(generative.model.clone()), whole)?,
        "shallow": shallow,
    }))
}

fn model(path: &Path, whole: bool) -> Result<Value, Failure> {
    Ok(json!({"model": path.display().to_string(), "contents": model_words(&Model::Onnx(path.to_owned()), whole)?}))
}

fn bundle(path: &Path, whole: bool) -> Result<Value, Failure> {
    let bundle = match bundles::open(path) {
        Ok(bundle) => bundle,
        // One for `semrx sample` alone has no label set and no gate.
        Err(refused) => {
            return generative::open(path).map_or(Err(refused), |generative| generative_words(&generative, whole));
        }
    };
    bundle_words(&bundle, whole)
}

/// A file that holds one packet, as it was on the air.
fn packet(path: &Path) -> Result<Value, Failure> {
    let bytes = files::read(path, srx::MAX_PACKET_BYTES as u64).map_err(|error| cannot(path, &error))?;
    let whole = LinkPacket::new(bytes);
    let parsed = Packet::parse(&whole.bytes, None);
    let parsed = parsed.map_err(|error| Failure::refused(format!("{}: packet: {error}", path.display())))?;
    let words = match parsed {
        Packet::Frame(frame) => header_words(&frame.header, &whole, None),
        Packet::Tile(tile) => header_words(&tile.header, &whole, Some(tile.index)),
        Packet::End(end) => json!({"stream": end.stream, "end": format!("the stream had {} frames", end.frames)}),
        Packet::Request(request) => json!({"stream": request.stream, "request": request_words(request)}),
    };
    Ok(json!({"packet": path.display().to_string(), "contents": words}))
}

fn request_words(request: KeyRequest) -> String {
    format!("frame {} leans on a key frame that did not arrive", request.sequence)
}

/// A capture's frames are described up to this many.
const SHOWN: usize = 5;

fn capture(path: &Path) -> Result<Value, Failure> {
    let file = File::open(path).map_err(|error| cannot(path, &error))?;
    let name = path.display().to_string();
    let mut reader = SrxReader::new(BufReader::new(file), name.clone(), Interrupt::default());
    let mut context = None;
    let (mut frames, mut tiles, mut keys, mut deltas, mut refused, mut ends) = (0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
    let mut shown = Vec::new();
    let mut streams = std::collections::BTreeSet::new();
    let mut damage = None;
    loop {
        let packet = match reader.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                damage = Some(error.to_string());
                break;
            }
        };
        match Packet::parse(&packet.bytes, context.as_ref()) {
            Ok(Packet::Frame(frame)) => {
                frames += 1;
                keys += u64::from(frame.header.key);
                deltas += u64::from(frame.header.reference.is_some());
                streams.insert(frame.header.stream);
                context = Some(frame.header.context());
                if shown.len() < SHOWN {
                    shown.push(header_words(&frame.header, &packet, None));
                }
            }
            Ok(Packet::Tile(tile)) => {
                tiles += 1;
                keys += u64::from(tile.header.key);
                streams.insert(tile.header.stream);
                context = Some(tile.header.context());
                if shown.len() < SHOWN {
                    shown.push(header_words(&tile.header, &packet, Some(tile.index)));
                }
            }
            Ok(Packet::End(end)) => {
                ends += 1;
                shown.push(json!({"end": format!("the stream had {} frames", end.frames)}));
            }
            Ok(Packet::Request(request)) => shown.push(json!({"request": request_words(request)})),
            Err(error) => {
                refused += 1;
                shown.push(json!({"refused": error.to_string(), "bytes": packet.bytes.len()}));
                shown.truncate(2 * SHOWN);
            }
        }
    }
    let counters = reader.counters();
    Ok(json!({
        "capture": name,
        "packets": counters.received,
        "bytes": counters.bytes,
        "frame_packets": frames,
        "tile_packets": tiles,
        "key_packets": keys,
        "delta_packets": deltas,
        "end_markers": ends,
        "refused_packets": refused,
        "damaged_stretches": counters.malformed,
        "damage": damage,
        "streams": streams,
        "first_packets": shown,
    }))
}

fn header_words(header: &Header, packet: &LinkPacket, tile: Option<usize>) -> Value {
    let params = &header.params;
    let labels = LabelSet::by_id(params.label_set);
    let present: Vec<String> = header
        .present
        .iter()
        .map(|class| match labels.and_then(|labels| labels.classes.get(class as usize)) {
            Some(class) => class.name.to_owned(),
            None => format!("class {class}"),
        })
        .collect();
    json!({
        "stream": header.stream,
        "sequence": header.sequence,
        "capture_us": header.capture_us,
        "key": header.key,
        "tile": tile,
        "payload": params.payload.name(),
        "grid": params.grid.to_string(),
        "tiles": params.tiling.to_string(), "cut": params.cut.name(), "parity": params.parity,
        "label_set": labels.map_or_else(|| params.label_set.to_string(), |labels| labels.name.to_owned()),
        "present": present.join(", "),
        "packet_bytes": packet.bytes.len(),
        "snr_cdb": packet.info.snr_cdb,
        "erased_tiles": packet.info.erased.count(),
    })
}
