//! Where bundles are looked for.

use super::exit::Failure;
use semrx::bundle::{Bundle, MANIFEST};
use std::env;
use std::path::{Path, PathBuf};

/// Opens the bundle `name`: a folder, or a name that is looked for in `$SEMRX_BUNDLES`, beside the program, under `models` here, and in
/// /usr/share/semrx.
pub fn open(name: &Path) -> Result<Bundle, Failure> {
    let candidates = candidates(name);
    match candidates.iter().find(|dir| dir.join(MANIFEST).is_file()) {
        Some(dir) => Ok(Bundle::open(dir)?),
        None => {
            let looked: Vec<_> = candidates.iter().map(|dir| dir.display().to_string()).collect();
            Err(Failure::refused(format!(
                "no bundle {:?}: no {MANIFEST} in {}; give its folder with --bundle, or set SEMRX_BUNDLES to the folder that holds it",
                name.display(),
                looked.join(", ")
            )))
        }
    }
}

fn candidates(name: &Path) -> Vec<PathBuf> {
    let mut candidates = vec![name.to_owned()];
    // A path is meant as it stands; a bare name is looked for.
    if name.components().count() == 1 {
        candidates.extend(env::var_os("SEMRX_BUNDLES").map(|dir| PathBuf::from(dir).join(name)));
        let beside = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        candidates.extend(beside.iter().flat_map(|dir| [dir.join("models").join(name), dir.join(name)]));
        candidates.push(Path::new("models").join(name));
        candidates.push(Path::new("/usr/share/semrx").join(name));
    }
    candidates
}
