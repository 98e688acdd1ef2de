//! Calibration inputs, with an array for each input of the model.

use crate::{Network, QuantizeError, Store};
use semrx::engine::Arrays;
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of samples that are held in memory.
const MAX_HELD: usize = 1 << 30;

/// Samples in order.
#[derive(Debug, Clone)]
pub struct Samples {
    source: PathBuf,
    kept: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    /// One `.npz` a sample, read when its turn comes.
    Files(Vec<PathBuf>),
    Held(Vec<Arrays>),
}

impl Samples {
    /// Of one `.npz`, or of all in a folder, in the order of their names.
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
            let reason = "holds no .npz: one for each sample, with an array for each input of the model; for a folder of label maps, name the bundle that the model belongs to with --bundle".into();
            return Err(QuantizeError::Calibration { file: source.to_owned(), reason });
        }
        Ok(Samples { source: source.to_owned(), kept: Kept::Files(files) })
    }

    /// Those whose file names begin with `prefix`.
    ///
    /// # Errors
    /// [`QuantizeError::Calibration`] when there are none.
    pub(crate) fn beginning(mut self, prefix: &str) -> Result<Self, QuantizeError> {
        if let Kept::Files(files) = &mut self.kept {
            files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
            if files.is_empty() {
                return Err(QuantizeError::calibration(&self.source, format!("no .npz begins with {prefix:?}")));
            }
        }
        Ok(self)
    }

    /// `count` samples that were made from `source`: those in `held`, or in `store` if there are none.
    ///
    /// # Errors
    /// [`QuantizeError::Calibration`] when there are none, or more than a GiB in memory.
    pub(crate) fn drawn(source: &Path, count: usize, held: Vec<Arrays>, store: &Store) -> Result<Self, QuantizeError> {
        let refuse = |reason: &str| QuantizeError::Calibration { file: source.to_owned(), reason: reason.into() };
        let values =
            |arrays: &Arrays| arrays.names().filter_map(|name| arrays.floats(name)).map(size_of_val).sum::<usize>();
        if count == 0 {
            return Err(refuse("gives no sample"));
        }
        if held.iter().map(values).sum::<usize>() > MAX_HELD {
            return Err(refuse("gives samples of more than 1 GiB: keep them in a folder with --save-samples"));
        }
        let kept = match held.is_empty() {
            true => Kept::Files((0..count).filter_map(|number| store.file(number)).collect()),
            false => Kept::Held(held),
        };
        Ok(Samples { source: source.to_owned(), kept })
    }

    /// So many of them at most, evenly.
    pub(crate) fn spread(&self, most: usize) -> Self {
        let count = self.len().min(most);
        let chosen = (0..count).map(|index| index * self.len() / count.max(1));
        let kept = match &self.kept {
            Kept::Files(files) => Kept::Files(chosen.map(|index| files[index].clone()).collect()),
            Kept::Held(samples) => Kept::Held(chosen.map(|index| samples[index].clone()).collect()),
        };
        Samples { source: self.source.clone(), kept }
    }

    pub fn source(&self) -> &Path {
        &self.source
    }

    pub fn len(&self) -> usize {
        match &self.kept {
            Kept::Files(files) => files.len(),
            Kept::Held(samples) => samples.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// # Errors
    /// [`QuantizeError::Calibration`] names the file and the array.
    pub fn read(&self, index: usize) -> Result<Cow<'_, Arrays>, QuantizeError> {
        let file = match &self.kept {
            Kept::Held(samples) => return Ok(Cow::Borrowed(&samples[index])),
            Kept::Files(files) => &files[index],
        };
        Arrays::read(file).map(Cow::Owned).map_err(|error| QuantizeError::calibration(file, error))
    }

    /// Where sample `index` comes from.
    pub fn file(&self, index: usize) -> &Path {
        match &self.kept {
            Kept::Files(files) => &files[index],
            Kept::Held(_) => &self.source,
        }
    }
}

/// An input of `network` that `sample` has nothing for, in the shape that it has.
pub fn lacking(network: &Network, sample: &Arrays) -> Option<String> {
    let fits = |name: &str| {
        let shape = network.input_shape(name);
        sample.shape(name).is_some_and(|own| shape.is_none_or(|shape| shape == own))
    };
    let is_constant = |name: &str| network.graph.initializer.iter().any(|tensor| tensor.name == name);
    let mut names = network.graph.input.iter().map(|input| &input.name);
    names.find(|name| !fits(name) && !is_constant(name)).cloned()
}
