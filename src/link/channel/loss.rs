//! Which slots are lost: independently, or in runs.

use crate::noise::Noise;

/// The longest mean run of lost slots.
pub(super) const LONGEST_RUN: f64 = 1000.0;

/// A Gilbert-Elliott chain of two states whose bad state loses every slot.
///
/// Usually given by its two transition chances. The same chain, said otherwise: with the chance `fresh` a slot draws its
/// state anew (bad with the chance `share`), else it keeps that of the slot before it. So the state at any place follows
/// from looking back to the nearest fresh draw, whatever was asked before.
pub(super) struct LossRuns {
    /// Chance of a fresh draw.
    fresh: f64,
    /// Chance of a fresh draw that is bad.
    fresh_bad: f64,
    share: f64,
}

impl LossRuns {
    /// Loses a `share` (0 to 1) of all slots in runs of `mean_run` slots on average, or of `1 / (1 - share)` where that
    /// is more: the runs that independent losses make.
    pub(super) fn new(share: f64, mean_run: f64) -> Self {
        // A chain that hardly ever draws anew would look back for ever.
        let mean_run = mean_run.clamp(1.0, LONGEST_RUN);
        let share = share.clamp(0.0, 1.0);
        let fresh = (1.0 / (mean_run * (1.0 - share))).min(1.0);
        LossRuns { fresh, fresh_bad: fresh * share, share }
    }

    /// Whether the slot at `place`, counted over the whole stream, is lost.
    pub(super) fn lost_at(&self, noise: Noise, mut place: u64) -> bool {
        loop {
            let u = noise.uniform_at(place);
            if u < self.fresh {
                return u < self.fresh_bad;
            }
            if place == 0 {
                // Nothing lies before the first slot: what is left of its number decides.
                return u < self.fresh + (1.0 - self.fresh) * self.share;
            }
            place -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of lost slots and mean run of them over a long stream.
    fn measure(share: f64, mean_run: f64) -> (f64, f64) {
        let runs = LossRuns::new(share, mean_run);
        let noise = Noise::new(11, 4);
        let count = 60_000;
        let lost: Vec<bool> = (0..count).map(|place| runs.lost_at(noise, place)).collect();
        let bad = lost.iter().filter(|&&lost| lost).count();
        let starts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() + usize::from(lost[0]);
        (bad as f64 / count as f64, bad as f64 / starts.max(1) as f64)
    }

    #[test]
    fn share_and_runs_are_those_that_were_asked_for() {
        for (share, mean_run, expected_run) in [
            (0.1, 1.0, 1.0 / 0.9),
            (0.3, 1.0, 1.0 / 0.7),
            (0.3, 4.0, 4.0),
            (0.5, 8.0, 8.0),
            (0.7, 1.0, 1.0 / 0.3),
            (0.7, 6.0, 6.0),
        ] {
            let (measured_share, measured_run) = measure(share, mean_run);
            // Correlated draws are worth fewer: the deviation grows with the root of the run.
            let tolerance = 4.0 * libm::sqrt(share * (1.0 - share) * 2.0 * expected_run / 60_000.0);
            assert!((measured_share - share).abs() < tolerance, "{share} {mean_run}: share {measured_share}");
            assert!((measured_run / expected_run - 1.0).abs() < 0.06, "{share} {mean_run}: run {measured_run}");
        }
    }

    #[test]
    fn the_ends_of_the_range_lose_nothing_and_all() {
        for mean_run in [1.0, 4.0] {
            assert_eq!(measure(0.0, mean_run).0, 0.0);
            assert_eq!(measure(1.0, mean_run).0, 1.0);
        }
    }

    #[test]
    fn the_first_slot_is_lost_as_often_as_any() {
        let runs = LossRuns::new(0.3, 50.0);
        let lost = (0..20_000).filter(|&seed| runs.lost_at(Noise::new(seed, 0), 0)).count();
        assert!((lost as f64 / 20_000.0 - 0.3).abs() < 0.015, "{lost}");
    }

    #[test]
    fn what_is_lost_at_a_low_share_is_lost_at_a_high_one() {
        let noise = Noise::new(5, 0);
        let low = LossRuns::new(0.1, 1.0);
        let high = LossRuns::new(0.5, 1.0);
        assert!((0..2000).all(|place| !low.lost_at(noise, place) || high.lost_at(noise, place)));
    }
}
