//! From a bundle's folder to a plan file.

use super::plan_file::{self, Kind};
use super::{Bundle, BundleError, Content, MANIFEST};
use crate::engine;
use crate::files;

/// Which of the roles of a bundle a plan file keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeps {
    /// Those of every mode that runs from a plan file: all but `view`.
    #[default]
    All,
    /// The heads.
    Heads,
    /// The heads and the restore network.
    Refinement,
    /// The heads, the restore network and the head on its deep feature.
    Latent,
}

impl Keeps {
    /// Whether it keeps the network of this role.
    fn network(self, role: &str) -> bool {
        match role {
            "head" => true,
            "restore" => self != Keeps::Heads,
            "restore_shallow" => matches!(self, Keeps::All | Keeps::Refinement),
            "latent" => matches!(self, Keeps::All | Keeps::Latent),
            _ => false,
        }
    }
}

/// The bytes of a plan file of a bundle in a folder: the same for the same files.
///
/// # Errors
/// [`BundleError`]: a network that can't be read, or that no plan file can hold, with the node and why.
pub fn compile(bundle: &Bundle, keeps: Keeps) -> Result<Vec<u8>, BundleError> {
    let fail = |reason| BundleError::Manifest { file: bundle.path().to_owned(), reason };
    if bundle.plan_file().is_some() {
        return Err(fail("it is compiled already".into()));
    }
    let mut entries = vec![(MANIFEST.to_owned(), Kind::Whole, bundle.store.manifest()?)];
    for file in bundle.files().iter().filter(|file| file.content == Content::Whole) {
        let (kind, bytes) = match file.role.as_str() {
            "scheduler" | "prior" => (Kind::Whole, bundle.read(file, files::MAX_MODEL)?),
            role if keeps.network(role) => (Kind::Network, engine::compile(&file.path).map_err(BundleError::Engine)?),
            _ => continue,
        };
        entries.push((file.file_name(), kind, bytes));
    }
    plan_file::bytes(&entries).map_err(fail)
}
