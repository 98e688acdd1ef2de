//! Boards: what they have, told before anything runs.

mod found;
pub mod pins;
mod profile;
mod watch;

pub use found::Found;
pub use profile::{Profile, ProfileError};
pub use watch::{Limits, Watch, WatchError};
