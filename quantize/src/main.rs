//! `semrx-quantize`: the command line.

use clap::{CommandFactory, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use semrx::bundle::sha256;
use semrx_quantize::{
    Draw, Network, QuantizeError, Report, Samples, Settings, compare, quantize, relief_runs, relieved, runs, whole,
    writable,
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
    /// Calibration: an .npz with an array NAME or in:NAME for each input, or a folder of them; with --bundle a folder of label maps
    #[arg(long, value_name = "DIR|FILE.npz")]
    calib: PathBuf,
    /// The bundle that the model belongs to, as its head, restore network or shallow part: it is calibrated on what the receiver gives it while it
    /// works on the maps, over channels, samplers and noise levels
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Samples that are drawn from the maps, 1 to 1000; with --bundle
    #[arg(long, value_name = "N", default_value_t = 96, requires = "bundle", value_parser = clap::value_parser!(u16).range(1..=1000))]
    samples: u16,
    /// Take the maps alone whose file names begin so: a recording of several; with --bundle
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "bundle")]
    only: String,
    /// Write the samples into an empty folder, an .npz each: to quantize with another tool on the same inputs; with --bundle
    #[arg(long, value_name = "DIR", requires = "bundle")]
    save_samples: Option<PathBuf>,
    /// Bits of weights: those of 4 bits still take a byte each
    #[arg(long, value_name = "8|4", default_value_t = 8, value_parser = bits)]
    weights: u8,
    /// Kilobytes of 1024 for the weights of all layers that can be quantized, those in float at 4 bytes a weight: within them, layers that cost the outputs most for their size stay in float
    #[arg(long, value_name = "N")]
    budget_kib: Option<u32>,
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
    let network = Network::read(&arguments.model)?;
    let samples = match &arguments.bundle {
        None => Samples::open(&arguments.calib)?,
        Some(bundle) => {
            let draw = Draw { samples: arguments.samples.into(), seed: arguments.seed, only: &arguments.only };
            let progress = progress("samples", draw.samples);
            let samples = Samples::of_scenes(&network, bundle, &arguments.calib, draw, || progress.inc(1))?;
            progress.finish_and_clear();
            if let Some(folder) = &arguments.save_samples {
                samples.write(folder)?;
            }
            samples
        }
    };
    let settings = Settings { bits: arguments.weights, compensated: !arguments.nearest, seed: arguments.seed };
    let progress = progress("runs", runs(&samples) + samples.len());
    let mut quantized = quantize(&network, &samples, settings, || progress.inc(1))?;
    if let Some(kib) = arguments.budget_kib {
        progress.inc_length(relief_runs(network.layers.len(), &samples) as u64);
        let budget = kib as usize * 1024;
        quantized = relieved(&network, &quantized, &samples, budget, || progress.inc(1))?;
    }
    let bytes = quantized.bytes(&network);
    let compared = compare(&network, &bytes, &samples, || progress.inc(1))?;
    progress.finish_and_clear();
    let sha256 = sha256(&bytes);
    let report = Report {
        network: &network,
        quantized: &quantized,
        compared: &compared,
        samples: samples.len(),
        bits: arguments.weights,
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
