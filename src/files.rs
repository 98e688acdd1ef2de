//! Files that come from elsewhere, read whole and within bounds.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// Most bytes of a JSON file. Its parser descends into what it skips, so depth is bounded by size.
pub const MAX_JSON: u64 = 64 << 10;
/// Most bytes of a model; half as many where that is all that one allocation can have.
pub const MAX_MODEL: u64 = if usize::BITS < 64 { 1 << 30 } else { 2 << 30 };

/// Opens a regular file of at most `limit` bytes.
///
/// # Errors
/// What the file system says; `InvalidInput` for a folder, a device or a pipe, and for a file above `limit`.
pub fn open(path: &Path, limit: u64) -> io::Result<File> {
    let told = std::fs::metadata(path)?;
    let refused = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !told.is_file() {
        return refused("is not a regular file".into());
    }
    if told.len() > limit {
        return refused(format!("has {} bytes, {limit} are the most that are read", told.len()));
    }
    File::open(path)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path, limit)?;
    // One more than it says: then the end is seen without more room.
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(limit) as usize + 1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads `len` bytes of a regular file, from byte `at` on.
///
/// # Errors
/// As [`open`]; `UnexpectedEof` for a file that has become shorter.
pub fn read_part(path: &Path, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path, MAX_MODEL)?;
    if file.metadata()?.len() < at.saturating_add(len) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "has become shorter while it was read"));
    }
    file.seek(io::SeekFrom::Start(at))?;
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The files of `dir` with one of these extensions, in the order of their names.
///
/// # Errors
/// What the file system says.
pub fn with_extensions(dir: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_one = |of: &std::ffi::OsStr| extensions.iter().any(|extension| of.eq_ignore_ascii_case(extension));
        if path.extension().is_some_and(is_one) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Keeps the files whose names begin with `prefix`, as those of one recording do.
pub fn keep_beginning(files: &mut Vec<PathBuf>, prefix: &str) {
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit() {
        let path = std::env::temp_dir().join(format!("semrx-files-{}", std::process::id()));
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("5 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&std::env::temp_dir(), 9).unwrap_err().to_string().contains("regular"));
        assert!(read(&path, 9).is_err());
    }
}
