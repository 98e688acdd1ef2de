//! For aarch64: tiles of some pixels of a row by eight outputs (four for the last ones), whose sums stay in registers over the whole kernel.
//! Of each pixel four channels are read at once, and FMLA picks one of them.
//!
//! A tile that would pass the end of a row starts earlier and computes some pixels again, so nothing is left over but rows of fewer than
//! four pixels.

use super::super::neon::{BLOCK, write};
use super::super::stored::Stored;
use super::super::walk::Walk;
use super::{Bounds, Shape};
use std::arch::aarch64::*;
use std::array::from_fn;
use std::ops::Range;

/// Channels of a register.
const LANES: usize = 4;

/// Pixels for which a block's weights are widened once, if they are kept in 16 bits: widening is little beside that.
const WIDENED: usize = 128;

/// Pixels of a wide tile and of a narrow one.
const WIDE: usize = 8;
const NARROW: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// By block, ky, kx, input channel, output; of the last block four outputs, if there are no more.
    weights: Stored<f32>,
    /// Weights of the first block: no other has more.
    block: usize,
    /// By block; zeros behind the last output.
    bias: Vec<[f32; BLOCK]>,
}

impl Weights {
    pub fn pack(shape: &Shape, weights: &[f32], bias: &[f32]) -> Self {
        let full = shape.taps[0] * shape.taps[1] * shape.depth;
        let (mut packed, mut biases) = (Vec::new(), Vec::new());
        for first in (0..shape.outputs).step_by(BLOCK) {
            let outputs = (shape.outputs - first).min(BLOCK);
            let or_zero = |o: usize, of: &dyn Fn(usize) -> f32| if o < outputs { of(first + o) } else { 0.0 };
            for at in 0..full {
                let lanes = 0..outputs.next_multiple_of(LANES);
                packed.extend(lanes.map(|o| or_zero(o, &|o| weights[o * full + at])));
            }
            biases.push(from_fn(|o| or_zero(o, &|o| bias[o])));
        }
        let block = full * shape.outputs.next_multiple_of(LANES).min(BLOCK);
        Weights { weights: Stored::Full(packed), block, bias: biases }
    }

    pub fn halved(self) -> Self {
        Weights { weights: self.weights.halved(), ..self }
    }

    pub fn room(&self) -> usize {
        self.weights.room(self.block)
    }

    pub fn bytes(&self) -> usize {
        self.weights.bytes() + size_of_val(&self.bias[..])
    }
}

pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[f32],
    rows: Range<usize>,
    bounds: Bounds,
    output: &mut [f32],
    room: &mut [f32],
) {
    let walk = Walk::new(shape);
    let each = if room.is_empty() { 1 } else { WIDENED.div_ceil(shape.width) };
    // Blocks of outputs inside: the cells of some rows stay in the caches for all of them.
    for some in rows.clone().step_by(each) {
        for (block, bias) in weights.bias.iter().enumerate() {
            let (first, from) = (block * BLOCK, block * weights.block);
            let own = weights.weights.get(from..(from + weights.block).min(weights.weights.len()), room);
            for y in some..(some + each).min(rows.end) {
                let row = Row {
                    walk: &walk,
                    weights: own,
                    bias,
                    cells: &input[shape.input.origin + y * shape.stride[0] * shape.input.row..],
                    width: shape.width,
                    bounds,
                    outputs: (shape.outputs - first).min(BLOCK),
                    pixel: shape.output.pixel,
                };
                let to = &mut output[(y - rows.start) * shape.output.row + first..];
                // SAFETY: aarch64 has NEON.
                unsafe {
                    if row.outputs > LANES {
                        row.run::<2>(to);
                    } else {
                        row.run::<1>(to);
                    }
                }
            }
        }
    }
}

/// One block of outputs in one row.
struct Row<'a> {
    walk: &'a Walk,
    weights: &'a [f32],
    bias: &'a [f32; BLOCK],
    cells: &'a [f32],
    width: usize,
    bounds: Bounds,
    outputs: usize,
    /// From a pixel to the next in the output.
    pixel: usize,
}

/// The sums of a tile, in `V` registers for each pixel.
type Sums<const P: usize, const V: usize> = [[float32x4_t; V]; P];

impl Row<'_> {
    #[target_feature(enable = "neon")]
    fn run<const V: usize>(&self, output: &mut [f32]) {
        let mut x = 0;
        while x < self.width {
            if self.width >= WIDE && self.width - x > NARROW {
                self.tile::<WIDE, V>(x.min(self.width - WIDE), output);
                x += WIDE;
            } else if self.width >= NARROW {
                self.tile::<NARROW, V>(x.min(self.width - NARROW), output);
                x += NARROW;
            } else {
                self.tile::<1, V>(x, output);
                x += 1;
            }
        }
    }

    /// # Panics
    /// If cells, weights or output end before what the tile takes of them.
    #[target_feature(enable = "neon")]
    fn tile<const P: usize, const V: usize>(&self, x: usize, output: &mut [f32]) {
        let walk = self.walk;
        let (cells, to) = (&self.cells[x * walk.pixel..], &mut output[x * self.pixel..]);
        assert!(cells.len() >= walk.reach(P) + LANES && self.weights.len() == walk.cells() * V * LANES);
        assert!(to.len() >= (P - 1) * self.pixel + self.outputs && self.outputs <= V * LANES);
        // SAFETY: a block has eight biases, and `V` is at most 2.
        let mut sums = [from_fn(|v| unsafe { vld1q_f32(self.bias.as_ptr().add(v * LANES)) }); P];
        let mut weights = self.weights.as_ptr();
        for ky in 0..walk.count[0] {
            for kx in 0..walk.count[1] {
                // SAFETY: the walk ends within the cells, and takes each weight once.
                unsafe {
                    let from = cells.as_ptr().add(ky * walk.step[0] + kx * walk.step[1]);
                    weights = add_run::<P, V>(&mut sums, walk, from, weights);
                }
            }
        }
        let mut to = to.as_mut_ptr();
        for sums in sums {
            // SAFETY: each pixel has room for as many outputs.
            unsafe { put(to, sums.map(|sum| bounded(sum, self.bounds)), self.outputs) };
            to = to.wrapping_add(self.pixel);
        }
    }
}

/// Adds what a run gives; returns where the next one's weights are.
///
/// # Safety
/// Each of `P` pixels has a run there and three more cells, and there are as many weights.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_run<const P: usize, const V: usize>(
    sums: &mut Sums<P, V>,
    walk: &Walk,
    mut from: *const f32,
    mut weights: *const f32,
) -> *const f32 {
    for _ in 0..walk.run / LANES {
        // SAFETY: the caller's promise.
        unsafe {
            let cells = from_fn(|p| vld1q_f32(from.add(p * walk.pixel)));
            weights = add_channel::<0, P, V>(sums, &cells, weights);
            weights = add_channel::<1, P, V>(sums, &cells, weights);
            weights = add_channel::<2, P, V>(sums, &cells, weights);
            weights = add_channel::<3, P, V>(sums, &cells, weights);
            from = from.add(LANES);
        }
    }
    let rest = walk.run % LANES;
    if rest > 0 {
        // SAFETY: as above. Lanes from `rest` on may hold anything, and nothing takes them.
        unsafe {
            let cells = from_fn(|p| vld1q_f32(from.add(p * walk.pixel)));
            weights = add_channel::<0, P, V>(sums, &cells, weights);
            if rest > 1 {
                weights = add_channel::<1, P, V>(sums, &cells, weights);
            }
            if rest > 2 {
                weights = add_channel::<2, P, V>(sums, &cells, weights);
            }
        }
    }
    weights
}

/// Adds what the channel in lane `L` gives; returns where the next one's weights are.
///
/// # Safety
/// There are weights for `V` registers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_channel<const L: i32, const P: usize, const V: usize>(
    sums: &mut Sums<P, V>,
    cells: &[float32x4_t; P],
    weights: *const f32,
) -> *const f32 {
    for v in 0..V {
        // SAFETY: the caller's promise.
        let weights = unsafe { vld1q_f32(weights.add(v * LANES)) };
        for (sums, &cells) in sums.iter_mut().zip(cells) {
            sums[v] = vfmaq_laneq_f32::<L>(sums[v], weights, cells);
        }
    }
    weights.wrapping_add(V * LANES)
}

/// Not FMAX and FMIN: they order the zeros, and let a NaN through.
#[inline]
#[target_feature(enable = "neon")]
fn bounded(sum: float32x4_t, bounds: Bounds) -> float32x4_t {
    let (low, high) = (vdupq_n_f32(bounds.low), vdupq_n_f32(bounds.high));
    let sum = vbslq_f32(vcgtq_f32(sum, low), sum, low);
    vbslq_f32(vcltq_f32(sum, high), sum, high)
}

/// # Safety
/// `to` may be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn put<const V: usize>(to: *mut f32, sums: [float32x4_t; V], outputs: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if outputs == V * LANES {
            for (v, sum) in sums.into_iter().enumerate() {
                vst1q_f32(to.add(v * LANES), sum);
            }
        } else {
            write::floats(to, [sums[0], sums[V - 1]], outputs);
        }
    }
}
