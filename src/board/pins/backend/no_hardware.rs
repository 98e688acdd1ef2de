//! In the place of all backends, where the program was built without them.

use super::{Config, Lines, PinsError};

pub(super) fn open(_: &Config) -> Result<Lines, PinsError> {
    Err(PinsError::Backend {
        reason: "this semrx was built without them: build it with `--features gpio`, or give backend \"none\"".into(),
    })
}
