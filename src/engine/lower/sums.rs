//! Convolutions of int8 images up to their sums, and how they end.

use super::Lowering;
use super::place::Place;
use super::quantize::Grid;
use super::real::{Order, Real};
use crate::engine::graph::Datum;
use crate::engine::kernel::conv8::{Shape, Weights};
use crate::engine::kernel::pointwise::Activation;
use crate::engine::kernel::{View, compensate, depthwise8, load};
use crate::engine::plan::compensate::Compensate;
use crate::engine::plan::slot::{Border, Computed, Element, Slot, SlotId};
use crate::engine::plan::step::{Conv8, ConvEnd, Kernel8, Step};
use std::rc::Rc;

/// Kernels and biases of a convolution.
pub struct Filter {
    pub taps: [usize; 2],
    /// Input channels of a group.
    pub depth: usize,
    pub groups: usize,
    pub outputs: usize,
    /// In the order output channel, ky, kx, input channel of its group.
    pub weights: Vec<i8>,
    /// Of weights of 4 bits, in the order of the weights.
    pub factors: Option<Vec<i8>>,
    /// In sums, for each output channel.
    pub bias: Vec<i32>,
}

impl Filter {
    /// Sums the cells of each group.
    fn ones(&self) -> Filter {
        let (taps, groups) = (self.taps, self.groups);
        let weights = vec![1; groups * taps[0] * taps[1] * self.depth];
        Filter { outputs: groups, weights, factors: None, bias: vec![0; groups], ..*self }
    }

    /// The weights of each output channel.
    fn kernels(&self) -> impl Iterator<Item = &[i8]> {
        self.weights.chunks_exact(self.taps[0] * self.taps[1] * self.depth)
    }
}

/// Where a convolution reads, and where its outputs belong.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Row and column of the input under the first tap of the first output.
    pub start: [isize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows and columns of its outputs.
    pub size: [usize; 2],
    /// Row and column of its first output in the image, and from one to the next.
    pub first: [usize; 2],
    pub step: [usize; 2],
}

impl Reach {
    /// Each pixel alone, of an image of one row.
    pub fn pixels(width: usize) -> Reach {
        Reach { start: [0, 0], stride: [1, 1], dilation: [1, 1], size: [1, width], first: [0, 0], step: [1, 1] }
    }
}

/// A convolution that writes some pixels of an image.
#[derive(Debug)]
struct Part {
    reach: Reach,
    /// Its views are not known yet.
    shape: Shape,
    /// Each output channel reads the input channel of its number alone.
    depthwise: bool,
    /// In the order output channel, ky, kx, input channel; of a depthwise convolution ky, kx, channel.
    weights: Vec<i8>,
    /// As the weights; none of a depthwise convolution, whose weights are few.
    factors: Option<Vec<i8>>,
    offset: Vec<i32>,
    /// Its first output channel.
    channel: usize,
}

impl Part {
    /// Of cells whose zero point is known, or counts as 0.
    fn new(filter: &Filter, reach: Reach, zero_point: i32, channel: usize) -> Part {
        let &Filter { taps, depth, groups, outputs, .. } = filter;
        let depthwise = depth == 1 && groups > 1 && outputs == groups;
        // Groups are multiplied by zeros where there are others.
        let weights = match depthwise {
            true => ordered(&filter.weights, outputs, taps[0] * taps[1]),
            false => ungrouped(&filter.weights, depth, groups, outputs),
        };
        let factors = filter.factors.as_ref().filter(|_| !depthwise);
        let factors = factors.map(|factors| ungrouped(factors, depth, groups, outputs));
        let offset = filter.kernels().zip(&filter.bias).map(|(kernel, bias)| {
            let sum: i32 = kernel.iter().map(|&weight| i32::from(weight)).sum();
            bias.wrapping_sub(zero_point.wrapping_mul(sum))
        });
        let nowhere = View { origin: 0, row: 0, pixel: 0 };
        let shape = Shape {
            taps,
            stride: reach.stride,
            dilation: reach.dilation,
            depth: if depthwise { outputs } else { (depth * groups).next_multiple_of(4) },
            outputs,
            width: reach.size[1],
            input: nowhere,
            output: nowhere,
        };
        Part { reach, shape, depthwise, offset: offset.collect(), weights, factors, channel }
    }
}

/// An image of sums that are nowhere yet.
#[derive(Debug, Clone)]
pub struct Sums {
    input: SlotId,
    parts: Rc<Vec<Part>>,
    lack: Rc<Lack>,
    outputs: usize,
    /// Height and width.
    size: [usize; 2],
    /// What a sum counts, for each output channel.
    unit: Rc<Vec<f32>>,
    low: f32,
    high: f32,
    pub order: Order,
    /// Of the tensor.
    pub dims: Vec<usize>,
}

/// What the sums of a convolution's kernel lack: see [`compensate`].
#[derive(Debug)]
struct Lack {
    /// Empty where the weights have no zero points.
    weights_zero: Vec<i32>,
    groups: usize,
    zero_point: Option<(Computed, Vec<i32>)>,
}

impl Lack {
    fn is_something(&self) -> bool {
        !self.weights_zero.is_empty() || self.zero_point.is_some()
    }
}

impl Sums {
    /// The convolution with its values kept within `low..=high`.
    pub fn clip(&self, low: f32, high: f32) -> Sums {
        Sums { low: self.low.max(low), high: self.high.min(high), ..self.clone() }
    }

    /// With its pixels as the rows of a tensor of that shape.
    pub fn with_rows(self, dims: Vec<usize>) -> Sums {
        Sums { order: Order::Rows, dims, ..self }
    }

    fn image(&self) -> [usize; 3] {
        [self.outputs, self.size[0], self.size[1]]
    }
}

impl Lowering<'_> {
    /// The sums of convolutions of the image `input`, whose border is its zero point: all have as many groups and output channels, with a `unit`
    /// for each, and together they write all pixels of `size`. Where the zero point is computed, there is but one.
    pub(super) fn sums(
        &self,
        input: SlotId,
        filters: &[(Filter, Reach)],
        weights_zero: Vec<i32>,
        unit: Vec<f32>,
        size: [usize; 2],
    ) -> Sums {
        let Filter { outputs, groups, .. } = filters[0].0;
        let (known, computed) = match self.image(input).border {
            Border::Byte(cell) => (load(cell), None),
            Border::Computed(cell) => {
                let zero = |o: usize| weights_zero.get(o).copied().unwrap_or(0);
                let total = |(o, own): (usize, &[i8])| own.iter().map(|&weight| i32::from(weight) - zero(o)).sum();
                (0, Some((cell, filters[0].0.kernels().enumerate().map(total).collect())))
            }
        };
        let mut parts = Vec::new();
        for (filter, reach) in filters.iter().take_while(|_| !self.trial) {
            parts.push(Part::new(filter, *reach, known, 0));
            if !weights_zero.is_empty() {
                parts.push(Part::new(&filter.ones(), *reach, known, outputs));
            }
        }
        Sums {
            input,
            parts: Rc::new(parts),
            lack: Rc::new(Lack { weights_zero, groups, zero_point: computed }),
            outputs,
            size,
            unit: Rc::new(unit),
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            order: Order::Planes,
            dims: vec![1, outputs, size[0], size[1]],
        }
    }

    /// Steps that write the sums, ended so, to a view of `output`.
    fn end(&mut self, sums: &Sums, output: SlotId, view: View, end: ConvEnd) {
        if !sums.lack.is_something() {
            return self.end_parts(sums, output, view, &end);
        }
        let (from, input) = self.sums_slot(sums);
        self.end_parts(sums, from, input, &ConvEnd::Sums);
        let Lack { weights_zero, groups, zero_point } = &*sums.lack;
        let each = sums.outputs / groups;
        let shape = compensate::Shape { outputs: sums.outputs, each, width: sums.size[1], input, output: view };
        self.draft.steps.push(Step::Compensate(Box::new(Compensate {
            shape,
            rows: sums.size[0],
            sums: from,
            weights_zero: weights_zero.clone(),
            zero_point: zero_point.clone(),
            end,
            output,
        })));
    }

    fn end_parts(&mut self, sums: &Sums, output: SlotId, view: View, end: &ConvEnd) {
        for part in sums.parts.iter().take_while(|_| !self.trial) {
            let Reach { start, size, first, step, .. } = part.reach;
            let input = self.image(sums.input).view_from(start[0], start[1], 0);
            let output_view = View {
                origin: view.origin + first[0] * view.row + first[1] * view.pixel + part.channel,
                row: step[0] * view.row,
                pixel: step[1] * view.pixel,
            };
            let shape = Shape { input, output: output_view, ..part.shape };
            let kernel = if part.depthwise {
                Kernel8::Depthwise(shape, depthwise8::Weights::pack(self.isa, &shape, &part.weights, &part.offset))
            } else {
                let real = part.weights.len() / (shape.outputs * shape.taps[0] * shape.taps[1]);
                let factors = part.factors.as_deref();
                let weights = Weights::pack(self.isa, &shape, size[0], real, &part.weights, factors, &part.offset);
                Kernel8::Dense(shape, weights)
            };
            let step = Conv8 { input: sums.input, output, rows: size[0], kernel, end: end.clone() };
            self.draft.steps.push(Step::Conv8(Box::new(step)));
        }
    }

    /// Room for sums and, where weights have zero points, for those of all weights 1 behind them.
    fn sums_slot(&mut self, sums: &Sums) -> (SlotId, View) {
        let windows = if sums.lack.weights_zero.is_empty() { 0 } else { sums.lack.groups };
        let [height, width] = sums.size;
        let pixel = (sums.outputs + windows).next_multiple_of(4);
        let slot = self.slot(Slot::Tensor { bytes: height * width * pixel * 4 });
        (slot, View { origin: 0, row: width * pixel, pixel })
    }

    pub(super) fn end_int8(&mut self, sums: &Sums, grid: Grid) -> SlotId {
        let output = self.int8_slot(sums.image(), grid.zero_point);
        let cell = |value: f32| (value / grid.scale).round_ties_even().clamp(-300.0, 300.0) as i32 + grid.zero_point;
        let (low, high) = (cell(sums.low).clamp(-128, 127), cell(sums.high).clamp(-128, 127));
        let scale = sums.unit.iter().map(|unit| unit / grid.scale).collect();
        let view = self.image(output).view(0, 0, 0);
        self.end(sums, output, view, ConvEnd::Int8 { scale, zero_point: grid.zero_point, low, high });
        output
    }

    pub(super) fn end_float(&mut self, sums: &Sums) -> Real {
        let output = self.image_slot(sums.image(), Element::Float, Border::Byte(0));
        let end = ConvEnd::Float { scale: sums.unit.to_vec(), bias: vec![0.0; sums.outputs] };
        let view = self.image(output).view(0, 0, 0);
        self.end(sums, output, view, end);
        let real = Real { order: sums.order, ..self.plain(output) };
        match sums.low == f32::NEG_INFINITY && sums.high == f32::INFINITY {
            true => real,
            false => real.with(Activation::Clip { low: sums.low, high: sums.high }),
        }
    }

    /// The sums themselves.
    pub(super) fn end_whole(&mut self, sums: &Sums) -> Result<Place, String> {
        let [height, width] = sums.size;
        let pixel = sums.outputs.next_multiple_of(4);
        let slot = self.slot(Slot::Tensor { bytes: height * width * pixel * 4 });
        let view = View { origin: 0, row: width * pixel, pixel };
        self.end(sums, slot, view, ConvEnd::Sums);
        let (shape, strides) = match sums.order {
            Order::Planes => (vec![1, sums.outputs, height, width], vec![0, 1, view.row, pixel]),
            Order::Rows => (vec![width, sums.outputs], vec![pixel, 1]),
        };
        self.reshaped(&Place { slot, datum_type: i32::datum_type(), shape, at: 0, strides }, &sums.dims)
    }
}

/// From the file's order, where the taps come last, to the kernels', where the input channels do.
pub(super) fn ordered<T: Copy + Default>(weights: &[T], depth: usize, taps: usize) -> Vec<T> {
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

/// Weights in the kernels' order, over the channels of all groups: zeros for those of others.
pub(super) fn ungrouped<T: Copy + Default>(weights: &[T], depth: usize, groups: usize, outputs: usize) -> Vec<T> {
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
