//! Convolution of int8 cells with int8 weights, each channel by itself: direct, over a padded input.
//!
//! acc[y, x, c] = Σ over ky, kx of w[ky, kx, c] · q[iy, ix, c] + offset[c], a 32-bit sum, with
//! iy = y · stride + ky · dilation, and ix alike, counted from the input view's origin.
//! What is to be added for bias and zero point is in `offset`: bias[c] − zero point · Σ w[c].

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::conv8::{Epilogue, Output};
use super::{Isa, View};
use std::ops::Range;

/// What is fixed of a convolution when its plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Of the input and of the output.
    pub channels: usize,
    /// Width of the output.
    pub width: usize,
    pub input: View,
    pub output: View,
}

/// Weights and offsets in the order in which one instruction set reads them.
#[derive(Debug, Clone)]
pub struct Weights {
    shape: Shape,
    packed: Packed,
}

#[derive(Debug, Clone)]
enum Packed {
    Scalar(scalar::Weights),
    #[cfg(target_arch = "x86_64")]
    X86(Isa, x86::Weights),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Weights),
}

impl Weights {
    /// `weights` in the order ky, kx, channel, and an `offset` for each channel.
    ///
    /// # Panics
    /// If the lengths don't fit the shape.
    pub fn pack(isa: Isa, shape: &Shape, weights: &[i8], offset: &[i32]) -> Self {
        assert_eq!(weights.len(), shape.taps[0] * shape.taps[1] * shape.channels);
        assert_eq!(offset.len(), shape.channels);
        let packed = match isa {
            Isa::Scalar => Packed::Scalar(scalar::Weights::pack(weights, offset)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => Packed::X86(isa, x86::Weights::pack(isa, shape, weights, offset)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => Packed::Neon(neon::Weights::pack(shape, weights, offset)),
        };
        Weights { shape: *shape, packed }
    }

    pub fn bytes(&self) -> usize {
        match &self.packed {
            Packed::Scalar(weights) => weights.bytes(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(_, weights) => weights.bytes(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.bytes(),
        }
    }
}

/// Computes the output rows `rows`. The epilogue's slices have an element for each channel.
///
/// # Panics
/// If a slice is too short for what the shape says, or the weights were packed for another shape.
pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    output: Output<'_>,
) {
    assert!(*shape == weights.shape);
    if rows.is_empty() || shape.width == 0 || shape.channels == 0 {
        return;
    }
    let reach =
        |size: usize, axis: usize| (size - 1) * shape.stride[axis] + (shape.taps[axis] - 1) * shape.dilation[axis];
    let last = shape.input.origin
        + reach(rows.end, 0) * shape.input.row
        + reach(shape.width, 1) * shape.input.pixel
        + shape.channels;
    assert!(last + super::SLACK <= input.len());
    let written = (rows.len() - 1) * shape.output.row + (shape.width - 1) * shape.output.pixel + shape.channels;
    match (&epilogue, &output) {
        (Epilogue::Int8 { scale, .. }, Output::Int8(cells)) => {
            assert!(scale.len() == shape.channels && written <= cells.len());
        }
        (Epilogue::Float { scale, bias }, Output::Float(cells)) => {
            assert!(scale.len() == shape.channels && bias.len() == shape.channels && written <= cells.len());
        }
        _ => panic!("an epilogue and an output of two types"),
    }
    match &weights.packed {
        Packed::Scalar(packed) => scalar::run(shape, packed, input, rows, epilogue, output),
        #[cfg(target_arch = "x86_64")]
        Packed::X86(isa, packed) => x86::run(*isa, shape, packed, input, rows, epilogue, output),
        #[cfg(target_arch = "aarch64")]
        Packed::Neon(packed) => neon::run(shape, packed, input, rows, epilogue, output),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLACK, load, store};
    use super::*;
    use crate::engine::kernel::testing::Random;

    /// A convolution with random sizes, weights and cells, by every instruction set that there is.
    struct Case {
        shape: Shape,
        rows: usize,
        weights: Vec<i8>,
        offset: Vec<i32>,
        scale: Vec<f32>,
        bias: Vec<f32>,
        input: Vec<u8>,
    }

    impl Case {
        fn new(random: &mut Random, taps: [usize; 2], stride: [usize; 2], channels: usize) -> Self {
            let dilation = [1 + random.below(2), 1 + random.below(2)];
            let (rows, width) = (1 + random.below(5), 1 + random.below(12));
            let [pixel, out_pixel] = [0; 2].map(|_| channels.next_multiple_of(4) + 4 * random.below(3));
            let reach = |size: usize, axis: usize| (size - 1) * stride[axis] + (taps[axis] - 1) * dilation[axis] + 1;
            let row = reach(width, 1) * pixel + 4 * random.below(3);
            let origin = random.below(9) * 4;
            let shape = Shape {
                taps,
                stride,
                dilation,
                channels,
                width,
                input: View { origin, row, pixel },
                output: View { origin: random.below(17), row: width * out_pixel + random.below(9), pixel: out_pixel },
            };
            Case {
                shape,
                rows,
                weights: random.many(taps[0] * taps[1] * channels, |r| r.any_i8()),
                offset: random.many(channels, |r| r.below(20_000) as i32 - 10_000),
                scale: random.many(channels, |r| (0.2 + r.unit()) / 60.0),
                bias: random.many(channels, |r| r.unit() - 0.5),
                input: random.many(origin + reach(rows, 0) * row + SLACK, |r| store(r.any_i8().into())),
            }
        }

        fn int8(&self, isa: Isa, rows: Range<usize>, low: i32) -> Vec<u8> {
            let weights = Weights::pack(isa, &self.shape, &self.weights, &self.offset);
            let mut cells = vec![7; self.shape.output.origin + self.rows * self.shape.output.row + SLACK];
            let from = self.shape.output.origin + rows.start * self.shape.output.row;
            let epilogue = Epilogue::Int8 { scale: &self.scale, zero_point: -3, low, high: 127 };
            run(&self.shape, &weights, &self.input, rows, epilogue, Output::Int8(&mut cells[from..]));
            cells
        }

        fn float(&self, isa: Isa) -> Vec<u32> {
            let weights = Weights::pack(isa, &self.shape, &self.weights, &self.offset);
            let mut cells = vec![7.0; self.shape.output.origin + self.rows * self.shape.output.row + SLACK];
            let epilogue = Epilogue::Float { scale: &self.scale, bias: &self.bias };
            let output = Output::Float(&mut cells[self.shape.output.origin..]);
            run(&self.shape, &weights, &self.input, 0..self.rows, epilogue, output);
            cells.into_iter().map(f32::to_bits).collect()
        }

        fn check(&self) {
            let (int8, float) = (self.int8(Isa::Scalar, 0..self.rows, -128), self.float(Isa::Scalar));
            let part = self.rows / 2..self.rows;
            let relu = self.int8(Isa::Scalar, part.clone(), -3);
            for isa in Isa::available() {
                assert_eq!(self.int8(isa, 0..self.rows, -128), int8, "{isa} {:?}", self.shape);
                assert_eq!(self.int8(isa, part.clone(), -3), relu, "{isa} {:?}", self.shape);
                assert_eq!(self.float(isa), float, "{isa} {:?}", self.shape);
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let taps = [1 + random.below(6), 1 + random.below(6)];
            let stride = [1 + random.below(3), 1 + random.below(3)];
            let channels = 1 + random.below(200);
            let mut case = Case::new(&mut random, taps, stride, channels);
            if random.below(2) == 0 {
                // Forms may differ where a weight is -128.
                case.weights.iter_mut().for_each(|weight| *weight = (*weight).max(-127));
            }
            case.check();
        }
    }

    #[test]
    fn the_largest_sums_do_not_saturate() {
        let mut random = Random::new(3);
        let mut case = Case::new(&mut random, [5, 5], [1, 1], 96);
        for (weight, cell) in [(-128, -128), (-128, 127), (127, 127), (127, -128), (-127, -128)] {
            case.weights.fill(weight);
            case.input.fill(store(cell));
            case.check();
        }
    }

    #[test]
    fn by_hand() {
        // 1 x 2 taps over 2 channels: a sum, and a difference.
        let shape = Shape {
            taps: [1, 2],
            stride: [1, 1],
            dilation: [1, 1],
            channels: 2,
            width: 1,
            input: View { origin: 0, row: 8, pixel: 4 },
            output: View { origin: 0, row: 4, pixel: 4 },
        };
        let mut input = vec![store(99); 8 + SLACK];
        for (at, value) in [(0, 5), (1, 6), (4, -128), (5, 7)] {
            input[at] = store(value);
        }
        for isa in Isa::available() {
            let weights = Weights::pack(isa, &shape, &[1, 1, 1, -1], &[0, 2]);
            let mut cells = [store(0); 4];
            let epilogue = Epilogue::Int8 { scale: &[0.5, 2.5], zero_point: 1, low: -128, high: 127 };
            run(&shape, &weights, &input, 0..1, epilogue, Output::Int8(&mut cells));
            // (5 - 128) / 2 = -61.5, to even -62; (6 - 7 + 2) · 2.5 = 2.5, to even 2.
            assert_eq!(cells.map(load), [-61, 3, 0, 0], "{isa}");
        }
    }
}
