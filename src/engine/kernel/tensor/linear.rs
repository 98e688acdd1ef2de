//! Quantization and dequantization between any types, with a scale for a whole tensor, an axis or a block: what images don't need. It is no
//! fast kernel.

use super::BLOCK;
use super::walk::{Block, Blocks, Strided, is_upright};
use bytemuck::Pod;
use half::f16;

/// Elements of some type.
#[derive(Debug, Clone, Copy)]
pub enum Elements<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    I8(&'a [i8]),
    U8(&'a [u8]),
    I16(&'a [i16]),
    U16(&'a [u16]),
    I32(&'a [i32]),
}

#[derive(Debug)]
pub enum Target<'a> {
    F32(&'a mut [f32]),
    F16(&'a mut [f16]),
    I8(&'a mut [i8]),
    U8(&'a mut [u8]),
    I16(&'a mut [i16]),
    U16(&'a mut [u16]),
    I32(&'a mut [i32]),
}

/// A tensor as it is read along a walk.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    pub elements: Elements<'a>,
    pub at: usize,
    pub strides: &'a [usize],
}

impl Operand<'_> {
    fn read(&self, block: &Block, to: &mut [f64; BLOCK]) {
        fn each<T: Pod + Into<f64>>(cells: &[T], of: &Operand<'_>, block: &Block, to: &mut [f64; BLOCK]) {
            let mut values = [T::zeroed(); BLOCK];
            block.read(&Strided { cells, at: of.at, strides: of.strides }, &mut values);
            to.iter_mut().zip(values).for_each(|(to, value)| *to = value.into());
        }
        match self.elements {
            Elements::F32(cells) => each(cells, self, block, to),
            Elements::F16(cells) => each(cells, self, block, to),
            Elements::I8(cells) => each(cells, self, block, to),
            Elements::U8(cells) => each(cells, self, block, to),
            Elements::I16(cells) => each(cells, self, block, to),
            Elements::U16(cells) => each(cells, self, block, to),
            Elements::I32(cells) => each(cells, self, block, to),
        }
    }
}

/// The real number of each cell, (x − zero point) · scale; where the target holds whole numbers of 8 or 16 bits, the cell of each real, x / scale rounded half
/// to even, plus zero point, within the range of the type (0 for a NaN). The zero point is 0 without one. In f32, as ONNX has it.
///
/// # Panics
/// If an index lies outside of its slice.
pub fn run(
    sizes: &[usize],
    x: &Operand<'_>,
    scale: &Operand<'_>,
    zero_point: Option<&Operand<'_>>,
    target: &mut Target<'_>,
    at: usize,
    strides: &[usize],
) {
    let (mut values, mut scales, mut zeros) = ([0f64; BLOCK], [0f64; BLOCK], [0f64; BLOCK]);
    for block in Blocks::new(sizes, is_upright(strides) || is_upright(x.strides)) {
        x.read(&block, &mut values);
        scale.read(&block, &mut scales);
        if let Some(zero_point) = zero_point {
            zero_point.read(&block, &mut zeros);
        }
        let whole = !matches!(target, Target::F32(_) | Target::F16(_) | Target::I32(_));
        for ((x, &scale), &zero) in values.iter_mut().zip(&scales).zip(&zeros) {
            *x = match whole {
                true => f64::from((*x as f32 / scale as f32).round_ties_even()) + zero,
                false => f64::from((*x - zero) as f32 * scale as f32),
            };
        }
        // A cast of a float to a whole number keeps to the range of its type.
        match target {
            Target::F32(cells) => put(&block, &values, cells, at, strides, |value| value as f32),
            Target::F16(cells) => put(&block, &values, cells, at, strides, f16::from_f64),
            Target::I8(cells) => put(&block, &values, cells, at, strides, |value| value as i8),
            Target::U8(cells) => put(&block, &values, cells, at, strides, |value| value as u8),
            Target::I16(cells) => put(&block, &values, cells, at, strides, |value| value as i16),
            Target::U16(cells) => put(&block, &values, cells, at, strides, |value| value as u16),
            Target::I32(cells) => put(&block, &values, cells, at, strides, |value| value as i32),
        }
    }
}

fn put<T: Pod>(
    block: &Block,
    values: &[f64; BLOCK],
    cells: &mut [T],
    at: usize,
    strides: &[usize],
    cast: impl Fn(f64) -> T,
) {
    let mut made = [T::zeroed(); BLOCK];
    made.iter_mut().zip(values).for_each(|(made, &value)| *made = cast(value));
    block.write(&made, cells, at, strides);
}
