//! Samplers of the restore network beside each other: what they cost, and what their samples are worth.
//!
//!     cargo bench --bench samplers -- --maps DIR [--only PREFIX] [--last N] [--bundle DIR] [--channel SPEC] [--samples 4] [--frames N] [--fps 1]
//!         [--samplers consistency,ddim] [--steps 1,2,4,10,20,50] [--caches none,taylor,bounded,turns] [--json FILE]
//!
//! Maps are sent as consecutive frames through the channel; every `frames`-th of an even choice is sampled, `samples` times with other noise. Scores are on
//! the cells that did not arrive: mIoU and accuracy of the likeliest classes, agreement with the sample from the same noise without a cache, and
//! energy scores (lower is better) of the likeliest classes and of classes drawn from each cell's last posterior; each by cells, and by the class shares of
//! blocks of 8 x 8 cells.

use indicatif::{ProgressBar, ProgressStyle};
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::plan::Machine;
use semrx::evaluation::{Cached, Case, Recording, receive};
use semrx::maps;
use semrx::noise::Noise;
use semrx::receiver::{Config, Mode, Pace, Receiver, Refined, SamplerKind};
use semrx::report::metrics::{Confusion, block_shares, cell_distance, energy_score, share_distance};
use semrx::sampler::Cache;
use semrx::scene::{ClassMap, Scene};
use semrx::wire::{Cut, Payload};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Stream of the noise that draws classes from a posterior.
const DRAW: u64 = 0x6472_6177;
/// A cache has nothing to reuse in fewer steps.
const CACHED_FROM: u16 = 10;

struct Options {
    maps: PathBuf,
    only: String,
    last: usize,
    bundle: PathBuf,
    channel: String,
    samples: u32,
    frames: usize,
    fps: f64,
    samplers: Vec<String>,
    steps: Vec<u16>,
    caches: Vec<String>,
    json: Option<PathBuf>,
}

/// One line of the table.
struct Row {
    sampler: SamplerKind,
    steps: u16,
    cache: Option<Cache>,
}

#[derive(Default)]
struct Scores {
    cached: Cached,
    macs: u64,
    samples: u64,
    times_us: Vec<u64>,
    lost: Option<Confusion>,
    /// Of the likeliest classes, by cells and by blocks; then of drawn ones.
    energy: [f64; 4],
    frames: f64,
}

/// Samples of one frame: cells, and the shares of their blocks.
type Samples = Vec<(Vec<u8>, Vec<f32>)>;

fn main() {
    let options = options();
    let files = match maps::list(&options.maps) {
        Ok(files) => files,
        Err(error) => return println!("skipped: {error}"),
    };
    let bundle = Bundle::open(&options.bundle).unwrap_or_else(|error| panic!("{error}"));
    let is_meant =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&options.only));
    let files: Vec<PathBuf> = files.into_iter().filter(is_meant).collect();
    let read = |file: &PathBuf| maps::read(file, bundle.labels()).map(|map| map.resampled(bundle.grid()));
    let maps: Result<Vec<ClassMap>, _> =
        files.iter().skip(files.len().saturating_sub(options.last)).map(read).collect();
    let scenes = scenes(&bundle, &maps.unwrap_or_else(|error| panic!("{error}")), &options);
    println!(
        "{} frames of {}, {}, {} samples each; bundle {}",
        scenes.len(),
        options.maps.display(),
        options.channel,
        options.samples,
        bundle.name()
    );
    println!(
        "{:<12}{:>6} {:<14}{:>7}{:>9}{:>9}{:>7}{:>7}{:>8}{:>9}{:>9}{:>9}{:>9}",
        "sampler",
        "steps",
        "cache",
        "asked",
        "MMAC",
        "p50 ms",
        "mIoU",
        "acc",
        "agree",
        "ES",
        "ES 8x8",
        "ES drawn",
        "8x8"
    );
    let rows = rows(&bundle, &options);
    let progress = ProgressBar::new(rows.len() as u64 * scenes.len() as u64 * u64::from(options.samples));
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} samples, {eta} left");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut without: Vec<Vec<u8>> = Vec::new();
    let mut lines = Vec::new();
    for row in &rows {
        if row.cache.is_none() {
            without.clear();
        }
        let scores = measure(row, &bundle, &scenes, &options, &mut without, &progress);
        progress.suspend(|| println!("{}", line(row, &scores)));
        lines.push(json_line(row, &scores));
    }
    progress.finish_and_clear();
    if let Some(file) = &options.json {
        let report = json!({
            "schema": 1, "channel": options.channel, "frames": scenes.len(), "samples": options.samples, "rows": lines,
        });
        std::fs::write(file, format!("{report:#}\n")).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

fn options() -> Options {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).cloned();
    let number = |flag: &str, default: usize| {
        value(flag).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{flag}: {text:?} is not a number")))
    };
    let list = |flag: &str, default: &str| {
        value(flag).unwrap_or(default.into()).split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    Options {
        maps: value("--maps").unwrap_or("../shared/data/camvid/train/label".into()).into(),
        only: value("--only").unwrap_or_default(),
        last: number("--last", usize::MAX),
        bundle: value("--bundle").unwrap_or("models/street".into()).into(),
        channel: value("--channel").unwrap_or("tile-loss=0.5".into()),
        samples: number("--samples", 4) as u32,
        frames: number("--frames", usize::MAX),
        fps: value("--fps").map_or(1.0, |text| text.parse().expect("--fps is a number")),
        samplers: list("--samplers", "consistency,ddim"),
        steps: list("--steps", "1,2,4,10,20,50")
            .iter()
            .map(|text| text.parse().expect("--steps are numbers"))
            .collect(),
        caches: list("--caches", "none,taylor,bounded,turns"),
        json: value("--json").map(PathBuf::from),
    }
}

/// What arrives, with what was sent, of as many frames as are asked for, evenly chosen.
fn scenes(bundle: &Bundle, maps: &[ClassMap], options: &Options) -> Vec<(Scene<'static>, ClassMap)> {
    let channel: semrx::link::ChannelSpec = options.channel.parse().unwrap_or_else(|error| panic!("{error}"));
    let payload = if channel.sigma.is_some() { Payload::Soft8 } else { Payload::Map };
    let case = Case { payload, channel, blind: false, max_bytes: None, delta: None, cut: Cut::Blocks, parity: 0 };
    let frames = options.frames.clamp(1, maps.len().max(1));
    let is_chosen = |sequence: usize| sequence * frames / maps.len() != (sequence + 1) * frames / maps.len();
    let mut scenes = Vec::new();
    let recording = Recording { maps, fps: options.fps };
    let received = receive(bundle.labels(), recording, &case, 0, |scene, truth, sequence| {
        if is_chosen(sequence as usize) {
            scenes.push((scene.clone(), truth.clone()));
        }
        Ok(())
    });
    received.unwrap_or_else(|error| panic!("{error}"));
    scenes
}

fn rows(bundle: &Bundle, options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for sampler in &options.samplers {
        let sampler = match sampler.as_str() {
            "consistency" => SamplerKind::Consistency,
            "ddim" => SamplerKind::Ddim,
            other => panic!("--samplers: {other:?} is neither consistency nor ddim"),
        };
        for &steps in &options.steps {
            for cache in &options.caches {
                let cache = match cache.as_str() {
                    "none" => None,
                    _ if steps < CACHED_FROM => continue,
                    "turns" if bundle.learned.turns.as_ref().is_none_or(|turns| turns.steps() != steps as usize) => {
                        continue;
                    }
                    text => Some(Cache::parse(text, bundle.cache_threshold).unwrap_or_else(|error| panic!("{error}"))),
                };
                rows.push(Row { sampler, steps, cache });
            }
        }
    }
    rows
}

fn measure(
    row: &Row,
    bundle: &Bundle,
    scenes: &[(Scene, ClassMap)],
    options: &Options,
    without: &mut Vec<Vec<u8>>,
    progress: &ProgressBar,
) -> Scores {
    let engine = Engine::Plan(Machine::new(1).expect("a thread"));
    let Row { sampler, steps, cache } = *row;
    let config = Config { mode: Mode::Hybrid, steps: Some(steps), sampler, cache, ..Config::default() };
    let mut receiver =
        Receiver::open(bundle, config, Pace::default(), &engine).unwrap_or_else(|error| panic!("{error}"));
    let mut scores = Scores::default();
    let (width, classes) = (bundle.grid().width as usize, bundle.labels().len());
    for (frame, (scene, truth)) in scenes.iter().enumerate() {
        let (mut likeliest, mut drawn) = (Samples::new(), Samples::new());
        let lost = scores.lost.get_or_insert_with(|| Confusion::new(bundle.labels()));
        for sample in 0..options.samples {
            let sequence = frame as u32 * options.samples + sample;
            let start = Instant::now();
            let taken = receiver.sample(scene, sequence).unwrap_or_else(|error| panic!("{error:?}"));
            scores.times_us.push(start.elapsed().as_micros() as u64);
            let spent = receiver.spent(taken);
            scores.macs += spent.macs;
            scores.samples += 1;
            let refined = receiver.refined().expect("the mode refines");
            for (cell, (&truth, &said)) in truth.cells.iter().zip(refined.cells).enumerate() {
                if !scene.known()[cell] {
                    lost.add(truth, said);
                }
            }
            if row.cache.is_none() {
                without.push(refined.cells.to_vec());
            }
            let reference = without.get(sequence as usize).map_or(refined.cells, |cells| cells);
            scores.cached.add(spent, refined.cells, reference, scene.known());
            likeliest.push((refined.cells.to_vec(), block_shares(refined.cells, width, classes)));
            let cells = draw(&refined, Noise::new(0, DRAW).substream(u64::from(sequence)));
            let shares = block_shares(&cells, width, classes);
            drawn.push((cells, shares));
            progress.inc(1);
        }
        let truth = (truth.cells.clone(), block_shares(&truth.cells, width, classes));
        for (index, samples) in [likeliest, drawn].iter().enumerate() {
            let by_cells = energy_score(samples, &truth, |a, b| cell_distance(&a.0, &b.0));
            let by_blocks = energy_score(samples, &truth, |a, b| share_distance(&a.1, &b.1));
            scores.energy[2 * index] += by_cells.unwrap_or_default();
            scores.energy[2 * index + 1] += by_blocks.unwrap_or_default();
        }
        scores.frames += 1.0;
    }
    scores
}

/// A class for each cell from its posterior; a cell that arrived has but one.
fn draw(refined: &Refined<'_>, noise: Noise) -> Vec<u8> {
    let count = refined.cells.len();
    let draw = |cell: usize| {
        let mut left = noise.uniform_at(cell as u64) as f32;
        for (class, plane) in refined.posterior.chunks_exact(count).enumerate() {
            left -= plane[cell];
            if left < 0.0 {
                return class as u8;
            }
        }
        // What rounding leaves over.
        refined.cells[cell]
    };
    (0..count).map(draw).collect()
}

fn cache_name(cache: Option<Cache>) -> String {
    match cache {
        None => "none".into(),
        Some(Cache::Taylor { interval }) => format!("taylor:{interval}"),
        Some(Cache::Bounded { threshold }) => format!("bounded:{threshold:.4}"),
        Some(Cache::Deep { interval }) => format!("deep:{interval}"),
        Some(Cache::Turns) => "turns".into(),
        Some(other) => format!("{other:?}"),
    }
}

fn sampler_name(sampler: SamplerKind) -> &'static str {
    match sampler {
        SamplerKind::Consistency => "consistency",
        SamplerKind::Ddim => "ddim",
    }
}

fn median(times: &[u64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |&time| time as f64 / 1e3)
}

fn line(row: &Row, scores: &Scores) -> String {
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share));
    let lost = scores.lost.as_ref();
    let [cells, blocks, drawn_cells, drawn_blocks] = scores.energy.map(|sum| sum / scores.frames.max(1.0));
    format!(
        "{:<12}{:>6} {:<14}{:>7.1}{:>9.0}{:>9.1}{:>7}{:>7}{:>8}{cells:>9.2}{blocks:>9.3}{drawn_cells:>9.2}{drawn_blocks:>9.3}",
        sampler_name(row.sampler),
        row.steps,
        cache_name(row.cache),
        f64::from(row.steps) / scores.cached.saving(),
        scores.macs as f64 / scores.samples.max(1) as f64 / 1e6,
        median(&scores.times_us),
        percent(lost.and_then(Confusion::mean_iou)),
        percent(lost.and_then(Confusion::accuracy)),
        format!("{:.2}", 100.0 * scores.cached.agreement()),
    )
}

fn json_line(row: &Row, scores: &Scores) -> serde_json::Value {
    let energy = scores.energy.map(|sum| sum / scores.frames.max(1.0));
    json!({
        "sampler": sampler_name(row.sampler), "steps": row.steps, "cache": cache_name(row.cache),
        "asked": f64::from(row.steps) / scores.cached.saving(), "macs": scores.macs / scores.samples.max(1),
        "p50_us": (median(&scores.times_us) * 1e3) as u64,
        "miou_lost": scores.lost.as_ref().and_then(Confusion::mean_iou),
        "accuracy_lost": scores.lost.as_ref().and_then(Confusion::accuracy),
        "agreement": scores.cached.agreement(),
        "energy": energy[0], "energy_blocks": energy[1], "energy_drawn": energy[2], "energy_blocks_drawn": energy[3],
    })
}
