//! The lines of this board.

mod cdev;
mod pi;

use super::{BackendName, Chip, Config, Input, InputLine, Lines, Output, OutputLine, PinsError, lines};
use cdev::Cdev;
use pi::Pi;

/// As [`super::open`], of a board's own chips.
pub(super) fn open(config: &Config) -> Result<Lines, PinsError> {
    let refused = |reason| PinsError::Backend { reason };
    let cdev = || Cdev::open(config);
    match config.backend {
        BackendName::Rppal => lines(&Pi::open().map_err(refused)?, config),
        BackendName::Gpiocdev => lines(&cdev().map_err(refused)?, config),
        _ if config.chip.is_some() => lines(&cdev().map_err(refused)?, config),
        _ => match (Pi::open(), cdev()) {
            (Ok(pi), _) => lines(&pi, config),
            (Err(no_pi), Ok(cdev)) => {
                log::info!("{no_pi}: gpiocdev drives the pins");
                lines(&cdev, config)
            }
            (Err(no_pi), Err(no_cdev)) => Err(refused(format!("{no_pi}; {no_cdev}"))),
        },
    }
}
