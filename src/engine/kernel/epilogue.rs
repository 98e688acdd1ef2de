//! What becomes of the sums of int8 products.

use super::store;

#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// q = clamp(round(acc · scale[o]) + zero_point, low, high), rounded half to even; computed as
    /// round(min(max(acc · scale[o], low − zero_point), high − zero_point)) + zero_point.
    Int8 { scale: &'a [f32], zero_point: i32, low: i32, high: i32 },
    /// acc · scale[o] + bias[o], rounded twice.
    Float { scale: &'a [f32], bias: &'a [f32] },
    /// acc.
    Sums,
}

/// The output's cells from the first one of row `rows.start` on: the view's origin and the rows before are cut off.
#[derive(Debug)]
pub enum Output<'a> {
    Int8(&'a mut [u8]),
    Float(&'a mut [f32]),
    Sums(&'a mut [i32]),
}

impl Output<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Output::Int8(cells) => cells.len(),
            Output::Float(cells) => cells.len(),
            Output::Sums(cells) => cells.len(),
        }
    }
}

impl Epilogue<'_> {
    /// # Panics
    /// If there are not as many factors as outputs, or `output` is not of the epilogue's type.
    pub(super) fn check(&self, outputs: usize, output: &Output<'_>) {
        match (self, output) {
            (Epilogue::Int8 { scale, .. }, Output::Int8(_)) => assert!(scale.len() == outputs),
            (Epilogue::Float { scale, bias }, Output::Float(_)) => {
                assert!(scale.len() == outputs && bias.len() == outputs);
            }
            (Epilogue::Sums, Output::Sums(_)) => {}
            _ => panic!("an epilogue and an output of two types"),
        }
    }

    /// The definition: sets a cell to what becomes of the sum of output channel `o`.
    pub(super) fn put(&self, acc: i32, o: usize, output: &mut Output<'_>, at: usize) {
        match (self, output) {
            (Epilogue::Int8 { scale, zero_point, low, high }, Output::Int8(cells)) => {
                let real = acc as f32 * scale[o];
                let real = real.max((low - zero_point) as f32).min((high - zero_point) as f32);
                cells[at] = store(real.round_ties_even() as i32 + zero_point);
            }
            (Epilogue::Float { scale, bias }, Output::Float(cells)) => cells[at] = acc as f32 * scale[o] + bias[o],
            (Epilogue::Sums, Output::Sums(cells)) => cells[at] = acc,
            _ => unreachable!("checked before"),
        }
    }
}
