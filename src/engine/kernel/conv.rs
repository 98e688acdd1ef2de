//! What the convolutions have in common.

use super::{SLACK, View};
use std::ops::Range;

/// What is fixed of a convolution when its plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Channels of an input pixel.
    pub depth: usize,
    /// Output channels.
    pub outputs: usize,
    /// Width of the output.
    pub width: usize,
    pub input: View,
    pub output: View,
}

impl Shape {
    /// From a tap to the next one below and beside, in cells.
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    pub(super) fn tap_step(&self) -> [usize; 2] {
        [self.dilation[0] * self.input.row, self.dilation[1] * self.input.pixel]
    }

    /// Multiply-accumulates of a row of the output, where each output channel reads all input channels.
    pub fn macs_of_row(&self) -> usize {
        self.width * self.outputs * self.taps[0] * self.taps[1] * self.depth
    }

    /// Whether output rows have no cells.
    pub(super) fn is_empty(&self, rows: &Range<usize>) -> bool {
        rows.is_empty() || self.width == 0 || self.outputs == 0
    }

    /// Cells from the input's first one to behind the last one that the output rows before `rows` are made of, at least one.
    pub(super) fn read(&self, rows: usize) -> usize {
        let reach =
            |size: usize, axis: usize| (size - 1) * self.stride[axis] + (self.taps[axis] - 1) * self.dilation[axis];
        self.input.origin + reach(rows, 0) * self.input.row + reach(self.width, 1) * self.input.pixel + self.depth
    }

    /// Cells from the first one of some output rows to behind the last one.
    pub(super) fn written(&self, rows: usize) -> usize {
        (rows - 1) * self.output.row + (self.width - 1) * self.output.pixel + self.outputs
    }

    /// # Panics
    /// If an input of so many cells doesn't have all that the output rows are made of and [`SLACK`], or the output no place for them all.
    pub(super) fn check(&self, rows: &Range<usize>, input: usize, output: usize) {
        assert!(self.read(rows.end) + SLACK <= input && self.written(rows.len()) <= output);
    }
}
