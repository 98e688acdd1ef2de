//! The files that a manifest lists, checked.

use super::plan_file::sha256;
use super::store::{Content, Store};
use super::{BundleError, FileEntry, MANIFEST};
use crate::engine::Source;
use crate::files;
use crate::scene::rule::MAX_TASK_NAME;
use crate::wire::tokens::MAX_VALUES;
use std::path::{Path, PathBuf};

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    pub role: String,
    /// Of a head that streams ask for by name; empty elsewhere.
    pub name: String,
    /// Where it is in a folder; what names it in errors.
    pub path: PathBuf,
    pub content: Content,
    /// That the manifest gives.
    pub sha256: String,
    /// Values of a head's input `vector`; 0 without one.
    pub vector: usize,
    /// What the values of a head's output `task` are called; empty without one.
    pub tasks: Vec<String>,
}

impl BundleFile {
    /// Its name in the manifest.
    pub(super) fn file_name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The model that it is.
    ///
    /// # Errors
    /// [`BundleError::LeftOut`].
    pub fn source(&self) -> Result<Source, BundleError> {
        match &self.content {
            Content::Whole => Ok(Source::Onnx(self.path.clone())),
            Content::Network(source) => Ok(source.clone()),
            Content::LeftOut => Err(BundleError::LeftOut { file: self.path.clone(), role: self.role.clone() }),
        }
    }

    /// Bytes that are read to load it, as far as it is there.
    pub fn bytes(&self) -> Option<u64> {
        self.source().ok()?.bytes()
    }
}

/// In the manifest's order: all in the store, no role twice but that of heads with names, each with the hash that the manifest gives, as far as a
/// plan file has it whole.
pub(super) fn files(store: &Store, entries: &[FileEntry<'_>]) -> Result<Vec<BundleFile>, BundleError> {
    let field = |reason: String| BundleError::Field { file: store.name_of(MANIFEST), field: "files", reason };
    let mut files: Vec<BundleFile> = Vec::new();
    for entry in entries {
        // A bundle is a folder: nothing in it points outside.
        if Path::new(entry.file).file_name().is_none_or(|name| name != entry.file) {
            return Err(field(format!("{:?} is not the name of a file in the folder", entry.file)));
        }
        if files.iter().any(|file| file.role == entry.role && file.name == entry.name) {
            return Err(field(match entry.name {
                "" => format!("role {:?} is there twice", entry.role),
                name => format!("role {:?} with the name {name:?} is there twice", entry.role),
            }));
        }
        if entry.role != "head" && (!entry.name.is_empty() || entry.vector > 0 || !entry.tasks.is_empty()) {
            return Err(field(format!("{:?}: name, vector and tasks are for the role head", entry.file)));
        }
        let most = MAX_TASK_NAME;
        if let Some(task) = entry.tasks.iter().find(|task| !is_plain_name(task)) {
            return Err(field(format!(
                "{:?}: the task {task:?} is not 1 to {most} of a-z, 0-9, '_' and '.'",
                entry.file
            )));
        }
        if let Some((_, task)) = entry.tasks.iter().enumerate().find(|(at, task)| entry.tasks[..*at].contains(task)) {
            return Err(field(format!("{:?}: the task {task:?} is there twice", entry.file)));
        }
        if !entry.name.is_empty() && !is_plain_name(entry.name) {
            let name = entry.name;
            return Err(field(format!(
                "{:?}: the name {name:?} is not 1 to {most} of a-z, 0-9, '_' and '.'",
                entry.file
            )));
        }
        if usize::from(entry.vector) > MAX_VALUES {
            return Err(field(format!("{:?}: vector is {}, {MAX_VALUES} are the most", entry.file, entry.vector)));
        }
        if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(field(format!("the sha256 of {:?} is not 64 hexadecimal digits", entry.file)));
        }
        let (path, content) = (store.name_of(entry.file), store.content(entry.file));
        if content == Content::Whole {
            let hash = sha256(&store.read(entry.file, files::MAX_MODEL)?);
            if !hash.eq_ignore_ascii_case(entry.sha256) {
                return Err(BundleError::Hash { file: path, role: entry.role.into() });
            }
        }
        files.push(BundleFile {
            role: entry.role.to_owned(),
            name: entry.name.to_owned(),
            path,
            content,
            sha256: entry.sha256.to_ascii_lowercase(),
            vector: entry.vector.into(),
            tasks: entry.tasks.iter().map(|task| task.to_string()).collect(),
        });
    }
    Ok(files)
}

fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
    (1..=MAX_TASK_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}
