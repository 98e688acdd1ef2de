//! Convolutions of int8 images with int8 weights.

use super::quantize::Grid;
use super::real::{Order, Piece, Real};
use super::{Cells, Form, Found, Lowering};
use crate::engine::kernel::conv8::{Shape, Weights};
use crate::engine::kernel::conv32::{self, Bounds};
use crate::engine::kernel::depthwise8;
use crate::engine::kernel::{View, store};
use crate::engine::onnx::Node;
use crate::engine::plan::slot::{Element, Image, SlotId};
use crate::engine::plan::step::{Conv8, Conv32, ConvEnd, Kernel8, Step};
use std::rc::Rc;

/// The largest bias in sums.
const MAX_BIAS: f64 = (1 << 30) as f64;

/// Most bytes of an image with its ring.
const MAX_IMAGE: usize = 1 << 29;

/// The largest stride, dilation or padding.
const MAX_REACH: i64 = 4096;

/// A convolution up to its sums.
#[derive(Debug, Clone)]
pub struct Sums {
    input: SlotId,
    pad: [usize; 2],
    size: [usize; 2],
    shape: Shape,
    /// Each output channel reads the input channel of its number alone.
    depthwise: bool,
    /// In the order output channel, ky, kx, input channel; of a depthwise convolution ky, kx, channel.
    weights: Rc<Vec<i8>>,
    offset: Rc<Vec<i32>>,
    /// What a sum counts, for each output channel.
    unit: Rc<Vec<f32>>,
    low: f32,
    high: f32,
    pub order: Order,
    /// Of the tensor.
    pub dims: Vec<usize>,
}

impl Sums {
    /// The convolution with its values kept within `low..=high`.
    pub fn clip(&self, low: f32, high: f32) -> Sums {
        Sums { low: self.low.max(low), high: self.high.min(high), ..self.clone() }
    }
}

/// How windows walk over an image.
pub struct Geometry {
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows above and columns left of the border that the first output reads.
    pub pad: [usize; 2],
    /// Below and to the right, as the node says.
    pub pad_behind: [usize; 2],
}

/// What a Conv or QLinearConv node says, in the terms of its file.
struct Parts<'a> {
    image: SlotId,
    grid: Grid,
    weights: &'a [i8],
    shape: &'a [usize],
    scale: &'a [f32],
    /// In sums, for each output channel.
    bias: Vec<i32>,
}

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node) -> Found {
        let (input, weights) = (node.input(0).ok_or("has no input")?, node.input(1).ok_or("has no weights")?);
        if self.constants.contains_key(weights) {
            return self.float_conv(node, input, weights);
        }
        let Some(Form::Weights { values, scale, axis: 0, shape }) = self.forms.get(weights).cloned() else {
            return Ok(false);
        };
        let grid_of = |real: &Real| match &real.pieces[..] {
            [Piece { grid: Some(grid), up: 0, .. }] if real.is_linear() => Some(*grid),
            _ => None,
        };
        let Some((real, (x_scale, zero_point))) =
            self.real(input).and_then(|real| Some((real.clone(), grid_of(&real)?)))
        else {
            // Floats in: int8 weights are but a way to store them.
            return self.float_conv(node, input, weights);
        };
        let image = real.pieces[0].terms[0].image;
        let grid = Grid { scale: x_scale, zero_point, unsigned: false };
        let unit = |o: usize| f64::from(x_scale) * f64::from(if scale.len() == 1 { scale[0] } else { scale[o] });
        let Some(bias) = self.bias_in_sums(node, shape[0], unit)? else { return Ok(false) };
        let parts = Parts { image, grid, weights: &values, shape: &shape, scale: &scale, bias };
        let Some(sums) = self.sums(node, parts)? else { return Ok(false) };
        self.forms.insert(node.output().to_owned(), Form::Sums(Rc::new(sums.clone())));
        self.end_unless_quantized(node, &sums)
    }

    /// Input 2 of a node, where a sum of output o counts `unit(o)`; `None` where it is not constant.
    fn bias_in_sums(
        &self,
        node: &Node,
        outputs: usize,
        unit: impl Fn(usize) -> f64,
    ) -> Result<Option<Vec<i32>>, String> {
        let Some(name) = node.input(2) else { return Ok(Some(vec![0; outputs])) };
        let Some(floats) = self.constant_floats(name) else { return Ok(None) };
        if floats.len() != outputs || self.shape(name).and_then(<[usize]>::last) != Some(&outputs) {
            return Ok(None);
        }
        let in_sums = |(o, &value): (usize, &f32)| (f64::from(value) / unit(o)).round_ties_even();
        let sums: Vec<f64> = floats.iter().enumerate().map(in_sums).collect();
        // Too large for 32 bits with the products.
        Ok(sums.iter().all(|sum| sum.abs() < MAX_BIAS).then(|| sums.iter().map(|&sum| sum as i32).collect()))
    }

    /// A Gemm or MatMul of dequantized rows and int8 weights: a convolution with one tap, of an image with one row.
    pub(super) fn quantized_product(&mut self, node: &Node) -> Found {
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && node.int("transA", 0) == 0;
        let (Some(Form::Real(real, rows)), Some(Form::Weights { values, scale, axis, shape })) =
            (self.forms.get(a).cloned(), self.forms.get(b).cloned())
        else {
            return Ok(false);
        };
        let ([Piece { grid: Some((x_scale, zero_point)), terms, up: 0, .. }], &[first, second]) =
            (&real.pieces[..], &shape[..])
        else {
            return Ok(false);
        };
        let image = self.image(terms[0].image);
        let is_rows = rows.last() == Some(&image.channels)
            && (real.order == Order::Rows || (image.height, image.width) == (1, 1));
        let transposed = node.int("transB", 0) != 0;
        let (depth, outputs) = if transposed { (second, first) } else { (first, second) };
        let by_output = scale.len() == 1 || axis == usize::from(!transposed);
        if !plain || !real.is_linear() || !is_rows || depth != image.channels || !by_output {
            return Ok(false);
        }
        let scale_of = |o: usize| if scale.len() == 1 { scale[0] } else { scale[o] };
        let Some(bias) = self.bias_in_sums(node, outputs, |o| f64::from(*x_scale) * f64::from(scale_of(o)))? else {
            return Ok(false);
        };
        let ordered = if transposed { values.to_vec() } else { ordered(&values, depth, outputs) };
        let dims = self.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        let step = Sums {
            input: terms[0].image,
            pad: [0, 0],
            size: [1, image.width],
            shape: one_tap(depth, outputs, image.width),
            depthwise: false,
            offset: Rc::new(offsets(&ordered, depth, &bias, *zero_point)),
            weights: Rc::new(ordered),
            unit: Rc::new((0..outputs).map(|o| x_scale * scale_of(o)).collect()),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            order: Order::Rows,
            dims,
        };
        self.macs.int8 += (image.width * outputs * depth) as u64;
        self.forms.insert(node.output().to_owned(), Form::Sums(Rc::new(step.clone())));
        self.end_unless_quantized(node, &step)
    }

    /// Writes the sums as floats where something else than a quantization reads them.
    fn end_unless_quantized(&mut self, node: &Node, sums: &Sums) -> Found {
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
        let Some(Form::Int8(cells)) = node.input(0).and_then(|name| self.forms.get(name)).cloned() else {
            return Ok(false);
        };
        let image = cells.image;
        let Some(grid) = self.grid(node.input(1), node.input(2))? else { return Ok(false) };
        let Some(to) = self.grid(node.input(6), node.input(7))? else { return Ok(false) };
        if !self.is_whole(&cells) || self.image(image).border != store(grid.zero_point) {
            return Ok(false);
        }
        let name = node.input(3).ok_or("has no weights")?;
        let (Some((weights, unsigned)), Some(scale)) =
            (self.constant_int8(name), node.input(4).and_then(|name| self.constant_floats(name)))
        else {
            return Ok(false);
        };
        // Unsigned weights became signed with their zero point.
        let zero = match node.input(5).and_then(|name| self.constant_int8(name)) {
            Some((zeros, of)) => of == unsigned && zeros.iter().all(|&zero| zero == 0),
            None => !unsigned,
        };
        let shape = self.shape(name).unwrap_or(&[]).to_vec();
        if !zero || shape.len() != 4 || (scale.len() != 1 && scale.len() != shape[0]) {
            return Ok(false);
        }
        let bias = match node.input(8) {
            None => vec![0; shape[0]],
            Some(name) => {
                let value = self.constants.get(name).ok_or("its bias is not constant")?;
                let value = value.try_as_plain_ram().map_err(|error| error.to_string())?;
                value.as_slice::<i32>().map_err(|_| "its bias is not int32")?.to_vec()
            }
        };
        let parts = Parts { image, grid, weights: &weights, shape: &shape, scale: &scale, bias };
        let Some(sums) = self.sums(node, parts)? else { return Ok(false) };
        let image = self.end_int8(&sums, to);
        self.set(node, Form::Int8(Cells { image, unsigned: to.unsigned, order: Order::Planes, shape: sums.dims }))
    }

    /// The floats of weights: constant, or int8 ones dequantized.
    pub(super) fn float_weights(&self, name: &str) -> Option<Vec<f32>> {
        let Some(Form::Weights { values, scale, axis, shape }) = self.forms.get(name) else {
            return self.constant_floats(name);
        };
        let inner: usize = shape[axis + 1..].iter().product();
        let scale = |at: usize| if scale.len() == 1 { scale[0] } else { scale[at / inner % shape[*axis]] };
        Some(values.iter().enumerate().map(|(at, &value)| f32::from(value) * scale(at)).collect())
    }

    fn float_conv(&mut self, node: &Node, input: &str, weights: &str) -> Found {
        let Some([outputs, depth, taps_y, taps_x]) = self.shape(weights).and_then(four) else {
            return Ok(false);
        };
        let Some([1, _, height, width]) = self.shape(node.output()).and_then(four) else {
            return Ok(false);
        };
        let Some(values) = self.float_weights(weights) else { return Ok(false) };
        let bias = match node.input(2) {
            None => Some(vec![0.0; outputs]),
            Some(name) => self.constant_floats(name).filter(|bias| bias.len() == outputs),
        };
        let (Some(bias), Some(real)) = (bias, self.real(input)) else { return Ok(false) };
        let Some(groups) = groups(node, outputs, depth, real.channels()) else { return Ok(false) };
        let image = self.written(&real);
        let taps = [taps_y, taps_x];
        let Some(Geometry { stride, dilation, pad, .. }) = self.geometry(node, image, taps, [height, width]) else {
            return Ok(false);
        };
        let output = self.image_slot([outputs, height, width], Element::Float, 0);
        let relu = self.only_reader(node.output()).is_some_and(|reader| reader.op() == "Relu");
        let bounds = if relu { Bounds { low: 0.0, ..Bounds::NONE } } else { Bounds::NONE };
        self.macs.float += (height * width * outputs * depth * taps_y * taps_x) as u64;
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
            let weights =
                conv32::Weights::pack(self.isa, &shape, &values[own.start * size..own.end * size], &bias[own]);
            let step = Conv32 { input: image, output, rows: height, shape, weights, bounds };
            self.draft.steps.push(Step::Conv32(Box::new(step)));
        }
        if relu {
            self.bounded.insert(node.output().to_owned());
        }
        let real = self.plain(output);
        self.set_real(node, real)
    }

    fn sums(&mut self, node: &Node, parts: Parts<'_>) -> Result<Option<Sums>, String> {
        let Parts { image, grid, weights, shape, scale, bias } = parts;
        let from = self.image(image);
        let (Some([outputs, depth, taps_y, taps_x]), Some([1, _, height, width])) =
            (four(shape), self.shape(node.output()).and_then(four))
        else {
            return Ok(None);
        };
        let Some(groups) = groups(node, outputs, depth, from.channels) else { return Ok(None) };
        let depthwise = depth == 1 && groups > 1 && outputs == from.channels;
        if bias.len() != outputs {
            return Err(format!("{} biases for {outputs} output channels", bias.len()));
        }
        let taps = [taps_y, taps_x];
        let Some(Geometry { stride, dilation, pad, .. }) = self.geometry(node, image, taps, [height, width]) else {
            return Ok(None);
        };
        let count = taps_y * taps_x;
        self.macs.int8 += (height * width * outputs * depth * count) as u64;
        let ordered = match depthwise {
            true => ordered(weights, outputs, count),
            // Groups are multiplied by zeros where there are others.
            false => ungrouped(&ordered(weights, depth, count), depth, groups, outputs),
        };
        let real_depth = depth * groups;
        let offset = offsets(weights, depth * count, &bias, grid.zero_point);
        let unit = (0..outputs).map(|o| grid.scale * if scale.len() == 1 { scale[0] } else { scale[o] }).collect();
        let nowhere = View { origin: 0, row: 0, pixel: 0 };
        let shape = Shape {
            taps,
            stride,
            dilation,
            depth: if depthwise { outputs } else { real_depth.next_multiple_of(4) },
            outputs,
            width,
            input: nowhere,
            output: nowhere,
        };
        Ok(Some(Sums {
            input: image,
            pad,
            size: [height, width],
            shape,
            depthwise,
            weights: Rc::new(ordered),
            offset: Rc::new(offset),
            unit: Rc::new(unit),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            order: Order::Planes,
            dims: vec![1, outputs, height, width],
        }))
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
        if (Image { ring, ..from }).bytes() > MAX_IMAGE {
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

    fn end(&mut self, sums: &Sums, output: SlotId, scale: Vec<f32>, end: ConvEnd) {
        if self.trial {
            return;
        }
        let input = self.image(sums.input).view(sums.pad[0], sums.pad[1], 0);
        let shape = Shape { input, output: self.image(output).view(0, 0, 0), ..sums.shape };
        let kernel = if sums.depthwise {
            let weights = depthwise8::Weights::pack(self.isa, &shape, &sums.weights, &sums.offset);
            Kernel8::Depthwise(shape, weights)
        } else {
            let real = sums.weights.len() / (shape.outputs * shape.taps[0] * shape.taps[1]);
            Kernel8::Dense(shape, Weights::pack(self.isa, &shape, real, &sums.weights, &sums.offset))
        };
        self.draft.steps.push(Step::Conv8(Box::new(Conv8 {
            input: sums.input,
            output,
            rows: sums.size[0],
            kernel,
            scale,
            end,
        })));
    }

    pub(super) fn end_int8(&mut self, sums: &Sums, grid: Grid) -> SlotId {
        let output = self.int8_slot([sums.shape.outputs, sums.size[0], sums.size[1]], grid.zero_point);
        let cell = |value: f32| (value / grid.scale).round_ties_even().clamp(-300.0, 300.0) as i32 + grid.zero_point;
        let (low, high) = (cell(sums.low).clamp(-128, 127), cell(sums.high).clamp(-128, 127));
        let scale = sums.unit.iter().map(|unit| unit / grid.scale).collect();
        self.end(sums, output, scale, ConvEnd::Int8 { zero_point: grid.zero_point, low, high });
        output
    }

    pub(super) fn end_float(&mut self, sums: &Sums) -> Real {
        let output = self.image_slot([sums.shape.outputs, sums.size[0], sums.size[1]], Element::Float, 0);
        self.end(sums, output, sums.unit.to_vec(), ConvEnd::Float { bias: vec![0.0; sums.shape.outputs] });
        let real = Real { order: sums.order, ..self.plain(output) };
        match sums.low == f32::NEG_INFINITY && sums.high == f32::INFINITY {
            true => real,
            false => real.with(crate::engine::kernel::pointwise::Activation::Clip { low: sums.low, high: sums.high }),
        }
    }
}

/// What is added to the products of each output channel, for its bias and the input's zero point.
fn offsets(weights: &[i8], each: usize, bias: &[i32], zero_point: i32) -> Vec<i32> {
    let sum = |own: &[i8]| own.iter().map(|&weight| i32::from(weight)).sum::<i32>();
    let pairs = weights.chunks_exact(each).zip(bias);
    pairs.map(|(own, bias)| bias.wrapping_sub(zero_point.wrapping_mul(sum(own)))).collect()
}

/// Each pixel's channels alone.
fn one_tap(depth: usize, outputs: usize, width: usize) -> Shape {
    let nowhere = View { origin: 0, row: 0, pixel: 0 };
    let depth = depth.next_multiple_of(4);
    Shape { taps: [1, 1], stride: [1, 1], dilation: [1, 1], depth, outputs, width, input: nowhere, output: nowhere }
}

/// From the file's order, where the taps come last, to the kernels', where the input channels do.
fn ordered<T: Copy + Default>(weights: &[T], depth: usize, taps: usize) -> Vec<T> {
    let mut ordered = vec![T::default(); weights.len()];
    for (o, own) in weights.chunks_exact(depth * taps).enumerate() {
        for (c, own) in own.chunks_exact(taps).enumerate() {
            for (tap, &weight) in own.iter().enumerate() {
                ordered[(o * taps + tap) * depth + c] = weight;
            }
        }
    }
    ordered
}

/// Outputs that a vector computes at once, on most machines.
const VECTOR: usize = 16;

/// The number of groups, if it divides the channels as the weights do.
fn groups(node: &Node, outputs: usize, depth: usize, channels: usize) -> Option<usize> {
    let groups = usize::try_from(node.int("group", 1)).ok().filter(|&groups| groups > 0)?;
    (outputs > 0 && outputs.is_multiple_of(groups) && depth.checked_mul(groups) == Some(channels)).then_some(groups)
}

/// Weights in the kernels' order, over the channels of all groups: zeros for those of others.
fn ungrouped<T: Copy + Default>(weights: &[T], depth: usize, groups: usize, outputs: usize) -> Vec<T> {
    let taps = weights.len() / (outputs * depth);
    let mut all = vec![T::default(); weights.len() * groups];
    for (o, (all, own)) in
        all.chunks_exact_mut(taps * depth * groups).zip(weights.chunks_exact(taps * depth)).enumerate()
    {
        let first = o / (outputs / groups) * depth;
        for (all, own) in all.chunks_exact_mut(depth * groups).zip(own.chunks_exact(depth)) {
            all[first..first + depth].copy_from_slice(own);
        }
    }
    all
}

fn four(shape: &[usize]) -> Option<[usize; 4]> {
    shape.try_into().ok()
}
