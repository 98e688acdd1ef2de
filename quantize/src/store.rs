//! Samples in a folder, an `.npz` each: written as they are drawn, so that a draw that was cut off goes on where it was.

use crate::{Draw, Network, QuantizeError};
use semrx::bundle::{MANIFEST, sha256};
use semrx::engine::Arrays;
use semrx::files;
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was drawn, beside the samples.
const DRAWN: &str = "draw.json";

/// Where samples go, if anywhere.
#[derive(Debug)]
pub struct Store(Option<PathBuf>);

impl Store {
    /// Samples stay in memory.
    pub fn none() -> Self {
        Store(None)
    }

    /// In `folder`, which is made if it is missing, and holds nothing, or samples of the same draw for the same network.
    ///
    /// # Errors
    /// [`QuantizeError::Write`], also where it holds something else.
    pub fn open(
        folder: &Path,
        network: &Network,
        bundle: &Path,
        calib: &Path,
        draw: Draw<'_>,
    ) -> Result<Self, QuantizeError> {
        let failed = |error| QuantizeError::Write { file: folder.to_owned(), error };
        let refuse = |reason: &str| failed(io::Error::new(io::ErrorKind::AlreadyExists, reason.to_owned()));
        let manifest = files::read(&bundle.join(MANIFEST), files::MAX_JSON).unwrap_or_default();
        let inputs: Vec<&String> = network.graph.input.iter().map(|input| &input.name).collect();
        let drawn = json!({"samples": draw.samples, "seed": draw.seed, "only": draw.only, "fps": draw.fps, "calib": calib.display().to_string(),
            "bundle": sha256(&manifest), "inputs": inputs});
        let text = format!("{drawn:#}\n");
        fs::create_dir_all(folder).map_err(failed)?;
        let file = folder.join(DRAWN);
        match fs::read_to_string(&file) {
            Ok(there) if there == text => {}
            Ok(there) => {
                let there = serde_json::from_str::<serde_json::Value>(&there).unwrap_or_default();
                let keys = ["samples", "seed", "only", "fps", "calib", "bundle", "inputs"];
                let others: Vec<&str> = keys.into_iter().filter(|key| there[*key] != drawn[*key]).collect();
                let others = others.join(", ");
                return Err(refuse(&format!("holds samples of another draw ({others}): give an empty folder")));
            }
            Err(_) if fs::read_dir(folder).map_err(failed)?.next().is_some() => {
                return Err(refuse("holds files already: samples go into an empty folder"));
            }
            Err(_) => fs::write(&file, text).map_err(|error| QuantizeError::Write { file, error })?,
        }
        Ok(Store(Some(folder.to_owned())))
    }

    /// Whether sample `number` is there.
    pub fn has(&self, number: usize) -> bool {
        self.file(number).is_some_and(|file| file.is_file())
    }

    /// Keeps sample `number` if there is a folder, else gives it back.
    ///
    /// # Errors
    /// [`QuantizeError::Write`].
    pub fn keep(&self, number: usize, sample: Arrays) -> Result<Option<Arrays>, QuantizeError> {
        let Some(file) = self.file(number) else { return Ok(Some(sample)) };
        // Whole or not at all: a cut off one would be taken for a sample.
        let part = file.with_extension("part");
        let failed = |error| QuantizeError::Write { file: file.clone(), error };
        sample.write(&part).map_err(|error| failed(io::Error::other(error.to_string())))?;
        fs::rename(&part, &file).map_err(failed)?;
        Ok(None)
    }

    /// Of sample `number`.
    pub fn file(&self, number: usize) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(format!("{number:04}.npz")))
    }
}
