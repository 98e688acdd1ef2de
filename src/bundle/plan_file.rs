//! A plan file: a bundle compiled into one file, its networks ready to be lowered on the machine that runs them. `docs/plan.md` has the layout.

use super::{BundleError, MANIFEST};
use crate::files;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The first bytes of a plan file; the last of them is the version.
pub const MAGIC: [u8; 8] = *b"semrxpl1";
/// Most bytes of a plan file.
const MAX_BYTES: u64 = 256 << 20;
/// Most entries: the manifest, and what it lists.
const MAX_ENTRIES: usize = 1 + super::manifest::MAX_FILES;
const HASH_BYTES: usize = 32;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file as it is.
    Whole = 0,
    /// The network of an ONNX file.
    Network = 1,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of the bundle's file.
    pub name: String,
    pub kind: Kind,
    /// Where it begins.
    pub at: u64,
    pub bytes: u64,
}

/// A plan file whose parts are where it says, and whose hash is right.
#[derive(Debug, Clone)]
pub struct PlanFile {
    path: PathBuf,
    sha256: String,
    entries: Vec<Entry>,
}

impl PlanFile {
    /// Whether `path` is a file that begins as a plan file does.
    pub fn is_one(path: &Path) -> bool {
        let mut magic = [0; MAGIC.len()];
        let read = path.is_file().then(|| File::open(path).and_then(|mut file| file.read_exact(&mut magic)));
        // Of whatever version.
        matches!(read, Some(Ok(()))) && magic[..7] == MAGIC[..7]
    }

    /// Reads the file's whole length, for its hash, and keeps where its parts are.
    ///
    /// # Errors
    /// [`BundleError`] names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let unread = |error| BundleError::Read { file: path.to_owned(), error };
        let fail = |reason: String| BundleError::Plan { file: path.to_owned(), reason };
        let file = files::open(path, MAX_BYTES).map_err(unread)?;
        let mut from = Hashed { file, sha256: Sha256::new(), at: 0 };
        let ends = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => fail("it ends too early".into()),
            _ => unread(error),
        };
        let magic: [u8; MAGIC.len()] = from.unhashed().map_err(ends)?;
        if magic[..7] != MAGIC[..7] {
            return Err(fail("it does not begin as one".into()));
        }
        if magic != MAGIC {
            return Err(fail(format!(
                "its version is {:?}, this semrx reads {:?}",
                magic[7] as char, MAGIC[7] as char
            )));
        }
        let told: [u8; HASH_BYTES] = from.unhashed().map_err(ends)?;
        let [count] = from.array().map_err(ends)?;
        if !(1..=MAX_ENTRIES).contains(&usize::from(count)) {
            return Err(fail(format!("{count} entries, 1 to {MAX_ENTRIES} are right")));
        }
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..count {
            let [kind, len] = from.array().map_err(ends)?;
            let mut name = vec![0; len.into()];
            from.read(&mut name).map_err(ends)?;
            let name = String::from_utf8(name).map_err(|_| fail("the name of an entry is not UTF-8".into()))?;
            let bytes = u64::from(u32::from_le_bytes(from.array().map_err(ends)?));
            let kind = match kind {
                0 => Kind::Whole,
                1 => Kind::Network,
                other => return Err(fail(format!("entry {name:?} is of the unknown kind {other}"))),
            };
            if entries.iter().any(|entry| entry.name == name) {
                return Err(fail(format!("entry {name:?} is there twice")));
            }
            entries.push(Entry { name, kind, at: from.at, bytes });
            from.skip(bytes).map_err(ends)?;
        }
        if from.file.read(&mut [0]).map_err(unread)? != 0 {
            return Err(fail("something follows its last entry".into()));
        }
        let sha256 = from.sha256.finalize();
        if sha256[..] != told {
            return Err(fail("its sha256 is not the one that it gives: it is damaged".into()));
        }
        if entries[0].name != MANIFEST || entries[0].kind != Kind::Whole {
            return Err(fail(format!("its first entry is {:?} and not {MANIFEST}", entries[0].name)));
        }
        Ok(PlanFile { path: path.to_owned(), sha256: hex(&sha256), entries })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of what stands behind it in the file: the same bundle compiled by the same version has the same.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The manifest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The bytes of an entry of at most `limit`.
    ///
    /// # Errors
    /// [`BundleError::Read`].
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, BundleError> {
        let file = self.path.join(&entry.name);
        if entry.bytes > limit {
            let reason = format!("has {} bytes, {limit} are the most that are read", entry.bytes);
            return Err(BundleError::Read { file, error: io::Error::new(io::ErrorKind::InvalidInput, reason) });
        }
        files::read_part(&self.path, entry.at, entry.bytes).map_err(|error| BundleError::Read { file, error })
    }
}

/// The bytes of a plan file with these entries, the manifest first.
///
/// # Errors
/// An entry whose name or bytes are too long, or more than there can be.
#[cfg(feature = "onnx")]
pub fn bytes(entries: &[(String, Kind, Vec<u8>)]) -> Result<Vec<u8>, String> {
    if entries.len() > MAX_ENTRIES {
        return Err(format!("{} entries, {MAX_ENTRIES} are the most", entries.len()));
    }
    let mut parts = vec![entries.len() as u8];
    for (name, kind, content) in entries {
        let len = u8::try_from(name.len()).map_err(|_| format!("the name {name:?} is longer than 255 bytes"))?;
        let bytes = u32::try_from(content.len()).map_err(|_| format!("{name:?} is too large"))?;
        parts.extend([*kind as u8, len]);
        parts.extend_from_slice(name.as_bytes());
        parts.extend(bytes.to_le_bytes());
        parts.extend_from_slice(content);
    }
    if (MAGIC.len() + HASH_BYTES + parts.len()) as u64 > MAX_BYTES {
        return Err(format!("it would have more than {MAX_BYTES} bytes"));
    }
    Ok([&MAGIC[..], &Sha256::digest(&parts)[..], &parts].concat())
}

/// The SHA-256 of a file's bytes, as a manifest says it: lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is hashed as it is read.
struct Hashed {
    file: File,
    sha256: Sha256,
    at: u64,
}

impl Hashed {
    fn unhashed<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array)?;
        self.at += N as u64;
        Ok(array)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(to)?;
        self.sha256.update(&*to);
        self.at += to.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.read(&mut array)?;
        Ok(array)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            self.read(&mut buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    }
}
