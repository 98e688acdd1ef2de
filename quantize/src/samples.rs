//! Calibration inputs: one `.npz` is one sample, with an array for each input of the model.

use crate::QuantizeError;
use semrx::engine::Arrays;
use std::fs;
use std::path::{Path, PathBuf};

/// Files in the order of their names, read when their turn comes.
#[derive(Debug, Clone)]
pub struct Samples {
    source: PathBuf,
    files: Vec<PathBuf>,
}

impl Samples {
    /// Of one `.npz`, or of all in a folder.
    ///
    /// # Errors
    /// [`QuantizeError::Calibration`] when there is none.
    pub fn open(source: &Path) -> Result<Self, QuantizeError> {
        let file = |error| QuantizeError::File { file: source.to_owned(), error };
        let mut files = vec![source.to_owned()];
        if fs::metadata(source).map_err(file)?.is_dir() {
            let entries = fs::read_dir(source).map_err(file)?.collect::<Result<Vec<_>, _>>().map_err(file)?;
            files = entries.into_iter().map(|entry| entry.path()).collect();
            files.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
            files.sort();
        }
        if files.is_empty() {
            let reason = "holds no .npz: one for each sample, with an array for each input of the model".into();
            return Err(QuantizeError::Calibration { file: source.to_owned(), reason });
        }
        Ok(Samples { source: source.to_owned(), files })
    }

    pub fn source(&self) -> &Path {
        &self.source
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// # Errors
    /// [`QuantizeError::Calibration`] names the file and the array.
    pub fn read(&self, index: usize) -> Result<Arrays, QuantizeError> {
        let file = &self.files[index];
        let calibration =
            |reason: String| QuantizeError::Calibration { file: file.clone(), reason: reason.replacen(&format!("{}: ", file.display()), "", 1) };
        Arrays::read(file).map_err(|error| calibration(error.to_string()))
    }

    pub fn file(&self, index: usize) -> &Path {
        &self.files[index]
    }
}
