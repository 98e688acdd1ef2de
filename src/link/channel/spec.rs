//! What a simulated radio does to packets, as the user writes it: `tile-loss=0.3,burst=4,snr=10`.

use std::fmt;
use std::str::FromStr;

use super::impair::snr_of_sigma;
use super::loss::LONGEST_RUN;

/// The impairments of a simulated radio. Plain data: a caller may change it from packet to packet.
///
/// As text: `key=value` pairs between commas in any order, each key once; `none` for the channel that changes nothing,
/// which is also the default. [`FromStr`] checks the ranges given below; values outside them act like the nearest in
/// range.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSpec {
    /// `tile-loss`, 0 to 1: the share of slots that are lost.
    pub tile_loss: f64,
    /// `burst`, 1 to 1000: the mean run of lost slots. Independent losses come in runs of `1 / (1 - tile_loss)` already,
    /// which is the shortest mean run that the channel makes.
    pub burst: f64,
    /// `frame-loss`, 0 to 1: the share of packets that are lost whole, whatever they carry.
    pub frame_loss: f64,
    /// `snr`, -20 to 60 dB: flips digital bits at BPSK's error rate, and sets the noise on analogue values.
    pub snr_db: Option<f64>,
    /// `sigma`, 0 to 10, in units of amplitude: the noise on analogue values, in place of the one that `snr` means.
    pub sigma: Option<f64>,
    /// `delay-ms`, 0 to 60000: mean delay.
    pub delay_ms: f64,
    /// `jitter-ms`, 0 to 60000: the delay is uniform within ± this of its mean, and never below 0.
    pub jitter_ms: f64,
    /// `reorder`, 0 to 1: the chance that a packet is held back until the next one has passed.
    pub reorder: f64,
    /// `duplicate`, 0 to 1: the chance that a packet arrives twice.
    pub duplicate: f64,
}

impl Default for ChannelSpec {
    fn default() -> Self {
        ChannelSpec {
            tile_loss: 0.0,
            burst: 1.0,
            frame_loss: 0.0,
            snr_db: None,
            sigma: None,
            delay_ms: 0.0,
            jitter_ms: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
        }
    }
}

struct Key {
    name: &'static str,
    low: f64,
    high: f64,
    example: f64,
}

const KEYS: [Key; 9] = [
    Key { name: "tile-loss", low: 0.0, high: 1.0, example: 0.3 },
    Key { name: "burst", low: 1.0, high: LONGEST_RUN, example: 4.0 },
    Key { name: "frame-loss", low: 0.0, high: 1.0, example: 0.05 },
    Key { name: "snr", low: -20.0, high: 60.0, example: 10.0 },
    Key { name: "sigma", low: 0.0, high: 10.0, example: 0.9 },
    Key { name: "delay-ms", low: 0.0, high: 60_000.0, example: 20.0 },
    Key { name: "jitter-ms", low: 0.0, high: 60_000.0, example: 5.0 },
    Key { name: "reorder", low: 0.0, high: 1.0, example: 0.1 },
    Key { name: "duplicate", low: 0.0, high: 1.0, example: 0.1 },
];

/// Why a text is no [`ChannelSpec`].
#[derive(Clone, Debug, PartialEq)]
pub enum SpecError {
    /// The text, or a part between commas, isn't `key=value`.
    NoPair {
        part: String,
    },
    UnknownKey {
        key: String,
    },
    Twice {
        key: &'static str,
    },
    /// The value isn't a number between `low` and `high`.
    Value {
        key: &'static str,
        value: String,
        low: f64,
        high: f64,
        example: f64,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecError::NoPair { part } => {
                write!(f, "channel: {part:?} isn't key=value; for example tile-loss=0.3,burst=4,snr=10, or none")
            }
            SpecError::UnknownKey { key } => {
                write!(f, "channel: there's no key {key:?}; the keys are")?;
                for (i, key) in KEYS.iter().enumerate() {
                    write!(f, "{} {}", if i == 0 { "" } else { "," }, key.name)?;
                }
                Ok(())
            }
            SpecError::Twice { key } => write!(f, "channel: {key} is given twice; keep one"),
            SpecError::Value { key, value, low, high, example } => write!(
                f,
                "channel: {key}: {value:?} isn't a number between {low} and {high}; for example {key}={example}"
            ),
        }
    }
}

impl std::error::Error for SpecError {}

impl ChannelSpec {
    /// The SNR of analogue values of unit power, in dB: `None` where nothing says one, infinite without noise.
    pub fn analog_snr_db(&self) -> Option<f64> {
        self.sigma.map(snr_of_sigma).or(self.snr_db)
    }

    /// The fields in the order of [`KEYS`]; `None` where the key says nothing that the default doesn't.
    fn values(&self) -> [Option<f64>; KEYS.len()] {
        let unless = |default: f64, value: f64| (value != default).then_some(value);
        [
            unless(0.0, self.tile_loss),
            unless(1.0, self.burst),
            unless(0.0, self.frame_loss),
            self.snr_db,
            self.sigma,
            unless(0.0, self.delay_ms),
            unless(0.0, self.jitter_ms),
            unless(0.0, self.reorder),
            unless(0.0, self.duplicate),
        ]
    }

    /// The inverse of [`ChannelSpec::values`].
    fn from_values(values: [Option<f64>; KEYS.len()]) -> Self {
        let [tile_loss, burst, frame_loss, snr_db, sigma, delay_ms, jitter_ms, reorder, duplicate] = values;
        ChannelSpec {
            tile_loss: tile_loss.unwrap_or(0.0),
            burst: burst.unwrap_or(1.0),
            frame_loss: frame_loss.unwrap_or(0.0),
            snr_db,
            sigma,
            delay_ms: delay_ms.unwrap_or(0.0),
            jitter_ms: jitter_ms.unwrap_or(0.0),
            reorder: reorder.unwrap_or(0.0),
            duplicate: duplicate.unwrap_or(0.0),
        }
    }
}

impl FromStr for ChannelSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut values = [None; KEYS.len()];
        if text.trim() == "none" {
            return Ok(ChannelSpec::from_values(values));
        }
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(SpecError::NoPair { part: part.to_owned() });
            };
            let (name, value) = (name.trim(), value.trim());
            let Some(index) = KEYS.iter().position(|key| key.name == name) else {
                return Err(SpecError::UnknownKey { key: name.to_owned() });
            };
            let Key { name, low, high, example } = KEYS[index];
            let number = value.parse().ok().filter(|number| (low..=high).contains(number));
            if number.is_none() {
                return Err(SpecError::Value { key: name, value: value.to_owned(), low, high, example });
            }
            if values[index].is_some() {
                return Err(SpecError::Twice { key: name });
            }
            values[index] = number;
        }
        Ok(ChannelSpec::from_values(values))
    }
}

impl fmt::Display for ChannelSpec {
    /// The text that [`FromStr`] reads back as the same spec.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (key, value) in KEYS.iter().zip(self.values()) {
            if let Some(value) = value {
                write!(f, "{separator}{}={value}", key.name)?;
                separator = ",";
            }
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_printed() {
        let text = "tile-loss=0.3,burst=4,frame-loss=0.05,snr=-2.5,sigma=0.9,delay-ms=20,jitter-ms=5,reorder=0.1,duplicate=0.2";
        let spec: ChannelSpec = text.parse().unwrap();
        let expected = ChannelSpec {
            tile_loss: 0.3,
            burst: 4.0,
            frame_loss: 0.05,
            snr_db: Some(-2.5),
            sigma: Some(0.9),
            delay_ms: 20.0,
            jitter_ms: 5.0,
            reorder: 0.1,
            duplicate: 0.2,
        };
        assert_eq!(spec, expected);
        assert_eq!(spec.to_string(), text);
    }

    #[test]
    fn what_was_not_given_keeps_its_default() {
        assert_eq!("none".parse(), Ok(ChannelSpec::default()));
        assert_eq!(ChannelSpec::default().to_string(), "none");
        assert_eq!(" snr = 10 ".parse(), Ok(ChannelSpec { snr_db: Some(10.0), ..ChannelSpec::default() }));
    }

    #[test]
    fn examples_are_in_range() {
        for key in KEYS {
            let spec = format!("{}={}", key.name, key.example);
            assert_eq!(spec.parse::<ChannelSpec>().unwrap().to_string(), spec);
        }
    }

    #[test]
    fn errors_name_the_key_the_range_and_an_example() {
        for (text, words) in [
            ("", &["key=value", "tile-loss=0.3"][..]),
            ("snr", &["\"snr\"", "key=value"]),
            ("snr=10,", &["key=value"]),
            ("loss=0.3", &["\"loss\"", "tile-loss, burst", "duplicate"]),
            ("tile-loss=1.5", &["tile-loss", "\"1.5\"", "between 0 and 1", "tile-loss=0.3"]),
            ("burst=0.5", &["burst", "between 1 and 1000", "burst=4"]),
            ("snr=loud", &["snr", "\"loud\"", "between -20 and 60", "snr=10"]),
            ("sigma=NaN", &["sigma", "between 0 and 10"]),
            ("delay-ms=inf", &["delay-ms", "between 0 and 60000"]),
            ("reorder=-0.1", &["reorder", "between 0 and 1"]),
            ("snr=1,snr=2", &["snr", "twice"]),
        ] {
            let error = text.parse::<ChannelSpec>().unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
        }
    }
}
