//! A Raspberry Pi's lines, by its registers.

use super::{Chip, Input, InputLine, Output, OutputLine, PinsError};
use crate::board::pins::Bias;
use embedded_hal::digital::PinState;
use rppal::gpio::{Error, Gpio, Pin};

pub(super) struct Pi(Gpio);

impl Pi {
    /// # Errors
    /// Why not, in words.
    pub fn open() -> Result<Self, String> {
        Gpio::new().map(Pi).map_err(|error| match error {
            Error::UnknownModel => "rppal: this is no Raspberry Pi that it knows".into(),
            Error::PermissionDenied(file) => format!("rppal: {file}: permission denied: be in its group (gpio)"),
            error => format!("rppal: {error}"),
        })
    }

    fn pin(&self, pin: &'static str, line: u32) -> Result<Pin, PinsError> {
        let refused = |reason: String| PinsError::Line { pin, line, reason };
        let number = u8::try_from(line).map_err(|_| refused("a Raspberry Pi has no such line".into()))?;
        self.0.get(number).map_err(|error| match error {
            Error::PinNotAvailable(_) => refused("this Raspberry Pi has no such line".into()),
            error => refused(error.to_string()),
        })
    }
}

impl Chip for Pi {
    fn output(&self, pin: &'static str, line: OutputLine, is_asserted: bool) -> Result<Output, PinsError> {
        let free = self.pin(pin, line.line)?;
        let mut driven = match line.active.state(is_asserted) {
            PinState::High => free.into_output_high(),
            PinState::Low => free.into_output_low(),
        };
        // The levels of the end are to stay.
        driven.set_reset_on_drop(false);
        Ok(Output::new(driven, line.active))
    }

    fn input(&self, pin: &'static str, line: InputLine) -> Result<Input, PinsError> {
        let free = self.pin(pin, line.line)?;
        let read = match line.bias {
            Bias::None => free.into_input(),
            Bias::PullUp => free.into_input_pullup(),
            Bias::PullDown => free.into_input_pulldown(),
        };
        Ok(Input::new(read, line.active))
    }
}
