//! What a piece of work takes: allocations counted, and how much more memory is resident after it.

use super::memory;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::fmt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations since the start.
pub fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    resident: u64,
    /// What of it is no file's: weights and buffers. The rest is program text.
    anonymous: u64,
    /// The most that was resident at any time.
    peak: u64,
}

impl Held {
    /// `None` where the system doesn't tell.
    pub fn now() -> Option<Held> {
        let [resident, anonymous, peak] = memory::told(["VmRSS:", "RssAnon:", "VmHWM:"])?;
        Some(Held { resident, anonymous, peak })
    }

    /// What has been added since `before`; the peak over what was resident then.
    pub fn since(&self, before: &Held) -> Held {
        Held {
            resident: self.resident.saturating_sub(before.resident),
            anonymous: self.anonymous.saturating_sub(before.anonymous),
            peak: self.peak.saturating_sub(before.resident),
        }
    }

    pub fn json(&self) -> Value {
        json!({"resident": self.resident, "anonymous": self.anonymous, "peak": self.peak})
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [resident, anonymous, peak] =
            [self.resident, self.anonymous, self.peak].map(|bytes| bytes as f64 / f64::from(1 << 20));
        write!(f, "grown by {resident:.1} MiB, {anonymous:.1} of it weights and buffers, {peak:.1} at most")
    }
}
