//! Hazards that don't flicker: called when they are likely, dropped when they are unlikely, and as before in between.

use super::Decision;
use crate::scene::rule::{HazardSet, PAIRS};

/// From this probability on a hazard is called, in thousandths.
const CALLED: u16 = 700;
/// Below this one it is dropped.
const DROPPED: u16 = 300;
/// After so many frames without a decision, what was called before says nothing.
const STALE: u32 = 10;

/// What is called in one stream. [`Steady::default`] has seen nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steady {
    hazards: HazardSet,
    last: Option<u32>,
}

impl Steady {
    /// Takes in the decision on frame `sequence`, which is past the last one's, and gives what is called now.
    pub fn follow(&mut self, sequence: u32, decision: &Decision) -> HazardSet {
        let is_fresh = self.last.is_some_and(|last| sequence.saturating_sub(last) <= STALE);
        let before = if is_fresh { self.hazards } else { decision.hazards() };
        self.last = Some(sequence);
        self.hazards = HazardSet::default();
        for pair in 0..PAIRS {
            let likely = decision.hazard_permille[pair];
            if likely >= CALLED || likely >= DROPPED && before.contains(pair) {
                self.hazards.insert(pair);
            }
        }
        self.hazards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Belief;

    #[test]
    fn in_between_all_stays_as_it_was() {
        let mut steady = Steady::default();
        let mut follow = |sequence, likely| {
            let decision = Decision { hazard_permille: [likely; PAIRS], ..Belief::default().decision() };
            steady.follow(sequence, &decision).contains(0)
        };
        let called: Vec<bool> =
            [(0, 510), (1, 350), (2, 299), (3, 690), (4, 700), (5, 300)].map(|(at, likely)| follow(at, likely)).into();
        assert_eq!(called, [true, true, false, false, true, true]);
        assert!(follow(15, 400), "ten frames on, it is remembered");
        assert!(!follow(26, 400), "eleven frames on, it isn't");
    }
}
