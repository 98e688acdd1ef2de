//! `bundle.json` and `scheduler_config.json`, as they stand in the files.

use heapless::Vec;
use serde::Deserialize;

/// The version of `bundle.json` that this module reads.
pub const SCHEMA: u16 = 1;
/// Most files that a bundle can list.
pub const MAX_FILES: usize = 16;

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
    pub gate: GateThresholds,
    pub fusion: FusionWeights,
}

/// A file of the bundle.
#[derive(Debug, Deserialize)]
pub struct FileEntry<'a> {
    /// `head`, `restore`, `prior`, `scheduler`, `card`.
    pub role: &'a str,
    /// Name of a file in the bundle's folder.
    pub file: &'a str,
    /// Lower-case hex.
    pub sha256: &'a str,
}

/// When the receiver generates. Plain thresholds: they are not calibrated, and promise no risk.
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
}

/// The keys of diffusers' `scheduler_config.json` that version 0 uses.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    pub sigma_min: f32,
    pub sigma_max: f32,
    pub rho: f32,
}

impl Default for Scheduler {
    /// `CMStochasticIterativeScheduler`'s defaults.
    fn default() -> Self {
        Scheduler { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 }
    }
}

impl<'a> Manifest<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        parse(text)
    }
}

impl Scheduler {
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(rename = "_class_name")]
            class_name: &'a str,
        }
        let Named { class_name } = parse(text)?;
        if class_name != "CMStochasticIterativeScheduler" {
            return Err(format!(
                "_class_name: {class_name:?} is not CMStochasticIterativeScheduler, the one that this version samples with"
            ));
        }
        let scheduler: Scheduler = parse(text)?;
        let Scheduler { sigma_min, sigma_max, rho } = scheduler;
        if !(0.0 < sigma_min && sigma_min < sigma_max && sigma_max <= 10_000.0 && (1.0..=100.0).contains(&rho)) {
            return Err("should have 0 < sigma_min < sigma_max <= 10000 and rho from 1 to 100".into());
        }
        Ok(scheduler)
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    match serde_json_core::from_slice::<T>(text) {
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
        let manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((manifest.name, manifest.grid, manifest.files[0].role), ("b", [128, 96], "head"));
        assert!(Manifest::parse(&TEXT.as_bytes()[..100]).is_err());
        assert!(Manifest::parse(TEXT.replace("\"steps\": 2,", "").as_bytes()).is_err());
        assert!(Manifest::parse(format!("{TEXT} x").as_bytes()).is_err());
    }

    #[test]
    fn schedulers_of_other_classes_are_refused() {
        let karras = r#"{"_class_name": "CMStochasticIterativeScheduler", "sigma_max": 40.0, "clip_denoised": true}"#;
        assert_eq!(Scheduler::parse(karras.as_bytes()).unwrap(), Scheduler { sigma_max: 40.0, ..Default::default() });
        assert!(Scheduler::parse(br#"{"_class_name": "LCMScheduler"}"#).unwrap_err().contains("LCMScheduler"));
        assert!(Scheduler::parse(br#"{"_class_name": "CMStochasticIterativeScheduler", "rho": 0}"#).is_err());
    }
}
