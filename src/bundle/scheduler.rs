//! `scheduler_config.json`.

use crate::sampler::{CmStochasticIterativeScheduler, Scheduler};
use std::path::Path;

/// Reads the text of `file`, and warns of keys that its class doesn't have; `class` is built in the place of the file's.
pub(super) fn any(text: &[u8], file: &Path, class: Option<&str>) -> Result<Scheduler, String> {
    let (scheduler, unknown) = Scheduler::parse(text, class).map_err(|error| error.to_string())?;
    for key in &unknown {
        log::warn!("{}: {key:?} is not a key of {}: left alone", file.display(), scheduler.class());
    }
    Ok(scheduler)
}

/// [`any`], of the restore network.
pub(super) fn parse(text: &[u8], file: &Path) -> Result<CmStochasticIterativeScheduler, String> {
    match any(text, file, None)? {
        Scheduler::CmStochasticIterative(scheduler) => Ok(scheduler),
        other => Err(format!(
            "_class_name: {:?} is not CMStochasticIterativeScheduler, the one that this version's receiver samples with",
            other.class()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_of_other_classes_are_refused() {
        let parse = |text: &str| parse(text.as_bytes(), Path::new("scheduler_config.json"));
        let karras =
            r#"{"_class_name": "CMStochasticIterativeScheduler", "sigma_max": 40.0, "clip_denoised": true, "mine": 1}"#;
        assert_eq!(parse(karras).unwrap().karras().sigma_max, 40.0);
        assert!(parse(r#"{"_class_name": "LCMScheduler"}"#).unwrap_err().contains("LCMScheduler"));
        assert!(parse(r#"{"_class_name": "CMStochasticIterativeScheduler", "rho": 0}"#).unwrap_err().contains("rho"));
    }
}
