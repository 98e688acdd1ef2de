//! When to generate. Plain thresholds on the channel and on the head's confidence: not calibrated, so no risk is promised.

use super::Mode;
use crate::bundle::GateThresholds;

/// What the gate found, in the words of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The mode does not generate.
    Off,
    /// Nothing asks for a refinement.
    Clear,
    /// Too many cells are unknown.
    Unknown,
    /// The soft values are too noisy.
    Noise,
    /// Something is unknown, and the head is unsure of a hazard.
    Doubt,
    /// The mode asks for a refinement of every frame that is not wholly and surely known.
    Forced,
    /// A refinement is wanted, but the deadline leaves no time for a step.
    Deadline,
    /// A refinement was begun, and broke: the decision is that on what arrived.
    Failed,
}

impl Gate {
    pub const fn name(self) -> &'static str {
        match self {
            Gate::Off => "off",
            Gate::Clear => "clear",
            Gate::Unknown => "unknown",
            Gate::Noise => "noise",
            Gate::Doubt => "doubt",
            Gate::Forced => "forced",
            Gate::Deadline => "deadline",
            Gate::Failed => "failed",
        }
    }
}

/// How long the models take, in µs: measured at start, or told by a board profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    pub head_us: u64,
    pub step_us: u64,
}

pub(super) struct Question {
    pub mode: Mode,
    pub thresholds: GateThresholds,
    pub known_permille: u16,
    /// `None` for map payloads; the SNR, if the link told one, for soft ones.
    pub soft_snr_cdb: Option<Option<i16>>,
    pub confidence_permille: u16,
    /// Steps of a refinement, if time allows.
    pub wanted: u16,
    /// Time until the deadline, if there is one.
    pub left_us: Option<u64>,
    pub pace: Pace,
}

/// The gate's finding, and the sampler steps to take.
pub(super) fn choose(question: &Question) -> (Gate, u16) {
    let Question { thresholds, known_permille, soft_snr_cdb, confidence_permille, .. } = *question;
    let unknown_permille = 1000 - known_permille;
    // Noise that nobody measured is not trusted to be low.
    let noisy = soft_snr_cdb.is_some_and(|snr| snr.is_none_or(|snr| snr < thresholds.snr_cdb));
    let gate = match question.mode {
        Mode::SemanticFirst => Gate::Off,
        _ if noisy => Gate::Noise,
        _ if unknown_permille >= thresholds.unknown_permille.max(1) => Gate::Unknown,
        Mode::Hybrid if unknown_permille > 0 => Gate::Forced,
        _ if unknown_permille > 0 && confidence_permille < thresholds.confidence_permille => Gate::Doubt,
        _ => Gate::Clear,
    };
    if matches!(gate, Gate::Off | Gate::Clear) {
        return (gate, 0);
    }
    match question.left_us {
        None => (gate, question.wanted),
        Some(left_us) => {
            let for_steps = left_us.saturating_sub(question.pace.head_us);
            match (for_steps / question.pace.step_us.max(1)).min(question.wanted as u64) as u16 {
                0 => (Gate::Deadline, 0),
                steps => (gate, steps),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            mode: Mode::Auto,
            thresholds: GateThresholds { unknown_permille: 50, snr_cdb: 1046, confidence_permille: 700 },
            known_permille: 1000,
            soft_snr_cdb: None,
            confidence_permille: 600,
            wanted: 4,
            left_us: None,
            pace: Pace { head_us: 1_000, step_us: 10_000 },
        }
    }

    #[test]
    fn each_reason_opens_it() {
        assert_eq!(choose(&question()), (Gate::Clear, 0));
        assert_eq!(choose(&Question { known_permille: 950, ..question() }), (Gate::Unknown, 4));
        assert_eq!(choose(&Question { known_permille: 990, ..question() }), (Gate::Doubt, 4));
        assert_eq!(choose(&Question { known_permille: 990, confidence_permille: 900, ..question() }), (Gate::Clear, 0));
        assert_eq!(choose(&Question { soft_snr_cdb: Some(Some(500)), ..question() }), (Gate::Noise, 4));
        assert_eq!(choose(&Question { soft_snr_cdb: Some(None), ..question() }), (Gate::Noise, 4));
        assert_eq!(choose(&Question { soft_snr_cdb: Some(Some(2000)), ..question() }), (Gate::Clear, 0));
    }

    #[test]
    fn modes_overrule_it() {
        let hybrid = Question { mode: Mode::Hybrid, confidence_permille: 999, ..question() };
        assert_eq!(choose(&hybrid), (Gate::Clear, 0));
        assert_eq!(choose(&Question { known_permille: 999, ..hybrid }), (Gate::Forced, 4));
        let off = Question { mode: Mode::SemanticFirst, known_permille: 0, ..question() };
        assert_eq!(choose(&off), (Gate::Off, 0));
    }

    #[test]
    fn the_deadline_takes_steps_away() {
        let lossy = |left_us| choose(&Question { known_permille: 0, left_us: Some(left_us), ..question() });
        assert_eq!(lossy(100_000), (Gate::Unknown, 4));
        assert_eq!(lossy(25_000), (Gate::Unknown, 2));
        assert_eq!(lossy(10_500), (Gate::Deadline, 0));
        assert_eq!(lossy(0), (Gate::Deadline, 0));
    }
}
