//! Board profiles: one JSON file a board.

use super::Header;
use crate::budget::{Instructions, Pace};
use crate::files;
use heapless::Vec as Few;
use serde::Deserialize;
use std::fmt;
use std::path::Path;

/// The profiles that the program carries.
const BUILT_IN: [&str; 9] = [
    include_str!("../../boards/raspberry-pi-zero-2-w.json"),
    include_str!("../../boards/raspberry-pi-3b-plus.json"),
    include_str!("../../boards/raspberry-pi-4.json"),
    include_str!("../../boards/raspberry-pi-5.json"),
    include_str!("../../boards/jetson-nano.json"),
    include_str!("../../boards/jetson-orin-nano.json"),
    include_str!("../../boards/generic-aarch64.json"),
    include_str!("../../boards/generic-armv7.json"),
    include_str!("../../boards/generic-x86-64.json"),
];

/// The most names of a profile, and of machines that it is for.
const NAMES: usize = 8;
/// The most pins of a header.
const PINS: usize = 64;

/// What a board has. See `boards/README.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: String,
    /// Other names of it.
    pub also: Vec<String>,
    /// How the device tree's model begins on such a board.
    pub machine: Vec<String>,
    pub core: String,
    pub cores: u16,
    pub instructions: Instructions,
    pub memory_bytes: u64,
    /// What a receiver may take of it.
    pub receiver_bytes: u64,
    /// The file that tells the temperature, in thousandths of a degree Celsius.
    pub thermal_zone: Option<String>,
    /// From here on the board slows itself down.
    pub hot_millicelsius: i32,
    /// The pins that something can be wired to; `None` where nothing is known of them.
    pub header: Option<Header>,
    /// Of one core; `None` where nothing is known.
    pub pace: Option<Pace>,
    pub source: String,
}

#[derive(Deserialize)]
struct File<'a> {
    schema: u16,
    name: &'a str,
    #[serde(borrow)]
    also: Few<&'a str, NAMES>,
    #[serde(borrow)]
    machine: Few<&'a str, NAMES>,
    core: &'a str,
    cores: u16,
    instructions: Instructions,
    memory_bytes: u64,
    receiver_bytes: u64,
    thermal_zone: Option<&'a str>,
    hot_millicelsius: i32,
    #[serde(borrow)]
    gpio: Option<Gpio<'a>>,
    pace: Option<Pace>,
    source: &'a str,
}

#[derive(Deserialize)]
struct Gpio<'a> {
    chip: &'a str,
    header: Few<Option<u32>, PINS>,
}

/// Why there is no such profile.
#[derive(Debug)]
pub struct ProfileError(String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// All that the program carries.
    pub fn built_in() -> impl Iterator<Item = Profile> {
        BUILT_IN.iter().filter_map(|text| Profile::parse("built-in profile", text.as_bytes()).ok())
    }

    /// The profile `name`: a built-in one by any of its names, or a file.
    ///
    /// # Errors
    /// [`ProfileError`] names the profile and the reason.
    pub fn find(name: &str) -> Result<Self, ProfileError> {
        let mut built_in = Profile::built_in();
        if let Some(known) = built_in.find(|known| known.name == name || known.also.iter().any(|also| also == name)) {
            return Ok(known);
        }
        let text = files::read(Path::new(name), files::MAX_JSON).map_err(|error| {
            let names: Vec<_> = Profile::built_in().map(|known| known.name).collect();
            ProfileError(format!("{name}: {error}; give auto, one of {}, or the path of a profile", names.join(", ")))
        })?;
        Profile::parse(name, &text)
    }

    /// `name` is for the errors.
    fn parse(name: &str, text: &[u8]) -> Result<Self, ProfileError> {
        let (file, _) = serde_json_core::from_slice::<File<'_>>(text)
            .map_err(|error| ProfileError(format!("{name}: not a board profile: {error}")))?;
        let field = |field: &str, reason: &str| Err(ProfileError(format!("{name}: {field} should be {reason}")));
        match &file {
            File { schema, .. } if *schema != 2 => {
                return Err(ProfileError(format!("{name}: schema is {schema}, this semrx reads 2")));
            }
            File { cores: 0, .. } => return field("cores", "at least 1"),
            File { receiver_bytes, memory_bytes, .. } if receiver_bytes > memory_bytes => {
                return field("receiver_bytes", "no more than memory_bytes");
            }
            File { pace: Some(pace), .. } if pace.clock_mhz == 0 || pace.least_cycles == 0 => {
                return field("pace", "above 0 in clock_mhz and least_cycles");
            }
            File { pace: Some(pace), .. } if pace.least_cycles > pace.most_cycles => {
                return field("pace.most_cycles", "at least least_cycles");
            }
            _ => {}
        }
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Profile {
            name: file.name.into(),
            also: owned(&file.also),
            machine: owned(&file.machine),
            core: file.core.into(),
            cores: file.cores,
            instructions: file.instructions,
            memory_bytes: file.memory_bytes,
            receiver_bytes: file.receiver_bytes,
            thermal_zone: file.thermal_zone.map(str::to_owned),
            hot_millicelsius: file.hot_millicelsius,
            header: file.gpio.map(|gpio| Header {
                board: file.name.into(),
                chip: gpio.chip.into(),
                lines: gpio.header.to_vec(),
            }),
            pace: file.pace,
            source: file.source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_good() {
        assert_eq!(Profile::built_in().count(), BUILT_IN.len());
        let mut names: Vec<String> =
            Profile::built_in().flat_map(|board| [vec![board.name], board.also, board.machine].concat()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(Profile::find("zero2w").unwrap().name, "raspberry-pi-zero-2-w");
        let error = Profile::find("toaster").unwrap_err().to_string();
        assert!(error.starts_with("toaster: ") && error.contains("raspberry-pi-4"), "{error}");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let text = include_str!("../../boards/raspberry-pi-4.json");
        for (from, to, words) in [
            ("\"schema\": 2", "\"schema\": 1", "schema"),
            ("\"cores\": 4", "\"cores\": 0", "cores"),
            ("\"receiver_bytes\": ", "\"receiver_bytes\": 9", "receiver_bytes"),
            ("\"clock_mhz\": 1500", "\"clock_mhz\": 0", "clock_mhz"),
            ("\"most_cycles\": ", "\"most_cycles\": 1, \"x\": ", "most_cycles"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Profile::parse("mine.json", text.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("mine.json: ") && error.contains(words), "{error}");
        }
    }
}
