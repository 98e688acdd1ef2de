//! The evidence table: maps through channels, each row a way of dealing with what is missing, scored against the rule on what was sent.

mod bootstrap;
mod caching;
mod depth;
mod fitting;
mod fusing;
mod gate;
mod rows;

pub use bootstrap::{Interval, Score, Scores, paired_f1};
pub use caching::{Cached, Calibrated, calibrate, calibration_samples, search_turns};
pub use depth::DepthScores;
pub use fusing::{FusionFinding, Odds, Truthfulness, calibrate_fusion, fusion_odds};
pub use gate::{BINS, GateFinding, GateTrial, calibrate_gate, gate_risk, gate_splits, gate_trials, risk_by_coverage};
pub use rows::{Refining, Row, rows};

use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError};
use crate::link::{ChannelSpec, Packet, srx};
use crate::receiver::{Belief, Conclusion, Config, Decision, Mode, Receiver};
use crate::report::metrics::{Confusion, Reliability};
use crate::scene::rule::{COLUMNS, HazardSet, Reading};
use crate::scene::{Assembly, ClassMap, Event, LabelSet, Reception, Rule, Scene};
use crate::sender::{Delta, Sender, Settings, capture_us};
use crate::wire::codec::Scratch;
use crate::wire::{Cut, Header, KeyRequest, Payload, WireError};
use rows::{Judged, Judges};
use std::fmt;

/// A channel to evaluate on, with the payload that crosses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub payload: Payload,
    pub channel: ChannelSpec,
    /// The radio tells no SNR: that of soft payloads is estimated.
    pub blind: bool,
    /// [`Settings::max_bytes`].
    pub max_bytes: Option<u32>,
    /// [`Settings::delta`]. The receiver's wish for a key frame reaches the sender before its next frame, whatever the channel.
    pub delta: Option<Delta>,
    /// [`Settings::cut`].
    pub cut: Cut,
    /// [`Settings::parity`].
    pub parity: u8,
}

/// Sizes of the errors of an SNR, in dB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SnrError {
    pub mean_db: f64,
    pub most_db: f64,
}

impl SnrError {
    /// Of SNRs in hundredths of dB, where the channel has `snr_db`. `None` without any.
    fn of(snrs_cdb: &[i16], snr_db: f64) -> Option<Self> {
        let errors = || snrs_cdb.iter().map(|&snr| (snr as f64 / 100.0 - snr_db).abs());
        let mean_db = errors().sum::<f64>() / snrs_cdb.len() as f64;
        (!snrs_cdb.is_empty()).then(|| SnrError { mean_db, most_db: errors().fold(0.0, f64::max) })
    }
}

/// One row on one frame.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The first frame that arrived of its stream.
    pub begins: bool,
    pub all_cells: Confusion,
    pub lost_cells: Confusion,
    /// Of the probabilities of lost cells' classes, and of all cells of soft payloads, where the row has some. Cells whose truth is unlabelled are left out.
    pub reliability: Reliability,
    pub truth: HazardSet,
    /// Through the rule, where the row has a map that the rule can read.
    pub rule: Option<Verdict>,
    /// Through the head.
    pub head: Option<Verdict>,
    pub macs: u64,
    /// Sampler steps.
    pub steps: u16,
    pub generated: bool,
}

/// Hazards called, and the error of the free space.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Verdict {
    pub hazards: HazardSet,
    pub free_error: f64,
}

/// What one case gave: `samples[row][frame]`, in the order of the rows that were asked for; empty for rows that don't apply to the payload.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub case: Case,
    /// Frames that were sent, and those that arrived.
    pub sent: usize,
    pub frames: usize,
    /// Bytes of the whole capture over its frames.
    pub mean_bytes: f64,
    /// How far the SNR of soft frames was from the channel's: what the radio told, or the estimate.
    pub snr_error: Option<SnrError>,
    pub samples: Vec<Vec<Sample>>,
}

/// Why an evaluation ended early.
#[derive(Debug)]
pub enum EvaluationError {
    Bundle(BundleError),
    Engine(EngineError),
    Send {
        map: usize,
        error: WireError,
    },
    /// The restore network gave NaN or an infinity, at this step counted from 0.
    NotFinite {
        step: usize,
    },
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvaluationError::Bundle(error) => error.fmt(f),
            EvaluationError::Engine(error) => error.fmt(f),
            EvaluationError::Send { map, error } => write!(f, "map {map}: {error}"),
            EvaluationError::NotFinite { step } => {
                write!(f, "step {}: the restore network's output is not finite", step + 1)
            }
        }
    }
}

impl std::error::Error for EvaluationError {}

impl From<BundleError> for EvaluationError {
    fn from(error: BundleError) -> Self {
        EvaluationError::Bundle(error)
    }
}

impl From<EngineError> for EvaluationError {
    fn from(error: EngineError) -> Self {
        EvaluationError::Engine(error)
    }
}

/// Consecutive frames.
#[derive(Debug, Clone, Copy)]
pub struct Drive<'a> {
    /// What is there.
    pub truths: &'a [ClassMap],
    /// What is sent: the same, or what somebody saw of it.
    pub sent: Recording<'a>,
}

/// Consecutive maps.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    pub maps: &'a [ClassMap],
    /// Frames a second: what is held of a scene ages in seconds.
    pub fps: f64,
}

/// Sends the frames of `drive`, on the bundle's grid, through the case's channel and judges the `rows` on every frame that arrived; one of them
/// at least refines. `tick` is called after each frame.
///
/// # Errors
/// [`EvaluationError`].
pub fn evaluate(
    bundle: &Bundle,
    drive: Drive<'_>,
    case: &Case,
    rows: &[Row],
    seed: u64,
    engine: &Engine,
    tick: &mut dyn FnMut(),
) -> Result<Outcome, EvaluationError> {
    let labels = bundle.labels();
    let mut hybrids = Vec::new();
    for row in rows {
        if let Row::Hybrid(refining) = *row {
            let Refining { mode, depth, steps } = refining;
            let config = Config { mode, depth, steps: Some(steps), seed, ..Config::default() };
            hybrids.push((refining, Receiver::open(bundle, config, Default::default(), engine)?));
        }
    }
    let mut judges = Judges {
        rule: Rule::new(bundle.grid(), labels),
        prior: bundle.prior()?,
        labels,
        hybrids,
        steady: Default::default(),
    };
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); rows.len()];
    let arrived = receive(labels, drive.sent, case, seed, |scene, _, sequence| {
        let truth = &drive.truths[sequence as usize];
        let judged = judges.judge(rows, scene, truth, sequence)?;
        for (row, judged) in samples.iter_mut().zip(judged) {
            let begins = row.is_empty();
            row.extend(judged.map(|judged| Sample { begins, ..sample(&judges.rule, scene, truth, judged) }));
        }
        tick();
        Ok(())
    })?;
    let Arrived { frames, mean_bytes, snr_error } = arrived;
    Ok(Outcome { case: case.clone(), sent: drive.sent.maps.len(), frames, mean_bytes, snr_error, samples })
}

/// What arrived of the maps that were sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrived {
    pub frames: usize,
    /// Bytes of the whole capture over its frames.
    pub mean_bytes: f64,
    /// How far the SNR of soft frames was from the channel's: what the radio told, or the estimate.
    pub snr_error: Option<SnrError>,
}

/// Sends a recording through the case's channel, and gives each scene that arrives to `each`, with what was sent and its sequence
/// number.
///
/// # Errors
/// What `each` returns, and [`EvaluationError::Send`].
pub fn receive(
    labels: &'static LabelSet,
    recording: Recording<'_>,
    case: &Case,
    seed: u64,
    mut each: impl FnMut(&Scene<'static>, &ClassMap, u32) -> Result<(), EvaluationError>,
) -> Result<Arrived, EvaluationError> {
    let settings = Settings {
        payload: case.payload,
        channel: case.channel.clone(),
        seed,
        key_every: 10,
        max_bytes: case.max_bytes,
        delta: case.delta,
        cut: case.cut,
        parity: case.parity,
        ..Settings::default()
    };
    let mut sender = Sender::new(settings, labels);
    let mut assembly = Assembly::new(true);
    let mut scratch = Scratch::new();
    let mut scene: Option<Scene> = None;
    let (mut bytes, mut frames) = (srx::MAGIC.len(), 0);
    let mut snrs_cdb = Vec::new();
    let mut arrived: Vec<Packet> = Vec::new();
    let Recording { maps, fps } = recording;
    for (index, map) in maps.iter().enumerate() {
        let sent = sender.send(map, capture_us(index, fps), &mut arrived);
        sent.map_err(|error| EvaluationError::Send { map: index, error })?;
        if index + 1 == maps.len() {
            sender.end(&mut arrived);
        }
        for packet in arrived.drain(..) {
            bytes += srx::record_len(&packet);
            let snr_cdb = packet.info.snr_cdb.filter(|_| !case.blind);
            let reception = Reception { snr_cdb, ..Reception::default() };
            assembly.push(&packet.bytes, reception, |tile| packet.info.erased.contains(tile as u8));
            while let Some(event) = assembly.event() {
                let Event::Frame(frame) = event else { continue };
                let scene = scene.get_or_insert_with(|| Scene::new(frame.header.params));
                // A tile that is damaged stays unknown, which is what is being evaluated.
                scene.take(&frame, &mut scratch, |_, _| ());
                snrs_cdb.extend(scene.snr_cdb().filter(|_| case.payload.soft_bits().is_some()));
                let Header { stream, sequence, .. } = frame.header;
                if scene.lacks_key() {
                    sender.ask_key(KeyRequest { stream, sequence });
                }
                each(scene, &maps[sequence as usize], sequence)?;
                frames += 1;
            }
        }
    }
    let mean_bytes = bytes as f64 / maps.len().max(1) as f64;
    let snr_error = case
        .channel
        .analog_snr_db()
        .filter(|snr_db| snr_db.is_finite())
        .and_then(|snr_db| SnrError::of(&snrs_cdb, snr_db));
    Ok(Arrived { frames, mean_bytes, snr_error })
}

/// A frame, decided on what arrived and on that refined.
struct Tried<'a> {
    pub scene: &'a Scene<'a>,
    /// What the rule reads off the map that was sent.
    pub truth: Reading,
    /// Index of its recording, and its number there.
    pub recording: usize,
    pub sequence: u32,
    pub provisional: Decision,
    /// What the head said of the received scene.
    pub received: Belief,
    pub conclusion: Conclusion,
    /// As it is after the conclusion.
    pub receiver: &'a Receiver,
}

/// Sends each of `recordings` through the channels of `cases`, refines every frame that isn't wholly and surely known, and gives it to `each`. `tick` is called
/// for each frame.
fn try_all(
    bundle: &Bundle,
    recordings: &[Recording<'_>],
    cases: &[Case],
    seed: u64,
    engine: &Engine,
    tick: &mut dyn FnMut(),
    mut each: impl FnMut(Tried<'_>),
) -> Result<(), EvaluationError> {
    let rule = Rule::new(bundle.grid(), bundle.labels());
    let config = Config { mode: Mode::Hybrid, seed, ..Config::default() };
    let mut receiver = Receiver::open(bundle, config, Default::default(), engine)?;
    for (recording, &sent) in recordings.iter().enumerate() {
        for case in cases {
            receive(bundle.labels(), sent, case, seed, |scene, truth, sequence| {
                tick();
                let provisional = receiver.provisional(scene)?;
                let received = *receiver.belief();
                let conclusion = receiver.conclude(scene, &provisional, sequence, 0)?;
                let (truth, receiver) = (rule.read_all(&truth.cells), &receiver);
                each(Tried { scene, truth, recording, sequence, provisional, received, conclusion, receiver });
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn sample(rule: &Rule, scene: &Scene, truth: &ClassMap, judged: Judged) -> Sample {
    let reading = rule.read_all(&truth.cells);
    let true_free = reading.free_permille(truth.grid);
    let verdict = |hazards, free: [u16; COLUMNS]| Verdict {
        hazards,
        free_error: crate::report::metrics::free_error(&true_free, &free),
    };
    let mut all_cells = Confusion::new(rule.labels());
    let mut lost_cells = all_cells.clone();
    let mut reliability = Reliability::default();
    let is_soft = scene.params().payload.soft_bits().is_some();
    if let Some(map) = &judged.map {
        for (cell, (&truth, &said)) in truth.cells.iter().zip(map).enumerate() {
            all_cells.add(truth, said);
            if !scene.known()[cell] {
                lost_cells.add(truth, said);
            }
            if let Some(confidence) = judged.confidence.as_ref().map(|confidence| confidence[cell])
                && (is_soft || !scene.known()[cell])
                && rule.labels().unlabelled() != Some(truth)
            {
                reliability.add((f64::from(confidence) + 0.5) / 256.0, said == truth);
            }
        }
    }
    Sample {
        begins: false,
        all_cells,
        lost_cells,
        reliability,
        truth: reading.hazards,
        rule: judged.reading.map(|reading| verdict(reading.hazards, reading.free_permille(truth.grid))),
        head: judged
            .decision
            .map(|decision| verdict(judged.steady.unwrap_or_else(|| decision.hazards()), decision.free_permille)),
        macs: judged.macs,
        steps: judged.steps,
        generated: judged.generated,
    }
}
