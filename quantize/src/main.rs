//! `semrx-quantize`: the command line. The quantization itself is not there yet, and says so.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Quantize a float ONNX model to int8 QDQ after training, without retraining.
///
/// Not available in this version: the command line stands, so that scripts can be written against it; running it ends with exit code 1.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    /// Float ONNX model
    model: PathBuf,
    /// Where the int8 model goes
    #[arg(short, long, value_name = "FILE.onnx")]
    output: PathBuf,
    /// Calibration: a folder of label maps, or arrays for the inputs
    #[arg(long, value_name = "DIR|FILE.npz")]
    calib: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    eprintln!(
        "semrx-quantize: {}: quantization is not in this version; {} was not written, {} was not read",
        arguments.model.display(),
        arguments.output.display(),
        arguments.calib.display()
    );
    ExitCode::from(1)
}
