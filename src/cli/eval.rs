//! `semrx eval`: the evidence table.

use super::engine::EngineName;
use super::eval_report::{About, Evidence};
use super::exit::Failure;
use super::output::print;
use super::progress::progress;
use super::run::SamplerName;
use super::{Done, bundles, calibrate, calibrate_fusion, calibrate_gate, eval_report};
use clap::Args;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::evaluation::{
    Case, DepthScores, Drive, EvaluationError, Outcome, Recording, Refining, Row, Sample, Score, Scores, SnrError,
    evaluate, gate_risk, gate_trials, paired_f1, rows,
};
use semrx::link::ChannelSpec;
use semrx::receiver::{Depth, Mode, Perceiver};
use semrx::report::metrics::HazardCounts;
use semrx::report::record::PAIR_NAMES;
use semrx::sampler::MAX_LEVELS;
use semrx::scene::ClassMap;
use semrx::sender::{self, Delta};
use semrx::wire::{Cut, MAX_PARITY, Payload};
use semrx::{maps, photographs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Compare the modes with the baselines on label maps of your own, channel by channel.
///
/// The maps are sent in the order of their names, as consecutive frames of one stream. Truth is what the rule reads off the map that was
/// sent. Intervals are 95 %, by bootstrap over frames.
#[derive(Debug, Args)]
#[command(after_help = "\
Rows: layout-only (the rule on what arrived), prior (most common class of each cell), nearest-fill, hold (what the stream showed there last), hold-nearest (that, else the nearest cell that is known or was shown),
argmax and fds (soft payloads), semantic_first (the head on what arrived), hybrid N (head, N sampler steps, head again, both fused), adaptive N (N steps at most: none once the
decision has settled), gate N (the same where the gate asks for it, the head alone elsewhere), steady (its hazards with hysteresis over the stream),
latent (one step, read by a head of its own, and no map), view N (a photograph of every frame, and the head on what a perceiver sees in it): where the bundle has their models.
  semrx eval --maps maps/ --fps 1
  semrx eval --maps maps/ --report evidence.html --beside street-float
  semrx eval --maps maps/ --depth
  semrx eval --maps labels/ --images photographs/ --rows 'layout-only,gate 1'
  semrx eval --maps maps/ --last 21 --calibrate-cache --sampler ddim
  semrx eval --maps maps/ --fps 10,0006R0=1 --calibrate-gate --alpha 0.1 --confidence 0.9
  semrx eval --maps maps/ --channel tile-loss=0.5 --channel tile-loss=0.5,burst=3 --json")]
pub struct Options {
    /// Folder of index PNGs
    #[arg(long, value_name = "DIR")]
    maps: PathBuf,
    /// Folder of photographs of the same names: what is sent is what the bundle's perceiver sees in them; truth stays what the rule reads off the maps
    #[arg(long, value_name = "DIR", conflicts_with_all = ["calibrate_cache", "calibrate_gate", "calibrate_fusion"])]
    images: Option<PathBuf>,
    /// Only files whose names begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Only the last so many of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// Frames a second: what is held of a scene ages in seconds; NAME=FPS for the files whose names have that beginning, up to the last _ [default: 10]
    #[arg(long, value_name = "[NAME=]FPS", value_delimiter = ',', value_parser = rate)]
    fps: Vec<Rate>,
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    /// Only these rows, joined by commas, as the table names them; semantic_first and hybrid 1 always
    #[arg(long, value_name = "ROW[,ROW...]", value_delimiter = ',', conflicts_with = "depth")]
    rows: Vec<String>,
    /// A channel; sent as soft8 where it has a sigma, as map otherwise. Without any, the channels of docs/evidence.md
    #[arg(long, value_name = "SPEC")]
    channel: Vec<ChannelSpec>,
    /// On channels without a sigma, send boxes in the place of maps, as semrx send --payload tokens
    #[arg(long, conflicts_with_all = ["max_bytes", "delta", "calibrate_cache", "report"])]
    tokens: bool,
    /// Send frames of so many bytes at most, as semrx send --max-bytes does: maps are simplified, tiles left out
    #[arg(long, value_name = "N")]
    max_bytes: Option<u32>,
    /// Send maps as changes since key frames, as semrx send --delta does; a key frame that is lacked is asked for at once
    #[arg(long, value_name = "WHICH")]
    delta: Option<Delta>,
    /// Which cells make a tile: blocks or phases, as semrx send --cut
    #[arg(long, value_name = "CUT", default_value = "blocks")]
    cut: Cut,
    /// Tiles of parity of each map frame, as semrx send --parity
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=MAX_PARITY as i64))]
    parity: u8,
    /// The radio tells no SNR: that of soft payloads is estimated from their codes
    #[arg(long)]
    blind_snr: bool,
    /// Seed of channel and sampler
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// So many seeds, from --seed on: their frames are scored together, and intervals take them for frames like any others
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    seeds: u8,
    /// In the place of the table, write a page with curves: utility against bytes and MACs, risk against coverage, reliability
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["depth", "json", "calibrate_cache", "calibrate_gate", "calibrate_fusion"])]
    report: Option<PathBuf>,
    /// Another bundle for the page, such as the same networks in float
    #[arg(long, value_name = "BUNDLE", requires = "report")]
    beside: Option<PathBuf>,
    /// Channels evaluated at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// What runs the models
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
    /// In the place of the table, compare adaptive with fixed depth on the same noise, in mode auto and in mode hybrid
    #[arg(long)]
    depth: bool,
    /// In the place of the table, find the profile of the restore network and the largest threshold of the cache `bounded` that keeps the
    /// agreement, on channels that lose tiles
    #[arg(long, conflicts_with_all = ["depth", "json"])]
    calibrate_cache: bool,
    /// In the place of the table, find the thresholds of the gate that keep a risk, on the channels of docs/evidence.md or those given. Files whose names have the same beginning, up
    /// to the last _, are a recording
    #[arg(long, conflicts_with_all = ["depth", "json", "calibrate_cache", "last"])]
    calibrate_gate: bool,
    /// In the place of the table, find the temperatures of log-odds under which probabilities of hazards come true as often as they say: the head's, and
    /// that of both decisions. On maps that nothing was trained on, and before --calibrate-gate
    #[arg(long, conflicts_with_all = ["depth", "json", "calibrate_cache", "calibrate_gate"])]
    calibrate_fusion: bool,
    /// Most frames that may be decided worse for what isn't generated, as a share
    #[arg(long, default_value_t = 0.1, requires = "calibrate_gate", value_parser = risk)]
    alpha: f64,
    /// How surely that holds, as a share: 1 - delta
    #[arg(long, default_value_t = 0.9, requires = "calibrate_gate", value_parser = risk)]
    confidence: f64,
    /// Lost cells that have the same class as without a cache, as a share
    #[arg(long, default_value_t = 0.98, requires = "calibrate_cache", conflicts_with = "depth", value_parser = share)]
    agreement: f64,
    /// Search turns of the cache `turns` that save so many times the multiply-accumulates, above 1, in the place of a threshold
    #[arg(long, value_name = "TIMES", requires = "calibrate_cache", conflicts_with = "depth", value_parser = times)]
    saving: Option<f64>,
    /// Turns that the search tries
    #[arg(long, default_value_t = 60, requires = "saving", value_parser = clap::value_parser!(u16).range(1..))]
    tries: u16,
    /// Sampler steps, 4 to 32
    #[arg(long, default_value_t = 20, requires = "calibrate_cache", conflicts_with = "depth", value_parser = clap::value_parser!(u16).range(4..=MAX_LEVELS as i64))]
    steps: u16,
    /// How the sampler moves between noise levels
    #[arg(long, value_enum, default_value_t = SamplerName::Consistency, requires = "calibrate_cache", conflicts_with = "depth")]
    sampler: SamplerName,
}

/// Frames a second, of all recordings or of one.
type Rate = (Option<String>, f64);

fn rate(text: &str) -> Result<Rate, String> {
    let (name, fps) = text.rsplit_once('=').map_or((None, text), |(name, fps)| (Some(name.to_owned()), fps));
    Ok((name, sender::fps(fps)?))
}

impl Options {
    /// Frames a second of a recording.
    fn fps(&self, recording: &str) -> f64 {
        let told = |name: Option<&str>| self.fps.iter().rfind(|(of, _)| of.as_deref() == name).map(|(_, fps)| *fps);
        told(Some(recording)).or_else(|| told(None)).unwrap_or(10.0)
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "not a share, 0 to 1".into())
}

fn risk(text: &str) -> Result<f64, String> {
    let is_risk = |share: &f64| (0.001..=0.999).contains(share);
    text.parse().ok().filter(is_risk).ok_or_else(|| "not a share, 0.001 to 0.999".into())
}

fn times(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&times: &f64| times > 1.0 && times.is_finite())
        .ok_or_else(|| "not a number above 1".into())
}

/// The most steps of both depths.
const DEPTH_STEPS: u16 = 4;

/// Fixed and adaptive depth, in mode auto and in mode hybrid.
fn depth_rows() -> Vec<Row> {
    let rows = [Mode::Auto, Mode::Hybrid].map(|mode| {
        [Depth::Fixed, Depth::Adaptive].map(|depth| Row::Hybrid(Refining { mode, depth, steps: DEPTH_STEPS }))
    });
    rows.concat()
}

/// Tile loss, alone and in bursts, then GESCO's noise levels and two beyond.
fn default_channels() -> Vec<String> {
    let losses = ["0", "0.1", "0.3", "0.5", "0.7"].map(|loss| format!("tile-loss={loss}"));
    let bursts = ["0.1", "0.3", "0.5", "0.7"].map(|loss| format!("tile-loss={loss},burst=4"));
    let sigmas = ["0", "0.05", "0.08", "0.13", "0.22", "0.36", "0.6", "0.9", "1.3", "2"].map(|s| format!("sigma={s}"));
    losses.into_iter().chain(bursts).chain(sigmas).collect()
}

pub fn run(options: &Options) -> Done {
    let bundle = bundles::open(&options.bundle)?;
    let engine = options.engine.open(1)?;
    let files = maps::list_beginning(&options.maps, &options.only)?;
    let files = &files[files.len().saturating_sub(options.last.map_or(files.len(), |last| last as usize))..];
    let mut truths: Vec<ClassMap> = Vec::new();
    let mut recordings: Vec<&str> = Vec::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        recordings.push(name.rsplit_once('_').map_or(name, |(recording, _)| recording));
        truths.push(maps::read(file, bundle.labels())?.resampled(bundle.grid()));
    }
    let channels = match options.channel.is_empty() {
        true => {
            default_channels().iter().map(|spec| spec.parse()).collect::<Result<_, _>>().map_err(Failure::failed)?
        }
        false => options.channel.clone(),
    };
    let cases: Vec<Case> = channels
        .into_iter()
        .map(|channel| {
            let payload = match channel.sigma {
                Some(_) => Payload::Soft8,
                None if options.tokens => Payload::Tokens,
                None => Payload::Map,
            };
            Case {
                payload,
                channel,
                blind: options.blind_snr,
                max_bytes: options.max_bytes,
                delta: options.delta,
                cut: options.cut,
                parity: if payload == Payload::Map { options.parity } else { 0 },
            }
        })
        .collect();

    let recording = Recording { maps: &truths, fps: options.fps(recordings.first().copied().unwrap_or_default()) };
    if options.calibrate_cache {
        let cases: Vec<Case> = cases.into_iter().filter(|case| case.payload == Payload::Map).collect();
        let wanted = calibrate::Wanted {
            saving: options.saving,
            tries: options.tries.into(),
            agreement: options.agreement,
            steps: options.steps,
            sampler: options.sampler.into(),
            seed: options.seed,
        };
        return calibrate::run(&bundle, recording, &cases, &wanted, &engine);
    }
    if options.calibrate_gate || options.calibrate_fusion {
        let wanted =
            calibrate_gate::Wanted { alpha: options.alpha, delta: 1.0 - options.confidence, seed: options.seed };
        let mut left = &truths[..];
        let taken = |names: &[&str]| {
            let (maps, rest) = left.split_at(names.len());
            left = rest;
            Recording { maps, fps: options.fps(names[0]) }
        };
        let recordings: Vec<Recording<'_>> = recordings.chunk_by(|a, b| a == b).map(taken).collect();
        return match options.calibrate_fusion {
            true => calibrate_fusion::run(&bundle, &recordings, &cases, options.seed, &engine),
            false => calibrate_gate::run(&bundle, &recordings, &cases, &wanted, &engine),
        };
    }
    if options.tokens && options.parity > 0 {
        return Err(Failure::usage("--parity is for maps: leave it or --tokens away"));
    }
    if let Some(path) = &options.report {
        // Found out before the work, not after it.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    }
    let maps = Maps { recording, files };
    let evaluated = Evaluated::of(bundle, &maps, &cases, options, &engine)?;
    if let Some(path) = &options.report {
        let mut bundles = vec![evaluated];
        if let Some(beside) = &options.beside {
            let beside = bundles::open(beside)?;
            let first = &bundles[0].bundle;
            if (beside.labels(), beside.grid()) != (first.labels(), first.grid()) {
                return Err(Failure::usage("--beside: its bundle has another label set or another grid"));
            }
            bundles.push(Evaluated::of(beside, &maps, &cases, options, &engine)?);
        }
        return report(path, options, &maps, &cases, bundles, &engine);
    }
    let Evaluated { rows, outcomes, .. } = evaluated;
    let text = match (options.depth, options.json) {
        (false, false) => text_table(&truths, &rows, &outcomes),
        (false, true) => format!("{:#}\n", json_table(&rows, &outcomes)),
        (true, false) => depth_table(&rows, &outcomes),
        (true, true) => format!("{:#}\n", json!({"schema": 1, "depth": json_depth(&rows, &outcomes)})),
    };
    print(&text)
}

/// What is evaluated on, with the files that it comes from.
struct Maps<'a> {
    recording: Recording<'a>,
    files: &'a [PathBuf],
}

/// A bundle on all cases.
struct Evaluated {
    bundle: Bundle,
    rows: Vec<Row>,
    /// What its perceiver saw in the photographs of `--images`.
    seen: Option<Vec<ClassMap>>,
    outcomes: Vec<(Outcome, Vec<Scores>)>,
}

impl Evaluated {
    fn of(
        bundle: Bundle,
        maps: &Maps<'_>,
        cases: &[Case],
        options: &Options,
        engine: &Engine,
    ) -> Result<Self, Failure> {
        let rows = if options.depth { depth_rows() } else { chosen(rows(&bundle)?, &options.rows)? };
        let seen = options.images.as_deref().map(|dir| perceived(&bundle, dir, maps.files, engine)).transpose()?;
        let mut evaluated = Evaluated { bundle, rows, seen, outcomes: Vec::new() };
        evaluated.outcomes = evaluated.on(cases, maps, options, engine)?;
        Ok(evaluated)
    }

    /// Each of the cases.
    fn on(
        &self,
        cases: &[Case],
        maps: &Maps<'_>,
        options: &Options,
        engine: &Engine,
    ) -> Result<Vec<(Outcome, Vec<Scores>)>, Failure> {
        let Recording { maps: truths, fps } = maps.recording;
        let sent = Recording { maps: self.seen.as_deref().unwrap_or(truths), fps };
        let drive = Drive { truths, sent };
        evaluate_all(&self.bundle, drive, cases, &self.rows, options, engine)
    }
}

/// Each of the cases, on `options.threads` of them at a time, over all seeds.
fn evaluate_all(
    bundle: &Bundle,
    drive: Drive<'_>,
    cases: &[Case],
    rows: &[Row],
    options: &Options,
    engine: &Engine,
) -> Result<Vec<(Outcome, Vec<Scores>)>, Failure> {
    let progress = progress(cases.len() * drive.truths.len() * usize::from(options.seeds), "frames");
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(cases.iter().map(|_| None).collect::<Vec<_>>());
    let evaluate_case = |case: &Case| {
        let run = |seed| evaluate(bundle, drive, case, rows, seed, engine, &mut || progress.inc(1));
        let mut outcome = run(options.seed)?;
        for seed in 1..u64::from(options.seeds) {
            let more = run(options.seed + seed)?;
            outcome.frames += more.frames;
            outcome.sent += more.sent;
            outcome.samples.iter_mut().zip(more.samples).for_each(|(row, more)| row.extend(more));
        }
        let scores = if options.depth { &[][..] } else { &outcome.samples };
        let scores = scores.iter().map(|row| Scores::of(row)).collect();
        Ok((outcome, scores))
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let outcome = evaluate_case(case);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[index] = Some(outcome);
                    }
                }
            });
        }
    });
    progress.finish_and_clear();
    let outcomes = outcomes.into_inner().map_err(|_| Failure::failed("an evaluation thread panicked"))?;
    outcomes.into_iter().flatten().collect::<Result<Vec<_>, EvaluationError>>().map_err(Failure::from)
}

/// Most bytes of a frame, for the page's curve; then any number.
const RATES: [u32; 6] = [120, 150, 200, 250, 300, 350];
/// The channel of that curve.
const RATE_CHANNEL: &str = "tile-loss=0.1";

/// Writes the page, with what it takes beyond the table.
fn report(
    path: &Path,
    options: &Options,
    maps: &Maps<'_>,
    cases: &[Case],
    bundles: Vec<Evaluated>,
    engine: &Engine,
) -> Done {
    let channel: ChannelSpec = RATE_CHANNEL.parse().map_err(Failure::failed)?;
    let rates: Vec<Case> = RATES
        .into_iter()
        .map(Some)
        .chain([None])
        .map(|max_bytes| Case { payload: Payload::Map, channel: channel.clone(), max_bytes, ..cases[0].clone() })
        .collect();
    let mut evidence = Vec::new();
    for evaluated in bundles {
        let rates = evaluated.on(&rates, maps, options, engine)?;
        let Evaluated { bundle, rows, outcomes, .. } = evaluated;
        let bar = progress(maps.recording.maps.len() * cases.len(), "frames, for the gate");
        let trials = gate_trials(&bundle, &[maps.recording], cases, options.seed, engine, &mut || bar.inc(1))?;
        bar.finish_and_clear();
        let (name, gate) = (bundle.name().to_owned(), bundle.calibrated_gate.clone());
        evidence.push(Evidence { bundle: name, outcomes, rates, trials, gate, rows });
    }
    let frames = maps.recording.maps.len();
    let about = About { maps: options.maps.display().to_string(), frames, seeds: options.seeds.into() };
    eval_report::write(path, &about, &evidence)?;
    let bundles: Vec<&str> = evidence.iter().map(|one| one.bundle.as_str()).collect();
    print(&format!("{}: {}, channels: {}\n", path.display(), bundles.join(" and "), cases.len()))
}

/// Those of `all` that were asked for.
fn chosen(all: Vec<Row>, names: &[String]) -> Result<Vec<Row>, Failure> {
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    if let Some(name) = names.iter().find(|name| !all.iter().any(|row| row.name() == **name)) {
        let has: Vec<_> = all.iter().map(|row| row.name()).collect();
        return Err(Failure::usage(format!(
            "--rows: there is no row {name:?} for this bundle; there are {}",
            has.join("; ")
        )));
    }
    let is_needed = |row: &Row| ["semantic_first", "hybrid 1"].contains(&row.name().as_str());
    Ok(all.into_iter().filter(|row| names.is_empty() || is_needed(row) || names.contains(&row.name())).collect())
}

/// What the bundle's perceiver sees in the photographs in `dir` that have the names of `files`.
fn perceived(bundle: &Bundle, dir: &Path, files: &[PathBuf], engine: &Engine) -> Result<Vec<ClassMap>, Failure> {
    let mut perceiver = Perceiver::open(bundle, engine)?;
    let all = photographs::list_beginning(dir, "")?;
    let progress = progress(files.len(), "photographs");
    let mut maps = Vec::new();
    for file in files {
        let photograph = all.iter().find(|other| other.file_stem() == file.file_stem()).ok_or_else(|| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            Failure::refused(format!("{}: holds no photograph {name}.jpg, .png or .webp", dir.display()))
        })?;
        perceiver.look(&photographs::read(photograph)?)?;
        maps.push(perceiver.map());
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(maps)
}

fn text_table(truths: &[ClassMap], rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> String {
    let mut text = String::new();
    if let Some((outcome, _)) = outcomes.first() {
        let mut counts = HazardCounts::default();
        outcome.samples[0].iter().for_each(|sample| counts.add(sample.truth, sample.truth));
        let prevalence = counts.prevalence_permille();
        text += &format!("{} frames; hazards scored, with the share of frames that have them:\n", truths.len());
        let scored: Vec<_> = counts
            .scored()
            .map(|pair| format!("{} {:.0} %", PAIR_NAMES[pair], prevalence[pair] as f64 / 10.0))
            .collect();
        for line in scored.chunks(4) {
            text += &format!("  {}\n", line.join(", "));
        }
        text += "mIoU, accuracy, F1 and free-space error in %, with 95 % intervals; F1 and error through the rule on the row's map, and through the head.\n";
    }
    for (outcome, scores) in outcomes {
        text += &format!(
            "\n{}, {}: {} of {} frames arrived, {:.0} bytes a frame\n",
            outcome.case.payload.name(),
            outcome.case.channel,
            outcome.frames,
            outcome.sent,
            outcome.mean_bytes
        );
        text += &format!(
            "{:<19}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>8}{:>6}\n",
            "row",
            "mIoU all",
            "acc all",
            "mIoU lost",
            "acc lost",
            "F1 rule",
            "F1 head",
            "free err rule",
            "free err head",
            "MMAC",
            "gen"
        );
        for ((row, samples), scores) in rows.iter().zip(&outcome.samples).zip(scores) {
            if samples.is_empty() {
                continue;
            }
            let columns = [
                scores.all_miou,
                scores.all_accuracy,
                scores.lost_miou,
                scores.lost_accuracy,
                scores.rule_f1,
                scores.head_f1,
                scores.rule_free_error,
                scores.head_free_error,
            ];
            let columns: String = columns.into_iter().map(|score| format!("{:>18}", cell(score))).collect();
            let (mmac, generated) = (scores.mean_macs / 1e6, 100.0 * scores.generated);
            text += &format!("{:<19}{columns}{mmac:>8.0}{generated:>5.0}%\n", row.name());
        }
        text += &compare(rows, outcome, scores);
        if let Some(SnrError { mean_db, most_db }) = outcome.snr_error {
            let how = if outcome.case.blind { "estimated" } else { "told" };
            text += &format!("  the SNR that is {how} is {mean_db:.2} dB off on average, {most_db:.2} dB at most\n");
        }
    }
    text
}

/// What the bars ask: agreement of the head with the rule, and hybrid against semantic_first frame by frame.
fn compare(rows: &[Row], outcome: &Outcome, scores: &[Scores]) -> String {
    let first = rows.iter().position(|row| *row == Row::SemanticFirst).unwrap_or(0);
    let mut text = String::new();
    if let Some(agreement) = scores[first].head_agreement {
        text +=
            &format!("  semantic_first agrees with the rule on {:.2} % of zone x type pairs;", 100.0 * agreement.value);
    }
    let refining = |row: &Row| matches!(row, Row::Hybrid(_) | Row::Steady(_));
    for (row, samples) in rows.iter().zip(&outcome.samples).filter(|(row, _)| refining(row)) {
        if let Some(difference) = paired_f1(samples, &outcome.samples[first]) {
            text += &format!(" {} - semantic_first F1 {};", row.name(), signed(difference));
        }
    }
    let mut text = text.trim_end_matches(';').to_owned() + "\n";
    for (row, risk) in rows.iter().filter_map(|row| Some((row, risk_of(rows, outcome, *row)?))) {
        text += &format!(
            "  {} decides {:.1} % of the frames worse for what it did not generate\n",
            row.name(),
            100.0 * risk
        );
    }
    let flips: Vec<(String, [f64; 2])> =
        rows.iter().zip(scores).filter_map(|(row, scores)| Some((row.name(), scores.flips?))).collect();
    if let Some((_, [_, truth])) = flips.last() {
        let called: Vec<String> = flips.iter().map(|(name, [head, _])| format!("{head:.2} {name}")).collect();
        text += &format!("  pairs called otherwise than a frame before: {truth:.2} in truth; {}\n", called.join(", "));
    }
    text
}

fn cell(score: Option<Score>) -> String {
    match score {
        Some(Score { value, interval }) => {
            format!("{:.1} [{:.0},{:.0}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
        }
        None => "-".into(),
    }
}

fn signed(Score { value, interval }: Score) -> String {
    format!("{:+.1} [{:+.1},{:+.1}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
}

fn json_table(all_rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Value {
    let score = |score: Option<Score>| {
        score.map(|score| json!({"value": score.value, "low": score.interval.low, "high": score.interval.high}))
    };
    let first = all_rows.iter().position(|row| *row == Row::SemanticFirst).unwrap_or(0);
    let cases = outcomes.iter().map(|(outcome, scores)| {
        let rows = all_rows.iter().zip(&outcome.samples).zip(scores).filter(|((_, samples), _)| !samples.is_empty());
        let rows: Vec<Value> = rows
            .map(|((row, samples), scores)| {
                json!({
                    "row": row.name(),
                    "miou_all": score(scores.all_miou), "accuracy_all": score(scores.all_accuracy),
                    "miou_lost": score(scores.lost_miou), "accuracy_lost": score(scores.lost_accuracy),
                    "f1_rule": score(scores.rule_f1), "f1_head": score(scores.head_f1),
                    "free_error_rule": score(scores.rule_free_error), "free_error_head": score(scores.head_free_error),
                    "agreement_head": score(scores.head_agreement),
                    "f1_head_minus_semantic_first": score(paired_f1(samples, &outcome.samples[first])),
                    "flips_head": scores.flips.map(|[head, _]| head), "flips_truth": scores.flips.map(|[_, truth]| truth),
                    "gate_risk": risk_of(all_rows, outcome, *row), "reliability_error": scores.reliability_error,
                    "mean_macs": scores.mean_macs, "mean_steps": scores.mean_steps, "generated": scores.generated,
                })
            })
            .collect();
        json!({
            "payload": outcome.case.payload.name(), "channel": outcome.case.channel.to_string(),
            "frames": outcome.frames, "mean_bytes": outcome.mean_bytes,
            "snr_error_db": outcome.snr_error.map(|error| json!({"mean": error.mean_db, "most": error.most_db})),
            "rows": rows,
        })
    });
    let cases: Vec<Value> = cases.collect();
    json!({"schema": 1, "cases": cases})
}

/// Of a row that the gate decides, what it loses to the one that refines everything.
fn risk_of(rows: &[Row], outcome: &Outcome, row: Row) -> Option<f64> {
    let samples = |row: Row| rows.iter().position(|other| *other == row).map(|index| &outcome.samples[index]);
    let Row::Hybrid(refining @ Refining { mode: Mode::Auto, .. }) = row else { return None };
    gate_risk(samples(row)?, samples(Row::Hybrid(Refining { mode: Mode::Hybrid, ..refining }))?)
}

/// The rows with fixed and with adaptive depth that are otherwise the same.
fn depths(rows: &[Row]) -> Vec<(Refining, usize, usize)> {
    let refining = |row: &Row| if let Row::Hybrid(refining) = row { Some(*refining) } else { None };
    let fixed = rows.iter().enumerate().filter_map(|(index, row)| Some((refining(row)?, index)));
    fixed
        .filter_map(|(fixed, index)| {
            let adaptive = Refining { depth: Depth::Adaptive, ..fixed };
            let other = rows.iter().position(|row| refining(row) == Some(adaptive))?;
            (fixed.depth == Depth::Fixed).then_some((fixed, index, other))
        })
        .collect()
}

/// Channel by channel, then over all of them; with the mode's name.
fn depth_scores(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Vec<(String, String, DepthScores)> {
    let mut scores = Vec::new();
    for (refining, fixed, adaptive) in depths(rows) {
        let mode = if refining.mode == Mode::Hybrid { "hybrid" } else { "auto" };
        let mut all: [Vec<&Sample>; 2] = Default::default();
        for (outcome, _) in outcomes {
            let both: [Vec<&Sample>; 2] = [fixed, adaptive].map(|row| outcome.samples[row].iter().collect());
            scores.push((mode.to_owned(), outcome.case.channel.to_string(), DepthScores::of(&both[0], &both[1])));
            all.iter_mut().zip(both).for_each(|(all, more)| all.extend(more));
        }
        scores.push((mode.to_owned(), "all".into(), DepthScores::of(&all[0], &all[1])));
    }
    scores
}

fn depth_table(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> String {
    let mut text = format!(
        "adaptive depth beside fixed, {DEPTH_STEPS} steps at most, the same noise\n{:<8}{:<24}{:>8}{:>8}{:>10}{:>8}{:>12}{:>10}{:>13}{:>10}{:>13}\n",
        "mode", "channel", "frames", "steps", "adaptive", "fewer", "MMAC", "adaptive", "agreement", "F1", "adaptive"
    );
    for (mode, channel, scores) in depth_scores(rows, outcomes) {
        let DepthScores { frames, steps, mean_macs, f1, agreement } = scores;
        let percent =
            |share: Option<f64>, digits| share.map_or("-".into(), |share| format!("{:.digits$} %", 100.0 * share));
        text += &format!(
            "{mode:<8}{channel:<24}{frames:>8}{:>8}{:>10}{:>8}{:>12.0}{:>10.0}{:>13}{:>10}{:>13}\n",
            steps[0],
            steps[1],
            percent((steps[0] > 0).then(|| scores.saved()), 1),
            mean_macs[0] / 1e6,
            mean_macs[1] / 1e6,
            percent(agreement, 2),
            percent(f1[0], 1),
            percent(f1[1], 1),
        );
    }
    text
}

fn json_depth(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Value {
    let scores = depth_scores(rows, outcomes).into_iter().map(|(mode, channel, scores)| {
        json!({
            "mode": mode, "channel": channel, "frames": scores.frames, "agreement": scores.agreement,
            "steps": scores.steps, "mean_macs": scores.mean_macs, "f1_head": scores.f1,
        })
    });
    scores.collect()
}
