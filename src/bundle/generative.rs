//! A model that was exported elsewhere, with what says how to sample it: a bundle with the role `generate`, or a plain folder.

use super::{BundleError, Contract, FileEntry, MANIFEST, SCHEMA, listed, manifest, scheduler};
use crate::files;
use crate::sampler::Scheduler;
use crate::sampler::config::Keys;
use heapless::Vec as Fixed;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Names that a plain folder's files have.
const MODEL: &str = "model.onnx";
const SCHEDULER: &str = "scheduler_config.json";

/// The roles of a model's files, and the key of its contract.
pub(super) struct Roles {
    key: &'static str,
    model: &'static str,
    shallow: &'static str,
    null_condition: &'static str,
    scheduler: &'static str,
}

/// Of a model that `semrx sample` samples.
const GENERATE: Roles = Roles {
    key: "generate",
    model: "generate",
    shallow: "generate_shallow",
    null_condition: "null_condition",
    scheduler: "scheduler",
};

/// Of the view network of a receiver's bundle.
pub(super) const VIEW: Roles = Roles {
    key: "view",
    model: "view",
    shallow: "view_shallow",
    null_condition: "view_null_condition",
    scheduler: "view_scheduler",
};

/// Where its files are, all of which are there; and what the model's names mean. No model is loaded yet.
#[derive(Debug, Clone)]
pub struct Generative {
    pub contract: Contract,
    pub model: PathBuf,
    /// The part of the model around its deep feature, for cached steps.
    pub shallow: Option<PathBuf>,
    /// `.npz` with the condition that guidance leads away from.
    pub null_condition: Option<PathBuf>,
    scheduler: PathBuf,
}

/// What a bundle needs for the role `generate` alone.
#[derive(Debug, Deserialize)]
struct Manifest<'a> {
    schema: u16,
    #[serde(borrow)]
    files: Fixed<FileEntry<'a>, { manifest::MAX_FILES }>,
}

impl Generative {
    /// Opens the folder `dir`: by its `bundle.json` if it has one, whose files are all hashed; else it should hold `model.onnx` and
    /// `scheduler_config.json`, as diffusers' users export them, and the contract is the default one.
    ///
    /// # Errors
    /// [`BundleError`] names the file, the field and the reason.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        if Self::is_plain(dir) {
            let contract = Contract::default();
            let (model, scheduler) = (dir.join(MODEL), dir.join(SCHEDULER));
            return Ok(Generative { contract, model, shallow: None, null_condition: None, scheduler });
        }
        Self::open_as(dir, &GENERATE)
    }

    /// Opens the model of these roles in the bundle `dir`.
    pub(super) fn open_as(dir: &Path, roles: &Roles) -> Result<Self, BundleError> {
        let file = dir.join(MANIFEST);
        let text =
            files::read(&file, files::MAX_JSON).map_err(|error| BundleError::Read { file: file.clone(), error })?;
        let fail = |reason| BundleError::Manifest { file: file.clone(), reason };
        let listed: Manifest = manifest::whole(&text).map_err(fail)?;
        if listed.schema != SCHEMA {
            return Err(fail(format!("schema: is {}, this semrx reads {SCHEMA}", listed.schema)));
        }
        let entry = Keys::parse(&text).map_err(|error| fail(error.to_string()))?.text(roles.key);
        let contract = match entry {
            None => Contract::default(),
            Some(entry) => {
                let (contract, unknown) =
                    Contract::read(entry.as_bytes()).map_err(|error| fail(format!("{}: {error}", roles.key)))?;
                for key in &unknown {
                    log::warn!("{}: {}: {key:?} is not a key of a contract: left alone", file.display(), roles.key);
                }
                contract
            }
        };
        let mut files = listed::files(dir, &listed.files)?;
        let mut take = |role| {
            let index = files.iter().position(|file| file.role == role)?;
            Some(files.swap_remove(index).path)
        };
        let needed = |role, file: Option<PathBuf>| file.ok_or(BundleError::Role { dir: dir.to_owned(), role });
        Ok(Generative {
            contract,
            model: needed(roles.model, take(roles.model))?,
            shallow: take(roles.shallow),
            null_condition: take(roles.null_condition),
            scheduler: needed(roles.scheduler, take(roles.scheduler))?,
        })
    }

    /// Whether `dir` is a plain folder with a model to sample, not a bundle.
    pub fn is_plain(dir: &Path) -> bool {
        !dir.join(MANIFEST).is_file() && dir.join(MODEL).is_file()
    }

    /// Reads the scheduler's configuration, and warns of keys that its class doesn't have. `class` is built in the place of the file's
    /// `_class_name`.
    ///
    /// # Errors
    /// [`BundleError`] names the file and the key.
    pub fn scheduler(&self, class: Option<&str>) -> Result<Scheduler, BundleError> {
        let file = &self.scheduler;
        let text =
            files::read(file, files::MAX_JSON).map_err(|error| BundleError::Read { file: file.clone(), error })?;
        scheduler::any(&text, file, class).map_err(|reason| BundleError::Manifest { file: file.clone(), reason })
    }
}
