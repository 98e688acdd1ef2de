//! The steps of a plan: what each reads, what it writes, and how it runs.

use super::Shelves;
use super::arena::{Arena, Rest};
use super::compensate::Compensate;
use super::foreign::Foreign;
use super::norm::{FloatNorm, Moments, Norm};
use super::pool::Pool;
use super::slot::{Border, Computed, Element, Image, Slot, SlotId, Vector};
use super::tensor::TensorStep;
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv8;
use crate::engine::kernel::conv32::{self, Bounds};
use crate::engine::kernel::depthwise8;
use crate::engine::kernel::epilogue::{Epilogue, Output};
use crate::engine::kernel::pointwise::{self, Activation, Cells, TERMS, Target, Term};
use crate::engine::kernel::ring::{self, Ringed};
use crate::engine::kernel::table8;
use crate::engine::kernel::threads::Threads;
use crate::engine::kernel::{Isa, View};
use std::ops::Range;

/// Work below which a thread is not worth waking, in int8 multiply-accumulates; and what others are counted as.
const GRAIN: usize = 1 << 18;
pub(super) const FLOAT_MAC: usize = 4;
pub(super) const CELL: usize = 32;

/// What a plan's steps find when they run.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    pub isa: Isa,
    pub threads: &'a Threads,
    pub slots: &'a [Slot],
    pub ranges: &'a [Range<usize>],
}

impl Layout<'_> {
    pub fn image(&self, slot: SlotId) -> Image {
        match self.slots[slot] {
            Slot::Image(image) => image,
            Slot::Tensor { .. } => unreachable!("an image is asked of a tensor"),
        }
    }

    pub fn bytes<'a>(&self, rest: &Rest<'a>, slot: SlotId) -> &'a [u8] {
        rest.get(&self.ranges[slot])
    }

    pub fn floats<'a>(&self, rest: &Rest<'a>, slot: SlotId) -> &'a [f32] {
        bytemuck::cast_slice(self.bytes(rest, slot))
    }

    /// Calls `work` for all rows of an image of which a part lies in `own` from element `origin` on, cut among the threads: `work` is as many
    /// multiply-accumulates a row, in all.
    pub fn rows<T: Send>(
        &self,
        (rows, pitch): (usize, usize),
        macs: usize,
        (own, origin): (&mut [T], usize),
        scratch: &mut [i64],
        work: impl Fn(Range<usize>, &mut [T], &mut [i64]) + Sync,
    ) {
        self.threads.rows(rows, GRAIN.div_ceil(macs.max(1)), (&mut own[origin..], pitch), scratch, work);
    }

    /// The stored cell.
    pub fn computed(&self, rest: &Rest<'_>, cell: Computed) -> u8 {
        self.bytes(rest, cell.slot)[cell.at] ^ cell.flip
    }

    pub fn vector<'a>(&self, rest: &Rest<'a>, vector: &'a Vector) -> &'a [f32] {
        match vector {
            Vector::Constant(values) => values,
            Vector::Slot { slot, at, len } => &self.floats(rest, *slot)[*at..at + len],
        }
    }
}

/// Values become cells: round(value · per_unit) + zero_point, within low..=high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantize {
    pub per_unit: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

/// A convolution of int8 cells.
#[derive(Debug)]
pub struct Conv8 {
    pub input: SlotId,
    pub output: SlotId,
    /// Of the output.
    pub rows: usize,
    pub kernel: Kernel8,
    pub end: ConvEnd,
}

#[derive(Debug)]
pub enum Kernel8 {
    Dense(Shape, conv8::Weights),
    Depthwise(Shape, depthwise8::Weights),
}

impl Kernel8 {
    fn shape(&self) -> &Shape {
        match self {
            Kernel8::Dense(shape, _) | Kernel8::Depthwise(shape, _) => shape,
        }
    }

    fn macs_of_row(&self) -> usize {
        match self {
            Kernel8::Dense(shape, _) => shape.macs_of_row(),
            Kernel8::Depthwise(shape, _) => shape.macs_of_row() / shape.depth,
        }
    }

    fn run(&self, cells: &[u8], rows: Range<usize>, epilogue: Epilogue<'_>, output: Output<'_>, scratch: &mut [i64]) {
        match self {
            Kernel8::Dense(shape, weights) => {
                conv8::run(shape, weights, cells, rows, epilogue, output, bytemuck::cast_slice_mut(scratch));
            }
            Kernel8::Depthwise(shape, weights) => depthwise8::run(shape, weights, cells, rows, epilogue, output),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Kernel8::Dense(_, weights) => weights.bytes(),
            Kernel8::Depthwise(_, weights) => weights.bytes(),
        }
    }
}

/// What becomes of sums: see [`Epilogue`].
#[derive(Debug, Clone)]
pub enum ConvEnd {
    Int8 { scale: Vec<f32>, zero_point: i32, low: i32, high: i32 },
    Float { scale: Vec<f32>, bias: Vec<f32> },
    Sums,
}

impl ConvEnd {
    pub fn bytes(&self) -> usize {
        match self {
            ConvEnd::Int8 { scale, .. } => size_of_val(&scale[..]),
            ConvEnd::Float { scale, bias } => size_of_val(&scale[..]) + size_of_val(&bias[..]),
            ConvEnd::Sums => 0,
        }
    }

    /// Has `work` compute all rows of an image, as [`Layout::rows`] does.
    pub(super) fn rows(
        &self,
        layout: &Layout<'_>,
        size: (usize, usize),
        macs: usize,
        (own, origin): (&mut [u8], usize),
        scratch: &mut [i64],
        work: impl Fn(Range<usize>, Epilogue<'_>, Output<'_>, &mut [i64]) + Sync,
    ) {
        match self {
            ConvEnd::Int8 { scale, zero_point, low, high } => {
                let epilogue = Epilogue::Int8 { scale, zero_point: *zero_point, low: *low, high: *high };
                layout.rows(size, macs, (own, origin), scratch, |rows, own, scratch| {
                    work(rows, epilogue, Output::Int8(own), scratch);
                });
            }
            ConvEnd::Float { scale, bias } => {
                let own: &mut [f32] = bytemuck::cast_slice_mut(own);
                layout.rows(size, macs, (own, origin), scratch, |rows, own, scratch| {
                    work(rows, Epilogue::Float { scale, bias }, Output::Float(own), scratch);
                });
            }
            ConvEnd::Sums => {
                let own: &mut [i32] = bytemuck::cast_slice_mut(own);
                layout.rows(size, macs, (own, origin), scratch, |rows, own, scratch| {
                    work(rows, Epilogue::Sums, Output::Sums(own), scratch);
                });
            }
        }
    }
}

/// A convolution of floats.
#[derive(Debug)]
pub struct Conv32 {
    pub input: SlotId,
    pub output: SlotId,
    /// Of the output.
    pub rows: usize,
    pub shape: Shape,
    pub weights: conv32::Weights,
    pub bounds: Bounds,
}

/// One image and what each of its channels is multiplied by, from channel `channel` on.
#[derive(Debug, Clone, PartialEq)]
pub struct Addend {
    pub image: SlotId,
    pub channel: usize,
    pub factor: Vector,
}

/// A function of each int8 cell.
#[derive(Debug)]
pub struct Table8 {
    pub shape: table8::Shape,
    pub rows: usize,
    pub table: table8::Table,
    pub input: SlotId,
    pub output: SlotId,
}

/// A sum of images with an activation, written to some channels of an image.
#[derive(Debug)]
pub struct Pointwise {
    pub terms: Vec<Addend>,
    pub bias: Vector,
    pub activation: Activation,
    pub up: u32,
    pub output: SlotId,
    pub channel: usize,
    /// For int8 outputs.
    pub quantize: Option<Quantize>,
}

/// factor · scale, and bias · scale + shift, for the factors and then the bias that `from` holds.
#[derive(Debug)]
pub struct Affine {
    pub factors: Vec<Vector>,
    pub bias: Vector,
    pub scale: Option<Vector>,
    pub shift: Option<Vector>,
    pub output: SlotId,
}

#[derive(Debug)]
pub enum Step {
    Conv8(Box<Conv8>),
    Compensate(Box<Compensate>),
    Conv32(Box<Conv32>),
    Pointwise(Box<Pointwise>),
    /// Fills the ring of an image with its border.
    Ring(SlotId, Border),
    Moments(Box<Moments>),
    Norm(Box<Norm>),
    FloatNorm(Box<FloatNorm>),
    Affine(Box<Affine>),
    Table8(Box<Table8>),
    Pool(Box<Pool>),
    Tensor(Box<TensorStep>),
    Foreign(Box<Foreign>),
}

impl Step {
    /// Multiply-accumulates, of a convolution.
    pub(super) fn macs(&self) -> u64 {
        let (rows, of_row) = match self {
            Step::Conv8(conv) => (conv.rows, conv.kernel.macs_of_row()),
            Step::Conv32(conv) => (conv.rows, conv.shape.macs_of_row()),
            _ => return 0,
        };
        rows as u64 * of_row as u64
    }

    pub fn name(&self) -> &'static str {
        match self {
            Step::Conv8(_) => "conv int8",
            Step::Compensate(_) => "compensate",
            Step::Conv32(_) => "conv f32",
            Step::Pointwise(_) => "pointwise",
            Step::Ring(..) => "ring",
            Step::Moments(_) => "moments",
            Step::Norm(_) => "norm",
            Step::FloatNorm(_) => "norm f32",
            Step::Affine(_) => "affine",
            Step::Table8(_) => "table",
            Step::Pool(_) => "pool",
            Step::Tensor(step) => step.name(),
            Step::Foreign(_) => "tract",
        }
    }

    pub fn weights_bytes(&self) -> usize {
        match self {
            Step::Conv8(step) => step.kernel.bytes() + step.end.bytes(),
            Step::Compensate(step) => step.bytes() + step.end.bytes(),
            Step::Conv32(step) => step.weights.bytes(),
            Step::Tensor(step) => step.weights_bytes(),
            _ => 0,
        }
    }

    /// Keeps its weights once, where another step has the same.
    pub fn share(&mut self, shelves: &Shelves) {
        match self {
            Step::Conv8(step) => match &mut step.kernel {
                Kernel8::Dense(_, weights) => weights.share(&shelves.conv8),
                Kernel8::Depthwise(_, weights) => weights.share(&shelves.depthwise8),
            },
            Step::Conv32(step) => step.weights.share(&shelves.conv32),
            Step::Tensor(step) => step.share(&shelves.floats),
            _ => {}
        }
    }

    pub fn output(&self) -> SlotId {
        match self {
            Step::Conv8(step) => step.output,
            Step::Compensate(step) => step.output,
            Step::Conv32(step) => step.output,
            Step::Pointwise(step) => step.output,
            Step::Ring(image, _) => *image,
            Step::Moments(step) => step.output,
            Step::Norm(step) => step.output,
            Step::FloatNorm(step) => step.output,
            Step::Affine(step) => step.output,
            Step::Table8(step) => step.output,
            Step::Pool(step) => step.output,
            Step::Tensor(step) => step.output(),
            Step::Foreign(step) => step.output(),
        }
    }

    /// Whether it only adds to what other steps write to its output: a ring, a sum.
    pub fn completes(&self) -> bool {
        matches!(self, Step::Ring(..) | Step::Moments(_))
    }

    /// Calls `read` with each slot that the step reads.
    pub fn reads(&self, read: &mut dyn FnMut(SlotId)) {
        let mut vector = |vector: &Vector| {
            if let Some(slot) = vector.slot() {
                read(slot);
            }
        };
        match self {
            Step::Conv8(step) => read(step.input),
            Step::Compensate(step) => step.reads(read),
            Step::Conv32(step) => read(step.input),
            Step::Pointwise(step) => {
                step.terms.iter().for_each(|term| vector(&term.factor));
                vector(&step.bias);
                step.terms.iter().for_each(|term| read(term.image));
            }
            Step::Ring(_, Border::Computed(cell)) => read(cell.slot),
            Step::Ring(_, Border::Byte(_)) => {}
            Step::Moments(step) => step.terms.iter().for_each(|(image, _)| read(*image)),
            Step::Norm(step) => {
                step.vectors().for_each(vector);
                read(step.moments);
            }
            Step::FloatNorm(step) => {
                [&step.gain, &step.offset].into_iter().for_each(vector);
                read(step.image);
            }
            Step::Affine(step) => {
                step.factors.iter().chain([&step.bias]).chain(&step.scale).chain(&step.shift).for_each(vector);
            }
            Step::Table8(step) => read(step.input),
            Step::Pool(step) => read(step.input),
            Step::Tensor(step) => step.reads(read),
            Step::Foreign(step) => step.reads(read),
        }
    }

    /// Numbers of 8 bytes that each thread needs beside the arena.
    pub fn scratch(&self) -> usize {
        match self {
            Step::Conv8(step) => step.scratch(),
            Step::Conv32(step) => step.weights.room().div_ceil(2),
            Step::Moments(step) => step.scratch(),
            Step::FloatNorm(step) => step.scratch(),
            _ => 0,
        }
    }

    /// `scratch` has as much for each thread as any step [needs](Step::scratch).
    ///
    /// # Errors
    /// Only steps that tract runs can fail.
    pub fn run(&self, layout: &Layout<'_>, arena: &mut Arena, scratch: &mut [i64]) -> Result<(), String> {
        let (rest, own) = arena.split(&layout.ranges[self.output()]);
        match self {
            Step::Conv8(step) => step.run(layout, &rest, own, scratch),
            Step::Compensate(step) => step.run(layout, &rest, own),
            Step::Conv32(step) => step.run(layout, &rest, own, scratch),
            Step::Pointwise(step) => step.run(layout, &rest, own),
            Step::Ring(image, border) => {
                let image = layout.image(*image);
                let (view, bytes) = (image.view(0, 0, 0), image.element.bytes());
                let view = View { origin: view.origin * bytes, row: view.row * bytes, pixel: view.pixel * bytes };
                let Image { height, width, ring, .. } = image;
                let byte = match *border {
                    Border::Byte(byte) => byte,
                    Border::Computed(cell) => layout.computed(&rest, cell),
                };
                ring::fill(own, &Ringed { height, width, ring, view }, 0..height, byte);
            }
            Step::Moments(step) => step.run(layout, &rest, own, scratch),
            Step::Norm(step) => step.run(layout, &rest, own),
            Step::FloatNorm(step) => step.run(layout, &rest, own, scratch),
            Step::Affine(step) => step.run(layout, &rest, own),
            Step::Table8(step) => step.run(layout, &rest, own),
            Step::Pool(step) => step.run(layout, &rest, own),
            Step::Tensor(step) => step.run(layout, &rest, own),
            Step::Foreign(step) => step.run(layout, &rest, own)?,
        }
        Ok(())
    }
}

impl Conv8 {
    fn scratch(&self) -> usize {
        match &self.kernel {
            Kernel8::Dense(_, weights) => weights.scratch().div_ceil(2),
            Kernel8::Depthwise(..) => 0,
        }
    }

    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8], scratch: &mut [i64]) {
        let cells = layout.bytes(rest, self.input);
        let shape = self.kernel.shape();
        let (size, macs) = ((self.rows, shape.output.row), self.kernel.macs_of_row());
        let own = (own, shape.output.origin);
        self.end.rows(layout, size, macs, own, scratch, |rows, epilogue, output, scratch| {
            self.kernel.run(cells, rows, epilogue, output, scratch);
        });
    }
}

impl Conv32 {
    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8], scratch: &mut [i64]) {
        let (cells, own) = (layout.floats(rest, self.input), bytemuck::cast_slice_mut::<_, f32>(own));
        let Shape { output, .. } = self.shape;
        let macs = FLOAT_MAC * self.shape.macs_of_row();
        layout.rows((self.rows, output.row), macs, (own, output.origin), scratch, |rows, own, scratch| {
            let room = &mut bytemuck::cast_slice_mut(scratch)[..self.weights.room()];
            conv32::run(&self.shape, &self.weights, cells, rows, self.bounds, own, room);
        });
    }
}

impl Table8 {
    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let table8::Shape { channels, width, output, .. } = self.shape;
        let cells = layout.bytes(rest, self.input);
        let work = CELL / 8 * channels * width;
        layout.rows((self.rows, output.row), work, (own, output.origin), &mut [], |rows, own, _| {
            table8::run(layout.isa, &self.shape, &self.table, cells, rows, own);
        });
    }
}

impl Pointwise {
    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let source = layout.image(self.terms[0].image);
        let image = layout.image(self.output);
        let shape = pointwise::Shape {
            channels: self.bias.channels(),
            width: source.width,
            up: self.up,
            output: image.view(0, 0, self.channel),
        };
        let first = Term { cells: Cells::Int8(&[]), view: shape.output, factor: &[] };
        let mut terms = [first; TERMS];
        for (term, own) in terms.iter_mut().zip(&self.terms) {
            let (image, cells) = (layout.image(own.image), layout.bytes(rest, own.image));
            let cells = match image.element {
                Element::Int8 => Cells::Int8(cells),
                Element::Float => Cells::Float(bytemuck::cast_slice(cells)),
            };
            *term = Term { cells, view: image.view(0, 0, own.channel), factor: layout.vector(rest, &own.factor) };
        }
        let (terms, bias) = (&terms[..self.terms.len()], layout.vector(rest, &self.bias));
        let (rows, pitch) = (source.height, shape.output.row << self.up);
        let work = CELL * shape.channels * shape.width;
        let run = |rows: Range<usize>, target: Target<'_>| {
            pointwise::run(layout.isa, &shape, terms, bias, self.activation, rows, target)
        };
        match self.quantize {
            Some(Quantize { per_unit, zero_point, low, high }) => {
                layout.rows((rows, pitch), work, (own, shape.output.origin), &mut [], |rows, cells, _| {
                    run(rows, Target::Int8 { cells, per_unit, zero_point, low, high });
                });
            }
            None => {
                let own: &mut [f32] = bytemuck::cast_slice_mut(own);
                layout.rows((rows, pitch), work, (own, shape.output.origin), &mut [], |rows, cells, _| {
                    run(rows, Target::Float(cells));
                });
            }
        }
    }
}

impl Affine {
    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let channels = self.bias.channels();
        let scale = self.scale.as_ref().map(|scale| layout.vector(rest, scale));
        let shift = self.shift.as_ref().map(|shift| layout.vector(rest, shift));
        let own: &mut [f32] = bytemuck::cast_slice_mut(own);
        let last = self.factors.len();
        for (index, (from, to)) in
            self.factors.iter().chain([&self.bias]).zip(own.chunks_exact_mut(channels)).enumerate()
        {
            for (c, (&from, to)) in layout.vector(rest, from).iter().zip(to).enumerate() {
                let scaled = scale.map_or(from, |scale| from * scale[c]);
                *to = shift.filter(|_| index == last).map_or(scaled, |shift| scaled + shift[c]);
            }
        }
    }
}
