//! Where bundles are looked for.

use super::exit::Failure;
use semrx::bundle::{Bundle, MANIFEST, PlanFile};
use std::env;
use std::path::{Path, PathBuf};

/// Where the Debian package puts them.
const INSTALLED: &str = "/usr/share/semrx/models";

/// Opens the bundle `name`: a folder, a plan file, or a name that is looked for here, in `$SEMRX_BUNDLES`, beside the program, under `models` here, and
/// in [`INSTALLED`].
pub fn open(name: &Path) -> Result<Bundle, Failure> {
    let is_there = |path: &Path| path.join(MANIFEST).is_file() || PlanFile::is_one(path);
    let dir = first(name, is_there).map_err(|looked| {
        Failure::failed(format!(
            "no bundle {:?}: no plan file, and no {MANIFEST} in {looked}; give its folder with --bundle, or set SEMRX_BUNDLES to the folder that holds it",
            name.display()
        ))
    })?;
    Ok(Bundle::open(&dir)?)
}

/// The first place where `is_there`, or all that were looked at.
pub fn first(name: &Path, is_there: impl Fn(&Path) -> bool) -> Result<PathBuf, String> {
    let candidates = candidates(name);
    let looked = || candidates.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    candidates.iter().find(|dir| is_there(dir)).cloned().ok_or_else(looked)
}

fn candidates(name: &Path) -> Vec<PathBuf> {
    let mut candidates = vec![name.to_owned()];
    // A path is meant as it stands; a bare name is looked for.
    if name.components().count() == 1 {
        candidates.extend(env::var_os("SEMRX_BUNDLES").map(|dir| PathBuf::from(dir).join(name)));
        let beside = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        candidates.extend(beside.iter().flat_map(|dir| [dir.join("models").join(name), dir.join(name)]));
        candidates.push(Path::new("models").join(name));
        candidates.push(Path::new(INSTALLED).join(name));
    }
    candidates
}
