//! The files that a manifest lists, checked.

use super::{BundleError, FileEntry, MANIFEST};
use crate::files;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Roles with their files, in the manifest's order: all in the folder `dir`, no role twice, each with the hash that the manifest gives.
pub(super) fn files(dir: &Path, entries: &[FileEntry<'_>]) -> Result<Vec<(String, PathBuf)>, BundleError> {
    let field = |reason: String| BundleError::Field { file: dir.join(MANIFEST), field: "files", reason };
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for entry in entries {
        // A bundle is a folder: nothing in it points outside.
        if Path::new(entry.file).file_name().is_none_or(|name| name != entry.file) {
            return Err(field(format!("{:?} is not the name of a file in the folder", entry.file)));
        }
        if files.iter().any(|(role, _)| role == entry.role) {
            return Err(field(format!("role {:?} is there twice", entry.role)));
        }
        if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(field(format!("the sha256 of {:?} is not 64 hexadecimal digits", entry.file)));
        }
        let file = dir.join(entry.file);
        let bytes =
            files::read(&file, files::MAX_MODEL).map_err(|error| BundleError::Read { file: file.clone(), error })?;
        let hash = sha256(&bytes);
        if !hash.eq_ignore_ascii_case(entry.sha256) {
            return Err(BundleError::Hash { file, role: entry.role.into() });
        }
        files.push((entry.role.to_owned(), file));
    }
    Ok(files)
}

/// The SHA-256 of a file's bytes, as a manifest says it: lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
