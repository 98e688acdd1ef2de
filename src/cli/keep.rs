//! What `semrx budget --measure` found, written down.

use super::exit::Failure;
use super::measured::{File, Key};
use semrx::receiver::Pace;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

impl Key {
    /// Keeps it, and says where.
    pub fn write(&self, pace: Pace) -> Result<PathBuf, Failure> {
        let Pace { head_us, step_us } = pace;
        let Key { path, bundle, threads, instructions } = self;
        let file = File { schema: 1, bundle, threads: *threads, instructions, head_us, step_us };
        let fail = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
        let text = serde_json_core::to_string::<_, 512>(&file).map_err(|error| fail(&error))?;
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| fail(&error))?;
        // Whole or not at all, whenever the power goes.
        let part = path.with_extension("part");
        let write = || {
            let mut file = fs::File::create(&part)?;
            file.write_all(format!("{text}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, path)
        };
        write().map_err(|error| fail(&error))?;
        Ok(path.clone())
    }
}
