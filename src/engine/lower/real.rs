//! Real numbers that nobody has written down yet: sums of images with a factor and an offset for each channel, and an activation.
//!
//! A lowering hands them from node to node and writes them only where a convolution or an output needs them. So dequantization,
//! residual sums, normalization, modulation, activation, upsampling, concatenation and quantization become one pass over memory.

use super::quantize::Grid;
use crate::engine::kernel::pointwise::{Activation, TERMS};
use crate::engine::plan::slot::{SlotId, Vector};
use crate::engine::plan::step::Addend;
use std::rc::Rc;

/// Some channels: bias + Σ factor · image.
#[derive(Debug, Clone)]
pub struct Piece {
    pub terms: Vec<Addend>,
    pub bias: Vector,
    /// 1 where its images are to be read as if rows and columns stood twice.
    pub up: u32,
    /// Set where it is one whole int8 image, dequantized.
    pub grid: Option<Grid>,
}

impl Piece {
    pub fn channels(&self) -> usize {
        self.bias.channels()
    }

    /// Channels `range` of it.
    pub fn part(&self, range: std::ops::Range<usize>) -> Piece {
        let terms = self.terms.iter().map(|term| Addend {
            image: term.image,
            channel: term.channel + range.start,
            factor: term.factor.part(range.clone()),
        });
        let whole = range == (0..self.channels());
        Piece { terms: terms.collect(), bias: self.bias.part(range), up: self.up, grid: self.grid.filter(|_| whole) }
    }
}

/// In what order the cells of an image are the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Channel by channel: [1, channels, height, width].
    Planes,
    /// Pixel by pixel: [width, channels], of images of height 1.
    Rows,
}

/// A batch of one, channels, height and width.
#[derive(Debug, Clone)]
pub struct Real {
    pub order: Order,
    pub height: usize,
    pub width: usize,
    /// Its channels in order.
    pub pieces: Vec<Piece>,
    pub activation: Activation,
    /// What this is the sigmoid of.
    pub sigmoid_of: Option<Rc<Real>>,
}

impl Real {
    pub fn channels(&self) -> usize {
        self.pieces.iter().map(Piece::channels).sum()
    }

    /// Its own: tensors with the same elements may have another one.
    pub fn shape(&self) -> Vec<usize> {
        match self.order {
            Order::Planes => vec![1, self.channels(), self.height, self.width],
            Order::Rows => vec![self.width, self.channels()],
        }
    }

    pub fn is_linear(&self) -> bool {
        self.activation == Activation::Linear
    }

    /// The int8 image that this is dequantized, with its grid, if it is one and nothing else.
    pub fn cells(&self) -> Option<(SlotId, Grid)> {
        match &self.pieces[..] {
            [Piece { grid: Some(grid), terms, up: 0, .. }] if self.is_linear() => Some((terms[0].image, *grid)),
            _ => None,
        }
    }

    pub fn is_as_large(&self, other: &Real) -> bool {
        (self.channels(), self.height, self.width) == (other.channels(), other.height, other.width)
    }

    /// Both, cut where either is.
    fn cut(&self, other: &Real) -> Option<Vec<(Piece, Piece)>> {
        if self.channels() != other.channels() {
            return None;
        }
        let (mut pairs, mut at) = (Vec::new(), [(0, 0); 2]);
        let sides = [&self.pieces, &other.pieces];
        while at[0].0 < sides[0].len() {
            let left = [0, 1].map(|side| sides[side][at[side].0].channels() - at[side].1);
            let width = left[0].min(left[1]);
            let [a, b] = [0, 1].map(|side| sides[side][at[side].0].part(at[side].1..at[side].1 + width));
            pairs.push((a, b));
            for side in 0..2 {
                at[side] = if left[side] == width { (at[side].0 + 1, 0) } else { (at[side].0, at[side].1 + width) };
            }
        }
        Some(pairs)
    }

    /// The sum, where both are linear, of one size and upsampled alike, all is constant, and the terms are not too many.
    pub fn plus(&self, other: &Real) -> Option<Real> {
        if !self.is_linear()
            || !other.is_linear()
            || self.order != other.order
            || (self.height, self.width) != (other.height, other.width)
        {
            return None;
        }
        let mut pieces = Vec::new();
        for (a, b) in self.cut(other)? {
            let (Vector::Constant(x), Vector::Constant(y)) = (&a.bias, &b.bias) else { return None };
            if a.up != b.up || a.terms.len() + b.terms.len() > TERMS {
                return None;
            }
            let bias = Vector::Constant(x.iter().zip(y).map(|(x, y)| x + y).collect());
            pieces.push(Piece { terms: [a.terms, b.terms].concat(), bias, up: a.up, grid: None });
        }
        Some(Real { pieces, sigmoid_of: None, ..self.clone() })
    }

    pub fn with(&self, activation: Activation) -> Real {
        Real { activation, ..self.clone() }
    }
}
