//! `semrx-quantize`: the command line.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use semrx_quantize::{Network, Quantized, QuantizeError, Samples, Settings, Sqnr, compare, quantize, runs, whole};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Quantize a float ONNX model to int8 QDQ after training, without retraining.
///
/// Runs the model on calibration inputs, chooses scales for what flows through it, and rounds the weights so that each makes good the errors of those
/// before it. The result is standard ONNX: semrx runs it in int8, and so does onnxruntime.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 refused input.
  semrx-quantize model.onnx -o model.int8.onnx --calib samples/
  semrx-quantize model.onnx -o model.int8.onnx --calib inputs.npz --json")]
struct Arguments {
    /// Float ONNX model, operator set 13 or later
    model: PathBuf,
    /// Where the int8 model goes
    #[arg(short, long, value_name = "FILE.onnx")]
    output: PathBuf,
    /// Calibration: an .npz with an array for each input, or a folder of them
    #[arg(long, value_name = "DIR|FILE.npz")]
    calib: PathBuf,
    /// Bits of weights: below 8 they still take a byte each
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=8))]
    weights: u8,
    /// Round weights to nearest
    #[arg(long)]
    nearest: bool,
    /// Seed of the places that calibration looks at
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("semrx-quantize: {error}");
            ExitCode::from(if error.is_refusal() { 3 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), QuantizeError> {
    let network = Network::read(&arguments.model)?;
    let samples = Samples::open(&arguments.calib)?;
    let settings =
        Settings { bits: arguments.weights, compensated: !arguments.nearest, seed: arguments.seed };
    let progress = ProgressBar::new((runs(&samples) + samples.len()) as u64);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {eta} left");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let quantized = quantize(&network, &samples, settings, || progress.inc(1))?;
    let bytes = quantized.bytes(&network);
    let sqnr = compare(&network, &bytes, &samples, || progress.inc(1))?;
    progress.finish_and_clear();
    whole(&arguments.output, &bytes)?;
    report(arguments, &network, &quantized, &sqnr, bytes.len());
    Ok(())
}

fn report(arguments: &Arguments, network: &Network, quantized: &Quantized<'_>, sqnr: &[Sqnr], bytes: usize) {
    let before = network.bytes().len();
    if arguments.json {
        let layers: Vec<_> = quantized.layers.iter().map(|(layer, rounded)| {
            json!({"name": layer.name, "operator": layer.operator, "weights": layer.shape, "weights_sqnr_db": rounded.sqnr_db,
                "input_scale": quantized.scales.get(&layer.input).map(|scale| scale.scale)})
        }).collect();
        let left: Vec<_> = network.left.iter().map(|left| json!({"name": left.name, "operator": left.operator, "reason": left.reason})).collect();
        let outputs: Vec<_> = sqnr.iter().map(|sqnr| json!({"output": sqnr.output, "sqnr_db": sqnr.db})).collect();
        println!("{:#}", json!({"outputs": outputs, "bytes_before": before, "bytes": bytes, "layers": layers, "left": left}));
        return;
    }
    println!("{:<44} {:<8} {:>20} {:>14}", "layer", "operator", "weights", "weights' SQNR");
    for (layer, rounded) in &quantized.layers {
        println!("{:<44} {:<8} {:>20} {:>11.1} dB", layer.name, layer.operator, format!("{:?}", layer.shape), rounded.sqnr_db);
    }
    for left in &network.left {
        println!("{:<44} {:<8} left in float: {}", left.name, left.operator, left.reason);
    }
    for sqnr in sqnr {
        println!("output {}: {:.1} dB on the calibration inputs", sqnr.output, sqnr.db);
    }
    println!("{}: {bytes} bytes, {before} before", arguments.output.display());
}
