//! Steps on tensors of any shape: elementwise formulas, reductions, products, copies.

use super::arena::Rest;
use super::slot::{Computed, SlotId};
use super::step::{CELL, FLOAT_MAC, Layout, Quantize};
use crate::engine::kernel::load;
use crate::engine::kernel::shelf::Shelf;
use crate::engine::kernel::tensor::formula::Instruction;
use crate::engine::kernel::tensor::linear::{Elements, Operand, Target};
use crate::engine::kernel::tensor::walk::{AXES, Strided, Walk};
use crate::engine::kernel::tensor::{copy, fold, linear, map, product, range};
use std::sync::Arc;

/// Floats, or whole numbers as large, that a step reads, from element `at` on.
#[derive(Debug, Clone)]
pub enum Source {
    Constant(Arc<[f32]>),
    Slot { slot: SlotId, at: usize },
}

impl Source {
    fn slot(&self) -> Option<SlotId> {
        match self {
            Source::Constant(_) => None,
            Source::Slot { slot, .. } => Some(*slot),
        }
    }

    fn floats<'a>(&'a self, layout: &Layout<'_>, rest: &Rest<'a>) -> (&'a [f32], usize) {
        self.numbers(layout, rest)
    }

    fn numbers<'a, T: bytemuck::Pod>(&'a self, layout: &Layout<'_>, rest: &Rest<'a>) -> (&'a [T], usize) {
        match self {
            Source::Constant(values) => (bytemuck::cast_slice(values), 0),
            Source::Slot { slot, at } => (bytemuck::cast_slice(layout.bytes(rest, *slot)), *at),
        }
    }

    fn share(&mut self, shelf: &Shelf<[f32]>) {
        if let Source::Constant(values) = self {
            shelf.share(values);
        }
    }

    fn constant_bytes(&self) -> usize {
        match self {
            Source::Constant(values) => size_of_val(&values[..]),
            Source::Slot { .. } => 0,
        }
    }
}

/// How threads share a walk: along the first axis that has more than one element.
struct Cut<'a> {
    walk: &'a Walk,
    axis: usize,
    /// What an element takes, beside others.
    cost: usize,
}

impl<'a> Cut<'a> {
    fn new(walk: &'a Walk, cost: usize) -> Self {
        let axis = walk.sizes.iter().position(|&size| size > 1).unwrap_or(0);
        Cut { walk, axis, cost }
    }

    /// Calls `work` with the sizes of each part, the index along the axis at which it begins, and the output from there on.
    fn run<T: Send>(
        &self,
        layout: &Layout<'_>,
        (own, at): (&mut [T], usize),
        work: impl Fn(&[usize], usize, &mut [T]) + Sync,
    ) {
        let (sizes, axis) = (&self.walk.sizes, self.axis);
        let inner: usize = sizes[axis + 1..].iter().product();
        let pitch = self.walk.strides[0][axis];
        layout.rows((sizes[axis], pitch), CELL / 2 * inner * self.cost, (own, at), &mut [], |range, own, _| {
            let mut part = [0; AXES];
            let part = &mut part[..sizes.len()];
            part.copy_from_slice(sizes);
            part[axis] = range.len();
            work(part, range.start, own);
        });
    }
}

/// The most sources of a formula.
pub const SOURCES: usize = 8;

/// A formula for each element. The walk's first strides are the output's, the others those of the sources.
#[derive(Debug)]
pub struct Map {
    pub walk: Walk,
    pub program: Vec<Instruction>,
    pub sources: Vec<Source>,
    pub output: SlotId,
    pub at: usize,
    /// For int8 outputs.
    pub quantize: Option<Quantize>,
    /// Takes the place of the zero point of `quantize`.
    pub zero_point: Option<Computed>,
}

impl Map {
    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let mut sources = [Strided { cells: &[][..], at: 0, strides: &[][..] }; SOURCES];
        for ((to, from), strides) in sources.iter_mut().zip(&self.sources).zip(&self.walk.strides[1..]) {
            let (cells, at) = from.floats(layout, rest);
            *to = Strided { cells, at, strides };
        }
        let cut = Cut::new(&self.walk, self.program.len());
        let run = |sizes: &[usize], start: usize, target: map::Target<'_>| {
            let mut sources = sources;
            let sources = &mut sources[..self.sources.len()];
            sources.iter_mut().for_each(|source| source.at += start * source.strides[cut.axis]);
            let job = map::Job { sizes, program: &self.program, sources, at: 0, strides: &self.walk.strides[0] };
            map::run(layout.isa, &job, target);
        };
        match self.quantize {
            None => {
                let own: &mut [f32] = bytemuck::cast_slice_mut(own);
                cut.run(layout, (own, self.at), |sizes, start, own| run(sizes, start, map::Target::Float(own)));
            }
            Some(Quantize { per_unit, zero_point, low, high }) => {
                let zero_point = self.zero_point.map_or(zero_point, |cell| load(layout.computed(rest, cell)));
                cut.run(layout, (own, self.at), |sizes, start, cells| {
                    run(sizes, start, map::Target::Int8 { cells, per_unit, zero_point, low, high });
                });
            }
        }
    }
}

/// A reduction. The walk's strides are the output's and the source's, over what is left; `inner` are sizes and the source's strides of what goes.
#[derive(Debug)]
pub struct Fold {
    pub kind: fold::Kind,
    pub walk: Walk,
    pub inner: (Vec<usize>, Vec<usize>),
    pub source: Source,
    pub output: SlotId,
    pub at: usize,
}

impl Fold {
    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let (cells, at) = self.source.floats(layout, rest);
        let strides = &self.walk.strides[1];
        let own: &mut [f32] = bytemuck::cast_slice_mut(own);
        let inner = (&self.inner.0[..], &self.inner.1[..]);
        let cut = Cut::new(&self.walk, self.inner.0.iter().product());
        cut.run(layout, (own, self.at), |sizes, start, own| {
            let source = Strided { cells, at: at + start * strides[cut.axis], strides };
            let job = fold::Job { kind: self.kind, sizes, source, inner, at: 0, strides: &self.walk.strides[0] };
            fold::run(layout.isa, &job, own);
        });
    }
}

/// The scale and the zero point of uint8 cells that hold all elements and 0, as DynamicQuantizeLinear has it: a float, and a byte behind it.
#[derive(Debug)]
pub struct Range {
    pub walk: Walk,
    pub source: Source,
    pub output: SlotId,
}

impl Range {
    /// Where the zero point is, in bytes.
    pub const ZERO_POINT: usize = 4;
    /// What both take, in whole floats.
    pub const BYTES: usize = 8;

    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let (cells, at) = self.source.floats(layout, rest);
        let (low, high) =
            range::run(layout.isa, &self.walk.sizes, Strided { cells, at, strides: &self.walk.strides[0] });
        let scale = if low == high { 1.0 } else { (high - low) / 255.0 };
        own[..4].copy_from_slice(&f32::to_ne_bytes(scale));
        own[Range::ZERO_POINT] = (-low / scale).round_ties_even() as u8;
    }
}

/// Products of matrices, one for each of `batch`.
#[derive(Debug)]
pub struct Product {
    pub shape: product::Shape,
    /// Whether they are of 32-bit whole numbers, and not of floats. The bias is one of floats.
    pub whole: bool,
    pub a: Source,
    pub b: Source,
    pub bias: Vec<f32>,
    pub batch: usize,
    /// From a matrix to the next, of a, b and the output.
    pub steps: [usize; 3],
    pub output: SlotId,
}

impl Product {
    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        match self.whole {
            true => self.each::<i32>(layout, rest, &[], own),
            false => self.each(layout, rest, &self.bias, own),
        }
    }

    fn each<T>(&self, layout: &Layout<'_>, rest: &Rest<'_>, bias: &[T], own: &mut [u8])
    where
        T: product::Number + bytemuck::Pod + Send + Sync,
    {
        let ((a, a_at), (b, b_at)) = (self.a.numbers::<T>(layout, rest), self.b.numbers::<T>(layout, rest));
        let own: &mut [T] = bytemuck::cast_slice_mut(own);
        for index in 0..self.batch {
            let (a, b) = (&a[a_at + index * self.steps[0]..], &b[b_at + index * self.steps[1]..]);
            let shape = &self.shape;
            let macs = FLOAT_MAC * shape.columns * shape.depth;
            layout.rows((shape.rows, shape.y), macs, (own, index * self.steps[2]), &mut [], |rows, own, _| {
                let part = product::Shape { rows: rows.len(), ..*shape };
                product::run(layout.isa, &part, &a[rows.start * shape.a[0]..], b, bias, own);
            });
        }
    }
}

/// Elements of 1, 2, 4 or 8 bytes to other places. Places and strides count elements.
#[derive(Debug)]
pub struct Copy {
    pub walk: Walk,
    pub bytes: usize,
    pub source: SlotId,
    pub from: usize,
    pub output: SlotId,
    pub at: usize,
    /// What an element of one byte changes by: a stored cell is not always the byte of a tensor.
    pub flip: u8,
}

impl Copy {
    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let cells = layout.bytes(rest, self.source);
        match self.bytes {
            1 if self.flip != 0 => self.each(layout, cells, own, Some(|byte: u8| byte ^ self.flip)),
            1 => self.plain::<u8>(layout, cells, own),
            2 => self.plain::<u16>(layout, cells, own),
            4 => self.plain::<u32>(layout, cells, own),
            _ => self.plain::<u64>(layout, cells, own),
        }
    }

    fn plain<T: bytemuck::Pod + Send + Sync>(&self, layout: &Layout<'_>, cells: &[u8], own: &mut [u8]) {
        self.each::<T, fn(T) -> T>(layout, bytemuck::cast_slice(cells), bytemuck::cast_slice_mut(own), None);
    }

    fn each<T, F>(&self, layout: &Layout<'_>, cells: &[T], own: &mut [T], value: Option<F>)
    where
        T: bytemuck::Pod + Send + Sync,
        F: Fn(T) -> T + Sync,
    {
        let (strides, to) = (&self.walk.strides[1], &self.walk.strides[0]);
        let cut = Cut::new(&self.walk, 1);
        cut.run(layout, (own, self.at), |sizes, start, own| {
            let source = Strided { cells, at: self.from + start * strides[cut.axis], strides };
            match &value {
                None => copy::run(sizes, source, own, 0, to),
                Some(value) => copy::run_through(sizes, source, own, 0, to, value),
            }
        });
    }
}

/// The types between which [`Linear`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    F32,
    F16,
    I8,
    U8,
    I16,
    U16,
    I32,
}

/// A tensor of some type that a step reads, from element `at` on: in a slot, or constant.
#[derive(Debug, Clone)]
pub struct Typed {
    pub kind: Type,
    pub from: TypedSource,
    pub at: usize,
}

#[derive(Debug, Clone)]
pub enum TypedSource {
    /// Bytes in 8s, which any element can be aligned to.
    Constant(Arc<[u64]>),
    Slot(SlotId),
}

impl Typed {
    fn operand<'a>(&'a self, layout: &Layout<'_>, rest: &Rest<'a>, strides: &'a [usize]) -> Operand<'a> {
        let bytes: &[u8] = match &self.from {
            TypedSource::Constant(values) => bytemuck::cast_slice(values),
            TypedSource::Slot(slot) => layout.bytes(rest, *slot),
        };
        let elements = match self.kind {
            Type::F32 => Elements::F32(bytemuck::cast_slice(bytes)),
            Type::F16 => Elements::F16(bytemuck::cast_slice(bytes)),
            Type::I8 => Elements::I8(bytemuck::cast_slice(bytes)),
            Type::U8 => Elements::U8(bytes),
            Type::I16 => Elements::I16(bytemuck::cast_slice(bytes)),
            Type::U16 => Elements::U16(bytemuck::cast_slice(bytes)),
            Type::I32 => Elements::I32(bytemuck::cast_slice(bytes)),
        };
        Operand { elements, at: self.at, strides }
    }

    fn slot(&self) -> Option<SlotId> {
        match self.from {
            TypedSource::Constant(_) => None,
            TypedSource::Slot(slot) => Some(slot),
        }
    }
}

/// QuantizeLinear or DequantizeLinear of a tensor: see [`linear`]. The walk's strides are those of the output, of x, the scale and the zero point.
#[derive(Debug)]
pub struct Linear {
    pub walk: Walk,
    pub x: Typed,
    pub scale: Typed,
    pub zero_point: Option<Typed>,
    pub kind: Type,
    pub output: SlotId,
}

impl Linear {
    fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let mut target = match self.kind {
            Type::F32 => Target::F32(bytemuck::cast_slice_mut(own)),
            Type::F16 => Target::F16(bytemuck::cast_slice_mut(own)),
            Type::I8 => Target::I8(bytemuck::cast_slice_mut(own)),
            Type::U8 => Target::U8(own),
            Type::I16 => Target::I16(bytemuck::cast_slice_mut(own)),
            Type::U16 => Target::U16(bytemuck::cast_slice_mut(own)),
            Type::I32 => Target::I32(bytemuck::cast_slice_mut(own)),
        };
        let [to, x, scale, rest_of @ ..] = &self.walk.strides[..] else { unreachable!("three operands at least") };
        let (x, scale) = (self.x.operand(layout, rest, x), self.scale.operand(layout, rest, scale));
        let zero_point = self.zero_point.as_ref().map(|zero| zero.operand(layout, rest, &rest_of[0]));
        linear::run(&self.walk.sizes, &x, &scale, zero_point.as_ref(), &mut target, 0, to);
    }
}

/// Bytes that are always the same.
#[derive(Debug)]
pub struct Constant {
    pub bytes: Arc<[u8]>,
    pub output: SlotId,
}

/// Any of them.
#[derive(Debug)]
pub enum TensorStep {
    Linear(Linear),
    Range(Range),
    Map(Map),
    Fold(Fold),
    Product(Product),
    Copy(Copy),
    Constant(Constant),
}

impl TensorStep {
    pub fn name(&self) -> &'static str {
        match self {
            TensorStep::Linear(_) => "linear",
            TensorStep::Range(_) => "range",
            TensorStep::Map(_) => "map",
            TensorStep::Fold(_) => "fold",
            TensorStep::Product(_) => "product",
            TensorStep::Copy(_) => "copy",
            TensorStep::Constant(_) => "constant",
        }
    }

    pub fn weights_bytes(&self) -> usize {
        match self {
            TensorStep::Map(step) => step.sources.iter().map(Source::constant_bytes).sum(),
            TensorStep::Linear(_) | TensorStep::Range(_) | TensorStep::Fold(_) | TensorStep::Copy(_) => 0,
            TensorStep::Constant(step) => step.bytes.len(),
            TensorStep::Product(step) => {
                step.a.constant_bytes() + step.b.constant_bytes() + size_of_val(&step.bias[..])
            }
        }
    }

    /// Keeps its constants once, where another step has the same.
    pub fn share(&mut self, shelf: &Shelf<[f32]>) {
        match self {
            TensorStep::Map(step) => step.sources.iter_mut().for_each(|source| source.share(shelf)),
            TensorStep::Product(step) => [&mut step.a, &mut step.b].into_iter().for_each(|source| source.share(shelf)),
            _ => {}
        }
    }

    pub fn output(&self) -> SlotId {
        match self {
            TensorStep::Linear(step) => step.output,
            TensorStep::Range(step) => step.output,
            TensorStep::Map(step) => step.output,
            TensorStep::Fold(step) => step.output,
            TensorStep::Product(step) => step.output,
            TensorStep::Copy(step) => step.output,
            TensorStep::Constant(step) => step.output,
        }
    }

    pub fn reads(&self, read: &mut dyn FnMut(SlotId)) {
        let mut source = |source: &Source| source.slot().into_iter().for_each(&mut *read);
        match self {
            TensorStep::Linear(step) => {
                let operands = [Some(&step.x), Some(&step.scale), step.zero_point.as_ref()];
                operands.into_iter().flatten().filter_map(Typed::slot).for_each(read);
            }
            TensorStep::Range(step) => source(&step.source),
            TensorStep::Map(step) => {
                step.sources.iter().for_each(source);
                step.zero_point.iter().for_each(|cell| read(cell.slot));
            }
            TensorStep::Fold(step) => source(&step.source),
            TensorStep::Product(step) => [&step.a, &step.b].into_iter().for_each(source),
            TensorStep::Copy(step) => read(step.source),
            TensorStep::Constant(_) => {}
        }
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        match self {
            TensorStep::Linear(step) => step.run(layout, rest, own),
            TensorStep::Range(step) => step.run(layout, rest, own),
            TensorStep::Map(step) => step.run(layout, rest, own),
            TensorStep::Fold(step) => step.run(layout, rest, own),
            TensorStep::Product(step) => step.run(layout, rest, own),
            TensorStep::Copy(step) => step.run(layout, rest, own),
            TensorStep::Constant(step) => own[..step.bytes.len()].copy_from_slice(&step.bytes),
        }
    }
}
