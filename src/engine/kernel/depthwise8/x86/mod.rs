//! For x86: the cells of four rows of taps are interleaved, so that a lane holds products of one channel.
//!
//! Interleaving and packing both work on 128 bits at a time: of 64 (or 16) channels, register r of four (or two) holds the channels 4r..4r + 4
//! of every 16 (or 8), which [`Kernels::channel`] says, and packing the registers brings the channels back into their order.
//! Cells are unsigned bytes here, q + 128, so the sums come out by 128 · Σ w too large; the packed offsets make up for it.
//!
//! Where kernels of three or five columns lie close, the cells of a column are interleaved once for all pixels that it is under.

mod avx2;
mod avx512;

use super::super::{Isa, store};
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// Channels of the largest block.
const BLOCK: usize = 64;

/// Sums, offsets or factors of a block's channels, register by register.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Lanes<T>([T; BLOCK]);

/// What an instruction set has to bring. The functions but `arrange` need its instructions.
struct Kernels {
    /// Channels of a block.
    block: usize,
    /// That hold a block's sums.
    registers: usize,
    /// Appends the weights of four rows and a column, which it gets by row and by position.
    arrange: fn(&dyn Fn(usize, usize) -> i8, &mut Vec<i8>),
    sum: Sum,
    /// For all taps; for 3 x 3 and 5 x 5 without gaps between columns, with a stride of one and of two columns.
    int8: Int8,
    three: [Int8; 2],
    five: [Int8; 2],
}

impl Kernels {
    fn of(isa: Isa) -> &'static Kernels {
        if isa == Isa::Avx2 { &avx2::KERNELS } else { &avx512::KERNELS }
    }

    /// For pixels that are `step` cells apart in the input.
    fn int8(&self, taps: &Taps, step: usize) -> Int8 {
        let stride = [1, 2].into_iter().position(|stride| step == stride * taps.step[1]);
        match (taps.count, stride) {
            ([3, 3], Some(stride)) => self.three[stride],
            ([5, 5], Some(stride)) => self.five[stride],
            _ => self.int8,
        }
    }

    /// The channel, in a block, of a position in `Lanes`.
    fn channel(&self, at: usize) -> usize {
        let lanes = self.block / self.registers;
        let (register, lane) = (at / lanes, at % lanes);
        lane / 4 * 4 * self.registers + register * 4 + lane % 4
    }

    /// What `of` says of each channel of a block, and once more if it makes up half a block; zeros where it says nothing.
    fn lanes<T: Copy + Default>(&self, of: &[T], pixels: usize) -> Lanes<T> {
        let mut lanes = Lanes([T::default(); BLOCK]);
        let fours = self.block / self.registers / 4;
        for (register, own) in lanes.0.chunks_exact_mut(fours * 4).take(self.registers).enumerate() {
            for (four, to) in own.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let first = (four * self.registers + register) * 4;
                let first = if pixels > 1 && first >= of.len() { first - of.len() } else { first };
                match of.get(first..).unwrap_or_default() {
                    [a, b, c, d, ..] => *to = [*a, *b, *c, *d],
                    few => to[..few.len()].copy_from_slice(few),
                }
            }
        }
        lanes
    }
}

/// The sums of a pixel: `offset` and what the taps add to it, from the block's first cell under the first tap on. Panics if there are not as
/// many weights and cells as the taps ask for.
type Sum = unsafe fn(taps: &Taps, weights: &[i8], offset: &Lanes<i32>, cells: &[u8], sums: &mut Lanes<i32>);

/// The sums of `width` pixels, from `cells` on, rounded to `channels` stored cells each.
type Int8 = unsafe fn(
    taps: &Taps,
    weights: &[i8],
    offset: &Lanes<i32>,
    rounding: &Rounding,
    row: Row,
    cells: &[u8],
    stored: &mut [u8],
);

/// The pixels of a row, and how far from one to the next.
#[derive(Debug, Clone, Copy)]
struct Row {
    width: usize,
    /// Of the block.
    channels: usize,
    input: usize,
    output: usize,
}

#[derive(Debug, Clone, Copy)]
struct Taps {
    count: [usize; 2],
    /// From a tap to the next, in cells.
    step: [usize; 2],
}

impl Taps {
    /// Fours of rows, of all columns.
    fn steps(&self) -> usize {
        self.count[0].div_ceil(4) * self.count[1]
    }

    /// From the first row to the last one.
    fn down(&self) -> usize {
        (self.count[0] - 1) * self.step[0]
    }

    /// Cells from the first tap's first to behind the last tap's `block`.
    fn reach(&self, block: usize) -> usize {
        self.down() + (self.count[1] - 1) * self.step[1] + block
    }

    /// Where four rows lie; those behind the last one have no weight, and lie where it lies.
    #[inline(always)]
    fn rows(&self, four: usize) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| (four * 4 + at).min(self.count[0] - 1) * self.step[0])
    }

    /// [`Self::rows`] of `COUNT`, which lets the compiler see where two are one.
    #[inline(always)]
    fn rows_of<const COUNT: usize>(&self, four: usize) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| (four * 4 + at).min(COUNT - 1) * self.step[0])
    }
}

/// Of sums to cells. Cells are clamped from above as real numbers, which keeps the conversion from overflowing upwards, and from below as
/// bytes: what overflows downwards saturates.
struct Rounding {
    scale: Lanes<f32>,
    /// Before the zero point is added.
    high: f32,
    /// Zero point and flip.
    zero_point: i16,
    low: u8,
}

/// How many pixels that lie end to end make up a block: two, if they have half as many channels and nothing between them.
fn pixels_of_block(kernels: &Kernels, shape: &Shape) -> usize {
    let Shape { taps, stride, dilation, outputs, input, output, .. } = *shape;
    let dense = input.pixel == outputs && output.pixel == outputs && stride[1] == 1 && dilation[1] == 1;
    if dense && outputs * 2 == kernels.block && matches!(taps, [3, 3] | [5, 5]) { 2 } else { 1 }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// By block, four of rows, column, and as the kernels arrange them.
    weights: Vec<i8>,
    offset: Vec<Lanes<i32>>,
}

impl Weights {
    pub fn pack(isa: Isa, shape: &Shape, weights: &[i8], offset: &[i32]) -> Self {
        assert!(Isa::available().contains(&isa), "no {isa} on this machine");
        let kernels = Kernels::of(isa);
        let pixels = pixels_of_block(kernels, shape);
        let mut packed = Weights { weights: Vec::new(), offset: Vec::new() };
        for first in (0..shape.outputs).step_by(kernels.block) {
            let channels = (shape.outputs - first).min(kernels.block);
            let real = |at: usize| Some(at % channels).filter(|_| at < channels * pixels).map(|c| first + c);
            for four in (0..shape.taps[0]).step_by(4) {
                for column in 0..shape.taps[1] {
                    let weight = |row: usize, at: usize| match real(kernels.channel(at)) {
                        Some(c) if four + row < shape.taps[0] => {
                            weights[((four + row) * shape.taps[1] + column) * shape.outputs + c]
                        }
                        _ => 0,
                    };
                    (kernels.arrange)(&weight, &mut packed.weights);
                }
            }
            let sum = |c: usize| weights[c..].iter().step_by(shape.outputs).map(|&w| i32::from(w)).sum::<i32>();
            let start = |c: usize| offset[c].wrapping_sub(sum(c).wrapping_mul(128));
            packed.offset.push(kernels.lanes(&(first..first + channels).map(start).collect::<Vec<_>>(), pixels));
        }
        packed
    }

    pub fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&self.offset[..])
    }
}

pub fn run(
    isa: Isa,
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
) {
    let kernels = Kernels::of(isa);
    let taps = Taps { count: shape.taps, step: shape.tap_step() };
    let pixels = pixels_of_block(kernels, shape);
    let mut sums = Lanes([0; BLOCK]);
    let each = weights.weights.len() / weights.offset.len();
    for (block, (own, offset)) in weights.weights.chunks_exact(each).zip(&weights.offset).enumerate() {
        let first = block * kernels.block;
        let channels = (shape.outputs - first).min(kernels.block);
        let finish = Finish::new(&epilogue, kernels, first..first + channels, pixels);
        let step = shape.stride[1] * shape.input.pixel;
        let whole = Row {
            width: shape.width / pixels,
            channels: channels * pixels,
            input: step * pixels,
            output: shape.output.pixel * pixels,
        };
        let rest = Row { width: shape.width % pixels, channels, ..whole };
        let int8 = kernels.int8(&taps, whole.input);
        for y in rows.clone() {
            let cells = &input[shape.input.origin + y * shape.stride[0] * shape.input.row + first..];
            let to = (y - rows.start) * shape.output.row + first;
            match (&mut output, &finish) {
                (Output::Int8(stored), Finish::Int8(rounding)) => {
                    for (x, row) in [(0, whole), (whole.width, rest)].into_iter().filter(|(_, row)| row.width > 0) {
                        let (cells, stored) = (&cells[x * row.input..], &mut stored[to + x * row.output..]);
                        // SAFETY: packing checked that this machine has `isa`.
                        unsafe { int8(&taps, own, offset, rounding, row, cells, stored) };
                    }
                }
                (Output::Float(reals), Finish::Float(scale, bias)) => {
                    for x in 0..shape.width {
                        // SAFETY: as above.
                        unsafe { (kernels.sum)(&taps, own, offset, &cells[x * step..], &mut sums) };
                        let reals = &mut reals[to + x * shape.output.pixel..][..channels];
                        for at in 0..kernels.block {
                            if let Some(real) = reals.get_mut(kernels.channel(at)) {
                                *real = sums.0[at] as f32 * scale.0[at] + bias.0[at];
                            }
                        }
                    }
                }
                (Output::Sums(whole), Finish::Sums) => {
                    for x in 0..shape.width {
                        // SAFETY: as above.
                        unsafe { (kernels.sum)(&taps, own, offset, &cells[x * step..], &mut sums) };
                        let whole = &mut whole[to + x * shape.output.pixel..][..channels];
                        for at in 0..kernels.block {
                            if let Some(sum) = whole.get_mut(kernels.channel(at)) {
                                *sum = sums.0[at];
                            }
                        }
                    }
                }
                _ => unreachable!("checked by the caller"),
            }
        }
    }
}

/// An epilogue for the channels of a block.
enum Finish {
    Int8(Rounding),
    /// Factors and addends.
    Float(Lanes<f32>, Lanes<f32>),
    Sums,
}

impl Finish {
    /// For the channels `own` of each of so many pixels.
    fn new(epilogue: &Epilogue<'_>, kernels: &Kernels, own: Range<usize>, pixels: usize) -> Self {
        let own = |of: &[f32]| kernels.lanes(&of[own.clone()], pixels);
        match *epilogue {
            Epilogue::Int8 { scale, zero_point, low, high } => Finish::Int8(Rounding {
                scale: own(scale),
                high: (high - zero_point) as f32,
                zero_point: (zero_point + 128) as i16,
                low: store(low),
            }),
            Epilogue::Float { scale, bias } => Finish::Float(own(scale), own(bias)),
            Epilogue::Sums => Finish::Sums,
        }
    }
}
