//! Convolution of f32 cells with f32 weights: direct, over a padded input.
//!
//! acc[y, x, o] starts as bias[o], and becomes mul_add(w[o, ky, kx, c], cell[iy, ix, c], acc) for each ky, kx, c in that order, with
//! iy = y · stride + ky · dilation, and ix alike, counted from the input view's origin.
//! What lies behind the channels of a pixel need not be a number.
//!
//! Weights that are exact in 16 bits can be kept so: a block of them is widened when it is read, which changes no bit of what comes out.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use super::conv::Shape;

use super::Isa;
use super::shelf::Shelf;
use std::ops::Range;
use std::sync::Arc;

/// What becomes of a sum: low if it isn't above low, high if it isn't below high; a sum that is no number becomes low.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub low: f32,
    pub high: f32,
}

impl Bounds {
    pub const NONE: Bounds = Bounds { low: f32::NEG_INFINITY, high: f32::INFINITY };
}

/// Weights and bias.
#[derive(Debug, Clone)]
pub struct Weights(Arc<Packed>);

/// In the order in which one instruction set reads them.
#[derive(Debug, Clone, PartialEq)]
pub enum Packed {
    Scalar(scalar::Weights),
    #[cfg(target_arch = "x86_64")]
    X86(x86::Weights),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Weights),
}

impl Weights {
    /// `weights` in the order output channel, ky, kx, input channel, and a `bias` for each output channel.
    ///
    /// # Panics
    /// If the lengths don't fit the shape.
    pub fn pack(isa: Isa, shape: &Shape, weights: &[f32], bias: &[f32]) -> Self {
        assert_eq!(weights.len(), shape.outputs * shape.taps[0] * shape.taps[1] * shape.depth);
        assert_eq!(bias.len(), shape.outputs);
        Weights(Arc::new(match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => Packed::X86(x86::Weights::pack(isa, shape, weights, bias)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => Packed::Neon(neon::Weights::pack(shape, weights, bias)),
            Isa::Scalar => Packed::Scalar(scalar::Weights::pack(weights, bias)),
        }))
    }

    /// The same weights, kept in 16 bits; they have to be exact in them.
    pub fn halved(self) -> Self {
        Weights(Arc::new(match Arc::unwrap_or_clone(self.0) {
            Packed::Scalar(weights) => Packed::Scalar(weights.halved()),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => Packed::X86(weights.halved()),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => Packed::Neon(weights.halved()),
        }))
    }

    /// Floats of the room that [`run`] wants to widen weights: none for those that are kept in 32 bits.
    pub fn room(&self) -> usize {
        match &*self.0 {
            Packed::Scalar(weights) => weights.room(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => weights.room(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.room(),
        }
    }

    /// Keeps them once, where others are equal.
    pub fn share(&mut self, shelf: &Shelf<Packed>) {
        shelf.share(&mut self.0);
    }

    pub fn bytes(&self) -> usize {
        match &*self.0 {
            Packed::Scalar(weights) => weights.bytes(),
            #[cfg(target_arch = "x86_64")]
            Packed::X86(weights) => weights.bytes(),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(weights) => weights.bytes(),
        }
    }
}

/// Computes the output rows `rows`. `output` starts with the first cell of row `rows.start`: the view's origin and the rows before are cut off.
/// What `room` holds before and after means nothing.
///
/// # Panics
/// If a slice is too short for what the shape says, or `room` for what the weights [want](Weights::room).
pub fn run(
    shape: &Shape,
    weights: &Weights,
    input: &[f32],
    rows: Range<usize>,
    bounds: Bounds,
    output: &mut [f32],
    room: &mut [f32],
) {
    if shape.is_empty(&rows) {
        return;
    }
    shape.check(&rows, input.len(), output.len());
    match &*weights.0 {
        Packed::Scalar(weights) => scalar::run(shape, weights, input, rows, bounds, output, room),
        #[cfg(target_arch = "x86_64")]
        Packed::X86(weights) => x86::run(shape, weights, input, rows, bounds, output, room),
        #[cfg(target_arch = "aarch64")]
        Packed::Neon(weights) => neon::run(shape, weights, input, rows, bounds, output, room),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SLACK, View};
    use super::*;
    use crate::testing::Random;
    use crate::testing::conv::Conv;
    use half::f16;

    /// Random weights and cells; what lies behind the channels is no number.
    struct Case {
        conv: Conv,
        weights: Vec<f32>,
        bias: Vec<f32>,
        input: Vec<f32>,
    }

    impl Case {
        fn new(random: &mut Random, taps: [usize; 2], stride: [usize; 2], depth: usize, outputs: usize) -> Self {
            let conv = Conv::new(random, [taps, stride], [depth, outputs], [4, 30]);
            let View { origin, row, pixel } = conv.shape.input;
            let mut input = random.many(conv.input(), |r| r.unit() - 0.5);
            for pixel in input[origin..].chunks_mut(row).flat_map(|row| row.chunks_mut(pixel)) {
                pixel.iter_mut().skip(depth).for_each(|behind| *behind = f32::NAN);
            }
            Case {
                conv,
                weights: random.many(outputs * taps[0] * taps[1] * depth, |r| f16::from_f32(r.unit() - 0.5).to_f32()),
                bias: random.many(outputs, |r| r.unit() - 0.5),
                input,
            }
        }

        fn run(&self, isa: Isa, halved: bool, rows: Range<usize>, bounds: Bounds) -> Vec<u32> {
            let shape = &self.conv.shape;
            let weights = Weights::pack(isa, shape, &self.weights, &self.bias);
            let weights = if halved { weights.halved() } else { weights };
            let mut room = vec![f32::NAN; weights.room()];
            let cells = self.conv.output::<f32>(rows.start, |cells| {
                run(shape, &weights, &self.input, rows, bounds, cells, &mut room);
            });
            assert!(cells.iter().all(|cell| !cell.is_nan()));
            cells.into_iter().map(f32::to_bits).collect()
        }

        fn check(&self) {
            self.check_part(0..self.conv.rows, Bounds::NONE);
            self.check_part(self.conv.rows / 2..self.conv.rows, Bounds { low: 0.0, high: 0.7 });
        }

        fn check_part(&self, rows: Range<usize>, bounds: Bounds) {
            let expected = self.run(Isa::Scalar, false, rows.clone(), bounds);
            for (isa, halved) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let found = self.run(isa, halved, rows.clone(), bounds);
                assert_eq!(found, expected, "{isa} {halved} {:?}", self.conv);
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let taps = [1 + random.below(4), 1 + random.below(4)];
            let stride = [1 + random.below(3), 1 + random.below(3)];
            let (depth, outputs) = (1 + random.below(40), 1 + random.below(70));
            Case::new(&mut random, taps, stride, depth, outputs).check();
        }
    }

    #[test]
    fn the_bounds_replace_what_is_no_number() {
        let mut random = Random::new(2);
        let mut case = Case::new(&mut random, [1, 1], [1, 1], 4, 20);
        case.bias[3] = f32::NAN;
        case.bias[4] = f32::INFINITY;
        case.check();
    }

    #[test]
    fn the_bounds_replace_the_other_zero() {
        let mut random = Random::new(3);
        let mut case = Case::new(&mut random, [1, 1], [1, 1], 4, 20);
        // A negative zero plus zero times a cell is a zero of either sign.
        (case.weights, case.bias) = (vec![0.0; 80], vec![-0.0; 20]);
        for (low, high) in [(0.0, 1.0), (-0.0, 1.0), (-1.0, 0.0), (-1.0, -0.0)] {
            case.check_part(0..case.conv.rows, Bounds { low, high });
        }
    }

    #[test]
    fn by_hand() {
        // 1 x 2 taps over 2 channels.
        let shape = Shape {
            taps: [1, 2],
            stride: [1, 1],
            dilation: [1, 1],
            depth: 2,
            outputs: 2,
            width: 2,
            input: View { origin: 0, row: 12, pixel: 4 },
            output: View { origin: 0, row: 8, pixel: 4 },
        };
        let mut input = vec![f32::NAN; 12 + SLACK];
        for (at, value) in [(0, 1.0), (1, 2.0), (4, 3.0), (5, -4.0), (8, 0.5), (9, 8.0)] {
            input[at] = value;
        }
        for isa in Isa::available() {
            let weights = Weights::pack(isa, &shape, &[1.0, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0, -0.5], &[0.25, 0.0]);
            let mut cells = [9.0; 8];
            run(&shape, &weights, &input, 0..1, Bounds { low: -100.0, high: 3.0 }, &mut cells, &mut []);
            assert_eq!(cells, [2.25, 3.0, 9.0, 9.0, 3.0, 2.0, 9.0, 9.0], "{isa}");
        }
    }
}
