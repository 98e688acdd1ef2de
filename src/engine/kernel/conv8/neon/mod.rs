//! The int8 convolution for aarch64: SDOT where there is one ([`dot`]), widening multiplies where there isn't ([`mlal`]).
//!
//! Both compute tiles: some pixels of a row by [`BLOCK`] outputs. A tile that would pass the end of a row starts earlier and computes
//! some pixels again, so there are no cases for what is left over; only rows narrower than a tile use a narrower one.

mod dot;
mod mlal;
mod winograd;

use super::super::Isa;
use super::super::neon::{BLOCK, Pairs, finish};
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// Input channels that are read together. Weights are packed with zeros up to a multiple of it.
const STEP: usize = 16;

#[derive(Debug, Clone)]
pub struct Weights {
    form: Form,
    /// In blocks of outputs, each in the order in which [`dot`] or [`mlal`] reads them.
    direct: Vec<i8>,
    /// For [`winograd`]; empty if that can't be.
    transformed: Vec<i16>,
    scratch: usize,
    /// By output.
    offset: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Dot,
    Mlal(Pairs),
}

/// From cell to cell in the input, and how often.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// From a pixel to that of the next output.
    pixel: usize,
    /// From a tap to the next one below.
    row: usize,
    /// From a tap to the next one beside.
    tap: usize,
    taps: [usize; 2],
    /// [`depth_steps`].
    depth: usize,
}

impl Steps {
    fn new(shape: &Shape) -> Self {
        let [row, tap] = shape.tap_step();
        Steps { pixel: shape.stride[1] * shape.input.pixel, row, tap, taps: shape.taps, depth: depth_steps(shape) }
    }

    /// Whether what lies under a tap lies under the one before as well, for the next output.
    fn shares_cells(&self) -> bool {
        self.taps[1] == 3 && self.tap == self.pixel
    }
}

impl Weights {
    pub fn pack(isa: Isa, shape: &Shape, real: usize, weights: &[i8], offset: &[i32]) -> Self {
        let mut padded = offset.to_vec();
        padded.resize(shape.outputs.next_multiple_of(BLOCK), 0);
        let form = if isa == Isa::NeonDot { Form::Dot } else { Form::Mlal(Pairs::of(weights)) };
        let (mut transformed, mut scratch) = (Vec::new(), 0);
        let direct = if form == Form::Dot {
            dot::pack(shape, real, weights)
        } else {
            if winograd::fits(shape, weights) {
                transformed = winograd::pack(shape, real, weights);
                scratch = winograd::scratch(shape);
            }
            mlal::pack(shape, real, weights)
        };
        Weights { form, direct, transformed, scratch, offset: padded }
    }

    /// Elements of scratch memory that [`run`] makes use of.
    pub fn scratch(&self) -> usize {
        self.scratch
    }

    pub fn bytes(&self) -> usize {
        self.direct.len() + size_of_val(&self.transformed[..]) + size_of_val(&self.offset[..])
    }
}

/// The weight of an output, a tap and an input channel: zero beyond the real ones.
fn weight(shape: &Shape, real: usize, weights: &[i8], [o, tap, c]: [usize; 3]) -> i8 {
    let taps = shape.taps[0] * shape.taps[1];
    if o < shape.outputs && c < real { weights[(o * taps + tap) * real + c] } else { 0 }
}

/// Times [`STEP`] channels, at least one.
fn depth_steps(shape: &Shape) -> usize {
    shape.depth.div_ceil(STEP).max(1)
}

/// Bytes of the packed weights of a block of outputs.
fn block_bytes(shape: &Shape) -> usize {
    BLOCK * shape.taps[0] * shape.taps[1] * depth_steps(shape) * STEP
}

pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
    scratch: &mut [i32],
) {
    if weights.scratch > 0 && scratch.len() >= weights.scratch && rows.len() >= winograd::OUT {
        let (transformed, offset) = (&weights.transformed, &weights.offset);
        let job = winograd::Job { shape, weights: transformed, offset, input, rows, epilogue: &epilogue };
        // SAFETY: aarch64 has NEON, `conv8::run` has checked that input and output have what the shape says, and the weights were packed for it.
        unsafe { job.run(&mut output, scratch) };
        return;
    }
    let steps = Steps::new(shape);
    // Blocks of outputs outside: the weights of one stay in the first cache for a whole row.
    for (at, y) in rows.enumerate() {
        let cells = &input[shape.input.origin + y * shape.stride[0] * shape.input.row..];
        for (block, (own, offset)) in
            weights.direct.chunks_exact(block_bytes(shape)).zip(weights.offset.as_chunks().0).enumerate()
        {
            // SAFETY: aarch64 has NEON, `conv8::run` has checked that input and output have what the shape says, and the weights were packed for it.
            unsafe {
                let finish =
                    finish::Row::new(&epilogue, &mut output, shape.output.pixel, at * shape.output.row, block * BLOCK);
                let (cells, own) = (cells.as_ptr(), own.as_ptr());
                match finish {
                    finish::Row::Int8(finish) => row(weights.form, &steps, cells, own, offset, shape.width, finish),
                    finish::Row::Float(finish) => row(weights.form, &steps, cells, own, offset, shape.width, finish),
                }
            }
        }
    }
}

/// # Safety
/// As for [`dot::row`].
unsafe fn row<F: finish::Finish>(
    form: Form,
    steps: &Steps,
    cells: *const u8,
    weights: *const i8,
    offset: &[i32; BLOCK],
    width: usize,
    finish: F,
) {
    // SAFETY: the caller's promise, and only a machine with SDOT packs weights for it.
    unsafe {
        match form {
            Form::Dot => dot::row(steps, cells, weights, offset, width, finish),
            Form::Mlal(Pairs::Fit) => mlal::row::<true, F>(steps, cells, weights, offset, width, finish),
            Form::Mlal(Pairs::MayNotFit) => mlal::row::<false, F>(steps, cells, weights, offset, width, finish),
        }
    }
}
