//! Zero points that are in no weights and no offsets: what the sums of int8 products lack for them, and what becomes of the sums then.
//!
//! sum[p, o] = acc[p, o] − weights_zero[o] · window[p, o / each] − zero_point · total[o], in 32 bits, is what the epilogue gets.
//! Behind the sums of a pixel's outputs lie those of the same window with all weights 1: window[p, g] = acc[p, outputs + g].

use super::Isa;
pub use super::epilogue::{Epilogue, Output};
use super::{View, store};
use std::ops::Range;

/// Outputs whose sums are computed together.
const BLOCK: usize = 64;

/// What is fixed when a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub outputs: usize,
    /// Outputs that share a window: a group's.
    pub each: usize,
    /// In pixels.
    pub width: usize,
    /// Of the sums.
    pub input: View,
    pub output: View,
}

/// What the sums lack: vectors with an element for each output, or empty where nothing is lacking.
#[derive(Debug, Clone, Copy)]
pub struct Lack<'a> {
    /// Zero points of the weights.
    pub weights_zero: &'a [i32],
    /// Of the cells.
    pub zero_point: i32,
    /// Σ (w − zero point of w)
    pub total: &'a [i32],
}

/// Computes the rows `rows` of `output`, which starts at the first cell of row `rows.start`: the view's origin and the rows before are cut off.
///
/// # Panics
/// If a slice is too short for what the shape says.
pub fn run(
    isa: Isa,
    shape: &Shape,
    sums: &[i32],
    rows: Range<usize>,
    lack: Lack<'_>,
    epilogue: Epilogue<'_>,
    output: Output<'_>,
) {
    epilogue.check(shape.outputs, &output);
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(shape, sums, rows, lack, epilogue, output) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(shape, sums, rows, lack, epilogue, output) },
        _ => body(shape, sums, rows, lack, epilogue, output),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(shape: &Shape, sums: &[i32], rows: Range<usize>, lack: Lack<'_>, epilogue: Epilogue<'_>, output: Output<'_>) {
    body(shape, sums, rows, lack, epilogue, output);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(shape: &Shape, sums: &[i32], rows: Range<usize>, lack: Lack<'_>, epilogue: Epilogue<'_>, output: Output<'_>) {
    body(shape, sums, rows, lack, epilogue, output);
}

#[inline(always)]
fn body(
    shape: &Shape,
    sums: &[i32],
    rows: Range<usize>,
    lack: Lack<'_>,
    epilogue: Epilogue<'_>,
    mut output: Output<'_>,
) {
    let &Shape { outputs, each, width, input, output: target } = shape;
    let mut block = [0i32; BLOCK];
    for (y, x) in rows.clone().flat_map(|y| (0..width).map(move |x| (y, x))) {
        let pixel = &sums[input.origin + y * input.row + x * input.pixel..];
        let at = (y - rows.start) * target.row + x * target.pixel;
        for first in (0..outputs).step_by(BLOCK) {
            let own = first..outputs.min(first + BLOCK);
            let block = &mut block[..own.len()];
            block.copy_from_slice(&pixel[own.clone()]);
            if !lack.weights_zero.is_empty() {
                let mut from = own.start;
                while from < own.end {
                    let group = from / each;
                    let (share, window) = (from..own.end.min((group + 1) * each), pixel[outputs + group]);
                    let sums = &mut block[share.start - first..share.end - first];
                    for (sum, &zero) in sums.iter_mut().zip(&lack.weights_zero[share.clone()]) {
                        *sum = sum.wrapping_sub(zero.wrapping_mul(window));
                    }
                    from = share.end;
                }
            }
            if !lack.total.is_empty() {
                for (sum, &total) in block.iter_mut().zip(&lack.total[own.clone()]) {
                    *sum = sum.wrapping_sub(lack.zero_point.wrapping_mul(total));
                }
            }
            end(block, own, epilogue, &mut output, at);
        }
    }
}

/// [`Epilogue::put`] for the outputs `own` of a pixel that begins at `at`.
#[inline(always)]
fn end(block: &[i32], own: Range<usize>, epilogue: Epilogue<'_>, output: &mut Output<'_>, at: usize) {
    let place = at + own.start..at + own.end;
    match (epilogue, output) {
        (Epilogue::Int8 { scale, zero_point, low, high }, Output::Int8(cells)) => {
            let (least, most) = ((low - zero_point) as f32, (high - zero_point) as f32);
            for ((cell, &sum), &scale) in cells[place].iter_mut().zip(block).zip(&scale[own]) {
                let real = (sum as f32 * scale).max(least).min(most);
                *cell = store(real.round_ties_even() as i32 + zero_point);
            }
        }
        (Epilogue::Float { scale, bias }, Output::Float(cells)) => {
            let factors = scale[own.clone()].iter().zip(&bias[own]);
            for ((cell, &sum), (scale, bias)) in cells[place].iter_mut().zip(block).zip(factors) {
                *cell = sum as f32 * scale + bias;
            }
        }
        (Epilogue::Sums, Output::Sums(cells)) => cells[place].copy_from_slice(block),
        _ => unreachable!("checked before"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn every_instruction_set_gives_what_the_definition_says() {
        let mut random = Random::new(7);
        for round in 0..60 {
            let (each, groups) = (1 + random.below(40), 1 + random.below(4));
            let (outputs, width, rows) = (each * groups, 1 + random.below(5), 1 + random.below(3));
            let view = |channels: usize, origin: usize| {
                let pixel = channels.next_multiple_of(4);
                View { origin, row: width * pixel + 4, pixel }
            };
            let (input, target) = (view(outputs + groups, random.below(9)), view(outputs, 0));
            let shape = Shape { outputs, each, width, input, output: target };
            let any = |random: &mut Random| random.below(1 << 20) as i32 - (1 << 19);
            let sums = random.many(input.origin + rows * input.row, any);
            let zeros = random.many(outputs, |random| random.any_i8().into());
            let totals = random.many(outputs, any);
            let scale = random.many(outputs, |random| random.unit() / 50_000.0);
            let bias = random.many(outputs, |random| random.unit());
            let lack = Lack {
                weights_zero: if round % 3 == 0 { &[] } else { &zeros },
                zero_point: random.any_i8().into(),
                total: if round % 3 == 1 { &[] } else { &totals },
            };
            let size = rows * target.row;
            let (mut cells, mut reals, mut whole) = (vec![7u8; size], vec![7f32; size], vec![7i32; size]);
            let int8 = Epilogue::Int8 { scale: &scale, zero_point: 3, low: -100, high: 90 };
            let float = Epilogue::Float { scale: &scale, bias: &bias };
            for (y, x, o) in (0..rows).flat_map(|y| (0..width).flat_map(move |x| (0..outputs).map(move |o| (y, x, o))))
            {
                let pixel = &sums[input.origin + y * input.row + x * input.pixel..];
                let mut sum = pixel[o];
                if let Some(zero) = lack.weights_zero.get(o) {
                    sum = sum.wrapping_sub(zero.wrapping_mul(pixel[outputs + o / each]));
                }
                if let Some(total) = lack.total.get(o) {
                    sum = sum.wrapping_sub(lack.zero_point.wrapping_mul(*total));
                }
                let at = y * target.row + x * target.pixel + o;
                int8.put(sum, o, &mut Output::Int8(&mut cells), at);
                float.put(sum, o, &mut Output::Float(&mut reals), at);
                Epilogue::Sums.put(sum, o, &mut Output::Sums(&mut whole), at);
            }
            for isa in Isa::available() {
                let (mut own_cells, mut own_reals, mut own_whole) = (vec![7; size], vec![7.0; size], vec![7; size]);
                // In two parts.
                for part in [0..rows / 2, rows / 2..rows] {
                    let from = part.start * target.row;
                    let run = |epilogue, output| run(isa, &shape, &sums, part.clone(), lack, epilogue, output);
                    run(int8, Output::Int8(&mut own_cells[from..]));
                    run(float, Output::Float(&mut own_reals[from..]));
                    run(Epilogue::Sums, Output::Sums(&mut own_whole[from..]));
                }
                assert_eq!(own_cells, cells, "{isa}");
                assert_eq!(own_reals, reals, "{isa}");
                assert_eq!(own_whole, whole, "{isa}");
            }
        }
    }
}
