//! A graph as bytes: how a plan file holds a network. See `docs/plan.md`.
//!
//! A value is known by its number: the inputs come first, then the constants, then what each node gives. So a node can read only what is there
//! before it, and nothing is given twice. Shapes but those of inputs and constants aren't written: they are found again when the bytes are read.

mod read;
#[cfg(feature = "onnx")]
mod write;

/// Most nodes, constants, inputs and outputs together.
const MAX_VALUES: u32 = 10_000;
/// Most elements of all values together.
const MOST_ELEMENTS: usize = 1 << 26;
/// Most axes of a tensor.
const MAX_RANK: usize = 8;
/// The number of an input that is left out.
const LEFT_OUT: u32 = u32::MAX;
/// What names of values that have no name begin with.
const NAMELESS: char = '#';

/// Kinds of attributes.
const INT: u8 = 1;
const FLOAT: u8 = 2;
const INTS: u8 = 3;
const TEXT: u8 = 4;

/// Whether an input or an output may be called so.
fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.starts_with(NAMELESS)
}

#[cfg(all(test, feature = "onnx"))]
mod tests;
