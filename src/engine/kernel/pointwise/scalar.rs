//! The definition.

use super::super::exp::{at_least, at_most, sigmoid, silu};
use super::super::{load, store};
use super::{Activation, Cells, Shape, Target, Term};
use std::ops::Range;

impl Activation {
    #[inline(always)]
    fn apply(self, value: f32) -> f32 {
        match self {
            Activation::Linear => value,
            Activation::Clip { low, high } => at_most(at_least(value, low), high),
            Activation::Silu => silu(value),
            Activation::Sigmoid => sigmoid(value),
        }
    }
}

#[inline(always)]
pub fn run(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    mut target: Target<'_>,
) {
    for y in rows.clone() {
        for x in 0..shape.width {
            for c in 0..shape.channels {
                let mut value = bias[c];
                for Term { cells, view, factor } in terms {
                    let at = view.origin + y * view.row + x * view.pixel + c;
                    let cell = match cells {
                        Cells::Int8(cells) => load(cells[at]) as f32,
                        Cells::Float(cells) => cells[at],
                    };
                    value = factor[c].mul_add(cell, value);
                }
                let value = activation.apply(value);
                let place = shape.place(y - rows.start, x) + c;
                for at in std::iter::once(place).chain(shape.others().map(|step| place + step)) {
                    match &mut target {
                        &mut Target::Int8 { ref mut cells, per_unit, zero_point, low, high } => {
                            let low = (low - zero_point) as f32;
                            let real = at_most(at_least(value * per_unit, low), (high - zero_point) as f32);
                            cells[at] = store(real.round_ties_even() as i32 + zero_point);
                        }
                        Target::Float(cells) => cells[at] = value,
                    }
                }
            }
        }
    }
}
