//! Instance and group normalization.

use super::real::{Order, Piece, Real};
use super::{Form, Found, Lowering};
use crate::engine::graph::Node;
use crate::engine::plan::norm::{FloatNorm, Moments, Norm, Part};
use crate::engine::plan::slot::{Element, Slot, Vector};
use crate::engine::plan::step::Step;
use std::rc::Rc;

impl Lowering<'_> {
    /// On [1, groups, anything]: exporters write group normalization so.
    pub(super) fn instance_norm(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if !matches!(self.forms.get(input), Some(Form::Real(..))) {
            self.real(input);
        }
        let Some(Form::Real(real, shape)) = self.forms.get(input).cloned() else { return Ok(false) };
        let constant = |index: usize| node.input(index).and_then(|name| self.constant_floats(name));
        let (Some(gain), Some(offset)) = (constant(1), constant(2)) else { return Ok(false) };
        let groups = shape[1];
        if real.order != Order::Planes
            || shape[0] != 1
            || !real.channels().is_multiple_of(groups)
            || gain.len() != groups
            || offset.len() != groups
        {
            return Ok(false);
        }
        let epsilon = node.float("epsilon", 1e-5);
        let normalized = self.normalized(&real, groups, epsilon, Vector::Constant(gain), Vector::Constant(offset));
        self.set(node, Form::Real(Rc::new(normalized), shape))
    }

    /// Of one image. Before operator set 21, gain and offset are by group.
    pub(super) fn group_norm(&mut self, node: &Node) -> Found {
        let (Some(input), Some(gain), Some(offset)) = (node.input(0), node.input(1), node.input(2)) else {
            return Err("has no input, scale or bias".into());
        };
        if !self.forms.contains_key(input) {
            return Ok(false);
        }
        let Some(real) = self.real(input) else { return Ok(false) };
        let groups = usize::try_from(node.int("num_groups", 0)).unwrap_or(0);
        if groups == 0 || !real.channels().is_multiple_of(groups) {
            return Err(format!("num_groups should divide {} channels", real.channels()));
        }
        let epsilon = node.float("epsilon", 1e-5);
        let by_group = self.graph.opset < 21;
        let count = if by_group { groups } else { real.channels() };
        let [Some(gain), Some(offset)] = [gain, offset].map(|name| self.constant_floats(name)) else {
            return Ok(false);
        };
        if [&gain, &offset].iter().any(|values| values.len() != count) {
            return Err(format!("scale and bias should have {count} elements"));
        }
        let (gain, offset) = (Vector::Constant(gain), Vector::Constant(offset));
        if by_group {
            let real = self.normalized(&real, groups, epsilon, gain, offset);
            return self.set_real(node, real);
        }
        let by = |value: f32| Vector::Constant(vec![value; groups]);
        let real = self.normalized(&real, groups, epsilon, by(1.0), by(0.0));
        self.set_affine(node, &real, Some(gain), Some(offset))
    }

    fn normalized(&mut self, real: &Real, groups: usize, epsilon: f32, gain: Vector, offset: Vector) -> Real {
        let int8 = real
            .pieces
            .iter()
            .flat_map(|piece| &piece.terms)
            .all(|term| self.image(term.image).element == Element::Int8);
        if !int8 || !real.is_linear() {
            return self.normalized_floats(real, groups, epsilon, gain, offset);
        }
        let channels = real.channels();
        let aligned =
            (channels / groups).is_multiple_of(4) && real.pieces.iter().all(|piece| piece.channels().is_multiple_of(4));
        let spans = real.pieces.iter().map(|piece| if aligned && is_uniform(piece) { 4 } else { 1 });
        let spans: Vec<usize> = spans.collect();
        let lengths = real
            .pieces
            .iter()
            .zip(&spans)
            .map(|(piece, &span)| Moments::len(piece.terms.len(), piece.channels(), span));
        let numbers: usize = lengths.sum();
        let sums = self.slot(Slot::Tensor { bytes: numbers * 8 });
        let (mut parts, mut at) = (Vec::new(), 0);
        for (piece, &span) in real.pieces.iter().zip(&spans) {
            let terms: Vec<_> = piece.terms.iter().map(|term| (term.image, term.channel)).collect();
            let image = self.image(piece.terms[0].image);
            let factors = piece.terms.iter().map(|term| term.factor.clone()).collect();
            let (pixels, times) = (image.height * image.width, 1 << (2 * piece.up));
            parts.push(Part { factors, bias: piece.bias.clone(), span, at, pixels, times });
            let step = Moments { terms, channels: piece.channels(), span, output: sums, at, clears: at == 0 };
            self.draft.steps.push(Step::Moments(Box::new(step)));
            at += Moments::len(piece.terms.len(), piece.channels(), span);
        }
        let output = self.floats_slot(real.pieces.iter().map(|piece| (piece.terms.len() + 1) * piece.channels()).sum());
        let (mut pieces, mut place) = (Vec::new(), 0);
        for piece in &real.pieces {
            let len = piece.channels();
            let mut terms = piece.terms.clone();
            for term in &mut terms {
                term.factor = Vector::Slot { slot: output, at: place, len };
                place += len;
            }
            pieces.push(Piece { terms, bias: Vector::Slot { slot: output, at: place, len }, up: piece.up, grid: None });
            place += len;
        }
        let step = Norm { moments: sums, parts, groups, epsilon, gain, offset, output, channels };
        self.draft.steps.push(Step::Norm(Box::new(step)));
        Real { pieces, sigmoid_of: None, ..real.clone() }
    }

    fn normalized_floats(&mut self, real: &Real, groups: usize, epsilon: f32, gain: Vector, offset: Vector) -> Real {
        let image = self.written(real);
        let channels = real.channels();
        let output = self.floats_slot(FloatNorm::floats(channels));
        self.draft.steps.push(Step::FloatNorm(Box::new(FloatNorm {
            image,
            groups,
            epsilon,
            gain,
            offset,
            output,
            channels,
        })));
        let mut real = self.plain(image);
        let (factor, bias) = FloatNorm::places(channels);
        real.pieces[0].terms[0].factor = Vector::Slot { slot: output, at: factor, len: channels };
        real.pieces[0].bias = Vector::Slot { slot: output, at: bias, len: channels };
        real
    }
}

/// Whether all its channels have the same factors and the same bias.
fn is_uniform(piece: &Piece) -> bool {
    let same = |vector: &Vector| match vector {
        Vector::Constant(values) => values.iter().all(|value| value.to_bits() == values[0].to_bits()),
        Vector::Slot { .. } => false,
    };
    same(&piece.bias) && piece.terms.iter().all(|term| same(&term.factor))
}
