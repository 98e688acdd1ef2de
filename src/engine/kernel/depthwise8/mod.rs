//! Convolution of int8 cells with int8 weights, each channel by itself: direct, over a padded input.
//!
//! acc[y, x, c] = Σ over ky, kx of w[ky, kx, c] · q[iy, ix, c] + offset[c], a 32-bit sum, with
//! iy = y · stride + ky · dilation, and ix alike, counted from the input view's origin.
//! What is to be added for bias and zero point is in `offset`: bias[c] − zero point · Σ w[c].
//! There are as many output channels as input channels: the depth.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
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
    shape: Shape,
    packed: Arc<Packed>,
}

/// In the order in which one instruction set reads them.
#[derive(Debug, PartialEq)]
pub enum Packed {
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
    /// If the lengths don't fit the shape, or there are not as many outputs as channels.
    pub fn pack(isa: Isa, shape: &Shape, weights: &[i8], offset: &[i32]) -> Self {
        assert_eq!(shape.depth, shape.outputs);
        assert_eq!(weights.len(), shape.taps[0] * shape.taps[1] * shape.depth);
        assert_eq!(offset.len(), shape.outputs);
        let packed = match isa {
            Isa::Scalar => Packed::Scalar(scalar::Weights::pack(weights, offset)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => Packed::X86(isa, x86::Weights::pack(isa, shape, weights, offset)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => Packed::Neon(neon::Weights::pack(shape, weights, offset)),
        };
        Weights { shape: *shape, packed: Arc::new(packed) }
    }

    /// Keeps them once, where others are equal.
    pub fn share(&mut self, shelf: &Shelf<Packed>) {
        shelf.share(&mut self.packed);
    }

    pub fn bytes(&self) -> usize {
        match &*self.packed {
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
    if shape.is_empty(&rows) {
        return;
    }
    shape.check(&rows, input.len(), output.len());
    epilogue.check(shape.outputs, &output);
    match &*weights.packed {
        Packed::Scalar(packed) => scalar::run(shape, packed, input, rows, epilogue, output),
        #[cfg(target_arch = "x86_64")]
        Packed::X86(isa, packed) => x86::run(*isa, shape, packed, input, rows, epilogue, output),
        #[cfg(target_arch = "aarch64")]
        Packed::Neon(packed) => neon::run(shape, packed, input, rows, epilogue, output),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLACK, View, load, store};
    use super::*;
    use crate::testing::Random;
    use crate::testing::conv::{Case8, Conv};

    fn case(random: &mut Random, taps: [usize; 2], stride: [usize; 2], channels: usize) -> Case8 {
        let conv = Conv::new(random, [taps, stride], [channels; 2], [5, 12]);
        Case8::new(random, conv, taps[0] * taps[1])
    }

    fn check(case: &Case8) {
        let shape = &case.conv.shape;
        case.check(|isa, rows, epilogue, output| {
            let weights = Weights::pack(isa, shape, &case.weights, &case.offset);
            run(shape, &weights, &case.input, rows, epilogue, output);
        });
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let taps = [1 + random.below(6), 1 + random.below(6)];
            let stride = [1 + random.below(3), 1 + random.below(3)];
            let channels = 1 + random.below(200);
            check(&case(&mut random, taps, stride, channels));
        }
    }

    #[test]
    fn columns_that_lie_close_give_the_same_bits() {
        let mut random = Random::new(2);
        for round in 0..300 {
            let size = [3, 5][round % 2];
            let channels = [16, 32, 32, 32, 64, 96, 1 + random.below(150)][random.below(7)];
            let stride = [1 + random.below(2), 1 + random.below(2)];
            let mut conv = Conv::new(&mut random, [[size; 2], stride], [channels; 2], [20, 12]);
            conv.shape.dilation[1] = 1;
            if round % 3 == 0 {
                let pixel = channels.next_multiple_of(4);
                (conv.shape.input.pixel, conv.shape.output.pixel) = (pixel, pixel);
            }
            check(&Case8::new(&mut random, conv, size * size));
        }
    }

    #[test]
    fn the_largest_sums_do_not_saturate() {
        let mut random = Random::new(3);
        for (size, channels) in [(5, 96), (3, 96), (3, 32)] {
            let mut conv = Conv::new(&mut random, [[size; 2], [1, 1]], [channels; 2], [5, 12]);
            conv.shape.dilation[1] = 1;
            let mut case = Case8::new(&mut random, conv, size * size);
            for (weight, cell) in [(-128, -128), (-128, 127), (127, 127), (127, -128), (-127, -128)] {
                case.weights.fill(weight);
                case.input.fill(store(cell));
                check(&case);
            }
        }
    }

    #[test]
    fn by_hand() {
        // 1 x 2 taps over 2 channels: a sum, and a difference.
        let shape = Shape {
            taps: [1, 2],
            stride: [1, 1],
            dilation: [1, 1],
            depth: 2,
            outputs: 2,
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
