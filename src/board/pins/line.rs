//! One line: an output that is asserted or released, an input that is held or not.

use embedded_hal::digital::{InputPin, OutputPin, PinState};

/// The level at which a line is asserted, or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Active {
    #[default]
    High,
    Low,
}

impl Active {
    pub fn state(self, is_asserted: bool) -> PinState {
        PinState::from(is_asserted == (self == Active::High))
    }
}

/// An output over any pin that embedded-hal can set.
pub struct Output {
    set: Box<dyn FnMut(PinState) -> Result<(), String> + Send>,
    active: Active,
    /// What was put last; `None` where that isn't known.
    shown: Option<bool>,
}

impl Output {
    pub fn new(mut pin: impl OutputPin + Send + 'static, active: Active) -> Self {
        let set = move |state| pin.set_state(state).map_err(|error| format!("{error:?}"));
        Output { set: Box::new(set), active, shown: None }
    }

    /// Asserts or releases it, if that isn't what it shows.
    ///
    /// # Errors
    /// What the pin says; then it is set anew the next time.
    pub(super) fn show(&mut self, is_asserted: bool) -> Result<(), String> {
        if self.shown == Some(is_asserted) {
            return Ok(());
        }
        self.shown = None;
        (self.set)(self.active.state(is_asserted))?;
        self.shown = Some(is_asserted);
        Ok(())
    }
}

/// An input over any pin that embedded-hal can read.
pub struct Input {
    is_high: Box<dyn FnMut() -> Result<bool, String> + Send>,
    active: Active,
}

impl Input {
    pub fn new(mut pin: impl InputPin + Send + 'static, active: Active) -> Self {
        let is_high = move || pin.is_high().map_err(|error| format!("{error:?}"));
        Input { is_high: Box::new(is_high), active }
    }

    /// # Errors
    /// What the pin says.
    pub(super) fn is_held(&mut self) -> Result<bool, String> {
        Ok((self.is_high)()? == (self.active == Active::High))
    }
}
