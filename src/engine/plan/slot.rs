//! What a plan keeps in its arena.

use crate::engine::kernel::{SLACK, View};
use std::fmt;
use std::ops::Range;

/// Bytes behind a tensor that kernels may read.
const TENSOR_SLACK: usize = 64;

/// Index of a slot in its plan.
pub type SlotId = usize;

/// Type of an image's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Int8,
    Float,
}

impl Element {
    pub fn bytes(self) -> usize {
        match self {
            Element::Int8 => 1,
            Element::Float => 4,
        }
    }
}

/// An image with a ring of cells round it, channels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub element: Element,
    /// Pixels on each side that convolutions read beyond the border.
    pub ring: usize,
    /// What the ring holds.
    pub border: Border,
}

/// What the ring of an image holds: the zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// A byte: the stored cell, or 0 for floats.
    Byte(u8),
    Computed(Computed),
}

/// A cell that is known when the plan runs: byte `at` of a slot, which changed by `flip` is the stored cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computed {
    pub slot: SlotId,
    pub at: usize,
    pub flip: u8,
}

impl Image {
    /// Cells from a pixel to the next.
    pub fn pixel(&self) -> usize {
        self.channels.next_multiple_of(if self.channels < 16 { 4 } else { 16 })
    }

    pub fn row(&self) -> usize {
        (self.width + 2 * self.ring) * self.pixel()
    }

    /// The view whose origin is channel `channel` of the pixel `up` rows above and `left` columns left of the first one.
    pub fn view(&self, up: usize, left: usize, channel: usize) -> View {
        let origin = (self.ring - up) * self.row() + (self.ring - left) * self.pixel() + channel;
        View { origin, row: self.row(), pixel: self.pixel() }
    }

    /// The view whose origin is channel `channel` of the pixel in row `y` and column `x`, which may lie in the ring.
    pub fn view_from(&self, y: isize, x: isize, channel: usize) -> View {
        let at = |index: isize| (self.ring as isize + index) as usize;
        let origin = at(y) * self.row() + at(x) * self.pixel() + channel;
        View { origin, row: self.row(), pixel: self.pixel() }
    }

    pub fn bytes(&self) -> usize {
        ((self.height + 2 * self.ring) * self.row() + SLACK) * self.element.bytes()
    }

    /// Whether it takes no more than `most` bytes, whatever the ring.
    pub fn fits(&self, most: usize) -> bool {
        let side = |side: usize| side as u128 + 2 * self.ring as u128;
        let cells = side(self.height).saturating_mul(side(self.width)).saturating_mul(self.pixel() as u128);
        cells.saturating_add(SLACK as u128).saturating_mul(self.element.bytes() as u128) <= most as u128
    }
}

/// A place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Image(Image),
    /// Values in the order of their shape, rows last.
    Tensor {
        bytes: usize,
    },
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Image(Image { height, width, channels, element, ring, .. }) => {
                let element = match element {
                    Element::Int8 => "int8",
                    Element::Float => "float32",
                };
                write!(f, "{element} image {height} x {width} x {channels}, ring {ring}, {} bytes", self.bytes())
            }
            Slot::Tensor { bytes } => write!(f, "{bytes} bytes"),
        }
    }
}

impl Slot {
    pub fn bytes(&self) -> usize {
        match self {
            Slot::Image(image) => image.bytes(),
            Slot::Tensor { bytes } => bytes + TENSOR_SLACK,
        }
    }
}

/// Numbers for each channel: known when the plan is made, or from a tensor of the arena.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    Constant(Vec<f32>),
    /// `len` floats from the float `at` on.
    Slot {
        slot: SlotId,
        at: usize,
        len: usize,
    },
}

impl Vector {
    pub fn channels(&self) -> usize {
        match self {
            Vector::Constant(values) => values.len(),
            Vector::Slot { len, .. } => *len,
        }
    }

    pub fn slot(&self) -> Option<SlotId> {
        match self {
            Vector::Constant(_) => None,
            Vector::Slot { slot, .. } => Some(*slot),
        }
    }

    pub fn part(&self, range: Range<usize>) -> Vector {
        match self {
            Vector::Constant(values) => Vector::Constant(values[range].to_vec()),
            Vector::Slot { slot, at, .. } => Vector::Slot { slot: *slot, at: at + range.start, len: range.len() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ring_is_too_wide_to_be_counted() {
        let image =
            |ring| Image { height: 4, width: 4, channels: 4, element: Element::Float, ring, border: Border::Byte(0) };
        assert!(image(1).fits(image(1).bytes()));
        assert!(!image(1).fits(image(1).bytes() - 1));
        for ring in [1 << 16, 1 << 31, usize::MAX] {
            assert!(!image(ring).fits(1 << 29), "{ring}");
        }
    }
}
