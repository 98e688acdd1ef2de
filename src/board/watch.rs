//! How many sampler steps the board can bear: looked at while it runs.
//!
//! Heat, memory and lateness take steps away, half of them at a time, until none is left and the head decides alone; calm gives them back, more
//! slowly, and only once it is well below the limit.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Looks between two steps down, so that the first one can show.
const SETTLE: u32 = 3;
/// Calm looks before a step up.
const CALM: u32 = 30;
/// Hot where nothing else is said: a Raspberry Pi slows itself down from 80 °C on.
const HOT_MILLICELSIUS: i32 = 78_000;
/// So far below its limit the temperature is calm, in thousandths of a degree.
const COOLER_MILLICELSIUS: i32 = 5_000;
/// Of this share of its limit, in hundredths, memory is calm below.
const SMALLER_PERCENT: u64 = 95;
/// One frame of so many may be late before it counts.
const LATE_SHARE: u32 = 8;

/// What is watched, and how closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A file with the temperature in thousandths of a degree Celsius, as Linux has them: `/sys/class/thermal/thermal_zone0/temp`.
    pub thermal_zone: Option<PathBuf>,
    /// From this temperature on steps are taken away, in thousandths of a degree Celsius; from 78 °C on, if `None`.
    pub hot_millicelsius: Option<i32>,
    /// From this much resident memory on steps are taken away.
    pub rss_bytes: Option<u64>,
    /// Where the process's memory stands: `/proc/self/status`.
    pub status: PathBuf,
    /// Time between two looks.
    pub period: Duration,
}

impl Default for Limits {
    /// Nothing but lateness, every second.
    fn default() -> Self {
        Limits {
            thermal_zone: None,
            hot_millicelsius: None,
            rss_bytes: None,
            status: "/proc/self/status".into(),
            period: Duration::from_secs(1),
        }
    }
}

/// Why the board can't be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchError {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for WatchError {}

/// Where a quantity stands beside its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Calm,
    /// Between both: all stays as it is.
    Near,
    High,
}

/// Looks at the board from time to time, and says how many sampler steps are allowed.
#[derive(Debug, Clone)]
pub struct Watch {
    limits: Limits,
    /// Steps of the deepest refinement that is configured.
    most: u16,
    allowed: u16,
    looked: Option<Instant>,
    /// Looks since the number of steps changed, and calm ones in a row.
    since: u32,
    calm: u32,
    /// Frames since the last look, and those among them that were late or nearly so.
    frames: u32,
    strained: u32,
    temperature_millicelsius: Option<i32>,
    rss_bytes: Option<u64>,
    /// A look asked for less, and none was calm since.
    is_strained: bool,
    /// A file could not be read the last time.
    is_blind: bool,
}

impl Watch {
    /// For refinements of `most` steps.
    ///
    /// # Errors
    /// [`WatchError`]: what is to be watched can't be read.
    pub fn new(limits: Limits, most: u16) -> Result<Self, WatchError> {
        let mut watch = Watch { limits, most, allowed: most, looked: None, since: SETTLE, ..Watch::off() };
        watch.read()?;
        Ok(watch)
    }

    /// Watches nothing, and takes nothing away.
    pub fn off() -> Self {
        Watch {
            limits: Limits { period: Duration::MAX, ..Limits::default() },
            most: u16::MAX,
            allowed: u16::MAX,
            looked: Some(Instant::now()),
            since: 0,
            calm: 0,
            frames: 0,
            strained: 0,
            temperature_millicelsius: None,
            rss_bytes: None,
            is_strained: false,
            is_blind: false,
        }
    }

    /// Sampler steps that a refinement may take now; 0: nothing is generated.
    pub fn steps(&self) -> u16 {
        self.allowed
    }

    /// Fewer steps are allowed than are configured.
    pub fn is_throttled(&self) -> bool {
        self.allowed < self.most
    }

    /// Heat, memory or lateness have asked for less since the last calm look, and nothing is left that could be taken away.
    pub fn is_spent(&self) -> bool {
        self.is_strained && self.allowed == 0
    }

    /// In thousandths of a degree Celsius, as it was looked at last.
    pub fn temperature_millicelsius(&self) -> Option<i32> {
        self.temperature_millicelsius
    }

    /// Resident memory, as it was looked at last.
    pub fn rss_bytes(&self) -> Option<u64> {
        self.rss_bytes
    }

    /// So many frames were due, and so many of them were late or nearly so.
    pub fn count(&mut self, frames: u32, strained: u32) {
        self.frames = self.frames.saturating_add(frames);
        self.strained = self.strained.saturating_add(strained);
    }

    /// Looks at the board, once its period is over. `true` where another number of steps is allowed from now on.
    pub fn look(&mut self, now: Instant) -> bool {
        let is_due = self.looked.is_none_or(|looked| now.duration_since(looked) >= self.limits.period);
        if !is_due {
            return false;
        }
        self.looked = Some(now);
        let level = match self.read() {
            Ok(level) => {
                self.is_blind = false;
                level
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    log::warn!("{error}; as many sampler steps as before are taken until it can be read");
                }
                Level::Near
            }
        };
        let late = self.lateness();
        (self.frames, self.strained) = (0, 0);
        self.follow(level.max(late))
    }

    fn lateness(&self) -> Level {
        match self.strained {
            0 => Level::Calm,
            late if late > 1 && late * LATE_SHARE >= self.frames => Level::High,
            _ => Level::Near,
        }
    }

    fn follow(&mut self, level: Level) -> bool {
        let before = self.allowed;
        self.is_strained = level == Level::High || self.is_strained && level == Level::Near;
        self.since = self.since.saturating_add(1);
        self.calm = if level == Level::Calm { self.calm + 1 } else { 0 };
        if level == Level::High && self.since > SETTLE {
            self.allowed /= 2;
        } else if self.calm >= CALM {
            self.allowed = (self.allowed * 2).clamp(1, self.most.max(1)).min(self.most);
            self.calm = 0;
        }
        if self.allowed != before {
            self.since = 0;
        }
        self.allowed != before
    }

    /// The worse of heat and memory.
    fn read(&mut self) -> Result<Level, WatchError> {
        let mut level = Level::Calm;
        if let Some(file) = &self.limits.thermal_zone {
            let now = number(file, "", "thousandths of a degree Celsius")? as i32;
            self.temperature_millicelsius = Some(now);
            let hot = self.limits.hot_millicelsius.unwrap_or(HOT_MILLICELSIUS);
            level = level.max(between(now, hot.saturating_sub(COOLER_MILLICELSIUS), hot));
        }
        if let Some(limit) = self.limits.rss_bytes {
            let now = number(&self.limits.status, "VmRSS:", "a line VmRSS")?.max(0) as u64 * 1024;
            self.rss_bytes = Some(now);
            level = level.max(between(now, limit / 100 * SMALLER_PERCENT, limit));
        }
        Ok(level)
    }
}

fn between<T: PartialOrd>(now: T, calm: T, high: T) -> Level {
    if now >= high {
        Level::High
    } else if now < calm {
        Level::Calm
    } else {
        Level::Near
    }
}

/// The whole number behind `key` in a small file.
fn number(file: &Path, key: &str, expected: &str) -> Result<i64, WatchError> {
    let fail = |reason: String| WatchError { file: file.to_owned(), reason };
    let mut buffer = [0; 4096];
    let mut opened = File::open(file).map_err(|error| fail(error.to_string()))?;
    let mut len = 0;
    // The kernel gives such files in pieces.
    while len < buffer.len() {
        match opened.read(&mut buffer[len..]).map_err(|error| fail(error.to_string()))? {
            0 => break,
            more => len += more,
        }
    }
    let text = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| fail(format!("should hold {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A watch over files of its own, and a look a second.
    struct Board {
        zone: PathBuf,
        status: PathBuf,
        watch: Watch,
        now: Instant,
    }

    impl Board {
        fn new(test: &str) -> Self {
            let file =
                |name: &str| std::env::temp_dir().join(format!("semrx-watch-{}-{test}-{name}", std::process::id()));
            let (zone, status) = (file("zone"), file("status"));
            fs::write(&zone, "40000\n").unwrap();
            fs::write(&status, "Name:\tsemrx\nVmRSS:\t   50000 kB\n").unwrap();
            let limits = Limits {
                thermal_zone: Some(zone.clone()),
                hot_millicelsius: Some(80_000),
                rss_bytes: Some(100_000 * 1024),
                status: status.clone(),
                period: Duration::from_secs(1),
            };
            Board { zone, status, watch: Watch::new(limits, 4).unwrap(), now: Instant::now() }
        }

        /// Steps after each of so many looks.
        fn looks(&mut self, count: usize, mut before: impl FnMut(&mut Watch)) -> Vec<u16> {
            let look = |_| {
                before(&mut self.watch);
                self.now += Duration::from_secs(1);
                self.watch.look(self.now);
                self.watch.steps()
            };
            (0..count).map(look).collect()
        }
    }

    impl Drop for Board {
        fn drop(&mut self) {
            let _ = (fs::remove_file(&self.zone), fs::remove_file(&self.status));
        }
    }

    #[test]
    fn heat_takes_steps_away_and_calm_gives_them_back() {
        let mut board = Board::new("heat");
        assert_eq!(board.looks(3, |_| ()), [4; 3]);
        fs::write(&board.zone, "80000\n").unwrap();
        // One look a step would not show what the first one did.
        assert_eq!(board.looks(12, |_| ()), [2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(board.watch.temperature_millicelsius(), Some(80_000));
        assert!(board.watch.is_spent());
        // Between both limits nothing moves.
        fs::write(&board.zone, "75000\n").unwrap();
        assert_eq!(board.looks(100, |_| ()), [0; 100]);
        assert!(board.watch.is_spent());
        fs::write(&board.zone, "74999\n").unwrap();
        let back = board.looks(4 * CALM as usize, |_| ());
        let ups: Vec<_> = [1, 2, 3].map(|turn| (back[turn * 30 - 2], back[turn * 30 - 1])).into();
        assert_eq!(ups, [(0, 1), (1, 2), (2, 4)]);
        assert!(!board.watch.is_throttled());
    }

    #[test]
    fn memory_takes_steps_away() {
        let mut board = Board::new("memory");
        fs::write(&board.status, "VmRSS:\t  100000 kB\n").unwrap();
        assert_eq!(board.looks(2, |_| ()), [2, 2]);
        assert_eq!(board.watch.rss_bytes(), Some(100_000 * 1024));
        fs::write(&board.status, "VmRSS:\t  95000 kB\n").unwrap();
        assert_eq!(board.looks(40, |_| ()), [2; 40]);
        fs::write(&board.status, "VmRSS:\t  94999 kB\n").unwrap();
        assert_eq!(board.looks(30, |_| ())[28..], [2, 4]);
    }

    #[test]
    fn lateness_takes_steps_away_and_one_late_frame_does_not() {
        let mut board = Board::new("late");
        assert_eq!(board.looks(40, |watch| watch.count(5, 1)), [4; 40]);
        assert_eq!(board.looks(2, |watch| watch.count(16, 2)), [2, 2]);
        assert_eq!(board.looks(30, |watch| watch.count(17, 0))[28..], [2, 4]);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_changes_nothing() {
        let mut board = Board::new("blind");
        fs::write(&board.zone, "warm\n").unwrap();
        assert_eq!(board.looks(40, |_| ()), [4; 40]);
        let error = Watch::new(board.watch.limits.clone(), 4).unwrap_err().to_string();
        assert!(error.contains("-zone: should hold thousandths of a degree"), "{error}");
    }

    #[test]
    fn this_process_has_memory() {
        let limits = Limits { rss_bytes: Some(1), ..Limits::default() };
        if !limits.status.exists() {
            return;
        }
        let mut watch = Watch::new(limits, 1).unwrap();
        assert!(watch.look(Instant::now()) && watch.steps() == 0 && watch.rss_bytes() > Some(100_000));
    }
}
