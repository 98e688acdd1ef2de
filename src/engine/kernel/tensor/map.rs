//! A formula for each element of a tensor, kept as a float or quantized.

use super::BLOCK;
use super::formula::{DEPTH, Instruction, Stack, depth};
use super::walk::{Blocks, Strided, is_upright};
use crate::exp::{at_least, at_most};
use crate::{Isa, store};

/// Added to a number between −2^22 and 2^22, it rounds it to the nearest whole one, half to even.
const WHOLE: f32 = 12_582_912.0;

/// Where the results go: elements at `at` and the strides.
#[derive(Debug)]
pub enum Target<'a> {
    Float(&'a mut [f32]),
    /// Stored cells, quantized as [`pointwise::Target::Int8`](crate::pointwise::Target) says.
    Int8 {
        cells: &'a mut [u8],
        per_unit: f32,
        zero_point: i32,
        low: i32,
        high: i32,
    },
}

/// What is computed: a formula over sources, for each element of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub sizes: &'a [usize],
    pub program: &'a [Instruction],
    pub sources: &'a [Strided<'a, f32>],
    /// Of the target.
    pub at: usize,
    pub strides: &'a [usize],
}

/// # Panics
/// If an index lies outside of its slice, or the formula is none.
pub fn run(isa: Isa, job: &Job<'_>, target: Target<'_>) {
    assert!(depth(job.program).is_some_and(|depth| depth <= DEPTH));
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(job, target) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(job, target) },
        _ => body(job, target),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(job: &Job<'_>, target: Target<'_>) {
    body(job, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(job: &Job<'_>, target: Target<'_>) {
    body(job, target);
}

#[inline(always)]
fn body(job: &Job<'_>, mut target: Target<'_>) {
    let (mut stack, mut stored) = (Stack::new(), [0u8; BLOCK]);
    let upright = is_upright(job.strides) || job.sources.iter().any(|source| is_upright(source.strides));
    for block in Blocks::new(job.sizes, upright) {
        let count = block.count();
        for instruction in job.program {
            match *instruction {
                Instruction::Read(source) => block.read(&job.sources[source], stack.push()),
                Instruction::Constant(value) => stack.push()[..count].fill(value),
                Instruction::Unary(function) => stack.unary(function, count),
                Instruction::Binary(function) => stack.binary(function, count),
            }
        }
        let values = stack.pop();
        match &mut target {
            Target::Float(cells) => block.write(values, cells, job.at, job.strides),
            Target::Int8 { cells, per_unit, zero_point, low, high } => {
                let (least, most) = ((*low - *zero_point) as f32, (*high - *zero_point) as f32);
                for (stored, &value) in stored[..count].iter_mut().zip(values) {
                    // The sum has the nearest whole number in its low bits: a cast of any float is not a vector instruction.
                    let cell = at_most(at_least(value * *per_unit, least), most) + WHOLE;
                    *stored = store(cell.to_bits().wrapping_sub(WHOLE.to_bits()) as i32 + *zero_point);
                }
                block.write(&stored, cells, job.at, job.strides);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::formula::{Binary, Unary};
    use super::*;
    use crate::testing::Random;

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
                let job = Job { sizes: &sizes, program: &program, sources: &sources, at: 1, strides: &[7, 1] };
                run(isa, &job, Target::Float(&mut target));
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

    #[test]
    fn results_are_quantized_as_images_are() {
        use crate::load;
        let x: Vec<f32> = (0..40).map(|at| at as f32 - 20.5).chain([f32::NAN, 1e9, -1e9]).collect();
        for isa in Isa::available() {
            let sources = [Strided { cells: &x[..], at: 0, strides: &[0, 1] }];
            let program = [Instruction::Read(0)];
            let job = Job { sizes: &[1, x.len()], program: &program, sources: &sources, at: 2, strides: &[0, 3] };
            let mut cells = vec![0; 3 * x.len()];
            run(isa, &job, Target::Int8 { cells: &mut cells, per_unit: 2.0, zero_point: 3, low: -30, high: 20 });
            for (at, &x) in x.iter().enumerate() {
                let right = if x.is_nan() { -30 } else { ((2.0 * x).round_ties_even() as i32 + 3).clamp(-30, 20) };
                assert_eq!(load(cells[2 + 3 * at]), right, "{x} on {isa}");
            }
        }
    }
}
