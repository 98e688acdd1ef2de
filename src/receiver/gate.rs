//! When to generate: by thresholds on the head's doubt that were calibrated for the channel, with a risk that they promise; elsewhere by plain thresholds on the channel and on
//! the head's confidence, which promise none.

use super::Mode;
use crate::bundle::{CalibratedGate, GateBin, GateChannel, GateThresholds};

/// What the gate found, in the words of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The mode does not generate, or may not.
    Off,
    /// Nothing asks for a refinement.
    Clear,
    /// Too many cells are unknown.
    Unknown,
    /// The soft values are too noisy.
    Noise,
    /// Something is unknown or noisy, and the head is unsure: of one hazard, or, where the gate is calibrated, of all together.
    Doubt,
    /// The mode asks for a refinement of every frame that is not wholly and surely known, or for a photograph of every frame.
    Forced,
    /// A refinement is wanted, but the deadline leaves no time for a step.
    Deadline,
    /// A refinement is wanted, but the board is to do without: it is hot, short of memory or late.
    Throttled,
    /// A refinement was begun, and broke: the decision is that on what arrived.
    Failed,
    /// A refinement was begun, and given up: a newer frame came, or others took its time. The decision is that on what arrived.
    Preempted,
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
            Gate::Throttled => "throttled",
            Gate::Failed => "failed",
            Gate::Preempted => "preempted",
        }
    }
}

/// How long the models take, in µs: measured at start, or told by a board profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    pub head_us: u64,
    pub step_us: u64,
}

pub(super) struct Question<'a> {
    pub mode: Mode,
    pub thresholds: GateThresholds,
    pub calibrated: Option<&'a CalibratedGate>,
    pub known_permille: u16,
    /// `None` for map payloads; the SNR, if the link told one, for soft ones.
    pub soft_snr_cdb: Option<Option<i16>>,
    pub confidence_permille: u16,
    pub doubt_permille: u16,
    /// Steps of a refinement, if time allows; 0 where none is allowed.
    pub wanted: u16,
    /// Time until the deadline, if there is one.
    pub left_us: Option<u64>,
    pub pace: Pace,
}

/// What the gate chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub gate: Gate,
    /// Sampler steps to take.
    pub steps: u16,
    /// The risk that it promises to keep, of 1000 frames: those that are decided worse for what wasn't generated.
    pub risk_permille: Option<u16>,
}

impl GateBin {
    /// Whether a frame on such a channel falls into it: `soft_snr_cdb` as in the receiver's question to the gate, `None` for map payloads.
    pub fn holds(&self, known_permille: u16, soft_snr_cdb: Option<Option<i16>>) -> bool {
        let is_within = |value: i16| (self.from..self.below).contains(&value);
        match (self.channel, soft_snr_cdb) {
            (GateChannel::Map, None) => is_within(1000 - known_permille as i16),
            (GateChannel::Soft, Some(Some(snr_cdb))) => known_permille == 1000 && is_within(snr_cdb),
            _ => false,
        }
    }
}

/// Whether a soft payload is; noise that nobody measured is not trusted to be low.
pub(super) fn is_noisy(soft_snr_cdb: Option<Option<i16>>, thresholds: &GateThresholds) -> bool {
    soft_snr_cdb.is_some_and(|snr| snr.is_none_or(|snr| snr < thresholds.snr_cdb))
}

/// The gate's finding, the sampler steps to take, and what is promised.
pub(super) fn choose(question: &Question<'_>) -> Choice {
    let Question { thresholds, known_permille, soft_snr_cdb, confidence_permille, .. } = *question;
    let unknown_permille = 1000 - known_permille;
    let noisy = is_noisy(soft_snr_cdb, &thresholds);
    let needs = noisy || unknown_permille > 0;
    let bin = question.calibrated.filter(|_| question.mode == Mode::Auto).and_then(|calibrated| {
        let bin = calibrated.bins.iter().find(|bin| bin.holds(known_permille, soft_snr_cdb))?;
        Some((bin, calibrated.alpha_permille))
    });
    let gate = match (question.mode, bin) {
        (Mode::SemanticFirst, _) => Gate::Off,
        (Mode::View, _) => Gate::Forced,
        (_, Some((bin, _))) if needs && question.doubt_permille > bin.doubt_permille => Gate::Doubt,
        (_, Some(_)) => Gate::Clear,
        _ if noisy => Gate::Noise,
        _ if unknown_permille >= thresholds.unknown_permille.max(1) => Gate::Unknown,
        (Mode::Hybrid | Mode::Latent, _) if unknown_permille > 0 => Gate::Forced,
        _ if unknown_permille > 0 && confidence_permille < thresholds.confidence_permille => Gate::Doubt,
        _ => Gate::Clear,
    };
    let risk_permille = bin.map(|(_, alpha_permille)| alpha_permille);
    if matches!(gate, Gate::Off | Gate::Clear) {
        return Choice { gate, steps: 0, risk_permille };
    }
    if question.wanted == 0 {
        return Choice { gate: Gate::Throttled, steps: 0, risk_permille: None };
    }
    match question.left_us {
        None => Choice { gate, steps: question.wanted, risk_permille },
        Some(left_us) => {
            let for_steps = left_us.saturating_sub(question.pace.head_us);
            match (for_steps / question.pace.step_us.max(1)).min(question.wanted as u64) as u16 {
                0 => Choice { gate: Gate::Deadline, steps: 0, risk_permille: None },
                // Fewer steps than those that it was calibrated with.
                steps => Choice { gate, steps, risk_permille: risk_permille.filter(|_| steps == question.wanted) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(question: &Question<'_>) -> (Gate, u16) {
        let Choice { gate, steps, risk_permille } = super::choose(question);
        assert_eq!(risk_permille, None);
        (gate, steps)
    }

    fn question() -> Question<'static> {
        Question {
            mode: Mode::Auto,
            calibrated: None,
            thresholds: GateThresholds { unknown_permille: 50, snr_cdb: 1046, confidence_permille: 700 },
            known_permille: 1000,
            soft_snr_cdb: None,
            confidence_permille: 600,
            doubt_permille: 1500,
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
    fn a_calibrated_gate_promises_within_its_bins() {
        let bin = |channel, from, below, doubt_permille| GateBin { channel, from, below, doubt_permille };
        let bins = [
            bin(GateChannel::Map, 0, 400, 2000),
            bin(GateChannel::Map, 400, 1000, 1000),
            bin(GateChannel::Soft, -700, 4100, 300),
        ];
        let calibrated = CalibratedGate {
            alpha_permille: 100,
            delta_permille: 50,
            data: "00".into(),
            bins: heapless::Vec::from_slice(&bins).unwrap(),
        };
        let question = || Question { calibrated: Some(&calibrated), ..question() };
        let choice = |gate, steps, risk_permille| Choice { gate, steps, risk_permille };
        let clear = choice(Gate::Clear, 0, Some(100));
        let doubt = choice(Gate::Doubt, 4, Some(100));
        for (known_permille, expected) in [(1000, clear), (900, clear), (601, clear), (600, doubt), (1, doubt)] {
            assert_eq!(super::choose(&Question { known_permille, ..question() }), expected, "{known_permille}");
        }
        // Outside its bins, or where another mode decides, the plain thresholds hold.
        let lost = Question { known_permille: 0, ..question() };
        assert_eq!(super::choose(&lost), choice(Gate::Unknown, 4, None));
        let forced = Question { known_permille: 900, mode: Mode::Hybrid, ..question() };
        assert_eq!(super::choose(&forced), choice(Gate::Unknown, 4, None));
        let soft = |snr_cdb, known_permille| {
            super::choose(&Question { soft_snr_cdb: Some(snr_cdb), known_permille, ..question() })
        };
        assert_eq!((soft(Some(500), 1000), soft(Some(2000), 1000)), (doubt, clear));
        assert_eq!(
            (soft(None, 1000), soft(Some(500), 999)),
            (choice(Gate::Noise, 4, None), choice(Gate::Noise, 4, None))
        );
        // Fewer steps than were asked for are no longer what was calibrated.
        let late = |left_us| super::choose(&Question { known_permille: 500, left_us: Some(left_us), ..question() });
        assert_eq!((late(100_000), late(25_000)), (doubt, choice(Gate::Doubt, 2, None)));
        assert_eq!(late(0), choice(Gate::Deadline, 0, None));
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
    fn who_may_not_refine_says_so_where_it_would() {
        let throttled = Question { wanted: 0, ..question() };
        assert_eq!(choose(&throttled), (Gate::Clear, 0));
        assert_eq!(choose(&Question { known_permille: 0, ..throttled }), (Gate::Throttled, 0));
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
