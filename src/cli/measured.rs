//! What `semrx budget --measure` found on this machine, kept for `semrx run`.

use super::exit::Failure;
use semrx::bundle::{Bundle, MANIFEST};
use semrx::files;
use semrx::receiver::{Mode, Pace};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::env;
use std::path::PathBuf;

/// How long the models of a mode take here.
#[derive(Debug, Serialize, Deserialize)]
struct File<'a> {
    schema: u16,
    /// sha256 of the bundle's manifest, which has those of its files.
    bundle: &'a str,
    threads: u16,
    instructions: &'a str,
    /// The slowest of all runs.
    head_us: u64,
    step_us: u64,
}

/// What has to be the same for a measurement to hold.
#[derive(Debug)]
pub struct Key {
    path: PathBuf,
    bundle: String,
    threads: u16,
    instructions: &'static str,
}

impl Key {
    /// Of a bundle's mode with so many threads. `None` where there is no place to keep it.
    pub fn new(bundle: &Bundle, mode: Mode, threads: usize, instructions: &'static str) -> Option<Key> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("CACHE_DIRECTORY")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("semrx")))
            .or_else(|| Some(set("HOME")?.join(".cache/semrx")))?;
        let manifest = files::read(&bundle.dir().join(MANIFEST), files::MAX_JSON).ok()?;
        let hash: String = Sha256::digest(&manifest).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = cache.join(format!("pace-{}-{}.json", &hash[..16], name(mode)));
        Some(Key { path, bundle: hash, threads: threads as u16, instructions })
    }

    /// What was measured; `None` if nothing was, or on another machine, or it can't be read.
    pub fn read(&self) -> Option<Pace> {
        let text = files::read(&self.path, files::MAX_JSON).ok()?;
        let (file, _) = serde_json_core::from_slice::<File<'_>>(&text).ok()?;
        let holds = file.schema == 1
            && file.bundle == self.bundle
            && file.threads == self.threads
            && file.instructions == self.instructions;
        holds.then_some(Pace { head_us: file.head_us, step_us: file.step_us })
    }

    /// Keeps it, and says where.
    pub fn write(&self, pace: Pace) -> Result<PathBuf, Failure> {
        let Pace { head_us, step_us } = pace;
        let Key { path, bundle, threads, instructions } = self;
        let file = File { schema: 1, bundle, threads: *threads, instructions, head_us, step_us };
        let fail = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
        let text = serde_json_core::to_string::<_, 512>(&file).map_err(|error| fail(&error))?;
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| fail(&error))?;
        std::fs::write(path, format!("{text}\n")).map_err(|error| fail(&error))?;
        Ok(path.clone())
    }
}

/// As `--mode` has it.
pub fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::SemanticFirst => "semantic-first",
        Mode::Hybrid => "hybrid",
        Mode::Latent => "latent",
        Mode::View => "view",
    }
}
