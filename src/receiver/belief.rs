//! What the head says, and the decision that follows from it.

use crate::scene::rule::{COLUMNS, HazardSet, MAX_TASKS, PAIRS};

/// The head's outputs as they come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Free space per column, share of the height.
    pub free: [f32; COLUMNS],
    /// Log-odds per zone x type pair.
    pub hazard: [f32; PAIRS],
    /// Log-odds of the head's own tasks; 0 for those that it doesn't have.
    pub task: [f32; MAX_TASKS],
}

impl Default for Belief {
    fn default() -> Self {
        Belief { free: [0.0; COLUMNS], hazard: [0.0; PAIRS], task: [0.0; MAX_TASKS] }
    }
}

/// A decision in integers, as records carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Free space per column, thousandths of the height.
    pub free_permille: [u16; COLUMNS],
    /// Probability of each zone x type pair, in thousandths. Not calibrated.
    pub hazard_permille: [u16; PAIRS],
    /// Probability of each of the head's own tasks, in thousandths; 500 for those that it doesn't have.
    pub task_permille: [u16; MAX_TASKS],
}

impl Belief {
    pub fn decision(&self) -> Decision {
        let permille = |share: f32| (share.clamp(0.0, 1.0) * 1000.0).round() as u16;
        let likely = |logit: f32| permille(1.0 / (1.0 + libm::expf(-logit)));
        Decision {
            free_permille: self.free.map(permille),
            hazard_permille: self.hazard.map(likely),
            task_permille: self.task.map(likely),
        }
    }

    /// The same with log-odds `weight` times as large.
    pub fn weighed(&self, weight: f32) -> Belief {
        Belief {
            free: self.free,
            hazard: self.hazard.map(|odds| weight * odds),
            task: self.task.map(|odds| weight * odds),
        }
    }

    /// Both: log-odds added up with their weights, free space as the mean with `share` on `other`.
    pub fn fused(&self, other: &Belief, share: f32, [ours, theirs]: [f32; 2]) -> Belief {
        let pooled = |a: f32, b: f32| ours * a + theirs * b;
        Belief {
            free: core::array::from_fn(|column| self.free[column] + share * (other.free[column] - self.free[column])),
            hazard: core::array::from_fn(|pair| pooled(self.hazard[pair], other.hazard[pair])),
            task: core::array::from_fn(|task| pooled(self.task[task], other.task[task])),
        }
    }
}

impl Decision {
    /// The pairs that are called present: more likely than not.
    pub fn hazards(&self) -> HazardSet {
        let mut hazards = HazardSet::default();
        for pair in (0..PAIRS).filter(|&pair| self.hazard_permille[pair] >= 500) {
            hazards.insert(pair);
        }
        hazards
    }

    /// How many of the hazards the head expects to call wrongly, in thousandths: 0..=13500.
    pub fn doubt_permille(&self) -> u16 {
        self.hazard_permille.iter().map(|&p| p.min(1000 - p.min(1000))).sum()
    }

    /// How sure the head is of the hazard that it is least sure of, 500..=1000.
    pub fn confidence_permille(&self) -> u16 {
        let sure = self.hazard_permille.iter().map(|&p| p.max(1000 - p.min(1000)));
        sure.min().unwrap_or(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_in_thousandths() {
        let mut belief = Belief::default();
        belief.free[3] = 0.4567;
        belief.free[4] = 1.5;
        belief.free[5] = f32::NAN;
        belief.hazard = [-20.0; PAIRS];
        belief.hazard[7] = 2.0;
        let decision = belief.decision();
        assert_eq!(decision.free_permille[3..6], [457, 1000, 0]);
        assert_eq!(decision.hazard_permille[7], 881);
        assert_eq!(decision.hazards(), HazardSet(1 << 7));
        assert_eq!(decision.confidence_permille(), 881);
        assert_eq!(decision.doubt_permille(), 119);
    }

    #[test]
    fn fusion_weighs_both() {
        let (mut a, mut b) = (Belief::default(), Belief::default());
        a.hazard[0] = 4.0;
        b.hazard[0] = -2.0;
        b.free[0] = 1.0;
        assert_eq!(a.fused(&b, 0.5, [0.5, 0.5]).hazard[0], 1.0);
        assert_eq!(a.fused(&b, 0.25, [1.0, 1.0]).free[0], 0.25);
        assert_eq!(a.fused(&b, 0.0, [1.0, 0.0]), a);
        assert_eq!(a.weighed(0.5).hazard[0], 2.0);
    }
}
