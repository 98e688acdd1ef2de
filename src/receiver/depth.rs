//! How many sampler steps a refinement takes.

use super::Decision;
use crate::bundle::GateThresholds;

/// Who says how deep a refinement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// As many steps as are configured, or as the deadline has room for.
    #[default]
    Fixed,
    /// As many as the need asks for, and no more once the decision has settled.
    Adaptive,
}

/// From this share of unknown cells on, of 1000, every configured step is worth taking.
const UNKNOWN_PERMILLE: u64 = 250;
/// So far below the gate's SNR, in hundredths of dB, every configured step is worth taking.
const BELOW_CDB: u64 = 300;
/// Free space may move so far from one step's decision to the next, in thousandths of the height, and still count as the same.
const FREE_PERMILLE: u16 = 30;
/// A hazard whose probability is nearer to the threshold than this and half of what the last step moved it by, in thousandths, has not settled.
const MARGIN_PERMILLE: u16 = 75;

/// Steps of a refinement, of `wanted` at most: `wanted` times the need, rounded up. The need is the share of unknown cells over a quarter, or for soft
/// payloads how far the SNR lies below the gate's, over 3 dB, whichever is more; an SNR that nobody told asks for all.
pub(super) fn budget(
    wanted: u16,
    unknown_permille: u16,
    soft_snr_cdb: Option<Option<i16>>,
    thresholds: &GateThresholds,
) -> u16 {
    let steps = |amount: u64, whole: u64| (wanted as u64 * amount.min(whole)).div_ceil(whole) as u16;
    let unknown = steps(unknown_permille as u64, UNKNOWN_PERMILLE);
    let noise = match soft_snr_cdb {
        None => 0,
        Some(None) => wanted,
        Some(Some(snr)) => steps((thresholds.snr_cdb as i64 - snr as i64).max(0) as u64, BELOW_CDB),
    };
    unknown.max(noise).max(1)
}

/// Whether the decision `now` says the same as the one `before`, and surely: every hazard is called as before, none is near the threshold for how far it moved, and no column's
/// free space moved far.
pub(super) fn is_settled(before: &Decision, now: &Decision) -> bool {
    let mut moved = before.free_permille.iter().zip(&now.free_permille).map(|(before, now)| before.abs_diff(*now));
    let mut hazards = before.hazard_permille.iter().zip(&now.hazard_permille);
    let is_sure = hazards.all(|(before, now)| now.abs_diff(500) >= MARGIN_PERMILLE + before.abs_diff(*now) / 2);
    is_sure && before.hazards() == now.hazards() && moved.all(|moved| moved <= FREE_PERMILLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Belief;
    use crate::scene::rule::PAIRS;

    #[test]
    fn need_makes_the_budget() {
        let thresholds = GateThresholds { unknown_permille: 50, snr_cdb: 1046, confidence_permille: 700 };
        let budget = |unknown, snr| budget(4, unknown, snr, &thresholds);
        for (unknown, steps) in [(1, 1), (62, 1), (63, 2), (125, 2), (187, 3), (188, 4), (250, 4), (1000, 4)] {
            assert_eq!(budget(unknown, None), steps, "{unknown}");
        }
        for (snr, steps) in [(2000, 1), (1000, 1), (900, 2), (887, 3), (700, 4), (-1000, 4)] {
            assert_eq!(budget(0, Some(Some(snr))), steps, "{snr}");
        }
        assert_eq!((budget(0, Some(None)), budget(200, Some(Some(1000)))), (4, 4));
    }

    #[test]
    fn a_decision_has_settled_when_it_stays() {
        let mut belief = Belief { hazard: [-2.0; PAIRS], ..Belief::default() };
        let before = belief.decision();
        belief.free[3] = 0.02;
        belief.hazard[5] = -1.0;
        assert!(is_settled(&before, &belief.decision()));
        belief.free[3] = 0.032;
        assert!(!is_settled(&before, &belief.decision()));
        belief.free[3] = 0.0;
        // From 119 thousandths to 377 is too far for 123 from the threshold.
        for doubtful in [-0.5, 2.0] {
            belief.hazard[5] = doubtful;
            assert!(!is_settled(&before, &belief.decision()));
        }
    }
}
