//! The header of a board: which line is on which of its pins.

/// See `boards/README.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The profile's name.
    pub board: String,
    /// The label that the kernel gives the chip of these lines.
    pub chip: String,
    /// The line of each pin, from pin 1 on: its offset on the chip. `None`: power, ground, or not a line that anybody may drive.
    pub lines: Vec<Option<u32>>,
}

impl Header {
    /// The line of the pin with this number, which is counted from 1.
    ///
    /// # Errors
    /// Why there is none.
    pub fn line(&self, pin: u32) -> Result<u32, String> {
        let line = (pin as usize).checked_sub(1).and_then(|index| self.lines.get(index));
        match line {
            Some(Some(line)) => Ok(*line),
            Some(None) => Err(format!("{pin} of {} is power, ground or not free to use: take another", self.board)),
            None => Err(format!("{pin} is not on the header of {}, which has 1 to {}", self.board, self.lines.len())),
        }
    }
}
