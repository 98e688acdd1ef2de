//! What the convolutions for aarch64 share.

pub mod finish;
pub mod write;

/// Outputs that are computed together. What is known of each is packed with zeros up to a multiple of it.
pub const BLOCK: usize = 8;

/// Whether two products may be added in 16 bits: only (−128)·(−128) + (−128)·(−128) passes them, by one, so no weight may be −128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    Fit,
    MayNotFit,
}

impl Pairs {
    pub fn of(weights: &[i8]) -> Self {
        if weights.contains(&-128) { Pairs::MayNotFit } else { Pairs::Fit }
    }
}
