//! What caches cost and save on a model of pictures: scheduler x steps x cache, each cached sample beside the uncached one from the same noise.
//!
//!     cargo bench --bench generate -- --maps ../shared/data/camvid/train/label --only 0001TP [--bundle models/street-view] [--guidance G]
//!
//! The model's first condition is the class map as one-hot planes [1,C,H,W], x a picture [1,3,H,W] in -1..1. SSIM is the mean over
//! windows of 8 x 8 of the luma (crate image-compare), averaged over the maps; p50 is of one thread, the model's steps alone.

use clap::Parser;
use image_compare::{Algorithm, gray_similarity_structure};
use indicatif::ProgressBar;
use semrx::bundle::Generative;
use semrx::engine::Arrays;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::generate::{Generator, Given, Settings};
use semrx::maps;
use semrx::noise::Noise;
use semrx::sampler::{Cache, Request, Spent};
use semrx::scene::{CAMVID12, ClassMap};
use semrx::wire::Grid;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const SCHEDULERS: [&str; 3] = ["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"];
const STEPS: [usize; 3] = [10, 20, 50];
const CACHES: [&str; 8] =
    ["deep:2", "deep:3", "deep:5", "difference:2", "taylor:2", "taylor:3", "bounded", "bounded:0.5"];

#[derive(Parser)]
#[command(about = "Scheduler x steps x cache on a model of pictures")]
struct Options {
    /// Folder of index PNGs
    #[arg(long, default_value = "../shared/data/camvid/train/label")]
    maps: PathBuf,
    /// Only files whose names begin so
    #[arg(long, default_value = "0001TP")]
    only: String,
    /// Folder with the role generate
    #[arg(long, default_value = "models/street-view")]
    bundle: PathBuf,
    /// How many of the maps, evenly spread
    #[arg(long, default_value_t = 8)]
    frames: usize,
    /// Guidance scale; 1 is none
    #[arg(long, default_value_t = 1.0)]
    guidance: f32,
    /// Write the rows as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// A way to sample, over all maps.
struct Row {
    scheduler: &'static str,
    steps: usize,
    cache: Option<&'static str>,
    samples: Vec<Vec<f32>>,
    spent: Spent,
    milliseconds: Vec<f64>,
}

fn main() {
    let options = Options::parse();
    let Ok(files) = maps::list(&options.maps) else {
        return println!("skipped: no maps in {}", options.maps.display());
    };
    let is_chosen = |file: &&PathBuf| file.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&options.only));
    let files: Vec<&PathBuf> = files.iter().filter(is_chosen).collect();
    let stride = (files.len() / options.frames.max(1)).max(1);
    let read = |file: &&PathBuf| maps::read(file, &CAMVID12).unwrap_or_else(|error| panic!("{error}"));
    let truths: Vec<ClassMap> = files.iter().step_by(stride).take(options.frames).map(read).collect();
    let generative = Generative::open(&options.bundle).unwrap_or_else(|error| panic!("{error}"));

    let caches: Vec<_> = std::iter::once(None).chain(CACHES.map(Some)).collect();
    let ways: Vec<_> = SCHEDULERS
        .iter()
        .flat_map(|&scheduler| STEPS.iter().map(move |&steps| (scheduler, steps)))
        .flat_map(|(scheduler, steps)| caches.iter().map(move |&cache| (scheduler, steps, cache)))
        .collect();
    let progress = ProgressBar::new((ways.len() * truths.len()) as u64);
    let rows: Vec<Row> = ways
        .into_iter()
        .filter_map(|(scheduler, steps, cache)| {
            let row = sample(&generative, scheduler, steps, cache, options.guidance, &truths, &progress);
            row.inspect_err(|error| {
                progress.suspend(|| eprintln!("left out: {scheduler}, {steps}, {cache:?}: {error}"))
            })
            .ok()
        })
        .collect();
    progress.finish_and_clear();
    print(&rows, &options);
}

fn sample(
    generative: &Generative,
    scheduler: &'static str,
    steps: usize,
    cache: Option<&'static str>,
    guidance: f32,
    truths: &[ClassMap],
    progress: &ProgressBar,
) -> Result<Row, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let built = generative.scheduler(Some(scheduler)).map_err(|error| text(&error))?;
    let parsed = cache.map(|cache| Cache::parse(cache, generative.contract.cache_threshold)).transpose();
    let settings = Settings {
        request: Request::steps(steps),
        guidance: vec![guidance],
        cache: parsed.map_err(|error| text(&error))?,
    };
    let machine = Machine::one_thread(Isa::best());
    let mut row =
        Row { scheduler, steps, cache, samples: Vec::new(), spent: Spent::default(), milliseconds: Vec::new() };
    for (index, truth) in truths.iter().enumerate() {
        let arrays = condition(generative, truth)?;
        let mut generator =
            Generator::open(generative, &built, &settings, &arrays, &machine).map_err(|error| text(&error))?;
        let began = Instant::now();
        let drawn =
            generator.run(&Noise::new(1, index as u64), Given::default(), || {}).map_err(|error| text(&error))?;
        row.milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        row.samples.push(drawn.to_vec());
        row.spent = generator.spent();
        progress.inc(1);
    }
    Ok(row)
}

/// The map as one-hot planes of the model's first condition.
fn condition(generative: &Generative, truth: &ClassMap) -> Result<Arrays, String> {
    let name = generative.contract.condition.first().ok_or("the contract names no condition")?;
    let [classes, height, width] = PLANES;
    let map = truth.resampled(Grid::new(width as u16, height as u16));
    let mut planes = vec![0.0; classes * width * height];
    for (cell, &class) in map.cells.iter().enumerate() {
        planes[class as usize * width * height + cell] = 1.0;
    }
    let mut arrays = Arrays::default();
    arrays.insert_floats(name, &[1, classes, height, width], &planes);
    Ok(arrays)
}

/// Of the shipped model.
const PLANES: [usize; 3] = [12, 48, 64];

fn print(rows: &[Row], options: &Options) {
    println!(
        "{} maps, guidance {}; SSIM to the uncached sample of the same scheduler and steps, and to DDIM's of 50 steps",
        rows.first().map_or(0, |row| row.samples.len()),
        options.guidance
    );
    println!(
        "{:<28} {:>5} {:<13} {:>6} {:>8} {:>6} {:>9} {:>9} {:>8}",
        "scheduler", "steps", "cache", "asked", "MMAC", "fewer", "p50 ms", "SSIM same", "SSIM 50"
    );
    let teacher = rows.iter().find(|row| row.scheduler == SCHEDULERS[0] && row.steps == 50 && row.cache.is_none());
    let mut values = Vec::new();
    for row in rows {
        let whole = rows
            .iter()
            .find(|other| other.scheduler == row.scheduler && other.steps == row.steps && other.cache.is_none());
        let Some((whole, teacher)) = whole.zip(teacher) else { continue };
        let fewer = whole.spent.macs as f64 / row.spent.macs as f64;
        let (same, fifty) = (ssim(row, whole), ssim(row, teacher));
        let (cache, p50) = (row.cache.unwrap_or("none"), median(&row.milliseconds));
        println!(
            "{:<28} {:>5} {cache:<13} {:>6} {:>8.0} {fewer:>5.2}x {p50:>9.1} {same:>9.3} {fifty:>8.3}",
            row.scheduler,
            row.steps,
            row.spent.asked,
            row.spent.macs as f64 / 1e6,
        );
        values.push(json!({
            "scheduler": row.scheduler, "steps": row.steps, "cache": cache, "asked": row.spent.asked,
            "macs": row.spent.macs, "fewer": fewer, "p50_ms": p50, "ssim_same": same, "ssim_50": fifty,
        }));
    }
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", json!(values)))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

fn ssim(ours: &Row, theirs: &Row) -> f64 {
    let scores = ours.samples.iter().zip(&theirs.samples).map(|(ours, theirs)| {
        gray_similarity_structure(&Algorithm::MSSIMSimple, &luma(ours), &luma(theirs)).map_or(0.0, |found| found.score)
    });
    scores.sum::<f64>() / ours.samples.len() as f64
}

/// Of a picture in planes from -1 to 1 (ITU-R BT.601).
fn luma(picture: &[f32]) -> image_compare::prelude::GrayImage {
    let [_, height, width] = PLANES;
    let at = |plane: usize, place: usize| (picture[plane * width * height + place].clamp(-1.0, 1.0) + 1.0) * 127.5;
    let bytes =
        (0..width * height).map(|place| (0.299 * at(0, place) + 0.587 * at(1, place) + 0.114 * at(2, place)) as u8);
    image_compare::prelude::GrayImage::from_raw(width as u32, height as u32, bytes.collect()).expect("a byte a pixel")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
