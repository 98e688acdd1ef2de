//! The contract of the role `generate`: what a model that was exported elsewhere calls its inputs and its output, and what they mean.

use crate::sampler::config::Keys;
use crate::sampler::{MAX_STEPS, Prediction, SchedulerError, Unknown};
use heapless::{String, Vec};

/// Most inputs that hold a condition.
pub const MAX_CONDITIONS: usize = 4;
/// Most bytes of a name.
const MAX_NAME: usize = 64;

/// Name of an input or an output.
type Name = String<MAX_NAME>;

/// Where the channels of x and of the output stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Right behind the batch.
    Nchw,
    /// Last.
    Nhwc,
}

/// What the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the scheduler's `prediction_type` calls it.
    Prediction(Prediction),
    /// A logit for each class in each place. x is the class index in bits, a channel each, most significant first, -1 or 1; x0 is their
    /// mean under the classes' softmax.
    Logits,
}

/// Keys that are missing are those of a diffusers `UNet2DModel`.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// float32, batch 1.
    pub x: Name,
    /// The time, one float32 or int64.
    pub t: Name,
    /// The time that the step leads to, as `t`: two-time models have it.
    pub r: Option<Name>,
    /// float32 or int64, of any shape.
    pub condition: Vec<Name, MAX_CONDITIONS>,
    /// Which places are known: given with the condition, and the same where that is null.
    pub mask: Option<Name>,
    /// The guidance scale's embedding, float32 `[1, D]`: such models are guided in one run.
    pub guidance: Option<Name>,
    pub output: Name,
    pub layout: Layout,
    /// What the scheduler takes it for if not given.
    pub kind: Option<Kind>,
    /// The feature that cached steps keep: an output of the whole model, and an input of its shallow part.
    pub deep: Option<Name>,
    /// Of the cache that is bounded by the change of x, found on data.
    pub cache_threshold: Option<f32>,
    /// The output has twice the channels of x, the second half for a variance.
    pub learned_variance: bool,
    /// Steps when nobody asks for a number.
    pub steps: Option<u16>,
}

impl Contract {
    /// Steps of the role view when nobody asks for a number.
    pub fn view_steps(&self) -> u16 {
        self.steps.unwrap_or(8)
    }

    /// Reads the JSON object `text`, and says which of its keys no contract has.
    ///
    /// # Errors
    /// [`SchedulerError`] names the key and what was expected.
    pub fn read(text: &[u8]) -> Result<(Self, Unknown<'_>), SchedulerError> {
        let keys = &mut Keys::parse(text)?;
        let contract = Contract {
            x: name(keys, "x")?.unwrap_or_else(|| short("sample")),
            t: name(keys, "t")?.unwrap_or_else(|| short("timestep")),
            r: name(keys, "r")?,
            condition: keys.value("condition", "a list of at most 4 names of at most 64 bytes")?.unwrap_or_default(),
            mask: name(keys, "mask")?,
            guidance: name(keys, "guidance")?,
            output: name(keys, "output")?.unwrap_or_else(|| short("out_sample")),
            layout: keys.word("layout", &LAYOUTS, Layout::Nchw, "\"NCHW\" or \"NHWC\"")?,
            kind: keys.word(
                "kind",
                &KINDS,
                None,
                "\"epsilon\", \"v_prediction\", \"sample\", \"flow\" or \"logits\"",
            )?,
            deep: name(keys, "deep")?,
            cache_threshold: keys
                .optional_number("cache_threshold", f64::from(f32::MIN_POSITIVE)..=1e6, "a number above 0")?
                .map(|threshold| threshold as f32),
            learned_variance: keys.flag("learned_variance", false)?,
            steps: keys.optional_number("steps", 1.0..=MAX_STEPS as f64, "1 to 100")?.map(|steps| steps as u16),
        };
        let unknown = keys.unknown(false);
        if contract.kind == Some(Kind::Logits) && contract.learned_variance {
            let reason = "class logits come without a variance";
            return Err(SchedulerError::Conflict { keys: "kind, learned_variance", reason });
        }
        Ok((contract, unknown))
    }
}

impl Default for Contract {
    fn default() -> Self {
        Contract {
            x: short("sample"),
            t: short("timestep"),
            r: None,
            condition: Vec::new(),
            mask: None,
            guidance: None,
            output: short("out_sample"),
            layout: Layout::Nchw,
            kind: None,
            deep: None,
            cache_threshold: None,
            learned_variance: false,
            steps: None,
        }
    }
}

const LAYOUTS: [(&str, Layout); 2] = [("NCHW", Layout::Nchw), ("NHWC", Layout::Nhwc)];

const KINDS: [(&str, Option<Kind>); 5] = [
    ("epsilon", Some(Kind::Prediction(Prediction::Epsilon))),
    ("v_prediction", Some(Kind::Prediction(Prediction::Velocity))),
    ("sample", Some(Kind::Prediction(Prediction::Sample))),
    ("flow", Some(Kind::Prediction(Prediction::Flow))),
    ("logits", Some(Kind::Logits)),
];

fn name(keys: &mut Keys, key: &'static str) -> Result<Option<Name>, SchedulerError> {
    keys.value(key, "a name of at most 64 bytes")
}

/// One of the default names.
fn short(name: &str) -> Name {
    name.chars().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_keys_are_those_of_a_unet() {
        let (contract, unknown) = Contract::read(b"{}").unwrap();
        assert_eq!((contract, unknown.len()), (Contract::default(), 0));
        let text =
            br#"{"x": "in", "condition": ["text", "size"], "r": null, "guidance": "timestep_cond", "layout": "NHWC",
            "kind": "logits", "mine": {"a": [1]}}"#;
        let (contract, unknown) = Contract::read(text).unwrap();
        assert_eq!((&contract.x[..], contract.condition.len(), contract.layout), ("in", 2, Layout::Nhwc));
        assert_eq!((contract.r, contract.kind, contract.guidance.is_some()), (None, Some(Kind::Logits), true));
        assert_eq!(unknown[..], ["mine"]);
    }

    #[test]
    fn wrong_values_are_named() {
        let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(65));
        for (text, key) in [
            (r#"{"t": 3}"#, "t: "),
            (r#"{"condition": "text"}"#, "condition: "),
            (r#"{"condition": ["1", "2", "3", "4", "5"]}"#, "condition: "),
            (r#"{"layout": "CHW"}"#, "layout: "),
            (r#"{"kind": "noise"}"#, "kind: "),
            (r#"{"cache_threshold": 0}"#, "cache_threshold: "),
            (r#"{"kind": "logits", "learned_variance": true}"#, "kind, learned_variance: "),
            (&long, "x: "),
            ("[]", "byte 0"),
        ] {
            let error = Contract::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }
}
