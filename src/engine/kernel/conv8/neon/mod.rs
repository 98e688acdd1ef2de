//! The int8 convolution for aarch64: SDOT where there is one ([`dot`]), widening multiplies where there isn't ([`mlal`]), of
//! transformed cells where that can be ([`transformed`]).
//!
//! The first two compute tiles: some pixels of a row by [`BLOCK`] outputs. A tile that would pass the end of a row starts earlier and computes
//! some pixels again, so there are no cases for what is left over; only rows narrower than a tile use a narrower one.

mod dot;
mod mlal;
mod transformed;

use super::super::Isa;
use super::super::neon::{BLOCK, Pairs, finish};
use super::kept::{Kept, LINE, Line};
use super::{Epilogue, Output, Shape, winograd};
use std::ops::Range;
use transformed::Neon;

/// Input channels that are read together. Weights are packed with zeros up to a multiple of it.
const STEP: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    form: Form,
    /// In blocks of outputs, each in the order in which its form reads them.
    packed: Kept,
    scratch: usize,
    /// By output.
    offset: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Dot,
    Mlal(Pairs),
    Winograd,
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
    pub fn pack(
        isa: Isa,
        shape: &Shape,
        rows: usize,
        real: usize,
        weights: &[i8],
        factors: Option<&[i8]>,
        offset: &[i32],
    ) -> Self {
        let mut padded = offset.to_vec();
        padded.resize(shape.outputs.next_multiple_of(BLOCK), 0);
        if isa != Isa::NeonDot && winograd::fits(shape, rows, weights) {
            let packed = winograd::pack::<Neon>(shape, real, weights, factors);
            let scratch = winograd::scratch::<Neon>(shape, rows, &packed);
            return Weights { form: Form::Winograd, packed, scratch, offset: padded };
        }
        let (form, arrange): (_, fn(&Shape, usize, &[i8]) -> Vec<i8>) = match isa == Isa::NeonDot {
            true => (Form::Dot, dot::pack),
            false => (Form::Mlal(Pairs::of(weights)), mlal::pack),
        };
        let lines = |of: &[i8]| Line::all(&arrange(shape, real, of));
        let packed = Kept::new(lines(weights), factors.map(lines));
        let scratch = packed.room(block_lines(shape));
        Weights { form, packed, scratch, offset: padded }
    }

    /// Elements of scratch memory that [`run`] needs.
    pub fn scratch(&self) -> usize {
        self.scratch
    }

    pub fn bytes(&self) -> usize {
        self.packed.bytes() + size_of_val(&self.offset[..])
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

fn block_lines(shape: &Shape) -> usize {
    block_bytes(shape) / LINE
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
    if weights.form == Form::Winograd {
        let Weights { packed, offset, .. } = weights;
        let job = winograd::Job { shape, weights: packed, offset, input, rows, epilogue: &epilogue };
        // SAFETY: aarch64 has NEON, `conv8::run` has checked that the output has what the shape says, and the weights were packed for it.
        unsafe { job.run::<Neon>(&mut output, scratch) };
        return;
    }
    let steps = Steps::new(shape);
    // Blocks of outputs outside: the weights of one are unpacked once, and stay in a near cache for all rows.
    let lines = block_lines(shape);
    for (block, offset) in weights.offset.as_chunks().0.iter().enumerate() {
        let own = weights.packed.get(block * lines..(block + 1) * lines, scratch);
        for (at, y) in rows.clone().enumerate() {
            let cells = &input[shape.input.origin + y * shape.stride[0] * shape.input.row..];
            // SAFETY: aarch64 has NEON, `conv8::run` has checked that input and output have what the shape says, and the weights were packed for it.
            unsafe {
                let (pixel, place) = (shape.output.pixel, at * shape.output.row);
                let finish = finish::Row::new(&epilogue, &mut output, shape.outputs, pixel, place, block * BLOCK);
                let (cells, own) = (cells.as_ptr(), own.as_ptr().cast());
                match finish {
                    finish::Row::Int8(finish) => row(weights.form, &steps, cells, own, offset, shape.width, finish),
                    finish::Row::Float(finish) => row(weights.form, &steps, cells, own, offset, shape.width, finish),
                    finish::Row::Sums(finish) => row(weights.form, &steps, cells, own, offset, shape.width, finish),
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
            Form::Winograd => unreachable!("it goes by tiles"),
        }
    }
}
