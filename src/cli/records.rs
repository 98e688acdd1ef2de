//! Records on their way to a file or to standard output.

use super::exit::Failure;
use semrx::link::Address;
use semrx::report::record::{MAX_LEN, Record};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::{Path, PathBuf};

/// A file of records, a line each; what stands in it is whole lines, whatever happens.
pub struct RecordFile {
    path: PathBuf,
    /// `None` after a write that failed, or without room at the start: it is opened again, for a medium that went may have come back, or another
    /// stand in its place.
    file: Option<File>,
    /// What stands in it goes with the first record.
    begins: bool,
    records: u64,
}

impl RecordFile {
    /// Checks that `path` can be written, and is none of those that frames come `from`. What stands in it goes with the first record.
    pub fn create<'a>(path: &Path, from: impl IntoIterator<Item = &'a Address>) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Err(Failure::usage("--record -: records go to standard output with --json"));
        }
        let file = open(path).map_err(|error| Failure::failed(format!("--record {}: {error}", path.display())))?;
        let is_path = |from: &Address| match from {
            Address::File(source) => source.canonicalize().ok() == path.canonicalize().ok(),
            _ => false,
        };
        match from.into_iter().any(is_path) {
            true => Err(Failure::usage(format!("--record {}: is the capture that is read", path.display()))),
            false => Ok(RecordFile { path: path.to_owned(), file: Some(file), begins: true, records: 0 }),
        }
    }

    /// For records that follow those that are there: what a power cut has left behind the last whole line is cut off. A disk without room is no error yet.
    pub fn append(path: &Path) -> Result<Self, Failure> {
        let file = match open_mended(path) {
            Ok(file) => Some(file),
            Err(error) if has_no_room(&error) => None,
            Err(error) => return Err(Failure::failed(format!("record: {}: {error}", path.display()))),
        };
        Ok(RecordFile { path: path.to_owned(), file, begins: false, records: 0 })
    }

    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let line = line(record)?;
        if let Err(error) = self.put(&line) {
            self.file = None;
            let after = format!("{}, after {} records", self.path.display(), self.records);
            return Err(Failure::failed(format!("{after}: {error}; free some space or give another --record")));
        }
        self.records += 1;
        Ok(())
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            // To open it would wait for a reader, and the work loop with it.
            None if is_pipe(&self.path) => return Err(io::ErrorKind::BrokenPipe.into()),
            None => open_mended(&self.path)?,
        };
        if mem::replace(&mut self.begins, false) {
            // A device can't be cut, and needs not to be.
            let _ = file.set_len(0);
        }
        // Asked each time: whoever rotates logs cuts the file meanwhile.
        let before = file.metadata()?.len();
        let written = file.write_all(line);
        if written.is_err() {
            // Half a line is no record.
            let _ = file.set_len(before);
        }
        self.file = Some(file);
        written
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|about| about.file_type().is_fifo())
}

fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// Opens it without what is no whole record.
fn open_mended(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let about = file.metadata()?;
    if about.is_file() && about.len() > 0 {
        let torn = cut(path, about.len())?;
        if torn > 0 {
            log::warn!("{}: {torn} bytes behind the last whole record are cut off", path.display());
        }
    }
    Ok(file)
}

/// Bytes that are looked at together, more than a record has.
const WINDOW: u64 = 1 << 16;

/// Cuts off what of a file of `len` bytes follows the last line that is whole, and says how many bytes that was. A power cut leaves a part of a line, or
/// NULs. A file that begins otherwise is somebody else's.
fn cut(path: &Path, len: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut first = [0];
    file.read_exact(&mut first)?;
    if !matches!(first, [b'{' | 0]) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is there, and is no file of records: give another"));
    }
    let mut end = len;
    let mut window = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(WINDOW);
        window.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut window)?;
        let Some(newline) = window.iter().rposition(|&byte| byte == b'\n') else {
            end = start;
            continue;
        };
        let line = window[..newline].rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        if !line.contains(&0) {
            end = start + newline as u64 + 1;
            break;
        }
        end = start + (newline - line.len()) as u64;
    }
    if end < len {
        file.set_len(end)?;
    }
    Ok(len - end)
}

/// The record as a line of JSON, its end included.
pub fn line(record: &Record<'_>) -> Result<Vec<u8>, Failure> {
    let mut buffer = [0; MAX_LEN];
    let len = record.emit(&mut buffer).map_err(|_| Failure::failed("a record is longer than records may be"))?;
    let mut line = buffer[..len].to_vec();
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_power_cut_leaves_is_cut_off() {
        let path = std::env::temp_dir().join(format!("semrx-mend-{}", std::process::id()));
        let long = "x".repeat(3 * WINDOW as usize);
        for (left, whole) in [
            ("", ""),
            ("{}\n", "{}\n"),
            ("{}\n{\"sche", "{}\n"),
            ("{}\n{}\n\0\0\0\0", "{}\n{}\n"),
            ("{}\n\0\0{}\n{", "{}\n"),
            ("\0\0\n", ""),
            ("{half", ""),
            (&format!("{{}}\n{long}"), "{}\n"),
            (&format!("{{}}\n{}", "\0".repeat(2 * WINDOW as usize + 1)), "{}\n"),
        ] {
            std::fs::write(&path, left).unwrap();
            let cut = if left.is_empty() { 0 } else { cut(&path, left.len() as u64).unwrap() };
            let there = std::fs::read_to_string(&path).unwrap();
            assert_eq!((there.as_str(), cut), (whole, (left.len() - whole.len()) as u64));
        }
        std::fs::write(&path, "a letter").unwrap();
        assert!(RecordFile::append(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
        let _ = std::fs::remove_file(&path);
    }
}
