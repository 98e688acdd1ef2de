//! `bundle.json`, as it stands in the file.

use crate::sampler::{MAX_LEVELS, MAX_STEPS, Weights};
use crate::scene::rule::MAX_TASKS;
use heapless::Vec;
use serde::Deserialize;

/// The version of `bundle.json` that this module reads.
pub const SCHEMA: u16 = 1;
/// Most bins of a calibrated gate.
pub const MAX_BINS: usize = 3;
/// Most files that a bundle can list.
pub const MAX_FILES: usize = 24;

/// `bundle.json`. Keys that it doesn't know are left alone.
#[derive(Debug, Deserialize)]
pub struct Manifest<'a> {
    pub schema: u16,
    pub name: &'a str,
    /// Name of a built-in label set.
    pub label_set: &'a str,
    /// Width and height in cells.
    pub grid: [u16; 2],
    #[serde(borrow)]
    pub files: Vec<FileEntry<'a>, MAX_FILES>,
    pub steps: u16,
    #[serde(default)]
    pub held: HeldScene,
    #[serde(borrow)]
    pub gate: GateEntry<'a>,
    pub fusion: FusionWeights,
    /// Of the restore network, found on data.
    #[serde(borrow, default)]
    pub cache: Option<CacheBound<'a>>,
    #[serde(default)]
    pub perceive: Option<PerceiveEntry>,
    #[serde(default)]
    pub restore: RestoreEntry,
}

/// The key `restore`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RestoreEntry {
    /// What the logits of cells that did not arrive are divided by before they tell how sure a cell is. The head and the sampler get them as they are.
    pub lost_temperature: f32,
}

impl Default for RestoreEntry {
    fn default() -> Self {
        RestoreEntry { lost_temperature: 1.0 }
    }
}

/// The key `perceive`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct PerceiveEntry {
    /// Width and height of the image that the perceiver takes.
    pub image: [u16; 2],
}

/// What the networks get as the held scene, where the stream has shown nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldScene {
    /// Nothing: bits and freshness are 0.
    #[default]
    Bare,
    /// What the nearest cell shows of which something is known, held or received in this frame; the freshness is `-2^(-d / 8)`, `d` the distance
    /// in cells.
    Filled,
}

/// A file of the bundle.
#[derive(Debug, Deserialize)]
pub struct FileEntry<'a> {
    /// One of those in `docs/bundle.md`.
    pub role: &'a str,
    /// Name of a file in the bundle's folder.
    pub file: &'a str,
    /// Lower-case hex.
    pub sha256: &'a str,
    /// Of a head that streams ask for by name; empty for the one that decides where none is asked for.
    #[serde(default)]
    pub name: &'a str,
    /// Values of the head's input `vector`; 0 without one.
    #[serde(default)]
    pub vector: u16,
    /// What the values of the head's output `task` are called; empty without one.
    #[serde(borrow, default)]
    pub tasks: Vec<&'a str, MAX_TASKS>,
}

/// The key `gate`.
#[derive(Debug, Deserialize)]
pub struct GateEntry<'a> {
    pub unknown_permille: u16,
    pub snr_cdb: i16,
    pub confidence_permille: u16,
    #[serde(borrow, default)]
    pub calibrated: Option<CalibratedEntry<'a>>,
}

/// What `semrx eval --calibrate-gate` found.
#[derive(Debug, Deserialize)]
pub struct CalibratedEntry<'a> {
    pub alpha_permille: u16,
    pub delta_permille: u16,
    /// SHA-256 of the maps that it was found on, lower-case hex.
    pub data: &'a str,
    pub bins: Vec<GateBin, MAX_BINS>,
}

/// A kind of channels, and how doubtful a decision has to be there before a scene is refined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct GateBin {
    pub channel: GateChannel,
    /// From this on: unknown cells of 1000, or an SNR in hundredths of dB.
    pub from: i16,
    /// Below this.
    pub below: i16,
    /// A scene is refined where the head expects more wrong hazards, in thousandths.
    pub doubt_permille: u16,
}

/// What a [`GateBin`] tells channels apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateChannel {
    /// Map payloads, by their unknown cells.
    Map,
    /// Soft payloads that arrived in every cell, by their SNR, told or estimated.
    Soft,
}

/// Thresholds of a gate by bins of channels, with what they promise: of the frames of such channels, in the long run, a share of `alpha_permille` at most is decided worse than
/// if everything were refined; at confidence 1 - `delta_permille`, for frames like those that they were found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibratedGate {
    pub alpha_permille: u16,
    pub delta_permille: u16,
    /// SHA-256 of the maps that it was found on, lower-case hex.
    pub data: std::string::String,
    pub bins: Vec<GateBin, MAX_BINS>,
}

/// When the receiver generates, outside the bins of a [`CalibratedGate`]. Plain thresholds: they are not calibrated, and promise no risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct GateThresholds {
    /// From this share of unknown cells on, of 1000.
    pub unknown_permille: u16,
    /// For soft payloads, below this SNR in hundredths of dB.
    pub snr_cdb: i16,
    /// While any cell is unknown, below this confidence of the head in its least sure hazard, 500..=1000.
    pub confidence_permille: u16,
}

/// Weight of the refined scene's decision against the received scene's, of 1000: the refined scene adds more where noise was removed
/// than where holes were filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct FusionWeights {
    /// When cells were unknown.
    pub unknown_permille: u16,
    /// When soft values were noisy.
    pub noise_permille: u16,
    #[serde(default)]
    pub calibrated: Option<LogOddsWeights>,
}

/// What `semrx eval --calibrate-fusion` found: what log-odds are multiplied with, in thousandths, 0..=4000. First the head's where nothing is refined; then,
/// where something is, those of both decisions, pooled by their shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct LogOddsWeights {
    /// When cells were unknown.
    pub unknown_permille: [u16; 2],
    /// When soft values were noisy.
    pub noise_permille: [u16; 2],
}

/// Where caches of the restore network ask.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CacheBound<'a> {
    pub threshold: f32,
    /// The levels of a [`Profile`](crate::sampler::Profile); without any, what the threshold bounds is the change of x.
    #[serde(default)]
    pub profile: Vec<[f32; 2], MAX_LEVELS>,
    /// [`Turns`](crate::sampler::Turns), a letter a step.
    #[serde(default)]
    pub turns: &'a str,
    /// Their [weights](crate::sampler::Turns::weighed).
    #[serde(default)]
    pub weights: Vec<Weights, MAX_STEPS>,
    /// Channels, height and width of the deep feature between the roles `restore` and `restore_shallow`.
    #[serde(default)]
    pub deep: Option<[u16; 3]>,
}

/// Reads a manifest, or what a role needs of one.
pub(super) fn whole<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    match serde_json_core::from_slice(text) {
        Ok((value, used)) if text[used..].iter().all(u8::is_ascii_whitespace) => Ok(value),
        Ok(_) => Err("something follows the JSON object".into()),
        Err(error) => {
            Err(format!("not the JSON that is expected here, or a key is missing (docs/bundle.md lists them): {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"schema": 1, "name": "b", "label_set": "camvid12", "grid": [128, 96], "later": {"x": [1]},
        "files": [{"role": "head", "file": "head.onnx", "sha256": "00", "bytes": 12}],
        "steps": 2, "gate": {"unknown_permille": 50, "snr_cdb": 1046, "confidence_permille": 600}, "fusion": {"unknown_permille": 300, "noise_permille": 700}}"#;

    #[test]
    fn reads_what_it_knows_and_skips_the_rest() {
        let manifest = whole::<Manifest>(TEXT.as_bytes()).unwrap();
        assert_eq!((manifest.name, manifest.grid, manifest.files[0].role), ("b", [128, 96], "head"));
        assert!(whole::<Manifest>(&TEXT.as_bytes()[..100]).is_err());
        assert!(whole::<Manifest>(TEXT.replace("\"steps\": 2,", "").as_bytes()).is_err());
        assert!(whole::<Manifest>(format!("{TEXT} x").as_bytes()).is_err());
    }
}
