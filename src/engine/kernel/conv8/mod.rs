//! Convolution of int8 cells with int8 weights: direct, over a padded input.
//!
//! acc[y, x, o] = Σ over ky, kx, c of w[o, ky, kx, c] · q[iy, ix, c] + offset[o], a 32-bit sum, with
//! iy = y · stride + ky · dilation, and ix alike, counted from the input view's origin.
//! What is to be added for bias and zero point is in `offset`: bias[o] − zero point · Σ w[o].
//!
//! The depth is a multiple of 4; what a pixel has beyond the real channels meets zero weights.

mod kept;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use super::conv::Shape;
pub use super::epilogue::{Epilogue, Output};

use super::Isa;
use super::shelf::Shelf;
use std::ops::Range;
use std::sync::Arc;

/// Weights and offsets.
#[derive(Debug, Clone)]
pub struct Weights {
    isa: Isa,
    shape: Shape,
    packed: Arc<Packed>,
}

/// In the order in which one instruction set reads them.
#[derive(Debug, PartialEq)]
pub enum Packed {
    Scalar(scalar::Weights),
    #[cfg(target_arch = "x86_64")]
    X86(x86::Weights),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Weights),
}

/// Whether a convolution of this shape, of at least `rows` output rows, may be computed by transformed cells, if its weights are small enough for it
/// and the instruction set does so.
pub fn may_be_transformed(shape: &Shape, rows: usize) -> bool {
    shape.taps == [3, 3]
        && shape.stride == [1, 1]
        && shape.dilation == [1, 1]
        && shape.width >= 4
        && rows >= 4
        && shape.depth >= 16
}

impl Weights {
    /// `weights` in the order output channel, ky, kx, input channel, with `real` input channels (at most the shape's depth), and an `offset` for
    /// each output channel. The image has `rows` output rows. With `factors`, in the order of the weights, a weight is its factor, 0 to 15, times
    /// -8 to 7, and is kept in 4 bits.
    ///
    /// # Panics
    /// If the lengths don't fit the shape, or the factors the weights.
    #[cfg_attr(
        not(any(target_arch = "aarch64", target_arch = "x86_64")),
        expect(unused_variables, reason = "the definition has one form, whatever the rows")
    )]
    pub fn pack(
        isa: Isa,
        shape: &Shape,
        rows: usize,
        real: usize,
        weights: &[i8],
        factors: Option<&[i8]>,
        offset: &[i32],
    ) -> Self {
        assert!(real <= shape.depth && shape.depth.is_multiple_of(4));
        assert_eq!(weights.len(), shape.outputs * shape.taps[0] * shape.taps[1] * real);
        assert!(factors.is_none_or(|factors| factors.len() == weights.len()));
        assert_eq!(offset.len(), shape.outputs);
        let packed = match isa {
            Isa::Scalar => Packed::Scalar(scalar::Weights::pack(shape, real, weights, factors, offset)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => {
                Packed::X86(x86::Weights::pack(isa, shape, rows, real, weights, factors, offset))
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => {
                Packed::Neon(neon::Weights::pack(isa, shape, rows, real, weights, factors, offset))
            }
        };
        Weights { isa, shape: *shape, packed: Arc::new(packed) }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Elements of scratch memory that [`run`] needs: some forms need room for what they transform.
    pub fn scratch(&self) -> usize {
        match &*self.packed {
            Packed::Scalar(weights) => weights.scratch(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => weights.scratch(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.scratch(),
        }
    }

    /// Keeps them once, where others are equal.
    pub fn share(&mut self, shelf: &Shelf<Packed>) {
        shelf.share(&mut self.packed);
    }

    pub fn bytes(&self) -> usize {
        match &*self.packed {
            Packed::Scalar(weights) => weights.bytes(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => weights.bytes(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.bytes(),
        }
    }
}

/// Computes the output rows `rows`. The epilogue's slices have an element for each output channel. What `scratch` holds before and after means
/// nothing.
///
/// # Panics
/// If a slice is too short for what the shape, the rows that the weights were packed for, or [`Weights::scratch`] say, or the weights were packed
/// for another shape.
pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[u8],
    rows: Range<usize>,
    epilogue: Epilogue<'_>,
    output: Output<'_>,
    scratch: &mut [i32],
) {
    assert!(*shape == weights.shape);
    if shape.is_empty(&rows) {
        return;
    }
    shape.check(&rows, input.len(), output.len());
    epilogue.check(shape.outputs, &output);
    match &*weights.packed {
        Packed::Scalar(weights) => scalar::run(shape, weights, input, rows, epilogue, output, scratch),
        #[cfg(target_arch = "x86_64")]
        Packed::X86(packed) => {
            x86::run(weights.isa, shape, packed, input, rows, epilogue, output, scratch);
        }
        #[cfg(target_arch = "aarch64")]
        Packed::Neon(packed) => neon::run(shape, packed, input, rows, epilogue, output, scratch),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLACK, View, store};
    use super::*;
    use crate::testing::Random;
    use crate::testing::conv::{Case8, Conv};

    struct Case {
        real: usize,
        of: Case8,
        factors: Option<Vec<i8>>,
    }

    impl Case {
        fn new(random: &mut Random, taps: [usize; 2], stride: [usize; 2], depth: usize, outputs: usize) -> Self {
            let conv = Conv::new(random, [taps, stride], [depth, outputs], [9, 30]);
            Case::of(random, conv)
        }

        fn of(random: &mut Random, conv: Conv) -> Self {
            let real = conv.shape.depth - random.below(4);
            let of = Case8::new(random, conv, conv.shape.taps[0] * conv.shape.taps[1] * real);
            Case { real, of, factors: None }
        }

        /// With weights of 4 bits, and a factor for up to 32 channels of a tap.
        fn in_nibbles(mut self, random: &mut Random) -> Self {
            let mut factors = Vec::new();
            for own in self.of.weights.chunks_exact_mut(self.real) {
                for own in own.chunks_mut(32) {
                    let factor = 1 + random.below(15) as i8;
                    factors.extend(vec![factor; own.len()]);
                    own.fill_with(|| factor * (random.below(16) as i8 - 8));
                }
            }
            self.factors = Some(factors);
            self
        }

        fn check(&self) {
            let Case8 { conv: Conv { shape, rows: all, .. }, weights, offset, input, .. } = &self.of;
            self.of.check(|isa, rows, epilogue, output| {
                let weights = Weights::pack(isa, shape, *all, self.real, weights, self.factors.as_deref(), offset);
                let mut scratch = vec![-1; weights.scratch()];
                run(shape, &weights, input, rows, epilogue, output, &mut scratch);
            });
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let taps = [1 + random.below(4), 1 + random.below(4)];
            let stride = [1 + random.below(3), 1 + random.below(3)];
            let (depth, outputs) = (4 * (1 + random.below(20)), 1 + random.below(70));
            let case = Case::new(&mut random, taps, stride, depth, outputs);
            case.check();
            case.in_nibbles(&mut random).check();
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
            (1, 1, 16, 96),
            (1, 1, 96, 24),
            (1, 1, 24, 144),
            (3, 2, 4, 32),
        ] {
            Case::new(&mut random, [taps; 2], [stride; 2], depth, outputs).check();
        }
    }

    #[test]
    fn the_largest_sums_do_not_saturate() {
        let mut random = Random::new(3);
        let mut case = Case::new(&mut random, [3, 3], [1, 1], 64, 32);
        for (weight, cell) in [(-128, -128), (-128, 127), (127, 127), (127, -128), (-127, -128)] {
            case.of.weights.fill(weight);
            case.of.input.fill(store(cell));
            case.check();
        }
    }

    #[test]
    fn what_is_transformed_gives_the_same_bits() {
        let mut random = Random::new(4);
        let near = |random: &mut Random, depth: usize, outputs: usize, width: usize| {
            let mut conv = Conv::new(random, [[3, 3], [1, 1]], [depth, outputs], [9, width]);
            conv.shape.dilation = [1, 1];
            Case::of(random, conv)
        };
        for _ in 0..100 {
            let (depth, outputs) = (4 * (4 + random.below(30)), 1 + random.below(40));
            let case = near(&mut random, depth, outputs, 30);
            case.check();
            case.in_nibbles(&mut random).check();
        }
        // Around the largest sums whose bits are all known: 2^25 / 128 / 9 = 29127 is 227.6 channels of weights of -128.
        for (depth, cell) in [(224, -128), (224, 127), (228, -128), (256, -128)] {
            for _ in 0..8 {
                let mut case = near(&mut random, depth, 9, 6);
                case.of.weights.fill(-128);
                case.of.input.fill(store(cell));
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
            let weights = Weights::pack(isa, &shape, 1, 1, &[1, 1, 1, 1, 1, -1, 0, 0], None, &[10, 0]);
            let mut cells = [store(0); 8];
            let epilogue = Epilogue::Int8 { scale: &[0.5, 1.0], zero_point: 1, low: -128, high: 127 };
            run(&shape, &weights, &input, 0..1, epilogue, Output::Int8(&mut cells), &mut []);
            // (1 - 2 + 4 + 50 + 10) / 2 = 31.5, to even 32; (-2 + 3 + 50 - 128 + 10) / 2 = -33.5, to even -34.
            let got = [0, 1, 4, 5].map(|at| super::super::load(cells[at]));
            assert_eq!(got, [33, 4, -33, -4], "{isa}");
        }
    }
}
