//! Boards: what they have, told before anything runs.

mod found;
pub mod pins;
mod profile;

pub use found::Found;
pub use profile::{Profile, ProfileError};
