//! What the process holds of the machine's memory, as Linux's /proc has it.

use crate::Failure;
use serde_json::{Value, json};
use std::fs;

pub struct Memory {
    resident: u64,
    anonymous: u64,
}

impl Memory {
    /// What is held now. From here on counts what [`Memory::growth`] calls the peak.
    pub fn now() -> Result<Self, Failure> {
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Memory { resident: kib("VmRSS:")?, anonymous: kib("RssAnon:")? })
    }

    /// What has come since, in KiB.
    pub fn growth(&self) -> Result<Value, Failure> {
        Ok(json!({
            "resident": kib("VmRSS:")?.saturating_sub(self.resident),
            "anonymous": kib("RssAnon:")?.saturating_sub(self.anonymous),
            "peak": kib("VmHWM:")?.saturating_sub(self.resident),
        }))
    }
}

fn kib(field: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
    Ok(value.ok_or_else(|| format!("/proc/self/status has no {field}"))?.parse()?)
}
