//! What drives the lines.

mod files;
#[cfg_attr(not(feature = "gpio"), path = "no_hardware.rs")]
mod hardware;

use super::{BackendName, Config, Input, InputLine, Lines, Output, OutputLine, PinsError};
use files::Files;

/// Gives lines by their number.
trait Chip {
    /// An output that is asserted from its first moment on, or released.
    fn output(&self, pin: &'static str, line: OutputLine, is_asserted: bool) -> Result<Output, PinsError>;
    fn input(&self, pin: &'static str, line: InputLine) -> Result<Input, PinsError>;
}

/// The lines of `config`, with the fail-safe levels on its outputs.
pub(super) fn open(config: &Config) -> Result<Lines, PinsError> {
    match config.backend {
        BackendName::None => Ok(Lines::default()),
        BackendName::Files => lines(&Files::open(config.chip.as_deref())?, config),
        BackendName::Auto | BackendName::Rppal | BackendName::Gpiocdev => hardware::open(config),
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
