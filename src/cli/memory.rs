//! What this process takes of memory, as Linux tells it.

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

/// The most that was resident at any time. `None` where the system doesn't tell.
pub fn peak_bytes() -> Option<u64> {
    let [peak] = told(["VmHWM:"])?;
    Some(peak)
}

/// Fields of /proc/self/status, in bytes.
pub fn told<const N: usize>(fields: [&str; N]) -> Option<[u64; N]> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    let mut values = [0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = bytes(field)?;
    }
    Some(values)
}
