//! What the convolutions for aarch64 share.

pub mod write;

/// Outputs that are computed together. What is known of each is packed with zeros up to a multiple of it.
pub const BLOCK: usize = 8;
