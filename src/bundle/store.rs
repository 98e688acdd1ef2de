//! Where the files of a bundle are: in a folder, or in a plan file.

use super::plan_file::{Kind, PlanFile};
use super::{BundleError, MANIFEST};
use crate::engine::Source;
use crate::files;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub enum Store {
    Folder(PathBuf),
    Plan(PlanFile),
}

/// What a store has of a file that the manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The file.
    Whole,
    /// Its network, which was compiled ahead.
    Network(Source),
    /// Nothing: what the plan file is for needs it not.
    LeftOut,
}

impl Store {
    /// `path` is a folder, or a plan file, which is checked.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        match path.is_file() {
            true => PlanFile::open(path).map(Store::Plan),
            false => Ok(Store::Folder(path.to_owned())),
        }
    }

    /// The folder, or the plan file.
    pub fn path(&self) -> &Path {
        match self {
            Store::Folder(dir) => dir,
            Store::Plan(plan) => plan.path(),
        }
    }

    /// What names a file in errors; in a folder, where it is.
    pub fn name_of(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn content(&self, name: &str) -> Content {
        let Store::Plan(plan) = self else { return Content::Whole };
        match plan.entry(name) {
            None => Content::LeftOut,
            Some(entry) if entry.kind == Kind::Whole => Content::Whole,
            Some(entry) => Content::Network(Source::Compiled {
                name: self.name_of(name),
                file: plan.path().to_owned(),
                at: entry.at,
                bytes: entry.bytes,
            }),
        }
    }

    /// Reads a file of at most `limit` bytes that is there [whole](Content::Whole).
    ///
    /// # Errors
    /// [`BundleError::Read`].
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, BundleError> {
        let unread = |error| BundleError::Read { file: self.name_of(name), error };
        match self {
            Store::Folder(_) => files::read(&self.name_of(name), limit).map_err(unread),
            Store::Plan(plan) => match plan.entry(name) {
                Some(entry) => plan.read(entry, limit),
                None => Err(unread(std::io::ErrorKind::NotFound.into())),
            },
        }
    }

    /// The manifest's bytes.
    ///
    /// # Errors
    /// [`BundleError::Read`].
    pub fn manifest(&self) -> Result<Vec<u8>, BundleError> {
        self.read(MANIFEST, files::MAX_JSON)
    }
}
