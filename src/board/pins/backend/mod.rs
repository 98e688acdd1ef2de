//! What drives the lines.

mod cdev;
mod pi;

use super::{BackendName, Config, Input, InputLine, Lines, Output, OutputLine, PinsError};
use cdev::Cdev;
use pi::Pi;

/// Gives lines by their number.
trait Chip {
    /// An output that is asserted from its first moment on, or released.
    fn output(&self, pin: &'static str, line: OutputLine, is_asserted: bool) -> Result<Output, PinsError>;
    fn input(&self, pin: &'static str, line: InputLine) -> Result<Input, PinsError>;
}

/// The lines of `config`, with the fail-safe levels on its outputs.
pub(super) fn open(config: &Config) -> Result<Lines, PinsError> {
    let refused = |reason| PinsError::Backend { reason };
    let cdev = || Cdev::open(config.chip.as_deref());
    match config.backend {
        BackendName::Files | BackendName::None => Ok(Lines::default()),
        BackendName::Rppal => lines(&Pi::open().map_err(refused)?, config),
        BackendName::Gpiocdev => lines(&cdev().map_err(refused)?, config),
        BackendName::Auto if config.chip.is_some() => lines(&cdev().map_err(refused)?, config),
        BackendName::Auto => match (Pi::open(), cdev()) {
            (Ok(pi), _) => lines(&pi, config),
            (Err(no_pi), Ok(cdev)) => {
                log::info!("{no_pi}: gpiocdev drives the pins");
                lines(&cdev, config)
            }
            (Err(no_pi), Err(no_cdev)) => Err(refused(format!("{no_pi}; {no_cdev}"))),
        },
    }
}

fn lines(chip: &dyn Chip, config: &Config) -> Result<Lines, PinsError> {
    let output = |pin, line: Option<_>, is_asserted| line.map(|line| chip.output(pin, line, is_asserted)).transpose();
    Ok(Lines {
        hazard: output("hazard", config.hazard, true)?,
        heartbeat: output("heartbeat", config.heartbeat, false)?,
        fault: output("fault", config.fault, true)?,
        mode: config.mode.map(|line| chip.input("mode", line)).transpose()?,
    })
}
