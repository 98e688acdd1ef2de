//! Operators on images that nobody has written down yet: see [`Real`].

use super::real::{Order, Piece, Real};
use super::{Form, Found, Lowering};
use crate::engine::graph::{Datum, Node};
use crate::engine::kernel::pointwise::{Activation, TERMS};
use crate::engine::plan::slot::{Element, Image, SlotId, Vector};
use crate::engine::plan::step::{Addend, Affine, Pointwise, Quantize, Step};
use std::rc::Rc;

impl Lowering<'_> {
    /// A float image as it is.
    pub(super) fn plain(&self, image: SlotId) -> Real {
        let Image { height, width, channels, .. } = self.image(image);
        let factor = Vector::Constant(vec![1.0; channels]);
        let terms = vec![Addend { image, channel: 0, factor }];
        let pieces = vec![Piece { terms, bias: Vector::Constant(vec![0.0; channels]), up: 0, grid: None }];
        Real { order: Order::Planes, height, width, pieces, activation: Activation::Linear, sigmoid_of: None }
    }

    /// The float image that a real is, or that it is written to.
    pub(super) fn written(&mut self, real: &Real) -> SlotId {
        match self.is_plain(real) {
            true => real.pieces[0].terms[0].image,
            false => self.write(real),
        }
    }

    /// Whether a real is a float image as it is.
    pub(super) fn is_plain(&self, real: &Real) -> bool {
        let is = |vector: &Vector, value: f32| matches!(vector, Vector::Constant(values) if values.iter().all(|&of| of == value));
        match &real.pieces[..] {
            [Piece { terms, bias, up: 0, .. }] if real.is_linear() && is(bias, 0.0) => {
                let [term] = &terms[..] else { return false };
                term.channel == 0 && is(&term.factor, 1.0) && self.is_float(term.image, real.channels())
            }
            _ => false,
        }
    }

    pub(super) fn is_float(&self, image: SlotId, channels: usize) -> bool {
        let image = self.image(image);
        image.element == Element::Float && image.channels == channels
    }

    /// Writes a real to a float image.
    pub(super) fn write(&mut self, real: &Real) -> SlotId {
        let image = self.float_slot([real.channels(), real.height, real.width]);
        self.pointwise(real, image, 0, None);
        image
    }

    /// Writes a real to the channels of an image from `channel` on.
    pub(super) fn pointwise(&mut self, real: &Real, output: SlotId, channel: usize, quantize: Option<Quantize>) {
        let mut channel = channel;
        for piece in &real.pieces {
            let (terms, bias, up) = (piece.terms.clone(), piece.bias.clone(), piece.up);
            let step = Pointwise { terms, bias, activation: real.activation, up, output, channel, quantize };
            self.draft.steps.push(Step::Pointwise(Box::new(step)));
            channel += piece.channels();
        }
    }

    /// A number for each channel: from a constant or a tensor whose other sides are 1.
    pub(super) fn per_channel(&mut self, name: &str, channels: usize) -> Option<Vector> {
        let flat = |shape: &[usize]| {
            let sides: Vec<usize> = shape.iter().copied().skip_while(|&side| side == 1).collect();
            sides.is_empty() || sides == [channels, 1, 1] || (channels == 1 && sides.iter().all(|&side| side == 1))
        };
        if let Some(value) = self.constants.get(name) {
            let values = self.constant_floats(name)?;
            return flat(value.shape()).then(|| match values[..] {
                [value] => Vector::Constant(vec![value; channels]),
                _ => Vector::Constant(values),
            });
        }
        let shape = self.shape(name)?;
        if !flat(shape) || shape.iter().product::<usize>() != channels || !self.is_float_tensor(name) {
            return None;
        }
        let place = self.dense(name).ok()?;
        Some(Vector::Slot { slot: place.slot, at: place.at, len: channels })
    }

    fn is_float_tensor(&self, name: &str) -> bool {
        match self.forms.get(name) {
            Some(Form::Tensor(place)) => place.datum_type == f32::datum_type(),
            form => matches!(form, Some(Form::Formula(_))),
        }
    }

    /// The image among two inputs of an operator that commutes, and the other one.
    pub(super) fn sides<'n>(&mut self, node: &'n Node) -> Option<(Rc<Real>, &'n str)> {
        let (a, b) = (node.input(0)?, node.input(1)?);
        let is_image = |lowering: &Self, name| matches!(lowering.forms.get(name), Some(Form::Real(..) | Form::Sums(_)));
        if is_image(self, a) {
            return Some((self.real(a)?, b));
        }
        if is_image(self, b) {
            return Some((self.real(b)?, a));
        }
        None
    }

    /// Whether a node gives an image.
    fn gives_image(&self, node: &Node) -> bool {
        self.shape(node.output()).is_some_and(|shape| shape.len() == 4)
    }

    pub(super) fn add(&mut self, node: &Node) -> Found {
        if !self.gives_image(node) {
            return Ok(false);
        }
        let Some((real, other)) = self.sides(node) else { return Ok(false) };
        if let Some(shift) = self.per_channel(other, real.channels()) {
            return self.set_affine(node, &real, None, Some(shift));
        }
        let Some(other) = self.real(other) else { return Ok(false) };
        if !real.is_as_large(&other) {
            return Ok(false);
        }
        let sum = match self.sum(&real, &other) {
            Some(sum) => sum,
            None => {
                let (a, b) = (self.write(&real), self.write(&other));
                let (a, b) = (self.plain(a), self.plain(b));
                a.plus(&b).ok_or("two plain images don't add up")?
            }
        };
        self.set_real(node, sum)
    }

    /// [`Real::plus`], also where a bias is computed.
    fn sum(&mut self, a: &Real, b: &Real) -> Option<Real> {
        if let Some(sum) = a.plus(b) {
            return Some(sum);
        }
        let ([x], [y]) = (&a.pieces[..], &b.pieces[..]) else { return None };
        let terms = x.terms.len() + y.terms.len();
        if !a.is_linear() || !b.is_linear() || a.order != b.order || x.up != y.up || terms > TERMS {
            return None;
        }
        let mut sum = self.affine(a, None, Some(y.bias.clone()));
        sum.pieces[0].terms.extend(y.terms.iter().cloned());
        Some(sum)
    }

    pub(super) fn subtract(&mut self, node: &Node) -> Found {
        if !self.gives_image(node) {
            return Ok(false);
        }
        let Some((real, other)) = self.sides(node) else { return Ok(false) };
        let is_first = node.input(1) == Some(other);
        let minus = |channels| Some(Vector::Constant(vec![-1.0; channels]));
        if let Some(vector) = self.per_channel(other, real.channels()) {
            return match is_first {
                true => {
                    let shift = self.negated(vector).ok_or("too many axes")?;
                    self.set_affine(node, &real, None, Some(shift))
                }
                false => self.set_affine(node, &real, minus(real.channels()), Some(vector)),
            };
        }
        let Some(other) = self.real(other).filter(|other| is_first && real.is_as_large(other) && other.is_linear())
        else {
            return Ok(false);
        };
        let negative = self.affine(&other, minus(other.channels()), None);
        match self.sum(&real, &negative) {
            Some(sum) => self.set_real(node, sum),
            None => Ok(false),
        }
    }

    pub(super) fn multiply(&mut self, node: &Node) -> Found {
        if !self.gives_image(node) {
            return Ok(false);
        }
        let Some((real, other)) = self.sides(node) else { return Ok(false) };
        if let Some(scale) = self.per_channel(other, real.channels()) {
            return self.set_affine(node, &real, Some(scale), None);
        }
        // What was put off may be a function of the same image.
        if matches!(self.forms.get(other), Some(Form::Formula(_))) {
            return Ok(false);
        }
        let Some(other) = self.real(other) else { return Ok(false) };
        for (x, gate) in [(&real, &other), (&other, &real)] {
            if gate.sigmoid_of.as_ref().is_some_and(|of| Rc::ptr_eq(of, x)) {
                return self.set_real(node, Real { sigmoid_of: None, ..x.with(Activation::Silu) });
            }
        }
        Ok(false)
    }

    pub(super) fn set_affine(
        &mut self,
        node: &Node,
        real: &Real,
        scale: Option<Vector>,
        shift: Option<Vector>,
    ) -> Found {
        if !real.is_linear() {
            return Ok(false);
        }
        let real = self.affine(real, scale, shift);
        self.set_real(node, real)
    }

    /// real · scale + shift, channel by channel, of one that is linear.
    fn affine(&mut self, real: &Real, scale: Option<Vector>, shift: Option<Vector>) -> Real {
        let (mut pieces, mut first) = (Vec::new(), 0);
        for piece in &real.pieces {
            let channels = piece.channels();
            let range = first..first + channels;
            first += channels;
            let scale = scale.as_ref().map(|scale| scale.part(range.clone()));
            let shift = shift.as_ref().map(|shift| shift.part(range));
            let mut terms = piece.terms.clone();
            let factors: Vec<Vector> = terms.iter().map(|term| term.factor.clone()).collect();
            let output = self.floats_slot((factors.len() + 1) * channels);
            let at = |index: usize| Vector::Slot { slot: output, at: index * channels, len: channels };
            for (index, term) in terms.iter_mut().enumerate() {
                term.factor = at(index);
            }
            let step = Affine { factors, bias: piece.bias.clone(), scale, shift, output };
            self.draft.steps.push(Step::Affine(Box::new(step)));
            pieces.push(Piece { bias: at(terms.len()), terms, up: piece.up, grid: None });
        }
        Real { pieces, sigmoid_of: None, ..real.clone() }
    }

    pub(super) fn clip(&mut self, node: &Node, low: f32, high: f32) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if let Some(Form::Sums(sums)) = self.forms.get(input) {
            let clipped = sums.clip(low, high);
            return self.set(node, Form::Sums(Rc::new(clipped)));
        }
        if !matches!(self.forms.get(input), Some(Form::Real(..))) {
            return Ok(false);
        }
        match self.real(input) {
            Some(real) if self.bounded.contains(input) => self.set_real(node, (*real).clone()),
            Some(real) if real.is_linear() => self.set_real(node, real.with(Activation::Clip { low, high })),
            _ => Ok(false),
        }
    }

    pub(super) fn sigmoid(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if !matches!(self.forms.get(input), Some(Form::Real(..) | Form::Sums(_))) {
            return Ok(false);
        }
        let Some(real) = self.real(input).filter(|real| real.is_linear()) else { return Ok(false) };
        let sigmoid = Real { sigmoid_of: Some(real.clone()), ..real.with(Activation::Sigmoid) };
        self.set_real(node, sigmoid)
    }
}
