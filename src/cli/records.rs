//! Records on their way to a file or to standard output.

use super::exit::Failure;
use semrx::link::Address;
use semrx::report::record::{MAX_LEN, Record};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of records, a line each; what stands in it is whole lines, whatever happens.
pub struct RecordFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    records: u64,
}

impl RecordFile {
    /// Checks that `path` can be written, and is none of those that frames come `from`. What stands in it goes with the first record.
    pub fn create<'a>(path: &Path, from: impl IntoIterator<Item = &'a Address>) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Err(Failure::usage("--record -: records go to standard output with --json"));
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| Failure::failed(format!("--record {}: {error}", path.display())))?;
        let is_path = |from: &Address| match from {
            Address::File(source) => source.canonicalize().ok() == path.canonicalize().ok(),
            _ => false,
        };
        match from.into_iter().any(is_path) {
            true => Err(Failure::usage(format!("--record {}: is the capture that is read", path.display()))),
            false => Ok(RecordFile { path: path.to_owned(), file, bytes: 0, records: 0 }),
        }
    }

    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let line = line(record)?;
        if self.records == 0 {
            // A device can't be cut, and needs not to be.
            let _ = self.file.set_len(0);
        }
        if let Err(error) = self.file.write_all(&line) {
            // Half a line is no record.
            let _ = self.file.set_len(self.bytes);
            let after = format!("{}, after {} records", self.path.display(), self.records);
            return Err(Failure::failed(format!("{after}: {error}; free some space or give another --record")));
        }
        self.bytes += line.len() as u64;
        self.records += 1;
        Ok(())
    }
}

/// The record as a line of JSON, its end included.
pub fn line(record: &Record<'_>) -> Result<Vec<u8>, Failure> {
    let mut buffer = [0; MAX_LEN];
    let len = record.emit(&mut buffer).map_err(|_| Failure::failed("a record is longer than records may be"))?;
    let mut line = buffer[..len].to_vec();
    line.push(b'\n');
    Ok(line)
}
