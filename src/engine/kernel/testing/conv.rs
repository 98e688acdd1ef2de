//! Convolutions of random shapes.

use super::super::conv::Shape;
use super::super::epilogue::{Epilogue, Output};
use super::super::{Isa, SLACK, View, store};
use super::Random;
use std::ops::Range;

/// A shape, and how many output rows there are.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    pub shape: Shape,
    pub rows: usize,
}

impl Conv {
    /// Images that lie anyhow, up to `most` rows and columns.
    pub fn new(
        random: &mut Random,
        [taps, stride]: [[usize; 2]; 2],
        [depth, outputs]: [usize; 2],
        most: [usize; 2],
    ) -> Self {
        let dilation = [1 + random.below(2), 1 + random.below(2)];
        let [rows, width] = most.map(|most| 1 + random.below(most));
        let [from, to] = [depth, outputs].map(|of| of.next_multiple_of(4) + 4 * random.below(3));
        let across = (width - 1) * stride[1] + (taps[1] - 1) * dilation[1] + 1;
        let input = View { origin: 4 * random.below(9), row: across * from + 4 * random.below(3), pixel: from };
        let output = View { origin: random.below(17), row: width * to + random.below(9), pixel: to };
        Conv { shape: Shape { taps, stride, dilation, depth, outputs, width, input, output }, rows }
    }

    /// Cells of an input that is just long enough.
    pub fn input(&self) -> usize {
        self.shape.read(self.rows) + SLACK
    }

    /// An output of sevens, in which `run` has overwritten what it was given: the rows from `first` on.
    pub fn output<T: Clone + From<u8>>(&self, first: usize, run: impl FnOnce(&mut [T])) -> Vec<T> {
        let View { origin, row, .. } = self.shape.output;
        let mut cells = vec![T::from(7); origin + self.rows * row + SLACK];
        run(&mut cells[origin + first * row..]);
        cells
    }
}

/// Random int8 weights and cells.
pub struct Case8 {
    pub conv: Conv,
    pub weights: Vec<i8>,
    pub offset: Vec<i32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    pub input: Vec<u8>,
}

impl Case8 {
    /// With `weights` for each output.
    pub fn new(random: &mut Random, conv: Conv, weights: usize) -> Self {
        let outputs = conv.shape.outputs;
        // Some forms are for weights without -128.
        let least = if random.below(2) == 0 { -128 } else { -127 };
        Case8 {
            conv,
            weights: random.many(outputs * weights, |r| r.any_i8().max(least)),
            offset: random.many(outputs, |r| r.below(20_000) as i32 - 10_000),
            scale: random.many(outputs, |r| (0.2 + r.unit()) / (weights as f32).sqrt() / 40.0),
            bias: random.many(outputs, |r| r.unit() - 0.5),
            // What the ring, the lanes that are not real and the slack hold is any byte.
            input: random.many(conv.input(), |r| store(r.any_i8().into())),
        }
    }

    /// Compares what `run` computes by each instruction set with the definition.
    pub fn check(&self, run: impl Fn(Isa, Range<usize>, Epilogue<'_>, Output<'_>)) {
        let all = 0..self.conv.rows;
        let part = self.conv.rows / 2..self.conv.rows;
        let int8 = |isa: Isa, rows: &Range<usize>, low: i32| {
            let epilogue = Epilogue::Int8 { scale: &self.scale, zero_point: -3, low, high: 127 };
            self.conv.output::<u8>(rows.start, |cells| run(isa, rows.clone(), epilogue, Output::Int8(cells)))
        };
        let float = |isa: Isa| {
            let epilogue = Epilogue::Float { scale: &self.scale, bias: &self.bias };
            let cells = self.conv.output::<f32>(0, |cells| run(isa, all.clone(), epilogue, Output::Float(cells)));
            cells.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let sums =
            |isa: Isa| self.conv.output::<i32>(0, |cells| run(isa, all.clone(), Epilogue::Sums, Output::Sums(cells)));
        let by = |isa: Isa| (int8(isa, &all, -128), int8(isa, &part, -3), float(isa), sums(isa));
        let (whole, relu, real, exact) = by(Isa::Scalar);
        for isa in Isa::available() {
            let got = by(isa);
            assert_eq!(got.0, whole, "{isa} {:?}", self.conv);
            assert_eq!(got.1, relu, "{isa}, the last rows of {:?}", self.conv);
            assert_eq!(got.2, real, "{isa}, floats, {:?}", self.conv);
            assert_eq!(got.3, exact, "{isa}, sums, {:?}", self.conv);
        }
    }
}
