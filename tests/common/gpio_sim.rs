//! A chip of Linux's gpio-sim, set up through configfs.

use semrx::board::pins::Config;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";
pub const HAZARD: usize = 1;
pub const MODE: usize = 4;

/// Eight lines, gone when this is.
pub struct Sim {
    folder: PathBuf,
    lines: PathBuf,
    chip: String,
}

impl Sim {
    /// # Errors
    /// Why there can be none here, in words.
    pub fn new() -> Result<Self, String> {
        if !Path::new(CONFIGFS).exists() {
            // Where it is built in, or can't be loaded, the folder says.
            let _ = Command::new("modprobe").arg("gpio-sim").stderr(Stdio::null()).status();
        }
        if !Path::new(CONFIGFS).exists() {
            return Err(format!("this kernel has no gpio-sim, or nobody may load it: no {CONFIGFS}"));
        }
        let folder = Path::new(CONFIGFS).join(format!("semrx-{}", std::process::id()));
        Self::live(&folder).map_err(|error| format!("{}: {error}", folder.display()))
    }

    fn live(folder: &Path) -> io::Result<Self> {
        let bank = folder.join("bank");
        fs::create_dir(folder)?;
        fs::create_dir(&bank)?;
        fs::write(bank.join("num_lines"), "8")?;
        fs::write(folder.join("live"), "1")?;
        let read = |file: PathBuf| fs::read_to_string(file).map(|text| text.trim().to_owned());
        let (device, chip) = (read(folder.join("dev_name"))?, read(bank.join("chip_name"))?);
        let lines = Path::new("/sys/devices/platform").join(device).join(&chip);
        Ok(Sim { folder: folder.into(), lines, chip })
    }

    pub fn chip(&self) -> PathBuf {
        Path::new("/dev").join(&self.chip)
    }

    /// Of hazard, heartbeat and fault.
    pub fn levels(&self) -> [u8; 3] {
        [HAZARD, 2, 3].map(|line| {
            let file = self.lines.join(format!("sim_gpio{line}/value"));
            fs::read_to_string(file).unwrap().trim().parse().unwrap()
        })
    }

    /// The resistor at a line.
    pub fn pull(&self, line: usize, is_up: bool) {
        let file = self.lines.join(format!("sim_gpio{line}/pull"));
        fs::write(file, if is_up { "pull-up" } else { "pull-down" }).unwrap();
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("live"), "0");
        let _ = fs::remove_dir(self.folder.join("bank"));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// All four pins, fail-safe once the loop was silent for `starve`.
pub fn config(chip: &Path, starve: Duration) -> Config {
    let pins = format!(
        r#"{{"hazard": {{"line": {HAZARD}}}, "heartbeat": {{"line": 2}}, "fault": {{"line": 3, "active": "low"}},
            "mode": {{"line": {MODE}, "active": "low"}}, "starve_ms": {}, "stale_ms": 3600000}}"#,
        starve.as_millis()
    );
    with(chip, &pins)
}

/// Pins of `text`, on this chip.
pub fn with(chip: &Path, text: &str) -> Config {
    Config { chip: Some(chip.into()), ..Config::parse(text.as_bytes(), || Err("no header".into())).unwrap() }
}
