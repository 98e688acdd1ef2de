//! `semrx infer`: one run of any ONNX model.

use super::Done;
use super::engine::EngineName;
use super::exit::Failure;
use super::output::print;
use clap::Args;
use semrx::engine::{Arrays, Engine, infer, infer_planned};
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
    /// What runs it: the plan, or tract alone
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// Print names and shapes of the outputs as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Done {
    let same = options.inputs.canonicalize().ok();
    if same.is_some() && same == options.outputs.canonicalize().ok() {
        return Err(Failure::usage(format!("--outputs {}: is the file of the inputs", options.outputs.display())));
    }
    let arrays = Arrays::read(&options.inputs)?;
    let results = match options.engine.open(1)? {
        Engine::Plan(machine) => infer_planned(&options.model, &arrays, &machine)?,
        Engine::Tract => infer(&options.model, &arrays)?,
    };
    results.write(&options.outputs).map_err(Failure::failed)?;
    if options.json {
        let shapes = results.names().map(|name| (name.to_owned(), serde_json::json!(results.shape(name))));
        return print(&format!("{}\n", serde_json::Value::Object(shapes.collect())));
    }
    let shapes = results.names().map(|name| format!("{name} {:?}\n", results.shape(name).unwrap_or_default()));
    print(&shapes.collect::<String>())
}
