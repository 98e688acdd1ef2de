//! Which board this is.

use super::Profile;
use crate::budget::Instructions;
use std::fs;
use std::path::Path;

/// The machine that the program runs on, as far as Linux tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The device tree's model; empty where there is none.
    pub model: String,
    /// A known board's, or that of any machine of this architecture; with the memory and the instructions that are really there.
    pub profile: Profile,
}

impl Found {
    /// Asks the device tree, the memory and the processor below `root`, which is `/` but in tests. `None` on an architecture without a profile.
    pub fn below(root: &Path) -> Option<Found> {
        let model = fs::read_to_string(root.join("proc/device-tree/model")).unwrap_or_default();
        let model = model.trim_end_matches(['\0', '\n']).to_owned();
        let known = Profile::built_in().find(|board| board.machine.iter().any(|of| model.starts_with(of.as_str())));
        let mut profile = match known {
            Some(known) => known,
            None => Profile::find(generic()?).ok()?,
        };
        profile.instructions = Instructions::here();
        if let Ok(threads) = std::thread::available_parallelism() {
            profile.cores = threads.get().min(u16::MAX.into()) as u16;
        }
        if let Some(bytes) = memory_bytes(root) {
            let share =
                u128::from(profile.receiver_bytes) * u128::from(bytes) / u128::from(profile.memory_bytes.max(1));
            // A board that is sold with more memory gives no more of it away; one with less keeps the same share, as any other machine does.
            let most = if profile.machine.is_empty() { u64::MAX } else { profile.receiver_bytes };
            profile.receiver_bytes = most.min(share as u64);
            profile.memory_bytes = bytes;
        }
        Some(Found { model, profile })
    }
}

const fn generic() -> Option<&'static str> {
    if cfg!(target_arch = "aarch64") {
        Some("generic-aarch64")
    } else if cfg!(target_arch = "arm") {
        Some("generic-armv7")
    } else if cfg!(target_arch = "x86_64") {
        Some("generic-x86-64")
    } else {
        None
    }
}

fn memory_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder that looks like a machine's root.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, model: Option<&str>, meminfo: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("semrx-found-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("proc/device-tree")).unwrap();
            if let Some(model) = model {
                fs::write(dir.join("proc/device-tree/model"), format!("{model}\0")).unwrap();
            }
            fs::write(dir.join("proc/meminfo"), meminfo).unwrap();
            Root(dir)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_board_is_known_by_its_device_tree() {
        for (model, name) in [
            ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2-w"),
            ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3b-plus"),
            ("Raspberry Pi 4 Model B Rev 1.5", "raspberry-pi-4"),
            ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
            ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
            ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
        ] {
            let root = Root::new(name, Some(model), "MemFree: 12 kB\n");
            let found = Found::below(&root.0).unwrap();
            assert_eq!((found.model.as_str(), found.profile.name.as_str()), (model, name));
        }
    }

    #[test]
    fn memory_is_what_is_there() {
        // A Raspberry Pi 4 of 1 GB, and one of 8.
        let half = Root::new("half", Some("Raspberry Pi 4 Model B Rev 1.1"), "MemTotal:        1048576 kB\n");
        let profile = Found::below(&half.0).unwrap().profile;
        assert_eq!((profile.memory_bytes, profile.receiver_bytes), (1 << 30, 384 << 20));
        let large = Root::new("large", Some("Raspberry Pi 4 Model B Rev 1.4"), "MemTotal:        8388608 kB\n");
        let profile = Found::below(&large.0).unwrap().profile;
        assert_eq!((profile.memory_bytes, profile.receiver_bytes), (8 << 30, 768 << 20));
    }

    #[test]
    fn any_other_machine_is_one_of_its_architecture() {
        let root = Root::new("other", None, "MemTotal: 67108864 kB\n");
        let profile = Found::below(&root.0).unwrap().profile;
        let known = Profile::find(generic().unwrap()).unwrap();
        assert_eq!((profile.name, profile.memory_bytes), (known.name, 64 << 30));
        assert_eq!(profile.receiver_bytes, known.receiver_bytes * ((64 << 30) / known.memory_bytes));
    }
}
