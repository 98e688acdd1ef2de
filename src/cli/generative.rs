//! Where models to sample are looked for.

use super::bundles::first;
use super::exit::Failure;
use semrx::bundle::{Generative, MANIFEST};
use std::path::Path;

/// Opens a model to sample: a bundle, or a plain folder with a model and its scheduler; looked for as bundles are.
pub fn open(name: &Path) -> Result<Generative, Failure> {
    let dir = first(name, |dir| dir.join(MANIFEST).is_file() || Generative::is_plain(dir)).map_err(|looked| {
        let name = name.display();
        Failure::refused(format!("no model to sample in \"{name}\": neither {MANIFEST} nor model.onnx in {looked}"))
    })?;
    Ok(Generative::open(&dir)?)
}
