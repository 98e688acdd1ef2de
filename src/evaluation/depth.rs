//! What depth by need costs and saves, beside as many steps for every frame.

use super::Sample;
use crate::report::metrics::HazardCounts;

/// Both ways on the same frames with the same noise: first fixed, then adaptive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthScores {
    pub frames: usize,
    /// Sampler steps of all frames.
    pub steps: [u64; 2],
    /// Multiply-accumulates of a frame.
    pub mean_macs: [f64; 2],
    /// Hazard macro-F1 through the head.
    pub f1: [Option<f64>; 2],
    /// Share of the zone x type pairs that both call the same.
    pub agreement: Option<f64>,
}

impl DepthScores {
    pub fn of(fixed: &[&Sample], adaptive: &[&Sample]) -> Self {
        let both = [fixed, adaptive];
        let mut agreement = HazardCounts::default();
        for (fixed, adaptive) in fixed.iter().zip(adaptive) {
            if let (Some(fixed), Some(adaptive)) = (fixed.head, adaptive.head) {
                agreement.add(fixed.hazards, adaptive.hazards);
            }
        }
        let f1 = |samples: &[&Sample]| {
            let mut counts = HazardCounts::default();
            samples.iter().for_each(|sample| counts.add(sample.truth, sample.head.unwrap_or_default().hazards));
            counts.macro_f1(counts.scored())
        };
        DepthScores {
            frames: fixed.len(),
            steps: both.map(|samples| samples.iter().map(|sample| sample.steps as u64).sum()),
            mean_macs: both.map(|samples| {
                samples.iter().map(|sample| sample.macs as f64).sum::<f64>() / samples.len().max(1) as f64
            }),
            f1: both.map(f1),
            agreement: agreement.agreement(),
        }
    }

    /// Share of the sampler steps that were left out.
    pub fn saved(&self) -> f64 {
        1.0 - self.steps[1] as f64 / self.steps[0].max(1) as f64
    }
}
