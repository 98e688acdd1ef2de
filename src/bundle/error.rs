//! Why a bundle was refused.

use crate::engine::EngineError;
use crate::maps::MapError;
use std::fmt;
use std::path::PathBuf;

/// Always names the file or the folder.
#[derive(Debug)]
pub enum BundleError {
    Read {
        file: PathBuf,
        error: std::io::Error,
    },
    /// The JSON can't be read as what it should be.
    Manifest {
        file: PathBuf,
        reason: String,
    },
    Field {
        file: PathBuf,
        field: &'static str,
        reason: String,
    },
    Hash {
        file: PathBuf,
        role: String,
    },
    Role {
        dir: PathBuf,
        role: &'static str,
    },
    /// No head has this name.
    Head {
        dir: PathBuf,
        name: String,
        has: Vec<String>,
    },
    /// A plan file that is none, or damaged.
    Plan {
        file: PathBuf,
        reason: String,
    },
    /// The plan file was compiled without it.
    LeftOut {
        file: PathBuf,
        role: String,
    },
    Picture(MapError),
    Engine(EngineError),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleError::Read { file, error } => {
                write!(f, "{}: {error}: every file of a bundle has to be there, and readable", file.display())
            }
            BundleError::Manifest { file, reason } => write!(f, "{}: {reason}", file.display()),
            BundleError::Field { file, field, reason } => write!(f, "{}: {field}: {reason}", file.display()),
            BundleError::Hash { file, role } => write!(
                f,
                "{}: sha256 differs from the one that bundle.json gives for role {role:?}: the file is damaged or was replaced; restore it, or write its hash into bundle.json",
                file.display()
            ),
            BundleError::Role { dir, role } => {
                write!(f, "{}: the bundle has no file with role {role:?}, which this command needs", dir.display())
            }
            BundleError::Head { dir, name, has } => {
                write!(f, "{}: the bundle has no head {name:?}: ", dir.display())?;
                match has.is_empty() {
                    true => write!(f, "none of its heads has a name; leave it away"),
                    false => write!(f, "those with a name are {}", has.join(", ")),
                }
            }
            BundleError::Plan { file, reason } => write!(
                f,
                "{}: not a plan file that semrx can load: {reason}; compile the bundle anew with `semrx plan`",
                file.display()
            ),
            BundleError::LeftOut { file, role } => write!(
                f,
                "{}: the plan file was compiled without the role {role:?}, which this command needs: give the bundle's folder, or see `semrx plan --mode`",
                file.display()
            ),
            BundleError::Picture(error) => write!(f, "{error}"),
            BundleError::Engine(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BundleError {}
