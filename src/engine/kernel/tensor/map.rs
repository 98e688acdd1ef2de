//! A formula for each element of a tensor.

use super::formula::{DEPTH, Instruction, Stack, depth};
use super::walk::{Blocks, Strided};
use crate::engine::kernel::Isa;

/// Writes what `program` makes of `sources` to the elements of `target` that lie at `at` and the strides along `sizes`.
///
/// # Panics
/// If an index lies outside of its slice, or the formula is none.
pub fn run(
    isa: Isa,
    sizes: &[usize],
    program: &[Instruction],
    sources: &[Strided<'_, f32>],
    target: &mut [f32],
    at: usize,
    strides: &[usize],
) {
    assert!(depth(program).is_some_and(|depth| depth <= DEPTH));
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(sizes, program, sources, target, at, strides) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(sizes, program, sources, target, at, strides) },
        _ => body(sizes, program, sources, target, at, strides),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(
    sizes: &[usize],
    program: &[Instruction],
    sources: &[Strided<'_, f32>],
    target: &mut [f32],
    at: usize,
    strides: &[usize],
) {
    body(sizes, program, sources, target, at, strides);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(
    sizes: &[usize],
    program: &[Instruction],
    sources: &[Strided<'_, f32>],
    target: &mut [f32],
    at: usize,
    strides: &[usize],
) {
    body(sizes, program, sources, target, at, strides);
}

#[inline(always)]
fn body(
    sizes: &[usize],
    program: &[Instruction],
    sources: &[Strided<'_, f32>],
    target: &mut [f32],
    at: usize,
    strides: &[usize],
) {
    let mut stack = Stack::new();
    for block in Blocks::new(sizes) {
        let count = block.count();
        for instruction in program {
            match *instruction {
                Instruction::Read(source) => block.read(&sources[source], stack.push()),
                Instruction::Constant(value) => stack.push()[..count].fill(value),
                Instruction::Unary(function) => stack.unary(function, count),
                Instruction::Binary(function) => stack.binary(function, count),
            }
        }
        block.write(stack.pop(), target, at, strides, |value| value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::formula::{Binary, Unary};
    use super::*;
    use crate::engine::kernel::testing::Random;

    #[test]
    fn every_instruction_set_gives_the_same_bits_and_the_right_numbers() {
        let mut random = Random::new(3);
        type Exact = fn(f64) -> f64;
        let functions: [(Unary, Exact); 18] = [
            (Unary::Abs, f64::abs),
            (Unary::Ceil, f64::ceil),
            (Unary::Clip { low: -0.5, high: 2.0 }, |x| x.clamp(-0.5, 2.0)),
            (Unary::Cos, f64::cos),
            (Unary::Elu { alpha: 0.5 }, |x| if x < 0.0 { 0.5 * (x.exp() - 1.0) } else { x }),
            (Unary::Exp, f64::exp),
            (Unary::Floor, f64::floor),
            (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, |x| (0.2 * x + 0.5).clamp(0.0, 1.0)),
            (Unary::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            (Unary::LeakyRelu { alpha: 0.1 }, |x| if x < 0.0 { 0.1 * x } else { x }),
            (Unary::Negative, |x| -x),
            (Unary::Round, f64::round_ties_even),
            (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (Unary::Sign, f64::signum),
            (Unary::Sin, f64::sin),
            (Unary::Softplus, |x| x.exp().ln_1p()),
            (Unary::Softsign, |x| x / (1.0 + x.abs())),
            (Unary::Tanh, f64::tanh),
        ];
        let x = random.many(700, |random| 12.0 * random.unit() - 6.0);
        let y = random.many(7, |random| 4.0 * random.unit() - 2.0);
        // 7 channels of 10 x 10 pixels, channels together, a y for each: (f(x) + y) · 2
        let sizes = [100, 7];
        for (function, exact) in functions {
            let program = [
                Instruction::Read(0),
                Instruction::Unary(function),
                Instruction::Read(1),
                Instruction::Binary(Binary::Add),
                Instruction::Constant(2.0),
                Instruction::Binary(Binary::Multiply),
            ];
            let of = |isa| {
                let sources = [
                    Strided { cells: &x[..], at: 0, strides: &[7, 1] },
                    Strided { cells: &y[..], at: 0, strides: &[0, 1] },
                ];
                let mut target = vec![f32::NAN; 701];
                run(isa, &sizes, &program, &sources, &mut target, 1, &[7, 1]);
                target
            };
            let scalar = of(Isa::Scalar);
            for isa in Isa::available() {
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&of(isa)[1..]), bits(&scalar[1..]), "{function:?} on {isa}");
            }
            for (at, &value) in scalar[1..].iter().enumerate() {
                let right = 2.0 * (exact(f64::from(x[at])) + f64::from(y[at % 7]));
                assert!(
                    (f64::from(value) - right).abs() < 2e-5 * (1.0 + right.abs()),
                    "{function:?} of {}: {value}, {right}",
                    x[at]
                );
            }
        }
    }
}
