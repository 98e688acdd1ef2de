//! What a frame takes.

use super::{MacCount, Network, Work};

/// Of a frame: until its provisional decision, and until its decision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    pub provisional: Total,
    pub whole: Total,
}

/// All that is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Total {
    pub macs: MacCount,
    pub work: Work,
}

impl Total {
    /// Adds the runs of a network: so many on each of some scenes. Nothing where there is no such network.
    pub fn take(&mut self, network: Option<&Network>, scenes: u64, runs: u64) {
        let Some(network) = network else { return };
        let again = scenes * runs.saturating_sub(1);
        self.macs = self.macs + network.macs.times(scenes) + network.macs_again.times(again);
        self.work.take(&network.first, scenes);
        self.work.take(&network.again, again);
    }
}
