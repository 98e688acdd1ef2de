//! Boards: what they have, told before anything runs.

use serde::Deserialize;
use std::fmt;
use std::path::Path;

/// The profiles that the program carries, by name.
const BUILT_IN: [(&str, &str); 2] = [
    ("raspberry-pi-4", include_str!("../../boards/raspberry-pi-4.json")),
    ("raspberry-pi-5", include_str!("../../boards/raspberry-pi-5.json")),
];

/// What a board has. See `boards/README.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub cpu: String,
    pub memory_bytes: u64,
    /// Of one core, inside the models.
    pub f32_macs_per_second: u64,
    pub source: String,
}

#[derive(Deserialize)]
struct File<'a> {
    schema: u16,
    name: &'a str,
    cpu: &'a str,
    memory_bytes: u64,
    f32_macs_per_second: u64,
    source: &'a str,
}

/// Why there is no such profile.
#[derive(Debug)]
pub struct ProfileError(String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// The profile `name`: a built-in one, or a file.
    ///
    /// # Errors
    /// [`ProfileError`] names the profile and the reason.
    pub fn find(name: &str) -> Result<Self, ProfileError> {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let text = match built_in {
            Some((_, text)) => text.as_bytes().to_vec(),
            None => crate::files::read(Path::new(name), crate::files::MAX_JSON).map_err(|error| {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                ProfileError(format!("{name}: {error}; give one of {}, or the path of a profile", names.join(", ")))
            })?,
        };
        let (file, _) = serde_json_core::from_slice::<File<'_>>(&text)
            .map_err(|error| ProfileError(format!("{name}: not a board profile: {error}")))?;
        if file.schema != 1 {
            return Err(ProfileError(format!("{name}: schema is {}, this semrx reads 1", file.schema)));
        }
        if file.f32_macs_per_second == 0 {
            return Err(ProfileError(format!("{name}: f32_macs_per_second should be above 0")));
        }
        Ok(Profile {
            name: file.name.into(),
            cpu: file.cpu.into(),
            memory_bytes: file.memory_bytes,
            f32_macs_per_second: file.f32_macs_per_second,
            source: file.source.into(),
        })
    }

    /// Time for `macs` on one core, in µs.
    pub fn time_us(&self, macs: u64) -> u64 {
        (macs as u128 * 1_000_000 / self.f32_macs_per_second as u128) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_good() {
        for (name, _) in BUILT_IN {
            assert_eq!(Profile::find(name).unwrap().name, name);
        }
        assert_eq!(Profile::find("raspberry-pi-5").unwrap().time_us(12_500_000), 1000);
        let error = Profile::find("toaster").unwrap_err().to_string();
        assert!(error.starts_with("toaster: ") && error.contains("raspberry-pi-4"), "{error}");
    }
}
