//! In the place of the lines of this board, where the program was built without what drives them.

use super::{Config, Lines, PinsError};

pub(super) fn open(_: &Config) -> Result<Lines, PinsError> {
    Err(PinsError::Backend {
        reason: "this semrx was built without them: build it with `--features gpio`, or give backend \"none\"".into(),
    })
}
