//! For x86: the cells of four taps of a row are interleaved, so that a lane holds four products of one channel.
//!
//! Interleaving and packing both work on 128 bits at a time: of 64 (or 32) channels, register r of four holds the channels 4r..4r + 4 of
//! every 16, which [`channel`] says, and packing the four registers brings the channels back into their order.
//! Cells are unsigned bytes here, q + 128, so the sums come out by 128 · Σ w too large; the packed offsets make up for it.

mod avx2;
mod avx512;

use super::super::{Isa, store};
use super::{Epilogue, Output, Shape};
use std::ops::Range;

/// Channels of the largest block.
const BLOCK: usize = 64;

/// Sums, offsets or factors of a block's channels, register by register.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Lanes<T>([T; BLOCK]);

/// What an instruction set has to bring. The functions need its instructions.
struct Kernels {
    /// Channels of a block.
    block: usize,
    sum: Sum,
    int8: Int8,
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

fn kernels(isa: Isa) -> &'static Kernels {
    if isa == Isa::Avx2 { &avx2::KERNELS } else { &avx512::KERNELS }
}

#[derive(Debug, Clone, Copy)]
struct Taps {
    count: [usize; 2],
    /// From a tap to the next, in cells.
    step: [usize; 2],
}

impl Taps {
    /// Fours of taps.
    fn fours(&self) -> usize {
        self.count[0] * self.count[1].div_ceil(4)
    }

    /// Cells from the first tap's first to behind the last tap's `block`.
    fn reach(&self, block: usize) -> usize {
        (self.count[0] - 1) * self.step[0] + (self.count[1] - 1) * self.step[1] + block
    }

    /// Where the taps `kx` to `kx + 4` of a row lie; those behind the last one have no weight, and lie where it lies.
    #[inline(always)]
    fn four(&self, ky: usize, kx: usize) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| ky * self.step[0] + (kx + at).min(self.count[1] - 1) * self.step[1])
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

/// The channel, in a block, of a position in `Lanes`.
fn channel(block: usize, at: usize) -> usize {
    let (register, lane) = (at / (block / 4), at % (block / 4));
    lane / 4 * 16 + register * 4 + lane % 4
}

/// Positions without a channel get the default.
fn lanes<T: Copy + Default>(block: usize, of: &[T]) -> Lanes<T> {
    Lanes(std::array::from_fn(|at| {
        if at < block { of.get(channel(block, at)).copied().unwrap_or_default() } else { T::default() }
    }))
}

#[derive(Debug, Clone)]
pub struct Weights {
    /// By block, ky, four of kx, position, tap.
    weights: Vec<i8>,
    offset: Vec<Lanes<i32>>,
}

impl Weights {
    pub fn pack(isa: Isa, shape: &Shape, weights: &[i8], offset: &[i32]) -> Self {
        assert!(Isa::available().contains(&isa), "no {isa} on this machine");
        let block = kernels(isa).block;
        let mut packed = Vec::new();
        let mut lanes_of = Vec::new();
        for first in (0..shape.outputs).step_by(block) {
            let channels = (shape.outputs - first).min(block);
            let weight = |ky: usize, kx: usize, at: usize| {
                let c = channel(block, at);
                let tap = ky * shape.taps[1] + kx;
                if kx < shape.taps[1] && c < channels { weights[tap * shape.outputs + first + c] } else { 0 }
            };
            for ky in 0..shape.taps[0] {
                for kx in (0..shape.taps[1]).step_by(4) {
                    packed.extend((0..block * 4).map(|at| weight(ky, kx + at % 4, at / 4)));
                }
            }
            let sum = |c: usize| weights[c..].iter().step_by(shape.outputs).map(|&w| i32::from(w)).sum::<i32>();
            let offset: Vec<i32> =
                (first..first + channels).map(|c| offset[c].wrapping_sub(sum(c).wrapping_mul(128))).collect();
            lanes_of.push(lanes(block, &offset));
        }
        Weights { weights: packed, offset: lanes_of }
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
    let kernels = kernels(isa);
    let taps = Taps { count: shape.taps, step: shape.tap_step() };
    let mut sums = Lanes([0; BLOCK]);
    let blocks = weights.weights.chunks_exact(taps.fours() * kernels.block * 4);
    for (block, (own, offset)) in blocks.zip(&weights.offset).enumerate() {
        let first = block * kernels.block;
        let channels = (shape.outputs - first).min(kernels.block);
        let finish = Finish::new(&epilogue, kernels.block, first, channels);
        let row = Row {
            width: shape.width,
            channels,
            input: shape.stride[1] * shape.input.pixel,
            output: shape.output.pixel,
        };
        for y in rows.clone() {
            let cells = &input[shape.input.origin + y * shape.stride[0] * shape.input.row + first..];
            let to = (y - rows.start) * shape.output.row + first;
            match (&mut output, &finish) {
                (Output::Int8(stored), Finish::Int8(rounding)) => {
                    // SAFETY: packing checked that this machine has `isa`.
                    unsafe { (kernels.int8)(&taps, own, offset, rounding, row, cells, &mut stored[to..]) };
                }
                (Output::Float(reals), Finish::Float(scale, bias)) => {
                    for x in 0..shape.width {
                        // SAFETY: as above.
                        unsafe { (kernels.sum)(&taps, own, offset, &cells[x * row.input..], &mut sums) };
                        let reals = &mut reals[to + x * row.output..][..channels];
                        for at in 0..kernels.block {
                            if let Some(real) = reals.get_mut(channel(kernels.block, at)) {
                                *real = sums.0[at] as f32 * scale.0[at] + bias.0[at];
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
}

impl Finish {
    fn new(epilogue: &Epilogue<'_>, block: usize, first: usize, channels: usize) -> Self {
        let own = |of: &[f32]| lanes(block, &of[first..][..channels]);
        match *epilogue {
            Epilogue::Int8 { scale, zero_point, low, high } => Finish::Int8(Rounding {
                scale: own(scale),
                high: (high - zero_point) as f32,
                zero_point: (zero_point + 128) as i16,
                low: store(low),
            }),
            Epilogue::Float { scale, bias } => Finish::Float(own(scale), own(bias)),
        }
    }
}
