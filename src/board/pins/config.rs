//! Which lines the pins are on, and when they fail: what a pins file says.

use super::corridor::{Corridor, Reach};
use super::error::PinsError;
use super::line::Active;
use super::panel::Rules;
use crate::files;
use crate::sampler::config::Keys;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What drives the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendName {
    /// rppal on a Raspberry Pi, unless a chip is named; gpiocdev elsewhere.
    #[default]
    Auto,
    Rppal,
    Gpiocdev,
    /// A file for each line, in the folder that `chip` names.
    Files,
    /// No line is touched.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLine {
    /// Offset on the chip; on a Raspberry Pi the BCM number.
    pub line: u32,
    pub active: Active,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputLine {
    /// As an output's.
    pub line: u32,
    pub active: Active,
    pub bias: Bias,
}

/// The resistor that the chip is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bias {
    /// None is asked for.
    #[default]
    None,
    PullUp,
    PullDown,
}

/// A pins file. `docs/pins.md` has its keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    pub backend: BackendName,
    /// Of gpiocdev, the first one if `None`; the folder of files.
    pub chip: Option<PathBuf>,
    pub hazard: Option<OutputLine>,
    pub heartbeat: Option<OutputLine>,
    pub fault: Option<OutputLine>,
    pub mode: Option<InputLine>,
    pub rules: Rules,
}

const BACKENDS: [(&str, BackendName); 5] = [
    ("auto", BackendName::Auto),
    ("rppal", BackendName::Rppal),
    ("gpiocdev", BackendName::Gpiocdev),
    ("files", BackendName::Files),
    ("none", BackendName::None),
];
const ACTIVE: [(&str, Active); 2] = [("high", Active::High), ("low", Active::Low)];
const BIAS: [(&str, Bias); 3] = [("none", Bias::None), ("pull_up", Bias::PullUp), ("pull_down", Bias::PullDown)];
const REACH: [(&str, Reach); 3] = [("near", Reach::Near), ("middle", Reach::Middle), ("far", Reach::Far)];
const LINES: std::ops::RangeInclusive<u32> = 0..=65_535;
const A_LINE: &str = "the number of a line, 0 to 65535";
/// A decision of an hour ago helps nobody.
const TIMES_MS: std::ops::RangeInclusive<u32> = 1..=3_600_000;
const A_TIME: &str = "milliseconds, 1 to 3600000";

impl Config {
    /// Reads the pins file.
    ///
    /// # Errors
    /// [`PinsError`] names the file, the key and what was expected.
    pub fn read(file: &Path) -> Result<Self, PinsError> {
        let text = files::read(file, files::MAX_JSON).map_err(|error| PinsError::Read { file: file.into(), error })?;
        Self::parse(&text).map_err(|reason| PinsError::Config { file: file.into(), reason })
    }

    /// The object that `text` is.
    ///
    /// # Errors
    /// The key, and what was expected.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let keys = &mut Keys::parse(text).map_err(|error| error.to_string())?;
        let config = Self::read_keys(keys)?;
        let twice = "is the line of another pin too: give each its own";
        let lines = [
            ("hazard", config.hazard.map(|pin| pin.line)),
            ("heartbeat", config.heartbeat.map(|pin| pin.line)),
            ("fault", config.fault.map(|pin| pin.line)),
            ("mode", config.mode.map(|pin| pin.line)),
        ];
        for (index, (pin, line)) in lines.iter().enumerate() {
            if let Some(line) = line
                && lines[..index].iter().any(|(_, other)| other == &Some(*line))
            {
                return Err(format!("{pin}: line: {line} {twice}"));
            }
        }
        Ok(config)
    }

    fn read_keys(keys: &mut Keys) -> Result<Self, String> {
        let told = |error: crate::sampler::SchedulerError| error.to_string();
        let chip: Option<&str> = keys.value("chip", "a path such as \"/dev/gpiochip0\"").map_err(told)?;
        let mut milliseconds = |key, default: Duration| {
            let count = keys.count(key, default.as_millis() as u32, TIMES_MS, A_TIME).map_err(told)?;
            Ok::<_, String>(Duration::from_millis(count.into()))
        };
        let rules = Rules::default();
        let (stale, starve) = (milliseconds("stale_ms", rules.stale)?, milliseconds("starve_ms", rules.starve)?);
        let corridor = Corridor {
            reach: keys.word("reach", &REACH, rules.corridor.reach, "\"near\", \"middle\" or \"far\"").map_err(told)?,
            free_permille: keys
                .count(
                    "free_permille",
                    rules.corridor.free_permille.into(),
                    0..=1000,
                    "thousandths of the height, 0 to 1000",
                )
                .map_err(told)? as u16,
        };
        let config = Config {
            backend: keys
                .word(
                    "backend",
                    &BACKENDS,
                    BackendName::Auto,
                    "\"auto\", \"rppal\", \"gpiocdev\", \"files\" or \"none\"",
                )
                .map_err(told)?,
            chip: chip.map(PathBuf::from),
            hazard: pin(keys, "hazard", output)?,
            heartbeat: pin(keys, "heartbeat", output)?,
            fault: pin(keys, "fault", output)?,
            mode: pin(keys, "mode", input)?,
            rules: Rules { corridor, stale, starve },
        };
        known(keys)?;
        Ok(config)
    }
}

/// The pin `key`, if there is one, by `read` from its own object.
fn pin<T>(keys: &mut Keys, key: &'static str, read: fn(&mut Keys) -> Result<T, String>) -> Result<Option<T>, String> {
    let text = match keys.text(key) {
        None | Some("null") => return Ok(None),
        Some(text) => text,
    };
    if !text.starts_with('{') {
        return Err(format!("{key}: should be an object such as {{\"line\": 17}}, is {text}"));
    }
    let mut own = Keys::parse(text.as_bytes()).map_err(|error| format!("{key}: {error}"))?;
    let pin = read(&mut own).and_then(|pin| known(&own).map(|()| pin));
    pin.map(Some).map_err(|reason| format!("{key}: {reason}"))
}

fn output(keys: &mut Keys) -> Result<OutputLine, String> {
    Ok(OutputLine { line: line(keys)?, active: active(keys)? })
}

fn input(keys: &mut Keys) -> Result<InputLine, String> {
    let expected = "\"none\", \"pull_up\" or \"pull_down\"";
    let bias = keys.word("bias", &BIAS, Bias::None, expected).map_err(|error| error.to_string())?;
    Ok(InputLine { line: line(keys)?, active: active(keys)?, bias })
}

fn line(keys: &mut Keys) -> Result<u32, String> {
    if keys.text("line").is_none() {
        return Err(format!("line is missing: give {A_LINE}"));
    }
    keys.count("line", 0, LINES, A_LINE).map_err(|error| error.to_string())
}

fn active(keys: &mut Keys) -> Result<Active, String> {
    keys.word("active", &ACTIVE, Active::High, "\"high\" or \"low\"").map_err(|error| error.to_string())
}

/// A key that is misspelt would leave a pin on the wrong level.
fn known(keys: &Keys) -> Result<(), String> {
    match keys.unknown(false).first() {
        None => Ok(()),
        Some(key) => Err(format!("{key:?} is no key here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_is_read() {
        let text = br#"{"backend": "gpiocdev", "chip": "/dev/gpiochip0", "hazard": {"line": 17, "active": "high"},
            "heartbeat": {"line": 27}, "fault": {"line": 22, "active": "low"},
            "mode": {"line": 5, "active": "low", "bias": "pull_up"}, "starve_ms": 300, "stale_ms": 1000, "reach": "near",
            "free_permille": 200, "_note": "keys that begin so are left alone"}"#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.backend, BackendName::Gpiocdev);
        assert_eq!(config.chip.as_deref(), Some(Path::new("/dev/gpiochip0")));
        assert_eq!(config.hazard, Some(OutputLine { line: 17, active: Active::High }));
        assert_eq!(config.heartbeat, Some(OutputLine { line: 27, active: Active::High }));
        assert_eq!(config.fault, Some(OutputLine { line: 22, active: Active::Low }));
        assert_eq!(config.mode, Some(InputLine { line: 5, active: Active::Low, bias: Bias::PullUp }));
        let corridor = Corridor { reach: Reach::Near, free_permille: 200 };
        let (stale, starve) = (Duration::from_secs(1), Duration::from_millis(300));
        assert_eq!(config.rules, Rules { corridor, stale, starve });
        assert_eq!(Config::parse(b"{}").unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, words) in [
            ("", vec!["byte 0", "a JSON object should begin here"]),
            (r#"{"backend": "gpio"}"#, vec!["backend: should be \"auto\", \"rppal\"", "is \"gpio\""]),
            (r#"{"chip": 0}"#, vec!["chip: should be a path such as", "is 0"]),
            (r#"{"hazard": 17}"#, vec![r#"hazard: should be an object such as {"line": 17}, is 17"#]),
            (r#"{"hazard": {}}"#, vec!["hazard: line is missing", "0 to 65535"]),
            (r#"{"hazard": {"line": null}}"#, vec!["hazard: line: should be the number of a line", "is null"]),
            (r#"{"fault": {"line": -1}}"#, vec!["fault: line: should be", "is -1"]),
            (r#"{"fault": {"line": 65536}}"#, vec!["fault: line: should be"]),
            (
                r#"{"fault": {"line": 3, "active": true}}"#,
                vec!["fault: active: should be \"high\" or \"low\", is true"],
            ),
            (r#"{"fault": {"line": 3, "actve": "low"}}"#, vec!["fault: \"actve\" is no key here"]),
            (r#"{"fault": {"line": 3, "bias": "pull_up"}}"#, vec!["fault: \"bias\" is no key here"]),
            (r#"{"mode": {"line": 3, "bias": "up"}}"#, vec!["mode: bias: should be \"none\", \"pull_up\""]),
            (r#"{"mode": {"line": 3}, "fault": {"line": 3}}"#, vec!["mode: line: 3 is the line of another pin too"]),
            (r#"{"starve_ms": 0}"#, vec!["starve_ms: should be milliseconds, 1 to 3600000, is 0"]),
            (r#"{"stale_ms": "1"}"#, vec!["stale_ms: should be milliseconds"]),
            (r#"{"free_permille": 1001}"#, vec!["free_permille: should be thousandths of the height"]),
            (r#"{"reach": "all"}"#, vec!["reach: should be \"near\""]),
            (r#"{"hasard": {"line": 3}}"#, vec!["\"hasard\" is no key here"]),
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err();
            for word in words {
                assert!(error.contains(word), "no {word:?} in: {error}");
            }
        }
        let error = Config::read(Path::new("no/pins.json")).unwrap_err().to_string();
        assert!(error.starts_with("no/pins.json: "), "{error}");
    }
}
