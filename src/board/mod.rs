//! Boards: what they have, told before anything runs.

mod found;
mod profile;

pub use found::Found;
pub use profile::{Profile, ProfileError};
