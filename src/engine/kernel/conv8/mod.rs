//! Convolution of int8 cells with int8 weights: direct, over a padded input.
//!
//! acc[y, x, o] = Σ over ky, kx, c of w[o, ky, kx, c] · q[iy, ix, c] + offset[o], a 32-bit sum, with
//! iy = y · stride + ky · dilation, and ix alike, counted from the input view's origin.
//! What is to be added for bias and zero point is in `offset`: bias[o] − zero point · Σ w[o].

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::{Isa, View};
use std::ops::Range;

/// What is fixed of a convolution when its plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Input channels, a multiple of 4; what a pixel has beyond the real ones meets zero weights.
    pub depth: usize,
    /// Output channels.
    pub outputs: usize,
    /// Width of the output.
    pub width: usize,
    pub input: View,
    pub output: View,
}

/// What becomes of the sums.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// q = clamp(round(acc · scale[o]) + zero_point, low, high), rounded half to even; computed as
    /// round(min(max(acc · scale[o], low − zero_point), high − zero_point)) + zero_point.
    Int8 { scale: &'a [f32], zero_point: i32, low: i32, high: i32 },
    /// acc · scale[o] + bias[o], rounded twice.
    Float { scale: &'a [f32], bias: &'a [f32] },
}

/// The output's cells from the first one of row `rows.start` on: the view's origin and the rows before are cut off.
#[derive(Debug)]
pub enum Output<'a> {
    Int8(&'a mut [u8]),
    Float(&'a mut [f32]),
}

/// Weights and offsets in the order in which one instruction set reads them.
#[derive(Debug, Clone)]
pub struct Weights {
    isa: Isa,
    shape: Shape,
    packed: Packed,
}

#[derive(Debug, Clone)]
enum Packed {
    Scalar(scalar::Weights),
    #[cfg(target_arch = "x86_64")]
    X86(x86::Weights),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Weights),
}

impl Weights {
    /// `weights` in the order output channel, ky, kx, input channel, with `real` input channels (at most the shape's depth), and an `offset` for
    /// each output channel.
    ///
    /// # Panics
    /// If the lengths don't fit the shape.
    pub fn pack(isa: Isa, shape: &Shape, real: usize, weights: &[i8], offset: &[i32]) -> Self {
        assert!(real <= shape.depth && shape.depth.is_multiple_of(4));
        assert_eq!(weights.len(), shape.outputs * shape.taps[0] * shape.taps[1] * real);
        assert_eq!(offset.len(), shape.outputs);
        let packed = match isa {
            Isa::Scalar => Packed::Scalar(scalar::Weights::pack(shape, real, weights, offset)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => Packed::X86(x86::Weights::pack(isa, shape, real, weights, offset)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => Packed::Neon(neon::Weights::pack(isa, shape, real, weights, offset)),
        };
        Weights { isa, shape: *shape, packed }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Elements of scratch memory that [`run_with`] makes use of: some forms need room for what they transform.
    pub fn scratch(&self) -> usize {
        match &self.packed {
            Packed::Scalar(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Packed::X86(_) => 0,
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.scratch(),
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.packed {
            Packed::Scalar(weights) => weights.bytes(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => weights.bytes(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.bytes(),
        }
    }
}

/// Computes the output rows `rows`. The epilogue's slices have an element for each output channel.
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
    run_with(shape, weights, input, rows, epilogue, output, &mut []);
}

/// [`run`] with scratch memory, which may be faster and gives the same bits: [`Weights::scratch`] says how much is of use; less is no error. What
/// it holds before and after means nothing.
///
/// # Panics
/// As `run`.
#[cfg_attr(not(target_arch = "aarch64"), expect(unused_variables))]
pub fn run_with(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    output: Output<'_>,
    scratch: &mut [i32],
) {
    assert!(*shape == weights.shape);
    if rows.is_empty() || shape.width == 0 {
        return;
    }
    let reach =
        |size: usize, axis: usize| (size - 1) * shape.stride[axis] + (shape.taps[axis] - 1) * shape.dilation[axis];
    let last = shape.input.origin
        + reach(rows.end, 0) * shape.input.row
        + reach(shape.width, 1) * shape.input.pixel
        + shape.depth;
    assert!(last + super::SLACK <= input.len());
    let written = (rows.len() - 1) * shape.output.row + (shape.width - 1) * shape.output.pixel + shape.outputs;
    match (&epilogue, &output) {
        (Epilogue::Int8 { scale, .. }, Output::Int8(cells)) => {
            assert!(scale.len() == shape.outputs && written <= cells.len());
        }
        (Epilogue::Float { scale, bias }, Output::Float(cells)) => {
            assert!(scale.len() == shape.outputs && bias.len() == shape.outputs && written <= cells.len());
        }
        _ => panic!("an epilogue and an output of two types"),
    }
    match &weights.packed {
        Packed::Scalar(weights) => scalar::run(shape, weights, input, rows, epilogue, output),
        #[cfg(target_arch = "x86_64")]
        Packed::X86(packed) => x86::run(weights.isa, shape, packed, input, rows, epilogue, output),
        #[cfg(target_arch = "aarch64")]
        Packed::Neon(packed) => neon::run(shape, packed, input, rows, epilogue, output, scratch),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLACK, store};
    use super::*;
    use crate::engine::kernel::testing::Random;

    /// A convolution with random sizes, weights and cells, by every instruction set that there is.
    struct Case {
        shape: Shape,
        rows: usize,
        real: usize,
        weights: Vec<i8>,
        offset: Vec<i32>,
        scale: Vec<f32>,
        bias: Vec<f32>,
        input: Vec<u8>,
    }

    impl Case {
        fn new(random: &mut Random, taps: [usize; 2], stride: [usize; 2], depth: usize, outputs: usize) -> Self {
            let dilation = [1 + random.below(2), 1 + random.below(2)];
            let (rows, width) = (1 + random.below(9), 1 + random.below(30));
            let real = depth - random.below(4);
            let pixel = depth + 4 * random.below(3);
            let reach = |size: usize, axis: usize| (size - 1) * stride[axis] + (taps[axis] - 1) * dilation[axis] + 1;
            let row = reach(width, 1) * pixel + 4 * random.below(3);
            let origin = random.below(9) * 4;
            let out_pixel = outputs.next_multiple_of(4) + 4 * random.below(3);
            let shape = Shape {
                taps,
                stride,
                dilation,
                depth,
                outputs,
                width,
                input: View { origin, row, pixel },
                output: View { origin: random.below(17), row: width * out_pixel + random.below(9), pixel: out_pixel },
            };
            let full = taps[0] * taps[1] * depth;
            Case {
                shape,
                rows,
                real,
                weights: random.many(outputs * taps[0] * taps[1] * real, |r| r.any_i8()),
                offset: random.many(outputs, |r| r.below(20_000) as i32 - 10_000),
                scale: random.many(outputs, |r| (0.2 + r.unit()) / (full as f32).sqrt() / 40.0),
                bias: random.many(outputs, |r| r.unit() - 0.5),
                // What the ring, the lanes that are not real and the slack hold is any byte.
                input: random.many(origin + reach(rows, 0) * row + SLACK, |r| store(r.any_i8().into())),
            }
        }

        fn int8(&self, isa: Isa, rows: Range<usize>, low: i32, scratch: bool) -> Vec<u8> {
            let weights = Weights::pack(isa, &self.shape, self.real, &self.weights, &self.offset);
            let mut cells = vec![7; self.shape.output.origin + self.rows * self.shape.output.row + SLACK];
            let from = self.shape.output.origin + rows.start * self.shape.output.row;
            let epilogue = Epilogue::Int8 { scale: &self.scale, zero_point: -3, low, high: 127 };
            let output = Output::Int8(&mut cells[from..]);
            if scratch {
                let mut scratch = vec![-1; weights.scratch()];
                run_with(&self.shape, &weights, &self.input, rows, epilogue, output, &mut scratch);
            } else {
                run(&self.shape, &weights, &self.input, rows, epilogue, output);
            }
            cells
        }

        fn float(&self, isa: Isa) -> Vec<u32> {
            let weights = Weights::pack(isa, &self.shape, self.real, &self.weights, &self.offset);
            let mut cells = vec![7.0; self.shape.output.origin + self.rows * self.shape.output.row + SLACK];
            let epilogue = Epilogue::Float { scale: &self.scale, bias: &self.bias };
            let output = Output::Float(&mut cells[self.shape.output.origin..]);
            let mut scratch = vec![-1; weights.scratch()];
            run_with(&self.shape, &weights, &self.input, 0..self.rows, epilogue, output, &mut scratch);
            cells.into_iter().map(f32::to_bits).collect()
        }

        fn check(&self) {
            let (int8, float) = (self.int8(Isa::Scalar, 0..self.rows, -128, false), self.float(Isa::Scalar));
            let part = self.rows / 2..self.rows;
            let relu = self.int8(Isa::Scalar, part.clone(), -3, false);
            for isa in Isa::available() {
                assert_eq!(self.int8(isa, 0..self.rows, -128, true), int8, "{isa} {:?}", self.shape);
                for scratch in [false, true] {
                    assert_eq!(self.int8(isa, part.clone(), -3, scratch), relu, "{isa} {:?}", self.shape);
                }
                assert_eq!(self.float(isa), float, "{isa} {:?}", self.shape);
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let taps = [1 + random.below(4), 1 + random.below(4)];
            let stride = [1 + random.below(3), 1 + random.below(3)];
            let (depth, outputs) = (4 * (1 + random.below(20)), 1 + random.below(70));
            Case::new(&mut random, taps, stride, depth, outputs).check();
        }
    }

    #[test]
    fn the_usual_shapes_give_the_same_bits() {
        let mut random = Random::new(2);
        for (taps, stride, depth, outputs) in [
            (3, 1, 32, 32),
            (3, 1, 64, 64),
            (3, 2, 64, 128),
            (3, 1, 256, 128),
            (1, 1, 96, 32),
            (3, 1, 32, 3),
            (3, 1, 48, 36),
            (1, 1, 16, 1),
            (4, 4, 36, 64),
        ] {
            Case::new(&mut random, [taps; 2], [stride; 2], depth, outputs).check();
        }
    }

    #[test]
    fn the_largest_sums_do_not_saturate() {
        let mut random = Random::new(3);
        let mut case = Case::new(&mut random, [3, 3], [1, 1], 64, 32);
        for (weight, cell) in [(-128, -128), (-128, 127), (127, 127), (127, -128)] {
            case.weights.fill(weight);
            case.input.fill(store(cell));
            case.check();
        }
    }

    #[test]
    fn what_is_transformed_gives_the_same_bits() {
        let mut random = Random::new(4);
        for _ in 0..100 {
            let (depth, outputs) = (4 * (4 + random.below(30)), 1 + random.below(40));
            let mut case = Case::new(&mut random, [3, 3], [1, 1], depth, outputs);
            case.shape.dilation = [1, 1];
            case.check();
        }
        // Around the largest sums whose bits are all known: 2^25 / 128 / 9 = 29127 is 227.6 channels of weights of -128.
        for (depth, cell) in [(224, -128), (224, 127), (228, -128), (256, -128)] {
            for _ in 0..8 {
                let mut case = Case::new(&mut random, [3, 3], [1, 1], depth, 9);
                (case.shape.dilation, case.shape.width) = ([1, 1], case.shape.width.min(6));
                case.weights.fill(-128);
                case.input.fill(store(cell));
                case.check();
            }
        }
    }

    #[test]
    fn by_hand() {
        // 2 x 2 taps over 1 channel, 2 outputs: the sum of four cells, and the difference of the first two.
        let shape = Shape {
            taps: [2, 2],
            stride: [1, 1],
            dilation: [1, 1],
            depth: 4,
            outputs: 2,
            width: 2,
            input: View { origin: 0, row: 12, pixel: 4 },
            output: View { origin: 0, row: 8, pixel: 4 },
        };
        let mut input = vec![store(99); 24 + SLACK];
        for (pixel, value) in [1, -2, 3, 4, 50, -128].into_iter().enumerate() {
            input[pixel * 4] = store(value);
        }
        for isa in Isa::available() {
            let weights = Weights::pack(isa, &shape, 1, &[1, 1, 1, 1, 1, -1, 0, 0], &[10, 0]);
            let mut cells = [store(0); 8];
            let epilogue = Epilogue::Int8 { scale: &[0.5, 1.0], zero_point: 1, low: -128, high: 127 };
            run(&shape, &weights, &input, 0..1, epilogue, Output::Int8(&mut cells));
            // (1 - 2 + 4 + 50 + 10) / 2 = 31.5, to even 32; (-2 + 3 + 50 - 128 + 10) / 2 = -33.5, to even -34.
            let got = [0, 1, 4, 5].map(|at| super::super::load(cells[at]));
            assert_eq!(got, [33, 4, -33, -4], "{isa}");
        }
    }
}
