//! The bundle.json of a bundle whose networks are quantized.

use crate::{QuantizeError, whole, writable};
use semrx::bundle::{MANIFEST, sha256};
use semrx::files;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Roles of networks that are quantized.
const NETWORKS: [&str; 5] = ["head", "restore", "restore_shallow", "generate", "generate_shallow"];

/// A file that the manifest lists.
#[derive(Debug)]
struct Listed {
    /// Its role; of a head with a name both, as `head NAME`.
    id: String,
    role: String,
    file: String,
    /// Takes a feature vector, of which label maps have none: not quantized.
    takes_vector: bool,
    /// As it stands in the file.
    entry: Value,
}

/// A bundle's files by their roles.
#[derive(Debug)]
pub struct Manifest {
    bundle: PathBuf,
    whole: Value,
    files: Vec<Listed>,
}

impl Manifest {
    /// # Errors
    /// [`QuantizeError::Model`] where it is no manifest, or lists no network.
    pub fn read(bundle: &Path) -> Result<Self, QuantizeError> {
        let file = bundle.join(MANIFEST);
        let refuse = |reason: String| QuantizeError::Model { file: file.clone(), reason };
        let text =
            files::read(&file, files::MAX_JSON).map_err(|error| QuantizeError::File { file: file.clone(), error })?;
        let whole: Value = serde_json::from_slice(&text).map_err(|error| refuse(format!("is no JSON: {error}")))?;
        let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let entries = whole.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let listed = |entry: &Value| {
            let (role, file) = (text(entry, "role")?, text(entry, "file")?);
            let id = text(entry, "name").map_or_else(|| role.clone(), |name| format!("{role} {name}"));
            let takes_vector = entry.get("vector").and_then(Value::as_u64).unwrap_or(0) > 0;
            Some(Listed { id, role, file, takes_vector, entry: entry.clone() })
        };
        let files: Option<Vec<_>> = entries.iter().map(listed).collect();
        let files = files.ok_or_else(|| refuse("files: each has a role and a file".into()))?;
        // A name alone: what is written stays in the folder.
        if let Some(Listed { id, file, .. }) =
            files.iter().find(|listed| Path::new(&listed.file).components().count() != 1)
        {
            return Err(refuse(format!("files: {id} is {file:?}, which is not the name of a file beside it")));
        }
        let manifest = Manifest { bundle: bundle.to_owned(), whole, files };
        match manifest.networks().is_empty() {
            true => Err(refuse(format!("lists no network: none of the roles {}", NETWORKS.join(", ")))),
            false => Ok(manifest),
        }
    }

    /// The networks that are quantized: by their role, of a head with a name by both, and where they are.
    pub fn networks(&self) -> Vec<(String, PathBuf)> {
        let is_one = |listed: &&Listed| NETWORKS.contains(&listed.role.as_str()) && !listed.takes_vector;
        self.files.iter().filter(is_one).map(|listed| (listed.id.clone(), self.bundle.join(&listed.file))).collect()
    }

    /// Makes `folder`, and says whether all files of the bundle can be written to it.
    ///
    /// # Errors
    /// [`QuantizeError::Write`].
    pub fn prepare(&self, folder: &Path) -> Result<(), QuantizeError> {
        let failed = |error| QuantizeError::Write { file: folder.to_owned(), error };
        if folder.exists() && !folder.is_dir() {
            return Err(failed(io::Error::new(io::ErrorKind::NotADirectory, "is a file: a bundle is a folder")));
        }
        fs::create_dir_all(folder).map_err(failed)?;
        let names = self.files.iter().map(|listed| listed.file.as_str()).chain([MANIFEST]);
        names.map(|name| folder.join(name)).try_for_each(|file| writable(&file))
    }

    /// Writes the bundle to `folder`, with other bytes for some roles, and the name of the folder. A model card that is there stays.
    ///
    /// # Errors
    /// [`QuantizeError`] names the file. The manifest is written last: a bundle that was cut off is refused when it is opened.
    pub fn write(&self, folder: &Path, networks: &[(&str, &[u8])]) -> Result<(), QuantizeError> {
        self.prepare(folder)?;
        let mut manifest = self.whole.clone();
        let mut listed = Vec::new();
        for Listed { id, role, file: name, entry, .. } in &self.files {
            let (from, to) = (self.bundle.join(name), folder.join(name));
            let bytes = match networks.iter().find(|(own, _)| own == id) {
                Some((_, bytes)) => bytes.to_vec(),
                None => {
                    let from = if role == "card" && to.is_file() { &to } else { &from };
                    files::read(from, files::MAX_MODEL)
                        .map_err(|error| QuantizeError::File { file: from.clone(), error })?
                }
            };
            whole(&to, &bytes)?;
            let mut entry = entry.clone();
            entry["sha256"] = sha256(&bytes).into();
            listed.push(entry);
        }
        manifest["files"] = listed.into();
        if let Some(name) = folder.file_name() {
            manifest["name"] = name.to_string_lossy().into();
        }
        whole(&folder.join(MANIFEST), format!("{manifest:#}\n").as_bytes())
    }
}
