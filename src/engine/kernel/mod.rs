//! Kernels: what the steps of a plan compute. Each has one definition, `scalar`, and faster forms for some instruction sets that give the
//! same bits: integer sums are exact, and float glue keeps one order of operations, rounds half to even, and multiplies and adds in one
//! rounding (`f32::mul_add`) exactly where the definition says so.
//!
//! # Images
//! Cells lie row by row, pixel by pixel, channels together (NHWC). A [`View`] says where: in cells from the start of a slice.
//! A convolution reads over the border of its input: the ring of cells there holds the zero point, so kernels know no border.
//! Slices have at least [`SLACK`] cells behind the last one that a view names; kernels may read them, and use nothing of what they read.
//!
//! # Quantized cells
//! An int8 cell stands for (q − zero point) · scale with q in −128..=127. It is stored as the byte `q ^ FLIP`: x86's dot products take
//! unsigned cells, ARM's signed ones.

pub mod compensate;
pub mod conv;
pub mod conv32;
pub mod conv8;
pub mod depthwise8;
pub mod epilogue;
pub mod exp;
pub mod isa;
pub mod moments;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod pointwise;
pub mod pool;
pub mod ring;
pub mod shelf;
pub mod softmax;
mod stored;
pub mod table8;
pub mod tensor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod threads;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod walk;

pub use isa::Isa;

/// What a stored int8 cell differs by from its value.
pub const FLIP: u8 = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { 0x80 } else { 0 };

/// Cells behind an image that kernels may read.
pub const SLACK: usize = 64;

/// The value of a stored cell.
#[inline(always)]
pub fn load(cell: u8) -> i32 {
    (cell ^ FLIP) as i8 as i32
}

/// The stored cell of a value in −128..=127.
#[inline(always)]
pub fn store(value: i32) -> u8 {
    value as i8 as u8 ^ FLIP
}

/// Where the pixels of an image lie in a slice of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Of the first channel of the first pixel. For the input of a convolution: the pixel under its first tap, in the ring if it pads.
    pub origin: usize,
    /// From a row to the next.
    pub row: usize,
    /// From a pixel to the next: at least its channels, and a multiple of 4.
    pub pixel: usize,
}
