//! Pins that are files, for a desk without a board: each holds `0` or `1`, and has its line's number as its name.

use super::{Chip, Input, InputLine, Output, OutputLine, PinsError};
use embedded_hal::digital::{Error, ErrorKind, ErrorType, InputPin, OutputPin};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A folder with a file for each line.
pub(super) struct Files(PathBuf);

impl Files {
    /// `folder` has to be there.
    ///
    /// # Errors
    /// [`PinsError::Backend`] without one.
    pub fn open(folder: Option<&Path>) -> Result<Self, PinsError> {
        let missing =
            || PinsError::Backend { reason: "backend \"files\" needs \"chip\": the folder for the files".into() };
        folder.map(|folder| Files(folder.to_owned())).ok_or_else(missing)
    }

    fn pin(&self, line: u32) -> FilePin {
        FilePin(self.0.join(line.to_string()))
    }
}

impl Chip for Files {
    fn output(&self, pin: &'static str, line: OutputLine, is_asserted: bool) -> Result<Output, PinsError> {
        let OutputLine { line, active } = line;
        let failed =
            |FileError(reason)| PinsError::Line { pin, line, reason: format!("{}: {reason}", self.0.display()) };
        let mut file = self.pin(line);
        file.set_state(active.state(is_asserted)).map_err(failed)?;
        Ok(Output::new(file, active))
    }

    fn input(&self, _: &'static str, line: InputLine) -> Result<Input, PinsError> {
        Ok(Input::new(self.pin(line.line), line.active))
    }
}

struct FilePin(PathBuf);

#[derive(Debug)]
struct FileError(io::Error);

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        FileError(error)
    }
}

impl Error for FileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for FilePin {
    type Error = FileError;
}

impl FilePin {
    /// Over what stands there, so that a reader sees one level or the other.
    fn put(&mut self, level: &[u8]) -> Result<(), FileError> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&self.0)?;
        Ok(file.write_all(level)?)
    }
}

impl OutputPin for FilePin {
    fn set_low(&mut self) -> Result<(), FileError> {
        self.put(b"0\n")
    }

    fn set_high(&mut self) -> Result<(), FileError> {
        self.put(b"1\n")
    }
}

impl InputPin for FilePin {
    fn is_high(&mut self) -> Result<bool, FileError> {
        let mut level = [0];
        File::open(&self.0)?.read_exact(&mut level)?;
        match level {
            [b'0'] => Ok(false),
            [b'1'] => Ok(true),
            _ => Err(FileError(io::Error::new(io::ErrorKind::InvalidData, "should hold 0 or 1"))),
        }
    }

    fn is_low(&mut self) -> Result<bool, FileError> {
        self.is_high().map(|is_high| !is_high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::pins::{Active, Config, Pins};

    #[test]
    fn levels_are_in_files_named_by_their_lines() {
        let folder = std::env::temp_dir().join(format!("semrx-pins-{}", std::process::id()));
        let config = |mode: &str| {
            let chip = folder.display().to_string();
            let text = format!(
                r#"{{"backend": "files", "chip": {chip:?}, "hazard": {{"line": 17, "active": "low"}}, "fault": {{"line": 22}}{mode}}}"#
            );
            Config::parse(text.as_bytes(), || Err("no header".into())).unwrap()
        };
        assert!(matches!(Pins::open(&config("")), Err(PinsError::Line { pin: "hazard", line: 17, .. })));
        std::fs::create_dir_all(&folder).unwrap();
        let level = |line: &str| std::fs::read_to_string(folder.join(line)).unwrap();
        let pins = Pins::open(&config(r#", "mode": {"line": 5}"#)).unwrap();
        assert_eq!((level("17").as_str(), level("22").as_str()), ("0\n", "1\n"));
        assert!(pins.is_mode_held(), "an input that can't be read counts as held");
        std::fs::write(folder.join("5"), "0\n").unwrap();
        assert!(!pins.is_mode_held());
        drop(pins);
        let nowhere = Config { chip: None, ..config("") };
        assert!(matches!(Pins::open(&nowhere), Err(PinsError::Backend { .. })));
        assert_eq!(config("").hazard.unwrap().active, Active::Low);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
