//! `semrx plan`: a bundle compiled ahead, for devices that have no ONNX front.

use super::exit::Failure;
use super::output::print;
use super::{Done, bundles};
use clap::{Args, ValueEnum};
use semrx::bundle::{Bundle, Keeps, compile, sha256};
use serde_json::json;
use std::path::PathBuf;

/// Compile a bundle into one file, which `semrx run --bundle FILE` loads: also on a device whose semrx was built without tract.
///
/// The file holds what deciding needs of a bundle: its manifest, scheduler and prior as they are, and its networks, read, checked and folded. It is
/// the same for every machine; a plan for that which runs it is made when it is loaded. Records are those of the bundle.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx plan --bundle street --to street.plan
  semrx plan --bundle street --to heads.plan --mode semantic-first
  semrx run --from drive.srx --bundle street.plan")]
pub struct Options {
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Leave out the networks that this mode doesn't run; if not given, those that only the mode view runs
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    Auto,
    SemanticFirst,
    Hybrid,
    Latent,
}

impl From<ModeName> for Keeps {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Auto | ModeName::Hybrid => Keeps::Refinement,
            ModeName::SemanticFirst => Keeps::Heads,
            ModeName::Latent => Keeps::Latent,
        }
    }
}

pub fn run(options: &Options) -> Done {
    let bundle = bundles::open(&options.bundle)?;
    let bytes = compile(&bundle, options.mode.map(Keeps::from).unwrap_or_default())?;
    let failed = |error| Failure::failed(format!("--to {}: {error}", options.to.display()));
    std::fs::write(&options.to, &bytes).map_err(failed)?;
    // What was written is what a device will read.
    let written = Bundle::open(&options.to)?;
    let (file, hash, name) = (options.to.display().to_string(), sha256(&bytes), written.name());
    let kept: Vec<String> =
        written.plan_file().into_iter().flat_map(|plan| plan.entries()).map(|entry| entry.name.clone()).collect();
    print(&match options.json {
        true => {
            format!("{}\n", json!({"plan": file, "bundle": name, "bytes": bytes.len(), "sha256": hash, "holds": kept}))
        }
        false => format!("{file}: bundle {name}, {} bytes, sha256 {hash}: {}\n", bytes.len(), kept.join(", ")),
    })
}
