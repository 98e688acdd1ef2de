//! Lines of the kernel's GPIO character devices.

use super::{Chip, Config, Input, InputLine, Output, OutputLine, PinsError};
use crate::board::pins::Bias;
use embedded_hal::digital::PinState;
use gpiocdev::line::{self, Value};
use gpiocdev::request::Builder;
use gpiocdev::{Request, chip};
use gpiocdev_embedded_hal::{InputPin, OutputPin};
use std::fmt::Display;
use std::path::PathBuf;

pub(super) struct Cdev {
    chip: chip::Chip,
    lines: u32,
}

impl Cdev {
    /// The chip that `config` names, or the one with its label, or the first.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn open(config: &Config) -> Result<Self, String> {
        let path = match (&config.chip, &config.chip_label) {
            (Some(path), _) => path.clone(),
            (None, Some(label)) => labelled(label)?,
            (None, None) => PathBuf::from("/dev/gpiochip0"),
        };
        let told = |error: gpiocdev::Error| format!("gpiocdev: {}: {error}", path.display());
        let chip = chip::Chip::from_path(&path).map_err(told)?;
        let lines = chip.info().map_err(told)?.num_lines;
        Ok(Cdev { chip, lines })
    }

    fn request(&self, pin: &'static str, line: u32, ask: impl FnOnce(&mut Builder)) -> Result<Request, PinsError> {
        let path = self.chip.path();
        let refused = |reason: String| PinsError::Line { pin, line, reason: format!("{}: {reason}", path.display()) };
        if line >= self.lines {
            return Err(refused(format!("has {} lines, from 0 on", self.lines)));
        }
        let told = self.chip.line_info(line).map_err(|error| refused(error.to_string()))?;
        if told.used {
            let holder = if told.consumer.is_empty() { "somebody".into() } else { format!("{:?}", told.consumer) };
            return Err(refused(format!("is held by {holder}: end that, or take another line")));
        }
        let mut builder = Request::builder();
        builder.on_chip(path).with_consumer("semrx").with_line(line);
        ask(&mut builder);
        builder.request().map_err(|error| refused(error.to_string()))
    }
}

/// The chip with this label, whose number the kernel gives as it comes.
fn labelled(label: &str) -> Result<PathBuf, String> {
    let chips = chip::chips().map_err(|error| format!("gpiocdev: {error}"))?;
    let labels: Vec<_> = chips
        .into_iter()
        .filter_map(|path| Some((chip::Chip::from_path(&path).ok()?.info().ok()?.label, path)))
        .collect();
    if let Some((_, path)) = labels.iter().find(|(own, _)| own == label) {
        return Ok(path.clone());
    }
    let there = labels.iter().map(|(own, path)| format!("{own} is {}", path.display())).collect::<Vec<_>>().join(", ");
    let there = if there.is_empty() { "none can be opened here".into() } else { there };
    Err(format!(
        "gpiocdev: no chip is called {label:?}, as that of the board's header is ({there}): give chip and line"
    ))
}

impl Chip for Cdev {
    fn output(&self, pin: &'static str, line: OutputLine, is_asserted: bool) -> Result<Output, PinsError> {
        let level = match line.active.state(is_asserted) {
            PinState::High => Value::Active,
            PinState::Low => Value::Inactive,
        };
        let request = self.request(pin, line.line, |builder| {
            builder.as_output(level);
        })?;
        Ok(Output::new(OutputPin::try_from(request).map_err(|error| other(pin, line.line, error))?, line.active))
    }

    fn input(&self, pin: &'static str, line: InputLine) -> Result<Input, PinsError> {
        let request = self.request(pin, line.line, |builder| {
            builder.as_input().with_bias(match line.bias {
                Bias::None => None,
                Bias::PullUp => Some(line::Bias::PullUp),
                Bias::PullDown => Some(line::Bias::PullDown),
            });
        })?;
        Ok(Input::new(InputPin::try_from(request).map_err(|error| other(pin, line.line, error))?, line.active))
    }
}

fn other(pin: &'static str, line: u32, error: impl Display) -> PinsError {
    PinsError::Line { pin, line, reason: error.to_string() }
}
