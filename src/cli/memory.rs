//! What this process takes: allocations counted, and resident memory as Linux tells it.

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

/// Bytes of the program and its libraries, as they are mapped: no more of them can be resident.
pub fn program_bytes() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let size = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        fields.nth(4).filter(|path| path.starts_with('/'))?;
        Some(u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?)
    };
    maps.lines().filter_map(size).sum()
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
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Some(Held { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")?, peak: bytes("VmHWM:")? })
    }

    /// What has been added since `before`; the peak over what was resident then.
    pub fn since(&self, before: &Held) -> Held {
        Held {
            resident: self.resident.saturating_sub(before.resident),
            anonymous: self.anonymous.saturating_sub(before.anonymous),
            peak: self.peak.saturating_sub(before.resident),
        }
    }

    /// The most that was resident at any time.
    pub fn peak(&self) -> u64 {
        self.peak
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
