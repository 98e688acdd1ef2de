//! Any function of an int8 cell: out = table[cell].

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::{Isa, View, load, store};
use std::ops::Range;

/// What is fixed when a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    /// In pixels.
    pub width: usize,
    pub input: View,
    pub output: View,
}

/// What is stored for each stored cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table([u8; 256]);

impl Table {
    /// `of` gives a value in −128..=127 for each of these values.
    ///
    /// # Panics
    /// If it gives another.
    pub fn new(of: impl Fn(i32) -> i32) -> Self {
        Table(std::array::from_fn(|cell| {
            let value = of(load(cell as u8));
            assert!((-128..=127).contains(&value));
            store(value)
        }))
    }
}

/// Computes the rows `rows` of `output`, which starts at the first cell of row `rows.start`: the view's origin and the rows before are cut
/// off.
///
/// # Panics
/// If a slice is too short for what the shape says.
pub fn run(isa: Isa, shape: &Shape, table: &Table, input: &[u8], rows: Range<usize>, output: &mut [u8]) {
    let Shape { channels, width, input: source, output: target } = *shape;
    // Pixels with nothing between them are like one.
    let dense = source.pixel == channels && target.pixel == channels;
    let (pixels, length) = if dense { (1, width * channels) } else { (width, channels) };
    for y in rows.clone() {
        for x in 0..pixels {
            let from = &input[source.origin + y * source.row + x * source.pixel..][..length];
            let to = &mut output[(y - rows.start) * target.row + x * target.pixel..][..length];
            let done = match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => avx512::blocks(&table.0, from, to),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonDot => neon::blocks(&table.0, from, to),
                _ => 0,
            };
            for (from, to) in from[done..].iter().zip(&mut to[done..]) {
                *to = table.0[usize::from(*from)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn every_cell_becomes_what_the_table_says() {
        let mut random = Random::new(10);
        let table = Table::new(|q| (q * 7 + 3).rem_euclid(256) - 128);
        for _ in 0..100 {
            let (channels, rows, width) = (1 + random.below(150), 1 + random.below(4), 1 + random.below(9));
            let view = |random: &mut Random| {
                let pixel = channels + random.below(2) * random.below(9);
                View { origin: random.below(9), row: width * pixel + random.below(9), pixel }
            };
            let shape = Shape { channels, width, input: view(&mut random), output: view(&mut random) };
            let input = random.many(shape.input.origin + rows * shape.input.row, |r| store(r.any_i8().into()));
            let mut exact = vec![7; rows * shape.output.row];
            for y in 0..rows {
                for x in 0..width {
                    for c in 0..channels {
                        let q = load(input[shape.input.origin + y * shape.input.row + x * shape.input.pixel + c]);
                        exact[y * shape.output.row + x * shape.output.pixel + c] =
                            store((q * 7 + 3).rem_euclid(256) - 128);
                    }
                }
            }
            for isa in Isa::available() {
                let mut output = vec![7; exact.len()];
                let half = rows / 2;
                run(isa, &shape, &table, &input, 0..half, &mut output);
                run(isa, &shape, &table, &input, half..rows, &mut output[half * shape.output.row..]);
                assert_eq!(output, exact, "{isa} {shape:?}");
            }
        }
    }
}
