//! One network of a bundle: what it keeps in memory, and what a run of it takes.

use super::cost::Instructions;
use super::work::Work;
use crate::engine::plan::Plan;

/// Multiply-accumulates, by what they are done in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MacCount {
    pub int8: u64,
    pub float: u64,
}

impl MacCount {
    pub fn total(self) -> u64 {
        self.int8 + self.float
    }

    /// Bit operations: each multiply-accumulate counts the bits of the one factor times those of the other.
    pub fn bops(self) -> u64 {
        self.int8 * 8 * 8 + self.float * 32 * 32
    }

    pub fn times(self, count: u64) -> Self {
        MacCount { int8: self.int8 * count, float: self.float * count }
    }
}

impl std::ops::Add for MacCount {
    type Output = MacCount;

    fn add(self, other: MacCount) -> MacCount {
        MacCount { int8: self.int8 + other.int8, float: self.float + other.float }
    }
}

/// A network with its plan, as it would be with the kernels that some instructions have.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its part in the bundle, as `bundle.json` calls it.
    pub role: &'static str,
    /// Of the first run on a scene, and of another one on the same.
    pub macs: MacCount,
    pub macs_again: MacCount,
    /// The first run on a scene.
    pub first: Work,
    /// Another one on the same scene.
    pub again: Work,
}

impl Network {
    pub fn of(role: &'static str, plan: &Plan, macs: MacCount, instructions: Instructions) -> Network {
        let (steps, folded) = (plan.steps(), plan.once()..plan.once() + plan.timed());
        let from = |first: usize| {
            let mut work = Work::default();
            for (index, step) in steps.iter().enumerate().skip(first) {
                if !folded.contains(&index) {
                    work.take(&Work::of(step, plan.slots(), instructions), 1);
                }
            }
            work
        };
        Network {
            role,
            macs,
            macs_again: MacCount { int8: macs.int8.saturating_sub(plan.once_macs()), ..macs },
            first: from(0),
            again: from(plan.once()),
        }
    }
}
