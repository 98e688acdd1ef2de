//! From a graph to a plan: which nodes become which steps.

mod conv;
#[cfg(test)]
mod networks;
mod norm;
mod quantize;
mod real;

use super::Macs;
use super::kernel::pointwise::Activation;
use super::kernel::{FLIP, Isa};
use super::onnx::{Graph, Node, Single};
use super::plan::slot::{Element, Image, Slot, SlotId, Vector};
use super::plan::step::{Addend, Affine, Pointwise, Step};
use super::plan::tract::{Place, TractStep};
use super::plan::{Draft, Port};
use real::{Piece, Real};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tract_onnx::prelude::*;

/// What a value of the graph is in the plan.
#[derive(Debug, Clone)]
enum Form {
    /// In the arena, in the order of its shape.
    Tensor(Place),
    /// Quantized cells, of a tensor whose bytes are signed or not.
    Int8 { image: SlotId, unsigned: bool },
    /// Int8 weights with a scale for each output channel (or one).
    Weights { values: Rc<Vec<i8>>, scale: Rc<Vec<f32>>, shape: Vec<usize> },
    /// Not written yet. Its shape may be another one with the same elements.
    Real(Rc<Real>, Vec<usize>),
    /// A convolution whose sums have nowhere to go yet.
    Sums(Rc<conv::Sums>),
}

/// A node that no step was found for, and so runs through tract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub node: String,
    pub op: String,
}

pub struct Lowering<'a> {
    graph: &'a Graph,
    isa: Isa,
    forms: HashMap<String, Form>,
    draft: Draft,
    /// Convolutions, each with the place of its step, which is made when all rings are known.
    convs: Vec<conv::Pending>,
    pub fallbacks: Vec<Fallback>,
    macs: Macs,
    /// Outputs of convolutions that keep the bounds of the Relu behind them.
    bounded: HashSet<String>,
}

/// Whether there is a step for a node; an error where the node can never run.
type Found = Result<bool, String>;

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a Graph, isa: Isa) -> Self {
        let (forms, draft, convs, fallbacks) = (HashMap::new(), Draft::default(), Vec::new(), Vec::new());
        Lowering { graph, isa, forms, draft, convs, fallbacks, macs: Macs::default(), bounded: HashSet::new() }
    }

    /// # Errors
    /// Names the node and says why it can't be planned.
    pub fn lower(mut self) -> Result<(Draft, Vec<Fallback>, Macs), String> {
        for name in &self.graph.inputs {
            let fact = &self.graph.facts[name];
            let place = self.tensor_slot(fact.datum_type, fact.shape.clone());
            self.draft.inputs.push(port(name, &place));
            self.forms.insert(name.clone(), Form::Tensor(place));
        }
        for node in &self.graph.nodes {
            let failed = |reason: String| format!("{}: {reason}", node.label());
            if !self.node(node).map_err(failed)? {
                self.fall_back(node).map_err(failed)?;
            }
        }
        for name in &self.graph.outputs {
            let place = self.tensor(name)?;
            self.draft.outputs.push(port(name, &place));
        }
        self.settle();
        Ok((self.draft, self.fallbacks, self.macs))
    }

    fn node(&mut self, node: &Node) -> Found {
        match node.op() {
            "QuantizeLinear" => self.quantize(node),
            "DequantizeLinear" => self.dequantize(node),
            "Conv" => self.conv(node),
            "QLinearConv" => self.qlinear_conv(node),
            "InstanceNormalization" => self.instance_norm(node),
            "Identity" | "Cast" | "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" => self.reshape(node),
            "Slice" => self.slice(node),
            "Add" => self.add(node),
            "Mul" => self.multiply(node),
            "Relu" => self.clip(node, 0.0, f32::INFINITY),
            "Sigmoid" => self.sigmoid(node),
            "Concat" => self.concat(node),
            "Resize" => self.resize(node),
            _ => Ok(false),
        }
    }

    fn set(&mut self, node: &Node, form: Form) -> Found {
        self.forms.insert(node.output().to_owned(), form);
        Ok(true)
    }

    fn set_real(&mut self, node: &Node, real: Real) -> Found {
        let shape = vec![1, real.channels(), real.height, real.width];
        self.set(node, Form::Real(Rc::new(real), shape))
    }

    fn slot(&mut self, slot: Slot) -> SlotId {
        self.draft.slots.push(slot);
        self.draft.slots.len() - 1
    }

    fn image_slot(&mut self, [channels, height, width]: [usize; 3], element: Element, border: u8) -> SlotId {
        self.slot(Slot::Image(Image { height, width, channels, element, ring: 0, border }))
    }

    fn image(&self, slot: SlotId) -> Image {
        match self.draft.slots[slot] {
            Slot::Image(image) => image,
            Slot::Tensor { .. } => unreachable!("forms say which slots are images"),
        }
    }

    fn tensor_slot(&mut self, datum_type: DatumType, shape: Vec<usize>) -> Place {
        let bytes = shape.iter().product::<usize>() * datum_type.size_of();
        let slot = self.slot(Slot::Tensor { bytes });
        Place { slot, at: 0, datum_type, shape }
    }

    fn floats_slot(&mut self, len: usize) -> SlotId {
        self.slot(Slot::Tensor { bytes: len * 4 })
    }

    /// Whether one node alone reads `name`, and which.
    fn only_reader(&self, name: &str) -> Option<&'a Node> {
        let mut readers = self.graph.readers(name);
        let first = readers.next()?;
        (readers.next().is_none() && self.graph.outputs.iter().all(|output| output != name)).then_some(first)
    }

    /// `name` as real numbers, if it is a batch of one image.
    fn real(&mut self, name: &str) -> Option<Rc<Real>> {
        match self.forms.get(name)?.clone() {
            Form::Real(real, shape) => (shape == [1, real.channels(), real.height, real.width]).then_some(real),
            Form::Sums(sums) => {
                let real = Rc::new(self.end_float(&sums));
                let shape = vec![1, real.channels(), real.height, real.width];
                self.forms.insert(name.to_owned(), Form::Real(real.clone(), shape));
                Some(real)
            }
            Form::Tensor(place) => {
                let &[1, channels, height, width] = place.shape.as_slice() else { return None };
                if place.datum_type != f32::datum_type() || height * width == 1 {
                    return None;
                }
                let image = self.image_slot([channels, height, width], Element::Float, 0);
                self.draft.steps.push(Step::FromPlanes { tensor: place.slot, at: place.at / 4, image });
                Some(Rc::new(self.plain(image)))
            }
            Form::Int8 { .. } | Form::Weights { .. } => None,
        }
    }

    /// A float image as it is.
    fn plain(&self, image: SlotId) -> Real {
        let Image { height, width, channels, .. } = self.image(image);
        let factor = Vector::Constant(vec![1.0; channels]);
        let terms = vec![Addend { image, channel: 0, factor }];
        let pieces = vec![Piece { terms, bias: Vector::Constant(vec![0.0; channels]), up: 0, grid: None }];
        Real { height, width, pieces, activation: Activation::Linear, sigmoid_of: None }
    }

    /// The float image that a real is, or that it is written to.
    fn written(&mut self, real: &Real) -> SlotId {
        let is = |vector: &Vector, value: f32| matches!(vector, Vector::Constant(values) if values.iter().all(|&of| of == value));
        match &real.pieces[..] {
            [Piece { terms, bias, up: 0, .. }] if real.is_linear() && is(bias, 0.0) => match &terms[..] {
                [term] if term.channel == 0 && is(&term.factor, 1.0) && self.is_float(term.image, real.channels()) => {
                    term.image
                }
                _ => self.write(real),
            },
            _ => self.write(real),
        }
    }

    fn is_float(&self, image: SlotId, channels: usize) -> bool {
        let image = self.image(image);
        image.element == Element::Float && image.channels == channels
    }

    /// Writes a real to a float image.
    fn write(&mut self, real: &Real) -> SlotId {
        let image = self.image_slot([real.channels(), real.height, real.width], Element::Float, 0);
        self.pointwise(real, image, None);
        image
    }

    fn pointwise(&mut self, real: &Real, output: SlotId, quantize: Option<super::plan::step::Quantize>) {
        let mut channel = 0;
        for piece in &real.pieces {
            let (terms, bias, up) = (piece.terms.clone(), piece.bias.clone(), piece.up);
            let step = Pointwise { terms, bias, activation: real.activation, up, output, channel, quantize };
            self.draft.steps.push(Step::Pointwise(Box::new(step)));
            channel += piece.channels();
        }
    }

    /// `name` in the arena in the order of its shape.
    fn tensor(&mut self, name: &str) -> Result<Place, String> {
        let Some(form) = self.forms.get(name).cloned() else {
            return Err(format!("{name:?} is a constant where a computed value is needed"));
        };
        let place = match form {
            Form::Tensor(place) => return Ok(place),
            Form::Weights { .. } => {
                // Another operator than a planned convolution wants them as floats.
                let mut makers = self.graph.nodes.iter();
                let maker = makers.find(|node| node.output() == name).ok_or("weights that no node makes")?;
                self.fall_back(maker)?;
                return self.tensor(name);
            }
            Form::Int8 { image, unsigned } => {
                let Image { height, width, channels, .. } = self.image(image);
                let datum_type = if unsigned { u8::datum_type() } else { i8::datum_type() };
                let place = self.tensor_slot(datum_type, vec![1, channels, height, width]);
                let flip = if unsigned { FLIP ^ 0x80 } else { FLIP };
                self.draft.steps.push(Step::ToPlanes { image, tensor: place.slot, flip });
                place
            }
            Form::Sums(_) => {
                let real = self.real(name).ok_or("a convolution of more than one image")?;
                let shape = vec![1, real.channels(), real.height, real.width];
                self.planes(&real, shape)
            }
            Form::Real(real, shape) => self.planes(&real, shape),
        };
        self.forms.insert(name.to_owned(), Form::Tensor(place.clone()));
        Ok(place)
    }

    fn planes(&mut self, real: &Real, shape: Vec<usize>) -> Place {
        let image = self.write(real);
        let place = self.tensor_slot(f32::datum_type(), shape);
        self.draft.steps.push(Step::ToPlanes { image, tensor: place.slot, flip: 0 });
        place
    }

    /// A number for each channel: from a constant or a tensor whose other sides are 1.
    fn per_channel(&mut self, name: &str, channels: usize) -> Option<Vector> {
        let flat = |shape: &[usize]| {
            let sides: Vec<usize> = shape.iter().copied().skip_while(|&side| side == 1).collect();
            sides.is_empty() || sides == [channels, 1, 1] || (channels == 1 && sides.iter().all(|&side| side == 1))
        };
        if let Some(value) = self.graph.constants.get(name) {
            let values = self.constant_floats(name)?;
            return flat(value.shape()).then(|| match values[..] {
                [value] => Vector::Constant(vec![value; channels]),
                _ => Vector::Constant(values),
            });
        }
        match self.forms.get(name)? {
            Form::Tensor(place) if flat(&place.shape) && place.shape.iter().product::<usize>() == channels => {
                Some(Vector::Slot { slot: place.slot, at: place.at / 4, len: channels })
            }
            _ => None,
        }
    }

    /// The image among two inputs of an operator that commutes, and the other one.
    fn sides<'n>(&mut self, node: &'n Node) -> Option<(Rc<Real>, &'n str)> {
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

    fn add(&mut self, node: &Node) -> Found {
        let Some((real, other)) = self.sides(node) else { return Ok(false) };
        if let Some(shift) = self.per_channel(other, real.channels()) {
            return match real.is_linear() {
                true => self.affine(node, &real, None, Some(shift)),
                false => Ok(false),
            };
        }
        let Some(other) = self.real(other) else { return Ok(false) };
        if (other.channels(), other.height, other.width) != (real.channels(), real.height, real.width) {
            return Ok(false);
        }
        let sum = match real.plus(&other) {
            Some(sum) => sum,
            None => {
                let (a, b) = (self.write(&real), self.write(&other));
                let (a, b) = (self.plain(a), self.plain(b));
                a.plus(&b).ok_or("two plain images don't add up")?
            }
        };
        self.set_real(node, sum)
    }

    fn multiply(&mut self, node: &Node) -> Found {
        let Some((real, other)) = self.sides(node) else { return Ok(false) };
        if let Some(scale) = self.per_channel(other, real.channels()) {
            return match real.is_linear() {
                true => self.affine(node, &real, Some(scale), None),
                false => Ok(false),
            };
        }
        let Some(other) = self.real(other) else { return Ok(false) };
        for (x, gate) in [(&real, &other), (&other, &real)] {
            if gate.sigmoid_of.as_ref().is_some_and(|of| Rc::ptr_eq(of, x)) {
                return self.set_real(node, Real { sigmoid_of: None, ..x.with(Activation::Silu) });
            }
        }
        Ok(false)
    }

    /// real · scale + shift, channel by channel.
    fn affine(&mut self, node: &Node, real: &Real, scale: Option<Vector>, shift: Option<Vector>) -> Found {
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
        self.set_real(node, Real { pieces, ..real.clone() })
    }

    fn clip(&mut self, node: &Node, low: f32, high: f32) -> Found {
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

    fn sigmoid(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        if !matches!(self.forms.get(input), Some(Form::Real(..) | Form::Sums(_))) {
            return Ok(false);
        }
        let Some(real) = self.real(input).filter(|real| real.is_linear()) else { return Ok(false) };
        let sigmoid = Real { sigmoid_of: Some(real.clone()), ..real.with(Activation::Sigmoid) };
        self.set_real(node, sigmoid)
    }

    fn concat(&mut self, node: &Node) -> Found {
        let names: Vec<&str> = node.proto.input.iter().map(String::as_str).collect();
        let images = names
            .iter()
            .all(|name| self.graph.shape(name).is_some_and(|shape| shape.len() == 4 && shape[2] * shape[3] > 1));
        if node.int("axis", 1) != 1 || !images || names.iter().any(|name| !self.forms.contains_key(*name)) {
            return Ok(false);
        }
        let mut whole: Option<Real> = None;
        for name in names {
            let Some(mut real) = self.real(name) else { return Ok(false) };
            if !real.is_linear() {
                let image = self.write(&real);
                real = Rc::new(self.plain(image));
            }
            match &mut whole {
                None => whole = Some((*real).clone()),
                Some(whole) => whole.pieces.extend(real.pieces.iter().cloned()),
            }
        }
        match whole {
            Some(whole) => self.set_real(node, Real { sigmoid_of: None, ..whole }),
            None => Ok(false),
        }
    }

    /// Nearest upsampling by 2, where output pixel x shows input pixel x / 2.
    fn resize(&mut self, node: &Node) -> Found {
        let (Some(input), [1, _, height, width]) = (node.input(0), self.graph.shape(node.output()).unwrap_or(&[]))
        else {
            return Ok(false);
        };
        let (height, width) = (*height, *width);
        let asymmetric = node.text("coordinate_transformation_mode") == Some("asymmetric")
            && node.text("nearest_mode") == Some("floor");
        if node.text("mode") != Some("nearest")
            || !asymmetric
            || !matches!(self.forms.get(input), Some(Form::Real(..) | Form::Sums(_)))
        {
            return Ok(false);
        }
        let Some(real) = self.real(input) else { return Ok(false) };
        if (height, width) != (2 * real.height, 2 * real.width) {
            return Ok(false);
        }
        let mut real = (*real).clone();
        if real.pieces.iter().any(|piece| piece.up == 1) {
            let image = self.write(&real);
            real = self.plain(image);
        }
        real.pieces.iter_mut().for_each(|piece| (piece.up, piece.grid) = (1, None));
        self.set_real(node, Real { height, width, sigmoid_of: None, ..real })
    }

    fn reshape(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        let shape = self.graph.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        let type_of = |name: &str| self.graph.facts.get(name).map(|fact| fact.datum_type);
        if type_of(input) != type_of(node.output()) {
            return Ok(false);
        }
        match self.forms.get(input).cloned() {
            Some(form @ Form::Int8 { .. }) if self.graph.shape(input) == Some(&shape) => self.set(node, form),
            Some(Form::Tensor(place)) => self.set(node, Form::Tensor(Place { shape, ..place })),
            Some(Form::Real(real, _)) => self.set(node, Form::Real(real, shape)),
            Some(Form::Sums(_)) => match self.real(input) {
                Some(real) => self.set(node, Form::Real(real, shape)),
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// A part of a tensor that lies in one piece.
    fn slice(&mut self, node: &Node) -> Found {
        let Some(Form::Tensor(place)) = node.input(0).and_then(|name| self.forms.get(name)) else { return Ok(false) };
        let shape = self.graph.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        let numbers = |index: usize| -> Option<Vec<i64>> {
            let value = self.graph.constants.get(node.input(index)?)?.cast_to::<i64>().ok()?.into_owned();
            Some(value.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
        };
        let (Some(starts), Some(axes)) = (numbers(1), numbers(3)) else { return Ok(false) };
        let ([start], [axis]) = (&starts[..], &axes[..]) else { return Ok(false) };
        let axis = if *axis < 0 { axis + place.shape.len() as i64 } else { *axis } as usize;
        let one_step = node.input(4).is_none() || numbers(4).is_some_and(|steps| steps == [1]);
        if !one_step || axis >= place.shape.len() || place.shape[..axis].iter().any(|&side| side != 1) {
            return Ok(false);
        }
        let side = place.shape[axis] as i64;
        let start = if *start < 0 { start + side } else { *start }.clamp(0, side) as usize;
        let inner = place.shape[axis + 1..].iter().product::<usize>() * place.datum_type.size_of();
        let place = Place { at: place.at + start * inner, shape, ..place.clone() };
        self.set(node, Form::Tensor(place))
    }

    fn fall_back(&mut self, node: &Node) -> Result<(), String> {
        let single = Single::new(node, self.graph);
        let inputs = single.inputs().iter().map(|name| self.tensor(name)).collect::<Result<Vec<_>, _>>()?;
        let runnable = single.runnable()?;
        for (result, name) in node.proto.output.iter().filter(|name| !name.is_empty()).enumerate() {
            let fact = &self.graph.facts[name];
            let to = self.tensor_slot(fact.datum_type, fact.shape.clone());
            let (label, runnable) = (node.label(), runnable.clone());
            let step = TractStep { label, runnable, inputs: inputs.clone(), result, to: to.clone() };
            self.draft.steps.push(Step::Tract(Box::new(step)));
            self.forms.insert(name.clone(), Form::Tensor(to));
        }
        self.macs.incomplete |= matches!(
            node.op(),
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "QLinearMatMul" | "MatMulInteger" | "ConvInteger"
        );
        self.fallbacks.push(Fallback { node: node.proto.name.clone(), op: node.op().to_owned() });
        Ok(())
    }

    /// Makes the steps of the convolutions, and lets a step fill each ring before the first one that writes its image.
    fn settle(&mut self) {
        let mut filled = vec![false; self.draft.slots.len()];
        let mut convs = std::mem::take(&mut self.convs).into_iter().peekable();
        let others = std::mem::take(&mut self.draft.steps);
        let mut steps = Vec::with_capacity(others.len() + convs.len());
        let mut add = |lowering: &Self, step: Step| {
            let output = step.output();
            if let Slot::Image(image) = lowering.draft.slots[output]
                && image.ring > 0
                && !std::mem::replace(&mut filled[output], true)
            {
                steps.push(Step::Ring(output));
            }
            steps.push(step);
        };
        for (index, step) in others.into_iter().enumerate() {
            while let Some(conv) = convs.next_if(|conv| conv.before == index) {
                add(self, self.conv_step(conv));
            }
            add(self, step);
        }
        convs.for_each(|conv| add(self, self.conv_step(conv)));
        self.draft.steps = steps;
    }
}

fn port(name: &str, place: &Place) -> Port {
    let datum_type = format!("{:?}", place.datum_type);
    Port { name: name.to_owned(), shape: place.shape.clone(), datum_type, slot: place.slot, at: place.at }
}

#[cfg(test)]
mod tests;
