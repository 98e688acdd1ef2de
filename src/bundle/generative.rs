//! A model that was exported elsewhere, with what says how to sample it: a bundle with the role `generate`, or a plain folder.

use super::store::{Content, Store};
use super::{BundleError, BundleFile, Contract, FileEntry, MANIFEST, SCHEMA, listed, manifest, scheduler};
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
        let store = Store::Folder(dir.to_owned());
        let (file, text) = (store.name_of(MANIFEST), store.manifest()?);
        let fail = |reason| BundleError::Manifest { file: file.clone(), reason };
        let listed: Manifest = manifest::whole(&text).map_err(fail)?;
        if listed.schema != SCHEMA {
            return Err(fail(format!("schema: is {}, this semrx reads {SCHEMA}", listed.schema)));
        }
        Self::of(dir, &text, &GENERATE, &listed::files(&store, &listed.files)?)
    }

    /// The model of these roles in the bundle `dir`, by the `text` of its manifest, among its files, which are checked already.
    pub(super) fn of(dir: &Path, text: &[u8], roles: &Roles, files: &[BundleFile]) -> Result<Self, BundleError> {
        let file = dir.join(MANIFEST);
        let fail = |reason| BundleError::Manifest { file: file.clone(), reason };
        let entry = Keys::parse(text).map_err(|error| fail(error.to_string()))?.text(roles.key);
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
        if let Some(file) = files.iter().find(|file| file.role == roles.model && file.content != Content::Whole) {
            return Err(BundleError::LeftOut { file: file.path.clone(), role: file.role.clone() });
        }
        let find = |role| files.iter().find(|file| file.role == role).map(|file| file.path.clone());
        let needed = |role| find(role).ok_or(BundleError::Role { dir: dir.to_owned(), role });
        Ok(Generative {
            contract,
            model: needed(roles.model)?,
            shallow: find(roles.shallow),
            null_condition: find(roles.null_condition),
            scheduler: needed(roles.scheduler)?,
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
