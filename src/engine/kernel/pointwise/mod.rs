//! What lies between convolutions, in one pass: sums of images, normalization and modulation (a factor and an offset for each channel), an
//! activation, nearest upsampling, and quantization.
//!
//! out[y, x, c] = target(activation(value)), where value starts at bias[c] and each term in its order adds factor[c] · cell[y, x, c] in one
//! rounding.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use super::{Isa, View};
use std::ops::Range;

/// What is fixed when a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    /// Width of the terms' images, in pixels.
    pub width: usize,
    /// 0, or 1: each pixel is written to 2 x 2 pixels of an output of twice the width and height.
    pub up: u32,
    pub output: View,
}

impl Shape {
    /// Where the first of the pixels lies that an input pixel is written to, counted from the target's first cell.
    #[inline(always)]
    fn place(&self, line: usize, x: usize) -> usize {
        (line << self.up) * self.output.row + (x << self.up) * self.output.pixel
    }

    /// From there to the other pixels that it is written to: none, or 3.
    #[inline(always)]
    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let View { row, pixel, .. } = self.output;
        [pixel, row, row + pixel].into_iter().take(3 * self.up as usize)
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Cells<'a> {
    /// Stored int8 cells; one counts as its value q in −128..=127, with neither scale nor zero point.
    Int8(&'a [u8]),
    Float(&'a [f32]),
}

/// An image and what its channels are multiplied by.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    pub cells: Cells<'a>,
    pub view: View,
    /// One for each channel.
    pub factor: &'a [f32],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Linear,
    /// min(max(value, low), high); low for a NaN.
    Clip {
        low: f32,
        high: f32,
    },
    /// [`super::exp::silu`]
    Silu,
    /// [`super::exp::sigmoid`]
    Sigmoid,
}

/// The output's cells from the first one of the first output row on: the view's origin and the rows before are cut off.
#[derive(Debug)]
pub enum Target<'a> {
    /// round(min(max(value · per_unit, low − zero_point), high − zero_point)) + zero_point, rounded half to even; low for a NaN.
    /// All of `zero_point`, `low` and `high` are in −128..=127, and `low` <= `high`.
    Int8 {
        cells: &'a mut [u8],
        per_unit: f32,
        zero_point: i32,
        low: i32,
        high: i32,
    },
    Float(&'a mut [f32]),
}

/// The most terms of a sum.
pub const TERMS: usize = 4;

/// Computes what the input rows `rows` become. There are 1..=[`TERMS`] terms; `bias` has an element for each channel.
///
/// # Panics
/// If a slice is too short for what the shape says, or a number is outside of what is said above.
pub fn run(
    isa: Isa,
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    target: Target<'_>,
) {
    assert!((1..=TERMS).contains(&terms.len()) && shape.up <= 1 && bias.len() == shape.channels);
    if rows.is_empty() || shape.width == 0 || shape.channels == 0 {
        return;
    }
    for Term { cells, view, factor } in terms {
        let last = view.origin + (rows.end - 1) * view.row + (shape.width - 1) * view.pixel + shape.channels;
        let length = match cells {
            Cells::Int8(cells) => cells.len(),
            Cells::Float(cells) => cells.len(),
        };
        assert!(last + super::SLACK <= length && factor.len() == shape.channels);
    }
    let (lines, across) = (rows.len() << shape.up, shape.width << shape.up);
    let written = (lines - 1) * shape.output.row + (across - 1) * shape.output.pixel + shape.channels;
    match &target {
        Target::Int8 { cells, zero_point, low, high, .. } => {
            let byte = -128..=127;
            assert!(byte.contains(zero_point) && byte.contains(low) && byte.contains(high) && low <= high);
            assert!(written <= cells.len());
        }
        Target::Float(cells) => assert!(written <= cells.len()),
    }
    match isa {
        Isa::Scalar => scalar::run(shape, terms, bias, activation, rows, target),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::run(shape, terms, bias, activation, rows, target),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => avx512::run(shape, terms, bias, activation, rows, target),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => neon::run(shape, terms, bias, activation, rows, target),
    }
}
