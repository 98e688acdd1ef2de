//! Pooling: the largest, or the mean, of the cells under a window, channel by channel.

use super::{FLIP, View};
use std::ops::Range;

/// What is fixed when a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height and width of the window.
    pub taps: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows above and columns left of the border that the first window covers.
    pub pad: [usize; 2],
    /// Height and width of the input: what lies beyond takes no part.
    pub size: [usize; 2],
    pub channels: usize,
    /// Width of the output.
    pub width: usize,
    /// Of the first pixel inside.
    pub input: View,
    pub output: View,
}

impl Shape {
    /// The taps of the windows of output `index` along `axis` that lie inside, and where the first of them lies.
    fn inside(&self, axis: usize, index: usize) -> (Range<usize>, usize) {
        let (step, start) = (self.dilation[axis], index * self.stride[axis]);
        let first = self.pad[axis].saturating_sub(start).div_ceil(step);
        let end = (self.size[axis] + self.pad[axis]).saturating_sub(start).div_ceil(step).min(self.taps[axis]);
        let first = first.min(end);
        (first..end, (start + first * step).saturating_sub(self.pad[axis]))
    }
}

/// The largest cell under each window; `output` starts with the first cell of row `rows.start`. Every window covers a cell of the input.
pub fn largest8(shape: &Shape, input: &[u8], rows: Range<usize>, output: &mut [u8]) {
    let value = |cell: u8| (cell ^ FLIP) as i8;
    fold(shape, input, rows, output, |most, cell| if value(cell) > value(most) { cell } else { most }, |_, _| {});
}

/// [`largest8`] of floats: the first of them if none is larger.
pub fn largest32(shape: &Shape, input: &[f32], rows: Range<usize>, output: &mut [f32]) {
    fold(shape, input, rows, output, |most, cell| if cell > most { cell } else { most }, |_, _| {});
}

/// The sum of the cells under each window, row by row, over their number, or over that of all taps if `whole`.
pub fn mean(shape: &Shape, whole: bool, input: &[f32], rows: Range<usize>, output: &mut [f32]) {
    let divide = |cells: &mut [f32], count: usize| {
        let count = if whole { shape.taps[0] * shape.taps[1] } else { count } as f32;
        cells.iter_mut().for_each(|cell| *cell /= count);
    };
    fold(shape, input, rows, output, |sum, cell| sum + cell, divide);
}

/// # Panics
/// If a slice is too short for what the shape says, or a window covers no cell.
fn fold<T: Copy>(
    shape: &Shape,
    input: &[T],
    rows: Range<usize>,
    output: &mut [T],
    both: impl Fn(T, T) -> T,
    end: impl Fn(&mut [T], usize),
) {
    for y in rows.clone() {
        let (ys, top) = shape.inside(0, y);
        for x in 0..shape.width {
            let (xs, left) = shape.inside(1, x);
            let at = (y - rows.start) * shape.output.row + x * shape.output.pixel;
            let own = &mut output[at..at + shape.channels];
            let first = shape.input.origin + top * shape.input.row + left * shape.input.pixel;
            assert!(!ys.is_empty() && !xs.is_empty(), "a window without cells");
            for row in 0..ys.len() {
                for column in 0..xs.len() {
                    let from = first
                        + row * shape.dilation[0] * shape.input.row
                        + column * shape.dilation[1] * shape.input.pixel;
                    let cells = &input[from..from + shape.channels];
                    if row + column == 0 {
                        own.copy_from_slice(cells);
                    } else {
                        own.iter_mut().zip(cells).for_each(|(own, &cell)| *own = both(*own, cell));
                    }
                }
            }
            end(own, ys.len() * xs.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{load, store};
    use super::*;
    use crate::testing::Random;

    #[test]
    fn windows_take_in_what_lies_inside() {
        let mut random = Random::new(4);
        for _ in 0..200 {
            let mut pick = |low: usize, high: usize| low + random.below(high - low);
            let (size, taps) = ([pick(1, 9), pick(1, 9)], [pick(1, 4), pick(1, 4)]);
            let (stride, dilation) = ([pick(1, 3), pick(1, 3)], [pick(1, 3), pick(1, 3)]);
            let pad = [pick(0, taps[0]), pick(0, taps[1])];
            let reach = [0, 1].map(|axis| (taps[axis] - 1) * dilation[axis] + 1);
            // Each window begins within the input.
            let out = [0, 1].map(|axis| (size[axis] + pad[axis]).saturating_sub(reach[axis]) / stride[axis] + 1);
            let channels = pick(1, 6);
            let input = View { origin: 3, row: size[1] * 8 + 1, pixel: 8 };
            let output = View { origin: 0, row: out[1] * 8, pixel: 8 };
            let shape = Shape { taps, stride, dilation, pad, size, channels, width: out[1], input, output };
            let windows = |y: usize, x: usize| {
                let inside = |axis: usize, index: usize| {
                    (0..taps[axis])
                        .filter_map(move |tap| (index * stride[axis] + tap * dilation[axis]).checked_sub(pad[axis]))
                        .filter(move |&at| at < size[axis])
                };
                inside(0, y)
                    .flat_map(move |y| inside(1, x).map(move |x| input.origin + y * input.row + x * input.pixel))
                    .collect::<Vec<_>>()
            };
            if (0..out[0]).any(|y| (0..out[1]).any(|x| windows(y, x).is_empty())) {
                continue;
            }
            let cells: Vec<u8> =
                random.many(input.origin + size[0] * input.row, |random| store(random.any_i8().into()));
            let floats: Vec<f32> = cells.iter().map(|&cell| load(cell) as f32).collect();
            let (mut bytes, mut most) = (vec![0; out[0] * output.row], vec![0.0; out[0] * output.row]);
            let (mut means, mut whole) = (most.clone(), most.clone());
            largest8(&shape, &cells, 0..out[0], &mut bytes);
            largest32(&shape, &floats, 0..out[0], &mut most);
            mean(&shape, false, &floats, 0..out[0], &mut means);
            mean(&shape, true, &floats, 0..out[0], &mut whole);
            for y in 0..out[0] {
                for (x, c) in (0..out[1]).flat_map(|x| (0..channels).map(move |c| (x, c))) {
                    let under = windows(y, x);
                    let (at, values) = (y * output.row + x * 8 + c, under.iter().map(|at| floats[at + c]));
                    let (sum, largest) = (values.clone().sum::<f32>(), values.fold(f32::NEG_INFINITY, f32::max));
                    assert_eq!((load(bytes[at]) as f32, most[at]), (largest, largest));
                    let right = (sum / under.len() as f32, sum / (taps[0] * taps[1]) as f32);
                    assert!((means[at] - right.0).abs() < 1e-4 && (whole[at] - right.1).abs() < 1e-4);
                }
            }
        }
    }
}
