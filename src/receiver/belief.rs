//! What the head says, and the decision that follows from it.

use crate::scene::rule::{COLUMNS, HazardSet, PAIRS};

/// The head's outputs as they come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Free space per column, share of the height.
    pub free: [f32; COLUMNS],
    /// Log-odds per zone x type pair.
    pub hazard: [f32; PAIRS],
}

impl Default for Belief {
    fn default() -> Self {
        Belief { free: [0.0; COLUMNS], hazard: [0.0; PAIRS] }
    }
}

/// A decision in integers, as records carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Free space per column, thousandths of the height.
    pub free_permille: [u16; COLUMNS],
    /// Probability of each zone x type pair, in thousandths. Not calibrated.
    pub hazard_permille: [u16; PAIRS],
}

impl Belief {
    pub fn decision(&self) -> Decision {
        let permille = |share: f32| (share.clamp(0.0, 1.0) * 1000.0).round() as u16;
        Decision {
            free_permille: self.free.map(permille),
            hazard_permille: self.hazard.map(|logit| permille(1.0 / (1.0 + libm::expf(-logit)))),
        }
    }

    /// The mean of both, in log-odds for hazards, with weight `other_permille` of 1000 on `other`.
    pub fn fused(&self, other: &Belief, other_permille: u16) -> Belief {
        let weight = other_permille as f32 / 1000.0;
        let mean = |a: f32, b: f32| a + weight * (b - a);
        Belief {
            free: core::array::from_fn(|column| mean(self.free[column], other.free[column])),
            hazard: core::array::from_fn(|pair| mean(self.hazard[pair], other.hazard[pair])),
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
        assert_eq!(a.fused(&b, 500).hazard[0], 1.0);
        assert_eq!(a.fused(&b, 250).free[0], 0.25);
        assert_eq!(a.fused(&b, 0), a);
    }
}
