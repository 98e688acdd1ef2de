use super::super::testing::Random;
use super::super::{SLACK, load, store};
use super::*;

#[derive(Debug, Clone)]
enum Image {
    Int8(Vec<u8>),
    Float(Vec<f32>),
}

/// Random sizes, factors and cells, by every instruction set that there is.
struct Case {
    shape: Shape,
    rows: usize,
    images: Vec<(Image, View, Vec<f32>)>,
    bias: Vec<f32>,
}

impl Case {
    /// A term is of floats with a chance of 1 in `floats`.
    fn new(random: &mut Random, channels: usize, terms: usize, floats: usize) -> Self {
        let size = [1 + random.below(4), 1 + random.below(9)];
        Case::of(random, size, channels, terms, floats)
    }

    fn of(random: &mut Random, [rows, width]: [usize; 2], channels: usize, terms: usize, floats: usize) -> Self {
        let up = random.below(2);
        let images = (0..terms)
            .map(|_| {
                let pixel = channels.next_multiple_of(4) + 4 * random.below(3);
                let view = View { origin: random.below(9), row: width * pixel + random.below(9), pixel };
                let cells = view.origin + rows * view.row + SLACK;
                let image = match random.below(floats) {
                    0 => Image::Float(random.many(cells, |r| 8.0 * r.unit() - 4.0)),
                    _ => Image::Int8(random.many(cells, |r| store(r.any_i8().into()))),
                };
                let size = if matches!(image, Image::Int8(_)) { 0.1 } else { 5.0 };
                (image, view, random.many(channels, |r| size * (r.unit() - 0.5)))
            })
            .collect();
        let pixel = channels.next_multiple_of(4) + 4 * random.below(3);
        let row = (width << up) * pixel + random.below(9);
        let output = View { origin: random.below(9), row, pixel };
        let bias = random.many(channels, |r| 4.0 * r.unit() - 2.0);
        Case { shape: Shape { channels, width, up: up as u32, output }, rows, images, bias }
    }

    fn run(&self, isa: Isa, activation: Activation, rows: Range<usize>, target: Target<'_>) {
        let terms: Vec<Term<'_>> = self
            .images
            .iter()
            .map(|(image, view, factor)| {
                let cells = match image {
                    Image::Int8(cells) => Cells::Int8(cells),
                    Image::Float(cells) => Cells::Float(cells),
                };
                Term { cells, view: *view, factor }
            })
            .collect();
        run(isa, &self.shape, &terms, &self.bias, activation, rows, target);
    }

    /// Where the first output row of `rows` starts, and behind all rows.
    fn bounds(&self, rows: &Range<usize>) -> (usize, usize) {
        let View { origin, row, .. } = self.shape.output;
        (origin + (rows.start << self.shape.up) * row, origin + (self.rows << self.shape.up) * row)
    }

    fn int8(&self, isa: Isa, activation: Activation, rows: Range<usize>, low: i32) -> Vec<u8> {
        let (start, end) = self.bounds(&rows);
        let mut cells = vec![7; end];
        let cut = &mut cells[start..];
        let target = Target::Int8 { cells: cut, per_unit: 20.0, zero_point: -3, low, high: 127 };
        self.run(isa, activation, rows, target);
        cells
    }

    fn float(&self, isa: Isa, activation: Activation, rows: Range<usize>) -> Vec<u32> {
        let (start, end) = self.bounds(&rows);
        let mut cells = vec![7.0; end];
        self.run(isa, activation, rows, Target::Float(&mut cells[start..]));
        cells.into_iter().map(f32::to_bits).collect()
    }

    fn check(&self, activation: Activation) {
        let part = self.rows / 2..self.rows;
        let int8 = self.int8(Isa::Scalar, activation, 0..self.rows, -128);
        let relu = self.int8(Isa::Scalar, activation, part.clone(), -3);
        let float = self.float(Isa::Scalar, activation, part.clone());
        for isa in Isa::available() {
            assert_eq!(self.int8(isa, activation, 0..self.rows, -128), int8, "{isa} {activation:?} {:?}", self.shape);
            assert_eq!(self.int8(isa, activation, part.clone(), -3), relu, "{isa} {activation:?} {:?}", self.shape);
            assert_eq!(self.float(isa, activation, part.clone()), float, "{isa} {activation:?} {:?}", self.shape);
        }
    }
}

/// Biases that sums don't come back from.
const ODD: [f32; 12] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 87.0, -87.0, 100.0, -100.0, -0.0, 0.0, 1e-40];

const ACTIVATIONS: [Activation; 4] =
    [Activation::Linear, Activation::Clip { low: -0.5, high: 1.25 }, Activation::Silu, Activation::Sigmoid];

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut random = Random::new(4);
    for _ in 0..150 {
        let (channels, terms) = (1 + random.below(150), 1 + random.below(TERMS));
        let case = Case::new(&mut random, channels, terms, 2);
        ACTIVATIONS.iter().for_each(|&activation| case.check(activation));
    }
}

#[test]
fn the_usual_shapes_give_the_same_bits() {
    let mut random = Random::new(5);
    for channels in [3, 16, 32, 64, 96, 128, 256] {
        for terms in 1..=3 {
            Case::new(&mut random, channels, terms, 1_000).check(Activation::Silu);
        }
    }
}

#[test]
fn images_of_many_pixels_give_the_same_bits() {
    let mut random = Random::new(11);
    for channels in [16, 40, 15] {
        let mut case = Case::of(&mut random, [36, 33], channels, 1, 1_000);
        ACTIVATIONS.iter().for_each(|&activation| case.check(activation));
        case.bias = ODD.iter().copied().cycle().take(channels).collect();
        case.check(Activation::Silu);
    }
}

#[test]
fn what_is_no_number_or_out_of_range_gives_the_same_bits() {
    let mut random = Random::new(6);
    for channels in [ODD.len(), 3 * ODD.len(), 6 * ODD.len()] {
        let mut case = Case::new(&mut random, channels, 1, 1_000);
        case.images[0].2.fill(0.0);
        case.bias = ODD.iter().copied().cycle().take(channels).collect();
        ACTIVATIONS[1..].iter().for_each(|&activation| case.check(activation));
        case.check(Activation::Clip { low: 0.0, high: 6.0 });
        case.check(Activation::Clip { low: -6.0, high: 0.0 });
        let linear = case.int8(Isa::Scalar, Activation::Linear, 0..case.rows, -128);
        for isa in Isa::available() {
            assert_eq!(case.int8(isa, Activation::Linear, 0..case.rows, -128), linear, "{isa}");
        }
    }
}

#[test]
fn by_hand() {
    // Two channels of two pixels in one row, doubled: 2 a - b + 0.5, and a + b.
    let shape = Shape { channels: 2, width: 2, up: 1, output: View { origin: 0, row: 17, pixel: 4 } };
    let view = View { origin: 0, row: 8, pixel: 4 };
    let mut a = vec![store(99); 8 + SLACK];
    for (at, value) in [(0, 1), (1, -128), (4, 127), (5, 2)] {
        a[at] = store(value);
    }
    let mut b = vec![99.0; 8 + SLACK];
    for (at, value) in [(0, 3.0), (1, 4.0), (4, -1.0), (5, 0.25)] {
        b[at] = value;
    }
    for isa in Isa::available() {
        let terms = [
            Term { cells: Cells::Int8(&a), view, factor: &[2.0, 1.0] },
            Term { cells: Cells::Float(&b), view, factor: &[-1.0, 1.0] },
        ];
        let mut float = [9.0; 34];
        run(isa, &shape, &terms, &[0.5, 0.0], Activation::Linear, 0..1, Target::Float(&mut float));
        let mut int8 = [store(9); 34];
        let target = Target::Int8 { cells: &mut int8, per_unit: 2.0, zero_point: 1, low: -100, high: 101 };
        run(isa, &shape, &terms, &[0.5, 0.0], Activation::Clip { low: -200.0, high: 60.0 }, 0..1, target);
        for line in [0, 17] {
            for column in [0, 4] {
                assert_eq!(float[line + column..][..4], [-0.5, -124.0, 9.0, 9.0], "{isa}");
                assert_eq!(float[line + 8 + column..][..4], [255.5, 2.25, 9.0, 9.0], "{isa}");
                // -0.5 · 2 + 1 and -124 · 2 clipped; 60 · 2 clipped; 2.25 · 2 = 4.5, to even 4, and 1.
                assert_eq!([0, 1, 2].map(|c| load(int8[line + column + c])), [0, -100, 9], "{isa}");
                assert_eq!([0, 1, 3].map(|c| load(int8[line + 8 + column + c])), [101, 5, 9], "{isa}");
            }
        }
        assert_eq!(float[16], 9.0);
    }
}
