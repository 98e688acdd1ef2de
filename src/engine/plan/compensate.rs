//! Sums of int8 products that lack something for zero points: see the [kernel](compensate).

use super::arena::Rest;
use super::slot::{Computed, SlotId};
use super::step::{CELL, ConvEnd, Layout};
use crate::engine::kernel::compensate::{self, Lack, Shape};
use crate::engine::kernel::load;

#[derive(Debug)]
pub struct Compensate {
    pub shape: Shape,
    pub rows: usize,
    pub sums: SlotId,
    /// Zero points of the weights; empty where they lack nothing.
    pub weights_zero: Vec<i32>,
    /// Of the cells, where it is known when the plan runs, and what it is multiplied by.
    pub zero_point: Option<(Computed, Vec<i32>)>,
    pub end: ConvEnd,
    pub output: SlotId,
}

impl Compensate {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.weights_zero[..])
            + self.zero_point.iter().map(|(_, total)| size_of_val(&total[..])).sum::<usize>()
    }

    pub(super) fn reads(&self, read: &mut dyn FnMut(SlotId)) {
        read(self.sums);
        self.zero_point.iter().for_each(|(cell, _)| read(cell.slot));
    }

    pub(super) fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let sums: &[i32] = bytemuck::cast_slice(layout.bytes(rest, self.sums));
        let (zero_point, total) = match &self.zero_point {
            Some((cell, total)) => (load(layout.computed(rest, *cell)), &total[..]),
            None => (0, &[][..]),
        };
        let (shape, lack) = (&self.shape, Lack { weights_zero: &self.weights_zero, zero_point, total });
        let work = CELL / 4 * shape.outputs * shape.width;
        let (size, own) = ((self.rows, shape.output.row), (own, shape.output.origin));
        self.end.rows(layout, size, work, own, &mut [], |rows, epilogue, output, _| {
            compensate::run(layout.isa, shape, sums, rows, lack, epilogue, output);
        });
    }
}
