//! `semrx-quantize`: the command line.

use clap::{CommandFactory, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use semrx::bundle::sha256;
use semrx_quantize::{
    Bounds, Calibrated, Draw, Network, QuantizeError, Report, Samples, Store, TaskLoss, activation_runs, compare,
    costly_activations, relief_runs, relieved, shortcuts, split, whole, writable,
};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Quantize a float ONNX model to int8 QDQ after training, without retraining.
///
/// Runs the model on calibration inputs, chooses scales for what flows through it, and rounds the weights so that each makes good the errors of those
/// before it. The result is standard ONNX: semrx runs it in int8, and so does onnxruntime.
#[derive(Debug, Parser)]
#[command(
    bin_name = "semrx-quantize",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 refused input.

Examples:
  semrx-quantize model.onnx -o model.int8.onnx --calib samples/
  semrx-quantize models/street/restore.onnx -o restore.int8.onnx --bundle models/street --calib maps/ --report restore.html"
)]
struct Arguments {
    /// Float ONNX model, operator set 13 or later
    model: PathBuf,
    /// Where the int8 model goes
    #[arg(short, long, value_name = "FILE.onnx")]
    output: PathBuf,
    /// Calibration: an .npz with an array NAME or in:NAME for each input, or a folder of them; with --bundle a folder of label maps, for the role generate one of conditions
    #[arg(long, value_name = "DIR|FILE.npz")]
    calib: PathBuf,
    /// The bundle that the model belongs to. Its head, restore network or shallow part is calibrated on what the receiver gives it while it works
    /// on the maps, over channels, samplers and noise levels; the model of its role generate on what a sampler asks it, with guidance and without
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Samples that are drawn from the maps, 1 to 1000; with --bundle
    #[arg(long, value_name = "N", default_value_t = 96, requires = "bundle", value_parser = clap::value_parser!(u16).range(1..=1000))]
    samples: u16,
    /// Take the maps alone whose file names begin so: a recording of several; with --bundle
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "bundle")]
    only: String,
    /// Write the samples into a folder, an .npz each, and take those that are there: to go on with a calibration that was cut off, or to
    /// quantize with another tool on the same inputs; with --bundle
    #[arg(long, value_name = "DIR", requires = "bundle")]
    save_samples: Option<PathBuf>,
    /// Bits of weights: 4 are in blocks of 32 input channels with a factor each
    #[arg(long, value_name = "8|4", default_value_t = 8, value_parser = bits)]
    weights: u8,
    /// Kilobytes of 1024 for the weights of all layers that can be quantized: within them, layers that cost the outputs most for their size get 8 bits in
    /// the place of 4, or stay in float, with weights in float16
    #[arg(long, value_name = "N")]
    budget_kib: Option<u32>,
    /// At most so many percent of an output's answers may change on the calibration inputs: of an image the largest channel at each place, of others which
    /// side of 0 a value is on; layers that cost most for their size get more bits until that holds, within --budget-kib if it is given
    #[arg(long, value_name = "OUTPUT=PERCENT", value_parser = task_loss)]
    task_loss: Option<TaskLoss>,
    /// Round weights to nearest, without making errors good
    #[arg(long)]
    nearest: bool,
    /// Seed of samples, and of the places that calibration looks at
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a page: bits, SQNR, MACs and bytes of each layer, BOPs and arena of the whole
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Ends with a usage error where one file would take the place of another.
    fn check(&self) {
        let inputs = [Some(&self.model), Some(&self.calib)];
        let outputs = [Some(&self.output), self.report.as_ref()];
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        let is_clash = |output: &PathBuf| inputs.iter().flatten().any(|input| same(output, input));
        let both = self.report.as_ref().is_some_and(|report| same(report, &self.output));
        if both || outputs.into_iter().flatten().any(is_clash) {
            let told = "the output, the report, the model and the calibration are files of their own";
            Arguments::command().error(clap::error::ErrorKind::ArgumentConflict, told).exit();
        }
    }
}

fn bits(text: &str) -> Result<u8, String> {
    match text {
        "8" => Ok(8),
        "4" => Ok(4),
        _ => Err("weights have 8 bits or 4".into()),
    }
}

fn task_loss(text: &str) -> Result<TaskLoss, String> {
    let (output, percent) = text.rsplit_once('=').ok_or("it is the name of an output, =, and a percentage")?;
    let percent = percent.parse::<f64>().ok().filter(|percent| (0.0..100.0).contains(percent));
    let percent = percent.ok_or("the percentage is from 0 to below 100")?;
    Ok(TaskLoss { output: output.to_owned(), share: percent / 100.0 })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.check();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("semrx-quantize: {error}");
            ExitCode::from(if error.is_refusal() { 3 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), QuantizeError> {
    for file in [Some(&arguments.output), arguments.report.as_ref()].into_iter().flatten() {
        writable(file)?;
    }
    let original = Network::read(&arguments.model)?;
    let samples = match &arguments.bundle {
        None => Samples::open(&arguments.calib)?,
        Some(bundle) => {
            let draw = Draw { samples: arguments.samples.into(), seed: arguments.seed, only: &arguments.only };
            let store = match &arguments.save_samples {
                Some(folder) => Store::open(folder, &original, bundle, &arguments.calib, draw)?,
                None => Store::none(),
            };
            let progress = progress("samples", draw.samples);
            let samples = Samples::of_bundle(&original, bundle, &arguments.calib, draw, &store, || progress.inc(1))?;
            progress.finish_and_clear();
            samples
        }
    };
    let bounds =
        Bounds { bytes: arguments.budget_kib.map(|kib| kib as usize * 1024), task_loss: arguments.task_loss.clone() };
    let is_relieved = bounds != Bounds::default();
    let bits: &[u8] = if arguments.weights == 4 && is_relieved { &[4, 8] } else { &[arguments.weights] };
    let looks = if shortcuts(&original) > 0 { samples.len() } else { 0 };
    let progress = progress("runs", looks + Calibrated::runs(&samples) + samples.len());
    let (network, parts) = split(&original, &samples, || progress.inc(1))?;
    let calibrated = Calibrated::new(&network, &samples, arguments.seed, || progress.inc(1))?;
    let levels = bits.iter().map(|&bits| calibrated.quantized(bits, !arguments.nearest));
    let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
    progress.inc_length(activation_runs(&levels[0], &samples) as u64);
    let costly = costly_activations(&network, &levels[0], &samples, || progress.inc(1))?;
    levels.iter_mut().for_each(|level| *level = level.leaving(&costly));
    let quantized = match is_relieved {
        true => {
            progress.inc_length(relief_runs(network.layers.len(), levels.len(), &samples, &bounds) as u64);
            relieved(&network, &levels, &samples, &bounds, || progress.inc(1))?
        }
        false => levels[0].clone(),
    };
    let bytes = quantized.bytes(&network);
    let compared = compare(&original, &bytes, &samples, || progress.inc(1))?;
    progress.finish_and_clear();
    let sha256 = sha256(&bytes);
    let report = Report {
        network: &network,
        quantized: &quantized,
        compared: &compared,
        samples: samples.len(),
        parts,
        sha256: &sha256,
    };
    if let Some(file) = &arguments.report {
        whole(file, report.html().as_bytes())?;
    }
    whole(&arguments.output, &bytes)?;
    for warning in report.warnings() {
        eprintln!("semrx-quantize: warning: {warning}");
    }
    let text = if arguments.json { format!("{:#}\n", report.json()) } else { report.text() };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who reads has had enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(QuantizeError::Write { file: "standard output".into(), error }),
        Ok(()) => Ok(()),
    }
}

fn progress(what: &str, count: usize) -> ProgressBar {
    let progress = ProgressBar::new(count as u64);
    let style = ProgressStyle::with_template(&format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left"));
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}
