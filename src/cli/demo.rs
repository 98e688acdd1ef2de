//! `semrx demo`: a drive from end to end, with pictures, and nothing to download.

use super::engine::EngineOptions;
use super::exit::Failure;
use super::lines::{self, Summary};
use super::output::Printer;
use super::records::RecordFile;
use super::{Done, bundles};
use clap::Args;
use semrx::link::srx::{self, SrxWriter};
use semrx::link::{ChannelSpec, Packet, Sink};
use semrx::receiver::Config;
use semrx::report::page::{self, PageData, PageFrame, Received, Truth};
use semrx::report::record::{self, Record};
use semrx::scene::rule::HazardSet;
use semrx::scene::{CAMVID12, ClassMap, Reception, Rule, Scene, Street};
use semrx::sender::{Sender, Settings};
use semrx::station::{Published, Station};
use semrx::wire::Grid;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Drive through a procedural street: send its maps over a radio that gets worse and better, receive, decide, and show.
///
/// Needs no data and no flags. Writes the capture (drive.srx), the decision records (records.jsonl) and a page with pictures (report.html).
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for what is written; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Seed of the street, the channel and the sampler
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    #[command(flatten)]
    engine: EngineOptions,
    /// Print records as JSON lines
    #[arg(long)]
    json: bool,
}

const FRAMES: u32 = 60;
const FRAMES_PER_SECOND: u32 = 5;

/// The radio over the drive: clear at both ends, a deep fade in the middle, and bursts that take neighbouring tiles.
fn radio(frame: u32) -> ChannelSpec {
    let position = frame as f64 / (FRAMES - 1) as f64;
    let fade = 1.0 - (2.0 * position - 1.0).abs();
    ChannelSpec {
        snr_db: Some(11.0 - 7.0 * fade),
        tile_loss: 0.6 * fade,
        burst: 3.0,
        frame_loss: 0.15 * fade,
        delay_ms: 20.0,
        jitter_ms: 8.0,
        ..ChannelSpec::default()
    }
}

pub fn run(options: &Options) -> Done {
    let out = &options.out;
    let bundle = bundles::open(&options.bundle)?;
    let grid: Grid = bundle.grid();
    if bundle.labels() != &CAMVID12 {
        return Err(Failure::refused(format!(
            "bundle {} is for label set {}, the procedural street has {}",
            bundle.name(),
            bundle.labels().name,
            CAMVID12.name
        )));
    }
    let config = Config { seed: options.seed, ..Config::default() };
    let mut station = Station::open(&bundle, config, true, &options.engine.open()?)?;
    std::fs::create_dir_all(out).map_err(|error| Failure::failed(format!("{}: {error}", out.display())))?;
    let street = Street::new(options.seed, grid);
    let mut sender = Sender::new(Settings { seed: options.seed, ..Settings::default() }, &CAMVID12);
    let capture_path = out.join("drive.srx");
    let writing = |error: std::io::Error| Failure::failed(format!("{}: {error}", capture_path.display()));
    let file = File::create(&capture_path).map_err(writing)?;
    let mut capture = SrxWriter::new(BufWriter::new(file), capture_path.display().to_string())?;
    let mut records = RecordFile::create(&out.join("records.jsonl"), [])?;
    let mut printer = Printer::default();

    let mut drive = Drive { rule: Rule::new(grid, &CAMVID12), maps: Vec::new(), frames: Vec::new() };
    let mut summary = Summary::default();
    let mut arrived: Vec<Packet> = Vec::new();
    for frame in 0..FRAMES {
        let time_us = frame as u64 * 1_000_000 / FRAMES_PER_SECOND as u64;
        drive.maps.push(street.at(time_us));
        sender.set_channel(radio(frame));
        let sent = sender.send(&drive.maps[frame as usize], time_us, &mut arrived);
        sent.map_err(|error| Failure::failed(format!("frame {frame}: {error}")))?;
        if frame + 1 == FRAMES {
            sender.end(&mut arrived);
        }
        let mut trouble = Ok(());
        let mut publish = |published: Published<'_>| {
            let Published::Record { record, scene, refined } = published else { return };
            summary.add(record);
            drive.frames.push(drive.page_frame(record, scene, refined.map(|refined| refined.cells)));
            if trouble.is_ok() {
                trouble = records.write(record).and_then(|()| show(&mut printer, record, options.json));
            }
        };
        for packet in arrived.drain(..) {
            capture.send(&packet)?;
            let reception = Reception {
                snr_cdb: packet.info.snr_cdb,
                delay_us: packet.info.delay_us,
                link_bytes: srx::record_len(&packet),
            };
            station.push(&packet.bytes, reception, |tile| packet.info.erased.contains(tile as u8), &mut publish)?;
        }
        if frame + 1 == FRAMES {
            station.end(&mut publish)?;
        }
        trouble?;
    }
    capture.finish()?;
    drive.frames.sort_by_key(|frame| frame.sequence);

    let page_path = out.join("report.html");
    let writing = |error: std::io::Error| Failure::failed(format!("{}: {error}", page_path.display()));
    let mut file = BufWriter::new(File::create(&page_path).map_err(writing)?);
    let data = PageData {
        title: format!("semrx demo: street {}", options.seed),
        settings: vec![
            ("seed".into(), options.seed.to_string()),
            ("bundle".into(), bundle.name().to_owned()),
            ("grid".into(), grid.to_string()),
            (
                "channel".into(),
                "SNR 11 dB down to 4 and back; tiles lost in bursts, up to 60 %; frames lost, up to 15 %".into(),
            ),
        ],
        notes: vec![match &bundle.calibrated_gate {
            Some(gate) => format!(
                "Where the gate generates nothing, at most {} % of the frames of such channels are decided worse for it, at confidence {} %; \
                 soft frames with lost tiles are outside what it was calibrated on, and are promised nothing.",
                gate.alpha_permille as f64 / 10.0,
                100.0 - gate.delta_permille as f64 / 10.0
            ),
            None => "The gate's thresholds are not calibrated: semrx promises no risk for them.".into(),
        }],
        labels: &CAMVID12,
        frames: drive.frames,
    };
    page::write_page(&data, &mut file).and_then(|()| file.flush()).map_err(writing)?;
    if !options.json {
        let capture = capture_path.display();
        printer.print(
            format!(
                "{}\n\n{}\npage     {}\nrecords  {}\ncapture  {capture}   (try: semrx run --from {capture})\n",
                lines::LEGEND,
                summary.table(),
                page_path.display(),
                out.join("records.jsonl").display(),
            )
            .as_bytes(),
        )?;
    }
    Ok(())
}

fn show(printer: &mut Printer, record: &Record<'_>, json: bool) -> Done {
    let line = match json {
        true => super::records::line(record)?,
        false => (lines::line(record) + "\n").into_bytes(),
    };
    printer.print(&line)
}

/// What was sent, and what the page will show.
struct Drive {
    rule: Rule,
    maps: Vec<ClassMap>,
    frames: Vec<PageFrame>,
}

impl Drive {
    fn page_frame(&self, record: &Record<'_>, scene: Option<&Scene>, refined: Option<&[u8]>) -> PageFrame {
        let grid = self.rule.grid();
        let sent = self.maps.get(record.sequence as usize).cloned();
        let truth = sent.as_ref().map(|map| {
            let reading = self.rule.read_all(&map.cells);
            Truth { free: reading.free_permille(grid), present: reading.hazards }
        });
        let tiles = 8.0;
        PageFrame {
            sequence: record.sequence as u64,
            time_us: record.sequence as u64 * 1_000_000 / FRAMES_PER_SECOND as u64,
            outcome: match record.outcome {
                record::Outcome::Decided => page::Outcome::Decided,
                record::Outcome::DecidedLate => page::Outcome::DecidedLate,
                record::Outcome::Lost => page::Outcome::Lost,
                // None grows stale here: the frames don't come by themselves.
                record::Outcome::Refused | record::Outcome::Stale => page::Outcome::Refused,
            },
            mode: record.mode.into(),
            steps: record.steps as u32,
            bytes: record.bytes as u64,
            macs: record.macs,
            snr_db: record.snr_cdb.map(|snr_cdb| snr_cdb as f32 / 100.0),
            lost_share: if scene.is_some() { record.tiles_missing as f32 / tiles } else { 1.0 },
            known_share: record.known_permille as f32 / 1000.0,
            decision_us: scene.map(|_| record.timing.decision_us),
            deadline_us: None,
            sent,
            received: scene.map(|scene| Received {
                map: ClassMap { grid, cells: scene.cells().to_vec() },
                known: scene.known().to_vec(),
            }),
            refined: match refined {
                Some(cells) => Ok(ClassMap { grid, cells: cells.to_vec() }),
                None => Err(why_not(record.gate).into()),
            },
            decision: record.decision.as_ref().map(|decided| page::Decision {
                free: decided.free_permille,
                probability: decided.hazard_permille,
                present: called(&decided.hazard_permille),
            }),
            truth,
            line: lines::line(record),
        }
    }
}

/// Why nothing was generated, from what the gate found.
fn why_not(gate: &str) -> &'static str {
    match gate {
        "clear" => "nothing asked for it",
        "deadline" => "no time left for a step",
        "off" => "the mode does not generate",
        _ => "the frame never came",
    }
}

fn called(hazard_permille: &[u16]) -> HazardSet {
    let mut hazards = HazardSet::default();
    for (pair, _) in hazard_permille.iter().enumerate().filter(|(_, permille)| **permille >= 500) {
        hazards.insert(pair);
    }
    hazards
}
