//! Steps of pooling.

use super::arena::Rest;
use super::slot::{Element, SlotId};
use super::step::{CELL, Layout};
use crate::engine::kernel::pool::{self, Shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Largest,
    /// Of floats; over all taps if `whole`.
    Mean {
        whole: bool,
    },
}

/// Input and output hold the same type of cells.
#[derive(Debug)]
pub struct Pool {
    pub kind: Kind,
    pub input: SlotId,
    pub output: SlotId,
    /// Of the output.
    pub rows: usize,
    pub shape: Shape,
}

impl Pool {
    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let Shape { taps, channels, width, output, .. } = self.shape;
        let work = CELL / 8 * taps[0] * taps[1] * channels * width;
        let size = (self.rows, output.row);
        if layout.image(self.input).element == Element::Int8 {
            let cells = layout.bytes(rest, self.input);
            layout.rows(size, work, (own, output.origin), &mut [], |rows, own, _| {
                pool::largest8(&self.shape, cells, rows, own);
            });
            return;
        }
        let cells = layout.floats(rest, self.input);
        let own: &mut [f32] = bytemuck::cast_slice_mut(own);
        layout.rows(size, work, (own, output.origin), &mut [], |rows, own, _| match self.kind {
            Kind::Largest => pool::largest32(&self.shape, cells, rows, own),
            Kind::Mean { whole } => pool::mean(&self.shape, whole, cells, rows, own),
        });
    }
}
