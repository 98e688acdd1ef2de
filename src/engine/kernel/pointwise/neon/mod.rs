//! NEON: four channels in a vector, strips of 16 channels along the pixels of a row, the last one narrower.

mod activation;
mod strip;
mod table;

use super::{Activation, Cells, Shape, Target, Term};
use activation::{Exponential, clip};
use std::arch::aarch64::*;
use std::ops::Range;
use strip::Strip;
use table::Table;

/// Channels of a strip.
const STRIP: usize = 16;

/// The values of a strip's channels in a pixel.
type Values = [float32x4_t; 4];

pub fn run(
    shape: &Shape,
    terms: &[Term<'_>],
    bias: &[f32],
    activation: Activation,
    rows: Range<usize>,
    mut target: Target<'_>,
) {
    let job = Job { shape, terms, bias, rows };
    // An inner loop of its own for each activation: it keeps the constants in registers.
    // SAFETY: every 64-bit ARM has NEON; the slices' lengths were checked.
    unsafe {
        match activation {
            Activation::Linear => job.run(0, |values| values, &mut target),
            Activation::Clip { low, high } => {
                let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
                job.run(0, |values| values.map(|value| clip(value, low, high)), &mut target);
            }
            Activation::Silu => {
                let exponential = Exponential::new();
                let silu = |values| exponential.silu(values);
                let done = job.look_up(silu, &mut target);
                job.run(done, silu, &mut target);
            }
            Activation::Sigmoid => {
                let exponential = Exponential::new();
                let sigmoid = |values| exponential.sigmoid(values);
                let done = job.look_up(sigmoid, &mut target);
                job.run(done, sigmoid, &mut target);
            }
        }
    }
}

/// What is to be computed.
struct Job<'a> {
    shape: &'a Shape,
    terms: &'a [Term<'a>],
    bias: &'a [f32],
    rows: Range<usize>,
}

impl Job<'_> {
    /// The channels from `first` on.
    ///
    /// # Safety
    /// The terms' cells reach to `SLACK` behind the last pixel of the rows, the target's to the last channel of what becomes of it.
    #[target_feature(enable = "neon")]
    unsafe fn run(&self, first: usize, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) {
        for y in self.rows.clone() {
            for c in (first..self.shape.channels).step_by(STRIP) {
                let strip = Strip { shape: self.shape, terms: self.terms, bias: self.bias, c };
                // SAFETY: the caller's contract.
                unsafe { strip.row(y, y - self.rows.start, &activate, target) };
            }
        }
    }

    /// Computes whole strips by tables, where these pay, and returns how many channels they are.
    ///
    /// # Safety
    /// As of [`Job::run`].
    #[target_feature(enable = "neon")]
    unsafe fn look_up(&self, activate: impl Fn(Values) -> Values, target: &mut Target<'_>) -> usize {
        let &[Term { cells: Cells::Int8(cells), ref view, factor }] = self.terms else { return 0 };
        let &mut Target::Int8 { cells: ref mut to, per_unit, zero_point, low, high } = target else { return 0 };
        if !table::pays(self.rows.len() * self.shape.width) {
            return 0;
        }
        let whole = self.shape.channels / STRIP * STRIP;
        for c in (0..whole).step_by(STRIP) {
            let mut table = Table::new();
            for (channel, cells) in table.channels().enumerate() {
                let affine = (factor[c + channel], self.bias[c + channel]);
                table::fill(affine, &activate, Target::Int8 { cells, per_unit, zero_point, low, high });
            }
            for y in self.rows.clone() {
                let from = &cells[view.origin + y * view.row + c..];
                let to = &mut to[self.shape.place(y - self.rows.start, 0) + c..];
                // SAFETY: the caller's contract.
                unsafe { table.row(self.shape, from, view.pixel, to) };
            }
        }
        whole
    }
}
