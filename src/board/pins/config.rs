//! Which lines the pins are on, and when they fail: what a pins file says.

use super::corridor::{Corridor, Reach};
use super::error::PinsError;
use super::line::Active;
use super::panel::Rules;
use crate::board::Header;
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
    /// Of gpiocdev; the folder of files.
    pub chip: Option<PathBuf>,
    /// Where no chip is named: the label of the one that the header's pins are on. `None` where no pin of the header is asked for; it is the first one then.
    pub chip_label: Option<String>,
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
const A_PIN: &str = "the number of a pin of the board's header, from 1 on";
/// A decision of an hour ago helps nobody.
const TIMES_MS: std::ops::RangeInclusive<u32> = 1..=3_600_000;
const A_TIME: &str = "milliseconds, 1 to 3600000";

impl Config {
    /// Reads the pins file. `header` is asked for where a pin of the board's header is named.
    ///
    /// # Errors
    /// [`PinsError`] names the file, the key and what was expected.
    pub fn read(file: &Path, header: impl Fn() -> Result<Header, String>) -> Result<Self, PinsError> {
        let text = files::read(file, files::MAX_JSON).map_err(|error| PinsError::Read { file: file.into(), error })?;
        Self::parse(&text, header).map_err(|reason| PinsError::Config { file: file.into(), reason })
    }

    /// The object that `text` is. `header` as in [`Config::read`].
    ///
    /// # Errors
    /// The key, and what was expected.
    pub fn parse(text: &[u8], header: impl Fn() -> Result<Header, String>) -> Result<Self, String> {
        let keys = &mut Keys::parse(text).map_err(|error| error.to_string())?;
        let config = Self::read_keys(keys, &mut Places { ask: &header, asked: None })?;
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

    fn read_keys(keys: &mut Keys, places: &mut Places<'_>) -> Result<Self, String> {
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
        let mut config = Config {
            backend: keys
                .word(
                    "backend",
                    &BACKENDS,
                    BackendName::Auto,
                    "\"auto\", \"rppal\", \"gpiocdev\", \"files\" or \"none\"",
                )
                .map_err(told)?,
            chip: chip.map(PathBuf::from),
            chip_label: None,
            hazard: pin(keys, "hazard", |own| output(own, places))?,
            heartbeat: pin(keys, "heartbeat", |own| output(own, places))?,
            fault: pin(keys, "fault", |own| output(own, places))?,
            mode: pin(keys, "mode", |own| input(own, places))?,
            rules: Rules { corridor, stale, starve },
        };
        known(keys)?;
        if config.chip.is_none() {
            config.chip_label = places.asked.take().map(|header| header.chip);
        }
        Ok(config)
    }
}

/// What the pins of the board's header are.
struct Places<'a> {
    ask: &'a dyn Fn() -> Result<Header, String>,
    /// Once one of them was asked for.
    asked: Option<Header>,
}

impl Places<'_> {
    fn line(&mut self, pin: u32) -> Result<u32, String> {
        let header = match self.asked.take() {
            Some(header) => header,
            None => (self.ask)()?,
        };
        self.asked.insert(header).line(pin)
    }
}

/// The pin `key`, if there is one, by `read` from its own object.
fn pin<T>(
    keys: &mut Keys,
    key: &'static str,
    read: impl FnOnce(&mut Keys) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let text = match keys.text(key) {
        None | Some("null") => return Ok(None),
        Some(text) => text,
    };
    if !text.starts_with('{') {
        return Err(format!("{key}: should be an object such as {{\"line\": 17}} or {{\"pin\": 11}}, is {text}"));
    }
    let mut own = Keys::parse(text.as_bytes()).map_err(|error| format!("{key}: {error}"))?;
    let pin = read(&mut own).and_then(|pin| known(&own).map(|()| pin));
    pin.map(Some).map_err(|reason| format!("{key}: {reason}"))
}

fn output(keys: &mut Keys, places: &mut Places<'_>) -> Result<OutputLine, String> {
    Ok(OutputLine { line: line(keys, places)?, active: active(keys)? })
}

fn input(keys: &mut Keys, places: &mut Places<'_>) -> Result<InputLine, String> {
    let expected = "\"none\", \"pull_up\" or \"pull_down\"";
    let bias = keys.word("bias", &BIAS, Bias::None, expected).map_err(|error| error.to_string())?;
    Ok(InputLine { line: line(keys, places)?, active: active(keys)?, bias })
}

/// By its own number, or by that of its pin on the header.
fn line(keys: &mut Keys, places: &mut Places<'_>) -> Result<u32, String> {
    match (keys.text("line").is_some(), keys.text("pin").is_some()) {
        (true, true) => Err("line and pin say the same in two ways: give one of them".into()),
        (false, false) => Err(format!("line is missing: give {A_LINE}, or pin, {A_PIN}")),
        (true, false) => keys.count("line", 0, LINES, A_LINE).map_err(|error| error.to_string()),
        (false, true) => {
            let pin = keys.count("pin", 0, 1..=*LINES.end(), A_PIN).map_err(|error| error.to_string())?;
            places.line(pin).map_err(|reason| format!("pin: {reason}"))
        }
    }
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
    use crate::board::Profile;

    /// Of a board without a header.
    fn parse(text: &[u8]) -> Result<Config, String> {
        Config::parse(text, || Err("no header".into()))
    }

    fn on_a_pi(text: &str) -> Result<Config, String> {
        Config::parse(text.as_bytes(), || Ok(Profile::find("raspberry-pi-5").unwrap().header.unwrap()))
    }

    #[test]
    fn a_pin_of_the_header_is_its_line() {
        let config = on_a_pi(r#"{"hazard": {"pin": 11}, "heartbeat": {"line": 27}, "mode": {"pin": 40}}"#).unwrap();
        let line = |pin: Option<OutputLine>| pin.unwrap().line;
        assert_eq!((line(config.hazard), line(config.heartbeat), config.mode.unwrap().line), (17, 27, 21));
        assert_eq!(config.chip_label.as_deref(), Some("pinctrl-rp1"));
        let named = on_a_pi(r#"{"chip": "/dev/gpiochip4", "hazard": {"pin": 11}}"#).unwrap();
        assert_eq!((line(named.hazard), named.chip_label), (17, None));
        assert_eq!(on_a_pi(r#"{"hazard": {"line": 17}}"#).unwrap().chip_label, None);
        for (text, words) in [
            (r#"{"hazard": {"pin": 6}}"#, "hazard: pin: 6 of raspberry-pi-5 is power, ground"),
            (r#"{"hazard": {"pin": 41}}"#, "hazard: pin: 41 is not on the header of raspberry-pi-5, which has 1 to 40"),
            (r#"{"hazard": {"pin": 0}}"#, "hazard: pin: should be the number of a pin of the board's header"),
            (r#"{"hazard": {"pin": 11, "line": 17}}"#, "hazard: line and pin say the same"),
            (r#"{"hazard": {"line": 17}, "fault": {"pin": 11}}"#, "fault: line: 17 is the line of another pin too"),
        ] {
            let error = on_a_pi(text).unwrap_err();
            assert!(error.contains(words), "no {words:?} in: {error}");
        }
        assert_eq!(parse(br#"{"hazard": {"pin": 11}}"#).unwrap_err(), "hazard: pin: no header");
    }

    #[test]
    fn the_documented_file_is_read() {
        let text = br#"{"backend": "gpiocdev", "chip": "/dev/gpiochip0", "hazard": {"line": 17, "active": "high"},
            "heartbeat": {"line": 27}, "fault": {"line": 22, "active": "low"},
            "mode": {"line": 5, "active": "low", "bias": "pull_up"}, "starve_ms": 300, "stale_ms": 1000, "reach": "near",
            "free_permille": 200, "_note": "keys that begin so are left alone"}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.backend, BackendName::Gpiocdev);
        assert_eq!(config.chip.as_deref(), Some(Path::new("/dev/gpiochip0")));
        assert_eq!(config.hazard, Some(OutputLine { line: 17, active: Active::High }));
        assert_eq!(config.heartbeat, Some(OutputLine { line: 27, active: Active::High }));
        assert_eq!(config.fault, Some(OutputLine { line: 22, active: Active::Low }));
        assert_eq!(config.mode, Some(InputLine { line: 5, active: Active::Low, bias: Bias::PullUp }));
        let corridor = Corridor { reach: Reach::Near, free_permille: 200 };
        let (stale, starve) = (Duration::from_secs(1), Duration::from_millis(300));
        assert_eq!(config.rules, Rules { corridor, stale, starve });
        assert_eq!(parse(b"{}").unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, words) in [
            ("", vec!["byte 0", "a JSON object should begin here"]),
            (r#"{"backend": "gpio"}"#, vec!["backend: should be \"auto\", \"rppal\"", "is \"gpio\""]),
            (r#"{"chip": 0}"#, vec!["chip: should be a path such as", "is 0"]),
            (r#"{"hazard": 17}"#, vec![r#"hazard: should be an object such as {"line": 17} or {"pin": 11}, is 17"#]),
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
            let error = parse(text.as_bytes()).unwrap_err();
            for word in words {
                assert!(error.contains(word), "no {word:?} in: {error}");
            }
        }
        let error = Config::read(Path::new("no/pins.json"), || Err("no header".into())).unwrap_err().to_string();
        assert!(error.starts_with("no/pins.json: "), "{error}");
    }
}
