//! How a convolution walks over its input.

use super::conv::Shape;

/// The cells under a kernel: `count[0]` times `count[1]` runs of cells that lie end to end.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    pub count: [usize; 2],
    /// From a run to the next, in cells.
    pub step: [usize; 2],
    /// Cells.
    pub run: usize,
    /// From the first tap of an output pixel to that of its neighbour, in cells.
    pub pixel: usize,
}

impl Walk {
    /// Taps of a row whose channels lie end to end are one run.
    pub fn new(shape: &Shape) -> Self {
        let Shape { taps, stride, depth, input, .. } = *shape;
        let step = shape.tap_step();
        let (columns, run) = if step[1] == depth { (1, taps[1] * depth) } else { (taps[1], depth) };
        Walk { count: [taps[0], columns], step, run, pixel: stride[1] * input.pixel }
    }

    pub fn cells(&self) -> usize {
        self.count[0] * self.count[1] * self.run
    }

    /// Cells from the first one of `pixels` pixels to behind the last one.
    pub fn reach(&self, pixels: usize) -> usize {
        (self.count[0] - 1) * self.step[0] + (self.count[1] - 1) * self.step[1] + (pixels - 1) * self.pixel + self.run
    }
}
