//! `semrx sample`: a sample of a model that was exported elsewhere.

use super::exit::Failure;
use super::output::print;
use super::progress::progress;
use super::{Done, generative};
use clap::Args;
use indicatif::ProgressBar;
use semrx::engine::Arrays;
use semrx::engine::kernel::threads::MAX_THREADS;
use semrx::engine::plan::Machine;
use semrx::generate::{Beginning, Calibration, Generator, Given, Known, Settings, calibrate};
use semrx::noise::Noise;
use semrx::sampler::{Cache, MAX_STEPS, Recorded, Request, Start};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Stream of [`Noise`] that belongs to samples.
const STREAM: u64 = 0x7361_6d70_6c65;

/// Sample a model of your own: ONNX, with the scheduler_config.json that diffusers wrote beside it.
///
/// The folder holds model.onnx and scheduler_config.json, with the names that diffusers' UNet2DModel is exported with; or a bundle.json
/// with the role `generate`, whose contract says which names the model has. docs/bring-your-model.md shows how to export one.
#[derive(Debug, Args)]
#[command(after_help = "\
Arrays: noise [DRAWS, ...] in the file of --noise, draw 0 to begin with, draw k + 1 for step k; the model's inputs by their names in that of
--condition; sample in that of --from and --out; known and weight in that of --known. All in the model's layout.

Caches: deep (DeepCache: the shallow graph on two of three steps, or N - 1 of N), difference (what guidance adds, reused on every second
step), taylor (the model's answers continued in a straight line, asked every third step), bounded (the last answer, until x has changed
by T, or by the bundle's cache_threshold).

Examples:
  semrx sample unet/ --steps 10 --out sample.npz
  semrx sample unet/ --steps 20 --scheduler DPMSolverMultistepScheduler --noise noise.npz --out sample.npz
  semrx sample mine/ --steps 4 --condition text.npz --guidance 7.5 --out sample.npz
  semrx sample unet/ --steps 50 --cache taylor:2 --out sample.npz
  semrx sample unet/ --steps 50 --from noisy.npz --start snr=10 --out sample.npz
  semrx sample unet/ --steps 20 --known half.npz --out sample.npz --picture sample.png
  semrx sample unet/ --steps 20 --calibrate-cache 0.05")]
pub struct Options {
    /// Folder with model.onnx and scheduler_config.json, or a bundle (a folder, or a name)
    model: PathBuf,
    /// Steps, counted from pure noise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_STEPS as i64))]
    steps: u32,
    /// Build this class of scheduler in the place of the one that the configuration names
    #[arg(long, value_name = "CLASS")]
    scheduler: Option<String>,
    /// Share of fresh noise, 0 to 1, of DDIM and TCD
    #[arg(long, value_name = "SHARE")]
    eta: Option<f32>,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Take the noise from here
    #[arg(long, value_name = "FILE.npz", conflicts_with = "seed")]
    noise: Option<PathBuf>,
    /// Arrays for the condition and the mask
    #[arg(long, value_name = "FILE.npz")]
    condition: Option<PathBuf>,
    /// Guidance scale, or one for each step that is taken
    #[arg(long, value_name = "G[,G...]", value_delimiter = ',', default_value = "1", allow_negative_numbers = true)]
    guidance: Vec<f32>,
    /// Steps that compute less: deep[:N], difference[:N], taylor[:N] or bounded[:T]
    #[arg(long, value_name = "NAME[:PARAMETER]")]
    cache: Option<String>,
    /// Begin with this sample, and noise
    #[arg(long, value_name = "FILE.npz", requires = "start")]
    from: Option<PathBuf>,
    /// Where it begins: step=K, strength=0..1 (img2img), or snr=DB of a noisy sample
    #[arg(long, value_name = "WHERE", requires = "from", value_parser = start)]
    start: Option<Start>,
    /// What is known of the sample: arrays `known` and `weight`, 1 where it is certain, 0 where nothing is known
    #[arg(long, value_name = "FILE.npz")]
    known: Option<PathBuf>,
    /// Find the threshold of --cache bounded instead: cached samples stay within this share of the uncached ones, root mean square
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with_all = ["cache", "noise", "from", "known", "out"])]
    calibrate_cache: Option<f64>,
    /// Where the sample goes
    #[arg(long, value_name = "FILE.npz", required_unless_present = "calibrate_cache")]
    out: Option<PathBuf>,
    /// Write it as a picture too, if it has 1 or 3 channels: -1 is black, 1 is white
    #[arg(long, value_name = "FILE.png", conflicts_with = "calibrate_cache")]
    picture: Option<PathBuf>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MAX_THREADS as i64))]
    threads: u8,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| format!("{text:?} is not between 0 and 1"))
}

fn start(text: &str) -> Result<Start, String> {
    let wrong = || format!("{text:?} is not step=K, strength=0..1 or snr=DB");
    let (kind, value) = text.split_once('=').ok_or_else(wrong)?;
    match kind {
        "step" => value.parse().map(Start::Step).map_err(|_| wrong()),
        "strength" => value.parse().map(Start::Strength).map_err(|_| wrong()),
        "snr" => value.parse::<f32>().map(|db| Start::Snr(10f32.powf(db / 10.0))).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

pub fn run(options: &Options) -> Done {
    if options.picture.is_some() && options.picture == options.out {
        return Err(Failure::usage("--out and --picture are the same file"));
    }
    let generative = generative::open(&options.model)?;
    let scheduler = generative.scheduler(options.scheduler.as_deref())?;
    let start = options.start.unwrap_or_default();
    let request = Request { start, eta: options.eta, ..Request::steps(options.steps as usize) };
    let cache = options.cache.as_deref().map(|cache| Cache::parse(cache, generative.contract.cache_threshold));
    let cache = cache.transpose().map_err(Failure::usage)?;
    let settings = Settings { request, guidance: options.guidance.clone(), cache };
    let read = |file: &Option<PathBuf>| file.as_ref().map(|file| Arrays::read(file)).transpose();
    let (condition, recorded) = (read(&options.condition)?, read(&options.noise)?);
    let (from, known) = (read(&options.from)?, read(&options.known)?);
    let threads = usize::from(options.threads);
    let machine = Machine::new(threads).map_err(|error| Failure::failed(format!("--threads {threads}: {error}")))?;
    let mut generator = Generator::open(&generative, &scheduler, &settings, &condition.unwrap_or_default(), &machine)?;
    if let Some(most) = options.calibrate_cache {
        return calibrate_cache(&mut generator, most, options);
    }
    let shape = generator.shape().to_vec();
    let len: usize = shape.iter().product();

    let beginning = match (&from, &options.from) {
        (Some(arrays), Some(file)) => {
            // What is not told to be noisy is clean.
            let snr = if let Start::Snr(snr) = start { snr } else { f32::INFINITY };
            Some(Beginning { sample: floats(arrays, file, "sample")?, snr })
        }
        _ => None,
    };
    let known = match (&known, &options.known) {
        (Some(arrays), Some(file)) => {
            let known = Known { sample: floats(arrays, file, "known")?, weight: floats(arrays, file, "weight")? };
            known.check(len).map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?;
            Some(known)
        }
        _ => None,
    };
    let given = Given { beginning, known };
    let recorded = match (&recorded, &options.noise) {
        (Some(arrays), Some(file)) => {
            let (values, draws) = (floats(arrays, file, "noise")?, generator.draws());
            if values.len() < len * draws || values.len() % len != 0 {
                let (file, found) = (file.display(), values.len());
                let reason = format!("noise has {found} values, these steps read {draws} draws of {len}");
                return Err(Failure::refused(format!("{file}: {reason}")));
            }
            Some(Recorded::new(values, len))
        }
        _ => None,
    };

    let steps = generator.steps();
    let progress = progress(steps, "steps");
    let began = Instant::now();
    let sample = match &recorded {
        Some(recorded) => generator.run(recorded, given, || progress.inc(1)),
        None => generator.run(&Noise::new(options.seed, STREAM), given, || progress.inc(1)),
    };
    let seconds = began.elapsed().as_secs_f64();
    progress.finish_and_clear();
    let (mut arrays, out) = (Arrays::default(), options.out.as_deref().unwrap_or(Path::new("sample.npz")));
    arrays.insert_floats("sample", &shape, sample?);
    if let Some(file) = &options.picture {
        let write =
            |png| std::fs::write(file, png).map_err(|error| Failure::failed(format!("{}: {error}", file.display())));
        write(generator.picture()?)?;
    }
    arrays.write(out).map_err(Failure::failed)?;

    let spent = generator.spent();
    if options.json {
        let value = json!({
            "model": generative.model.display().to_string(),
            "scheduler": scheduler.class(),
            "shape": shape,
            "steps": steps,
            "asked": spent.asked,
            "macs": spent.macs,
            "cached_steps": spent.cached_steps,
            "saved_macs": spent.saved_macs,
            "milliseconds": seconds * 1e3,
        });
        return print(&format!("{value}\n"));
    }
    let saved = match &options.cache {
        Some(cache) => format!(
            "cache        {cache}: {} steps, {:.1} M MACs saved\n",
            spent.cached_steps,
            spent.saved_macs as f64 / 1e6
        ),
        None => String::new(),
    };
    print(&format!(
        "{}: {}, {steps} steps\n\
         sample       {shape:?} in {}\n\
         time         {:.1} ms\n\
         model        asked {} times, {:.1} M MACs\n\
         {saved}",
        generative.model.display(),
        scheduler.class(),
        out.display(),
        seconds * 1e3,
        spent.asked,
        spent.macs as f64 / 1e6,
    ))
}

/// Samples that a calibration compares.
const CALIBRATION_SAMPLES: u64 = 4;

fn calibrate_cache(generator: &mut Generator, most: f64, options: &Options) -> Done {
    let progress = ProgressBar::new_spinner();
    let tried = |tried: &Calibration| progress.set_message(format!("threshold {:.4}", tried.threshold));
    let found = calibrate(generator, Noise::new(options.seed, STREAM), CALIBRATION_SAMPLES, most, tried)?;
    progress.finish_and_clear();
    let Some(Calibration { threshold, error, spent }) = found else {
        return Err(Failure::failed(format!("no threshold keeps samples within {most} of the uncached ones")));
    };
    if spent.cached_steps == 0 {
        return Err(Failure::failed(format!(
            "no threshold within {most} saves a step of {}: ask for more steps",
            generator.steps()
        )));
    }
    let saved = spent.saved_macs as f64 / (spent.macs + spent.saved_macs) as f64;
    if options.json {
        let value = json!({"cache_threshold": threshold, "error": error, "steps": generator.steps(),
            "cached_steps": spent.cached_steps, "macs": spent.macs, "saved_macs": spent.saved_macs});
        return print(&format!("{value}\n"));
    }
    print(&format!(
        "{CALIBRATION_SAMPLES} samples of {} steps within {error:.4} of the uncached ones, {} steps cached, {:.0} % of the MACs saved\n\
         for bundle.json: \"generate\": {{\"cache_threshold\": {threshold}}}\n",
        generator.steps(),
        spent.cached_steps,
        100.0 * saved,
    ))
}

/// The float32 array `name` of `file`.
fn floats<'a>(arrays: &'a Arrays, file: &Path, name: &str) -> Result<&'a [f32], Failure> {
    arrays.floats(name).ok_or_else(|| Failure::refused(format!("{}: has no float32 array {name:?}", file.display())))
}
