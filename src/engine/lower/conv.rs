//! Convolutions: of int8 images with int8 weights, and of floats.

use super::real::Order;
use super::sums::{Filter, Reach, Sums, ordered, ungrouped};
use super::weights::Weights;
use super::{Cells, Form, Found, Lowering, product_of};
use crate::engine::graph::{DatumType, Node};
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv32::{self, Bounds};
use crate::engine::plan::slot::{Image, SlotId};
use crate::engine::plan::step::{Conv32, Step};
use std::rc::Rc;

/// The largest bias in sums.
const MAX_BIAS: f64 = (1 << 30) as f64;

/// Most bytes of an image with its ring.
pub(super) const MAX_IMAGE: usize = 1 << 29;

/// The largest stride, dilation or padding.
const MAX_REACH: i64 = 4096;

/// How windows walk over an image.
pub struct Geometry {
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows above and columns left of the border that the first output reads.
    pub pad: [usize; 2],
    /// Below and to the right, as the node says.
    pub pad_behind: [usize; 2],
}

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node) -> Found {
        let (input, name) = (node.input(0).ok_or("has no input")?, node.input(1).ok_or("has no weights")?);
        if self.constants.contains_key(name) {
            return self.float_conv(node, input, name);
        }
        let Some(Form::Weights(weights)) = self.forms.get(name).cloned() else { return Ok(false) };
        let cells = self.real(input).and_then(|real| real.cells()).filter(|_| weights.lies_along(0));
        let Some((image, grid)) = cells else {
            // Floats in: int8 weights are but a way to store them.
            return self.float_conv(node, input, name);
        };
        let outputs = weights.shape[0];
        let unit = |o: usize| f64::from(grid.scale) * f64::from(weights.scale(o));
        let Some(bias) = self.bias_in_sums(node, outputs, unit)? else { return Ok(false) };
        let units = (0..outputs).map(|o| grid.scale * weights.scale(o)).collect();
        let Some(sums) = self.conv_sums(node, image, &weights, bias, units)? else { return Ok(false) };
        self.forms.insert(node.output().to_owned(), Form::Sums(Rc::new(sums.clone())));
        self.end_unless_quantized(node, &sums)
    }

    /// Input 2 of a node, where a sum of output o counts `unit(o)`; `None` where it is not constant.
    pub(super) fn bias_in_sums(
        &self,
        node: &Node,
        outputs: usize,
        unit: impl Fn(usize) -> f64,
    ) -> Result<Option<Vec<i32>>, String> {
        let Some(name) = node.input(2) else { return Ok(Some(vec![0; outputs])) };
        let Some(floats) = self.constant_floats(name) else { return Ok(None) };
        let floats = match floats[..] {
            [value] if node.op() == "Gemm" => vec![value; outputs],
            _ if floats.len() == outputs && self.shape(name).and_then(<[usize]>::last) == Some(&outputs) => floats,
            _ => return Ok(None),
        };
        let in_sums = |(o, &value): (usize, &f32)| (f64::from(value) / unit(o)).round_ties_even();
        let sums: Vec<f64> = floats.iter().enumerate().map(in_sums).collect();
        // Too large for 32 bits with the products.
        Ok(sums.iter().all(|sum| sum.abs() < MAX_BIAS).then(|| sums.iter().map(|&sum| sum as i32).collect()))
    }

    /// Writes the sums as floats where something else than a quantization reads them.
    pub(super) fn end_unless_quantized(&mut self, node: &Node, sums: &Sums) -> Found {
        if !self.is_quantized_next(node.output())? {
            let real = self.end_float(sums);
            return self.set(node, Form::Real(Rc::new(real), sums.dims.clone()));
        }
        Ok(true)
    }

    /// Whether one QuantizeLinear alone reads `name`, or what a Relu makes of it.
    fn is_quantized_next(&self, name: &str) -> Result<bool, String> {
        let Some(reader) = self.only_reader(name) else { return Ok(false) };
        match reader.op() {
            "Relu" => self.is_quantized_next(reader.output()),
            _ => Ok(self.quantizer(reader)?.is_some()),
        }
    }

    pub(super) fn qlinear_conv(&mut self, node: &Node) -> Found {
        let (input, name) = (node.input(0).ok_or("has no input")?, node.input(3).ok_or("has no weights")?);
        let Some(grid) = self.grid(node.input(1), node.input(2))? else { return Ok(false) };
        let Some(to) = self.grid(node.input(6), node.input(7))? else { return Ok(false) };
        let Some(scale) = node.input(4).and_then(|name| self.constant_floats(name)) else { return Ok(false) };
        let Some(weights) = self.weights(name, scale, node.input(5), 0)? else { return Ok(false) };
        let outputs = weights.shape[0];
        let bias = match node.input(8) {
            None => vec![0; outputs],
            Some(name) => {
                let value = self.constants.get(name).ok_or("its bias is not constant")?;
                value.as_slice::<i32>().ok_or("its bias is not int32")?.to_vec()
            }
        };
        let Some(border) = self.border(input, node.input(2))? else { return Ok(false) };
        let Some(image) = self.int8_image(input, Order::Planes, border)? else { return Ok(false) };
        let units = (0..outputs).map(|o| grid.scale * weights.scale(o)).collect();
        let Some(sums) = self.conv_sums(node, image, &weights, bias, units)? else { return Ok(false) };
        let image = self.end_int8(&sums, to);
        self.set(node, Form::Int8(Cells { image, unsigned: to.unsigned, order: Order::Planes, shape: sums.dims }))
    }

    /// Whether the file keeps a constant in 16 bits.
    pub(super) fn is_half(&self, name: &str) -> bool {
        self.constants.get(name).is_some_and(|value| value.datum_type() == DatumType::F16)
    }

    pub(super) fn conv_integer(&mut self, node: &Node) -> Found {
        let (input, name) = (node.input(0).ok_or("has no input")?, node.input(1).ok_or("has no weights")?);
        let Some(weights) = self.weights(name, vec![1.0], node.input(3), 0)? else { return Ok(false) };
        let Some(border) = self.border(input, node.input(2))? else { return Ok(false) };
        let Some(image) = self.int8_image(input, Order::Planes, border)? else { return Ok(false) };
        let outputs = weights.shape[0];
        let sums = self.conv_sums(node, image, &weights, vec![0; outputs], vec![1.0; outputs])?;
        match sums {
            Some(sums) => self.set(node, Form::Whole(Rc::new(sums))),
            None => Ok(false),
        }
    }

    /// The floats of weights: constant, or int8 ones dequantized.
    pub(super) fn float_weights(&self, name: &str) -> Option<Vec<f32>> {
        match self.forms.get(name) {
            Some(Form::Weights(weights)) => Some(weights.floats()),
            _ => self.constant_floats(name),
        }
    }

    /// Input 2 of a convolution of floats: constant, and one for each output channel.
    pub(super) fn float_bias(&self, node: &Node, outputs: usize) -> Option<Vec<f32>> {
        match node.input(2) {
            None => Some(vec![0.0; outputs]),
            Some(name) => self.constant_floats(name).filter(|bias| bias.len() == outputs),
        }
    }

    fn float_conv(&mut self, node: &Node, input: &str, weights: &str) -> Found {
        let Some([outputs, depth, taps_y, taps_x]) = self.shape(weights).and_then(four) else {
            return Ok(false);
        };
        let Some([1, _, height, width]) = self.shape(node.output()).and_then(four) else {
            return Ok(false);
        };
        let halves = self.is_half(weights);
        let Some(values) = self.float_weights(weights) else { return Ok(false) };
        let (Some(bias), Some(real)) = (self.float_bias(node, outputs), self.real(input)) else { return Ok(false) };
        let Some(groups) = groups(node, outputs, depth, real.channels()) else { return Ok(false) };
        let image = self.written(&real);
        let taps = [taps_y, taps_x];
        let Some(Geometry { stride, dilation, pad, .. }) = self.geometry(node, image, taps, [height, width]) else {
            return Ok(false);
        };
        let output = self.float_slot([outputs, height, width]);
        let relu = self.only_reader(node.output()).is_some_and(|reader| reader.op() == "Relu");
        let bounds = if relu { Bounds { low: 0.0, ..Bounds::NONE } } else { Bounds::NONE };
        self.macs.float += product_of([height, width, outputs, depth, taps_y, taps_x]);
        let values = ordered(&values, depth, taps_y * taps_x);
        // Few outputs leave vectors idle: then it may be less to multiply by zeros.
        let vectors = |outputs: usize| outputs.next_multiple_of(VECTOR);
        let (values, depth, groups) = match vectors(outputs) > 2 * vectors(outputs / groups) {
            true => (values, depth, groups),
            false => (ungrouped(&values, depth, groups, outputs), depth * groups, 1),
        };
        let each = outputs / groups;
        for group in (0..groups).take_while(|_| !self.trial) {
            let input = self.image(image).view(pad[0], pad[1], group * depth);
            let to = self.image(output).view(0, 0, group * each);
            let shape = Shape { taps, stride, dilation, depth, outputs: each, width, input, output: to };
            let own = group * each..(group + 1) * each;
            let size = values.len() / outputs;
            let values = &values[own.start * size..own.end * size];
            let weights = conv32::Weights::pack(self.isa, &shape, values, &bias[own]);
            let weights = if halves { weights.halved() } else { weights };
            let step = Conv32 { input: image, output, rows: height, shape, weights, bounds };
            self.draft.steps.push(Step::Conv32(Box::new(step)));
        }
        if relu {
            self.bounded.insert(node.output().to_owned());
        }
        let real = self.plain(output);
        self.set_real(node, real)
    }

    /// The sums of a node's convolution of an int8 image, with a bias in sums and a unit for each output channel.
    fn conv_sums(
        &mut self,
        node: &Node,
        image: SlotId,
        weights: &Weights,
        bias: Vec<i32>,
        unit: Vec<f32>,
    ) -> Result<Option<Sums>, String> {
        let (Some([outputs, depth, taps_y, taps_x]), Some([1, _, height, width])) =
            (four(&weights.shape), self.shape(node.output()).and_then(four))
        else {
            return Ok(None);
        };
        let Some(groups) = groups(node, outputs, depth, self.image(image).channels) else { return Ok(None) };
        if bias.len() != outputs {
            return Err(format!("{} biases for {outputs} output channels", bias.len()));
        }
        let taps = [taps_y, taps_x];
        let Some(Geometry { stride, dilation, pad, .. }) = self.geometry(node, image, taps, [height, width]) else {
            return Ok(None);
        };
        self.macs.int8 += product_of([height, width, outputs, depth, taps_y, taps_x]);
        let ordered = |of: &Vec<i8>| if self.trial { Vec::new() } else { ordered(of, depth, taps_y * taps_x) };
        let factors = weights.factors.as_ref().map(ordered);
        let filter = Filter { taps, depth, groups, outputs, weights: ordered(&weights.values), factors, bias };
        let (start, size) = (pad.map(|pad| -(pad as isize)), [height, width]);
        let reach = Reach { start, stride, dilation, size, first: [0, 0], step: [1, 1] };
        Ok(Some(self.sums(image, &[(filter, reach)], weights.zeros(outputs), unit, size)))
    }

    /// How a convolution walks over `image`, which gets the ring that it needs; `None` where the node says what is not planned.
    fn geometry(&mut self, node: &Node, image: SlotId, taps: [usize; 2], output: [usize; 2]) -> Option<Geometry> {
        let from = self.image(image);
        let input = [from.height, from.width];
        let walk = self.walk(node, input, taps, output)?;
        let behind = |axis: usize| {
            let reach = (output[axis] - 1) * walk.stride[axis] + (taps[axis] - 1) * walk.dilation[axis] + 1;
            reach.saturating_sub(input[axis] + walk.pad[axis])
        };
        let ring = walk.pad[0].max(walk.pad[1]).max(behind(0)).max(behind(1));
        if !(Image { ring, ..from }).fits(MAX_IMAGE) {
            return None;
        }
        self.ask_ring(image, ring);
        Some(walk)
    }

    /// How windows of so many taps walk over an input, as the node says.
    pub(super) fn walk(
        &self,
        node: &Node,
        input: [usize; 2],
        taps: [usize; 2],
        output: [usize; 2],
    ) -> Option<Geometry> {
        let numbers = |name: &str, default: &[usize], least: i64| match node.ints(name) {
            None => Some(default.to_vec()),
            Some(values) if values.len() == default.len() => {
                values.iter().map(|value| (least..=MAX_REACH).contains(value).then_some(*value as usize)).collect()
            }
            Some(_) => None,
        };
        let (stride, dilation) = (numbers("strides", &[1, 1], 1)?, numbers("dilations", &[1, 1], 1)?);
        let pads = numbers("pads", &[0; 4], 0)?;
        let (stride, dilation) = ([stride[0], stride[1]], [dilation[0], dilation[1]]);
        if taps.contains(&0) || output.contains(&0) {
            return None;
        }
        let reach = |axis: usize| product_of([output[axis], stride[axis]]) + product_of([taps[axis], dilation[axis]]);
        if reach(0).max(reach(1)) > MAX_IMAGE as u64 {
            return None;
        }
        let span = |axis: usize| (taps[axis] - 1) * dilation[axis] + 1;
        let short = |axis: usize| ((output[axis] - 1) * stride[axis] + span(axis)).saturating_sub(input[axis]);
        let (pad, pad_behind) = match node.text("auto_pad").unwrap_or("NOTSET") {
            "SAME_UPPER" => ([short(0) / 2, short(1) / 2], [short(0).div_ceil(2), short(1).div_ceil(2)]),
            "SAME_LOWER" => ([short(0).div_ceil(2), short(1).div_ceil(2)], [short(0) / 2, short(1) / 2]),
            "VALID" => ([0, 0], [0, 0]),
            _ => ([pads[0], pads[1]], [pads[2], pads[3]]),
        };
        Some(Geometry { stride, dilation, pad, pad_behind })
    }
}

/// Outputs that a vector computes at once, on most machines.
const VECTOR: usize = 16;

/// The number of groups, if it divides the channels as the weights do.
fn groups(node: &Node, outputs: usize, depth: usize, channels: usize) -> Option<usize> {
    let groups = usize::try_from(node.int("group", 1)).ok().filter(|&groups| groups > 0)?;
    (outputs > 0 && outputs.is_multiple_of(groups) && depth.checked_mul(groups) == Some(channels)).then_some(groups)
}

fn four(shape: &[usize]) -> Option<[usize; 4]> {
    shape.try_into().ok()
}
