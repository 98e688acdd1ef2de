//! Boards: what they have, told before anything runs.

mod found;
mod header;
pub mod pins;
mod profile;
mod watch;

pub use found::Found;
pub use header::Header;
pub use profile::{Profile, ProfileError};
pub use watch::{Limits, Watch, WatchError};
