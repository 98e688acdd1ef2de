//! What a receiver takes, counted before it runs: memory, multiply-accumulates, instructions and time.

mod cost;
mod counted;
mod frame;
mod memory;
mod network;
mod resident;
mod work;

pub use cost::{Instructions, Pace, Range};
pub use frame::{Frame, Total};
pub use memory::Held;
pub use network::{MacCount, Network};
pub use resident::Resident;
pub use work::{UNITS, Unit, Work};
