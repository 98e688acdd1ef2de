//! `semrx infer`: one run of any ONNX model.

use super::Done;
use clap::Args;
use semrx::engine::{Arrays, infer};
use std::path::PathBuf;

/// Run any ONNX model that semrx can load once, on arrays from an .npz.
///
/// Inputs are looked up as `in:NAME`, then as `NAME`; their shapes are taken from the arrays. Outputs are written under their names.
#[derive(Debug, Args)]
pub struct Options {
    /// ONNX file
    model: PathBuf,
    /// Arrays for the inputs
    #[arg(long, value_name = "FILE.npz")]
    inputs: PathBuf,
    /// Where the outputs go
    #[arg(long, value_name = "FILE.npz")]
    outputs: PathBuf,
    /// Print names and shapes of the outputs as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Done {
    let arrays = Arrays::read(&options.inputs)?;
    let results = infer(&options.model, &arrays)?;
    results.write(&options.outputs).map_err(super::exit::Failure::failed)?;
    if options.json {
        let shapes = results.names().map(|name| (name.to_owned(), serde_json::json!(results.shape(name))));
        println!("{}", serde_json::Value::Object(shapes.collect()));
    } else {
        for name in results.names() {
            println!("{name} {:?}", results.shape(name).unwrap_or_default());
        }
    }
    Ok(())
}
