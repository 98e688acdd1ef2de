//! A stored cell has 256 values: where an image has many more pixels, what becomes of each value is computed once for each channel and then
//! looked up, which takes half of the instructions of an exponential and a division, and a third of the cycles.

use super::super::super::{View, load};
use super::super::{Shape, Target};
use super::strip::Strip;
use super::{STRIP, Values};
use std::arch::aarch64::*;
use std::array::from_fn;
use std::hint::black_box;

/// Values of a stored cell.
const CELLS: usize = 256;

/// Channels whose cells are read at once.
const HALF: usize = STRIP / 2;

/// Whether a table is worth its making for so many pixels.
pub fn pays(pixels: usize) -> bool {
    pixels >= 512
}

/// What becomes of each stored cell of a strip's channels.
pub struct Table([[u8; CELLS]; STRIP]);

impl Table {
    pub fn new() -> Self {
        Table([[0; CELLS]; STRIP])
    }

    /// What is to be [filled](fill).
    pub fn channels(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.0.iter_mut().map(|cells| &mut cells[..])
    }

    /// Looks up the pixels of a row, which lie `pixel` cells apart in `from`; `to` starts at the first one's place.
    ///
    /// # Safety
    /// The strip's channels of these pixels can be read, and those of what becomes of them written.
    #[inline]
    pub unsafe fn row(&self, shape: &Shape, from: &[u8], pixel: usize, to: &mut [u8]) {
        // Seen through, each look-up would add the table's address to the channel's.
        let channels: [*const u8; STRIP] = from_fn(|c| black_box(self.0[c].as_ptr()));
        for x in 0..shape.width {
            let place = shape.place(0, x);
            for (half, channels) in channels.as_chunks::<HALF>().0.iter().enumerate() {
                // SAFETY: the caller's contract; a table has a byte for each cell.
                unsafe {
                    let cells = from.as_ptr().add(x * pixel + half * HALF).cast::<u64>().read_unaligned();
                    let mut found = 0;
                    for (c, channel) in channels.iter().enumerate() {
                        found |= u64::from(*channel.add((cells >> (8 * c)) as usize % CELLS)) << (8 * c);
                    }
                    let mut store = |at| to.as_mut_ptr().add(at + half * HALF).cast::<u64>().write_unaligned(found);
                    store(place);
                    for step in shape.others() {
                        store(place + step);
                    }
                }
            }
        }
    }
}

/// Fills the target, which holds a byte for each stored cell, with what becomes of factor · cell + bias.
#[inline]
#[target_feature(enable = "neon")]
pub fn fill((factor, bias): (f32, f32), activate: impl Fn(Values) -> Values, mut target: Target<'_>) {
    // Sixteen cells as if they were the channels of a pixel.
    let shape =
        Shape { channels: STRIP, width: CELLS / STRIP, up: 0, output: View { origin: 0, row: CELLS, pixel: STRIP } };
    let strip = Strip { shape: &shape, terms: &[], bias: &[], c: 0 };
    let (factor, bias) = (vdupq_n_f32(factor), vdupq_n_f32(bias));
    let steps: Values = from_fn(|v| {
        let lanes: [f32; 4] = from_fn(|lane| (4 * v + lane) as f32);
        // SAFETY: four lanes.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    });
    let sum = |x: usize| {
        let first = vdupq_n_f32(load((x * STRIP) as u8) as f32);
        steps.map(|step| vfmaq_f32(bias, factor, vaddq_f32(first, step)))
    };
    // SAFETY: the target has a byte for each cell.
    unsafe { strip.pixels(0, sum, activate, &mut target) };
}
