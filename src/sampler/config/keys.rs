//! A configuration's keys by type, each with its default and its range; and which of them nobody asked for.

use crate::json::{self, MAX_KEYS, Member};
use crate::sampler::SchedulerError;
use crate::sampler::error::found;
use alloc::vec::Vec as AllocVec;
use core::ops::RangeInclusive;
use heapless::Vec;
use serde::Deserialize;

/// Keys of the schedulers that diffusers counts as compatible with each other. A configuration of one carries them to the others,
/// which drop them without a word.
const SHARED: [&str; 43] = [
    "algorithm_type",
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "num_train_timesteps",
    "predict_x0",
    "prediction_type",
    "rescale_betas_zero_snr",
    "rho",
    "sample_max_value",
    "set_alpha_to_one",
    "shift_terminal",
    "sigma_data",
    "sigma_max",
    "sigma_min",
    "sigma_schedule",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "thresholding",
    "time_shift_type",
    "timestep_spacing",
    "timestep_type",
    "trained_betas",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
];

/// Keys that a configuration has and its scheduler doesn't.
pub type Unknown<'a> = Vec<&'a str, MAX_KEYS>;

/// The keys of one configuration. Of a key that is there twice the last one counts, as in Python.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    members: Vec<Member<'a>, MAX_KEYS>,
    asked: Vec<&'static str, MAX_KEYS>,
}

impl<'a> Keys<'a> {
    pub fn parse(text: &'a [u8]) -> Result<Self, SchedulerError> {
        Ok(Keys { members: json::members(text)?, asked: Vec::new() })
    }

    /// The text of a string, or `None` where the key is missing or something else.
    pub fn string(&mut self, key: &'static str) -> Option<&'a str> {
        self.value(key, "a string").ok().flatten()
    }

    /// What `expected` describes, or `None` where the key is missing or null.
    pub fn value<T: Deserialize<'a>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, SchedulerError> {
        match self.text(key) {
            None | Some("null") => Ok(None),
            Some(text) => json::scalar(text).map(Some).ok_or_else(|| wrong(key, expected, text)),
        }
    }

    /// `null` is false, as in Python.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, SchedulerError> {
        match self.text(key) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false" | "null") => Ok(false),
            Some(text) => Err(wrong(key, "true or false", text)),
        }
    }

    /// A number within `range`, which `expected` describes.
    pub fn number(
        &mut self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        expected: &'static str,
    ) -> Result<f64, SchedulerError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        json::number(text).filter(|number| range.contains(number)).ok_or_else(|| wrong(key, expected, text))
    }

    /// The same, where `null` stands for none.
    pub fn optional_number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        expected: &'static str,
    ) -> Result<Option<f64>, SchedulerError> {
        match self.text(key) {
            None | Some("null") => Ok(None),
            Some(_) => self.number(key, 0.0, range, expected).map(Some),
        }
    }

    /// A list of at most `most` numbers; `null` stands for none.
    pub fn numbers(
        &mut self,
        key: &'static str,
        most: usize,
        range: RangeInclusive<f64>,
        expected: &'static str,
    ) -> Result<Option<AllocVec<f64>>, SchedulerError> {
        let text = match self.text(key) {
            None | Some("null") => return Ok(None),
            Some(text) => text,
        };
        let wrong = || wrong(key, expected, text);
        let mut numbers = AllocVec::new();
        for number in json::list(text).ok_or_else(wrong)?.take(most + 1) {
            numbers.push(number.filter(|number| range.contains(number)).ok_or_else(wrong)?);
        }
        Ok(Some(numbers))
    }

    /// A whole number within `range`, which `expected` describes.
    pub fn count(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<u32, SchedulerError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        json::scalar(text).filter(|number| range.contains(number)).ok_or_else(|| wrong(key, expected, text))
    }

    /// One of `words`, which `expected` lists.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        default: T,
        expected: &'static str,
    ) -> Result<T, SchedulerError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let word: Option<&str> = json::scalar(text);
        let known = words.iter().find(|(name, _)| word == Some(name));
        known.map(|(_, value)| *value).ok_or_else(|| wrong(key, expected, text))
    }

    /// The keys that nobody asked for, but for diffusers' own and, where the scheduler is `compatible`, those of its relatives.
    pub fn unknown(&self, compatible: bool) -> Unknown<'a> {
        let keys = self.members.iter().map(|member| member.key);
        let dropped = |key: &&str| key.starts_with('_') || compatible && SHARED.contains(key);
        keys.filter(|key| !dropped(key) && !self.asked.contains(key)).collect()
    }

    /// A value as it stands in the text.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        if !self.asked.contains(&key) {
            // A scheduler has fewer keys than there is room for.
            let _ = self.asked.push(key);
        }
        self.members.iter().rev().find(|member| member.key == key).map(|member| member.value)
    }
}

fn wrong(key: &'static str, expected: &'static str, text: &str) -> SchedulerError {
    SchedulerError::Value { key, expected, found: found(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_by_type_and_range() {
        let text =
            br#"{"a": 3, "b": null, "c": "x", "d": -Infinity, "e": [0.5, 1], "rho": 7, "_f": 1, "a": 4, "g": {}}"#;
        let mut keys = Keys::parse(text).unwrap();
        assert_eq!(keys.count("a", 1, 1..=9, "1 to 9"), Ok(4));
        assert_eq!(keys.flag("b", true), Ok(false));
        assert_eq!(keys.optional_number("b", 0.0..=1.0, "0 to 1"), Ok(None));
        assert_eq!(keys.word("c", &[("y", 1), ("x", 2)], 1, "x or y"), Ok(2));
        assert_eq!(keys.number("d", 0.0, f64::NEG_INFINITY..=0.0, "at most 0"), Ok(f64::NEG_INFINITY));
        assert_eq!(keys.numbers("e", 2, 0.0..=1.0, "0 to 1").unwrap().unwrap(), [0.5, 1.0]);
        assert_eq!(keys.number("missing", 2.5, 0.0..=1.0, "0 to 1"), Ok(2.5));
        assert_eq!(keys.unknown(true)[..], ["g"]);
        assert_eq!(keys.unknown(false)[..], ["rho", "g"]);
        let error = keys.count("c", 1, 1..=9, "1 to 9").unwrap_err();
        assert_eq!(std::format!("{error}"), r#"c: should be 1 to 9, is "x""#);
        assert!(keys.number("d", 0.0, -1.0..=0.0, "-1 to 0").is_err());
        assert!(keys.flag("a", true).is_err());
        assert!(keys.word("a", &[("y", 1)], 1, "y").is_err());
    }
}
