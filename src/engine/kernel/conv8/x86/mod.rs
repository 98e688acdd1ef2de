//! For x86: tiles of some pixels of a row by 32 outputs, whose sums stay in registers over the whole kernel.
//!
//! Cells are unsigned bytes here, q + 128, so the sums come out by 128 · Σ w too large; the packed offsets make up for it.

mod avx2;
mod avx512;
mod few;
mod finish;
mod transformed;

use super::super::Isa;
use super::super::tile::{BLOCK, HALF, Places, TILED, Tiled, even};
use super::super::walk::Walk;
use super::kept::{Kept, Line};
use super::{Epilogue, Output, Shape, winograd};
use finish::{End, Finish, Stored};
use std::ops::Range;
use transformed::Avx2;

/// Outputs that waste most of 16 lanes.
const FEW: usize = 4;

/// What an instruction set has to bring.
struct Kernels {
    /// For blocks of more than 16 outputs, of at most 16, and of at most 4.
    wide: Form,
    narrow: Form,
    few: Option<Form>,
}

/// How the sums of a block are computed.
struct Form {
    /// By pixels, from one pixel on. They need the instructions.
    tiles: &'static [Tile],
    /// Input channels of a step: the depth is a multiple.
    cells: usize,
    /// Weights of a step.
    lines: usize,
    /// Pixels whose sums share sixteen lanes when they are rounded.
    sharing: usize,
    /// Appends the weights of a step, which it gets by output and by input channel.
    arrange: fn(&dyn Fn(usize, usize) -> i8, &mut Vec<Line>),
}

impl Kernels {
    fn of(isa: Isa) -> &'static Kernels {
        if isa == Isa::Avx2 { &avx2::KERNELS } else { &avx512::KERNELS }
    }

    /// For a block of so many outputs.
    fn form(&self, depth: usize, outputs: usize) -> &Form {
        match &self.few {
            Some(few) if outputs <= FEW && depth.is_multiple_of(few.cells) => few,
            _ if outputs <= HALF => &self.narrow,
            _ => &self.wide,
        }
    }
}

/// Ends with the sums of `offset` and what the walk adds to it, from the cell under the first tap of the first pixel on. Panics if there are
/// not as many weights and cells as the walk visits, or the end has no room.
type Tile = unsafe fn(walk: &Walk, weights: &[Line], offset: &[i32; BLOCK], cells: &[u8], end: End<'_>);

#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    Direct(Lines),
    Winograd(Transformed),
}

/// Weights and offsets for tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    kept: Kept,
    /// Of whole blocks.
    offset: Vec<[i32; BLOCK]>,
    /// Elements of scratch memory that a block needs.
    scratch: usize,
}

/// Weights that are transformed when they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    packed: Kept,
    /// Of whole blocks.
    offset: Vec<i32>,
    scratch: usize,
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
        assert!(Isa::available().contains(&isa), "no {isa} on this machine");
        if isa == Isa::Avx2 && winograd::fits(shape, rows, weights) {
            let packed = winograd::pack::<Avx2>(shape, real, weights, factors);
            let mut padded = offset.to_vec();
            padded.resize(shape.outputs.next_multiple_of(<Avx2 as winograd::Kernel>::BLOCK), 0);
            let scratch = winograd::scratch::<Avx2>(shape, rows, &packed);
            return Weights::Winograd(Transformed { packed, offset: padded, scratch });
        }
        Weights::Direct(Lines::pack(isa, shape, real, weights, factors, offset))
    }

    /// Elements of scratch memory that [`run`] needs.
    pub fn scratch(&self) -> usize {
        match self {
            Weights::Direct(weights) => weights.scratch,
            Weights::Winograd(weights) => weights.scratch,
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Weights::Direct(Lines { kept, offset, .. }) => kept.bytes() + size_of_val(&offset[..]),
            Weights::Winograd(Transformed { packed, offset, .. }) => packed.bytes() + size_of_val(&offset[..]),
        }
    }
}

impl Lines {
    fn pack(isa: Isa, shape: &Shape, real: usize, weights: &[i8], factors: Option<&[i8]>, offset: &[i32]) -> Self {
        let kernels = Kernels::of(isa);
        let taps = shape.taps[0] * shape.taps[1];
        let arranged = |of: &[i8]| {
            let weight = |o: usize, tap: usize, c: usize| {
                if o < shape.outputs && c < real { of[(o * taps + tap) * real + c] } else { 0 }
            };
            let mut lines = Vec::new();
            for first in (0..shape.outputs).step_by(BLOCK) {
                let form = kernels.form(shape.depth, (shape.outputs - first).min(BLOCK));
                for tap in 0..taps {
                    for c in (0..shape.depth).step_by(form.cells) {
                        (form.arrange)(&|output, cell| weight(first + output, tap, c + cell), &mut lines);
                    }
                }
            }
            lines
        };
        let mut blocks = vec![[0i32; BLOCK]; shape.outputs.div_ceil(BLOCK)];
        for (o, &offset) in offset.iter().enumerate() {
            let sum: i32 = weights[o * taps * real..][..taps * real].iter().map(|&w| i32::from(w)).sum();
            blocks[o / BLOCK][o % BLOCK] = offset.wrapping_sub(sum.wrapping_mul(128));
        }
        // The lines of AVX2 hold 16 bits a weight.
        let kept = Kept::new(arranged(weights), factors.filter(|_| isa == Isa::Avx512Vnni).map(arranged));
        let walk = Walk::new(shape);
        let largest = (0..blocks.len()).map(|block| lines_of(kernels, shape, &walk, block)).max().unwrap_or(0);
        Lines { scratch: kept.room(largest), kept, offset: blocks }
    }
}

/// Of a block of outputs.
fn lines_of(kernels: &Kernels, shape: &Shape, walk: &Walk, block: usize) -> usize {
    let form = kernels.form(shape.depth, (shape.outputs - block * BLOCK).min(BLOCK));
    walk.cells() / form.cells * form.lines
}

#[expect(clippy::too_many_arguments)]
pub fn run(
    isa: Isa,
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
    scratch: &mut [i32],
) {
    match weights {
        Weights::Direct(lines) => by_tiles(isa, shape, lines, input, rows, epilogue, output, scratch),
        Weights::Winograd(Transformed { packed, offset, .. }) => {
            let job = winograd::Job { shape, weights: packed, offset, input, rows, epilogue: &epilogue };
            // SAFETY: packing checked that this machine has AVX2, and `conv8::run` that the output has what the shape says.
            unsafe { job.run::<Avx2>(&mut output, scratch) };
        }
    }
}

#[expect(clippy::too_many_arguments)]
fn by_tiles(
    isa: Isa,
    shape: &Shape,
    weights: &Lines,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
    scratch: &mut [i32],
) {
    let kernels = Kernels::of(isa);
    let walk = Walk::new(shape);
    let mut sums = Tiled([[0; HALF]; TILED]);
    let mut line = 0;
    for (block, offset) in weights.offset.iter().enumerate() {
        let first = block * BLOCK;
        let outputs = (shape.outputs - first).min(BLOCK);
        let halves = outputs.div_ceil(HALF);
        let form = kernels.form(shape.depth, outputs);
        let finish = Finish::new(&epilogue, first, outputs, form.sharing);
        let widest = even(shape.width, form.tiles.len());
        let end = line + lines_of(kernels, shape, &walk, block);
        let own = weights.kept.get(line..end, scratch);
        line = end;
        for y in rows.clone() {
            let row = &input[shape.input.origin + y * shape.stride[0] * shape.input.row..];
            for x in (0..shape.width).step_by(widest) {
                let pixels = widest.min(shape.width - x);
                let tile = form.tiles[pixels - 1];
                let cells = &row[x * walk.pixel..];
                let places = Places { pixels, outputs, halves, pixel: shape.output.pixel };
                let to = (y - rows.start) * shape.output.row + x * shape.output.pixel + first;
                match (&mut output, &finish) {
                    (Output::Int8(stored), Finish::Int8(rounding)) => {
                        let end = End::Cells(Stored { rounding, places, cells: &mut stored[to..] });
                        // SAFETY: packing checked that this machine has `isa`.
                        unsafe { tile(&walk, own, offset, cells, end) };
                    }
                    (Output::Float(reals), Finish::Float(scale, bias)) => {
                        // SAFETY: as above.
                        unsafe { tile(&walk, own, offset, cells, End::Sums(&mut sums)) };
                        finish::float(&sums, scale, bias, places, &mut reals[to..]);
                    }
                    (Output::Sums(whole), Finish::Sums) => {
                        // SAFETY: as above.
                        unsafe { tile(&walk, own, offset, cells, End::Sums(&mut sums)) };
                        places.put(&sums, &mut whole[to..]);
                    }
                    _ => unreachable!("checked by the caller"),
                }
            }
        }
    }
}
