//! Kernels for tensors of any shape and strides: elementwise formulas, reductions, matrix products, copies.
//!
//! They are written once, in plain Rust over blocks of elements; each is compiled for every instruction set, with the same bits.

pub mod copy;
pub mod fold;
pub mod formula;
pub mod linear;
pub mod map;
pub mod product;
pub mod range;
pub mod walk;

/// Most elements of a block: what a kernel computes at once stays in the first cache.
pub const BLOCK: usize = 512;
