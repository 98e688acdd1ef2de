//! What `semrx budget --measure` found on this machine, kept for `semrx run`.

use semrx::bundle::{Bundle, MANIFEST, sha256};
use semrx::files;
use semrx::receiver::{Mode, Pace};
use serde::{Deserialize, Serialize};
use std::env;
use std::path::PathBuf;

/// How long the models of a mode take here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct File<'a> {
    pub(super) schema: u16,
    /// sha256 of the bundle's manifest, which has those of its files, or of the plan file.
    pub(super) bundle: &'a str,
    pub(super) threads: u16,
    pub(super) instructions: &'a str,
    /// The slowest of all runs.
    pub(super) head_us: u64,
    pub(super) step_us: u64,
}

/// What has to be the same for a measurement to hold.
#[derive(Debug)]
pub struct Key {
    pub(super) path: PathBuf,
    pub(super) bundle: String,
    pub(super) threads: u16,
    pub(super) instructions: &'static str,
}

impl Key {
    /// Of a bundle's mode with so many threads. `None` where there is no place to keep it.
    pub fn new(bundle: &Bundle, mode: Mode, threads: usize, instructions: &'static str) -> Option<Key> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("CACHE_DIRECTORY")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("semrx")))
            .or_else(|| Some(set("HOME")?.join(".cache/semrx")))?;
        let hash = match bundle.plan_file() {
            Some(plan) => plan.sha256().to_owned(),
            None => sha256(&files::read(&bundle.path().join(MANIFEST), files::MAX_JSON).ok()?),
        };
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
