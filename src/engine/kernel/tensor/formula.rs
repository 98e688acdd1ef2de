//! What an elementwise formula is: operators in postfix order over a stack of blocks.

use super::BLOCK;
use crate::exp::{exp, log, sigmoid};

/// The deepest stack.
pub const DEPTH: usize = 6;

/// A function of one number, as ONNX defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    Abs,
    Ceil,
    /// min(max(x, low), high)
    Clip {
        low: f32,
        high: f32,
    },
    Cos,
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    Floor,
    /// max(0, min(1, alpha · x + beta))
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    Log,
    Negative,
    Reciprocal,
    /// Half to even.
    Round,
    Sigmoid,
    Sign,
    Sin,
    Softplus,
    Softsign,
    SquareRoot,
    Tanh,
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Maximum,
    Minimum,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instruction {
    /// Pushes a source.
    Read(usize),
    /// Pushes a number.
    Constant(f32),
    /// Replaces the top.
    Unary(Unary),
    /// Replaces the two on top: the lower one is the left operand.
    Binary(Binary),
}

/// The deepest that the stack gets; `None` if the formula doesn't leave one value.
pub fn depth(program: &[Instruction]) -> Option<usize> {
    let (mut now, mut most) = (0usize, 0);
    for instruction in program {
        now = match instruction {
            Instruction::Read(_) | Instruction::Constant(_) => now + 1,
            Instruction::Unary(_) => now.checked_sub(1)? + 1,
            Instruction::Binary(_) => now.checked_sub(2)? + 1,
        };
        most = most.max(now);
    }
    (now == 1).then_some(most)
}

impl Unary {
    #[inline(always)]
    pub(super) fn apply(self, block: &mut [f32]) {
        // Long functions go in by name, not as closures: only so they are sure to be compiled with the caller's instructions.
        #[inline(always)]
        fn each(block: &mut [f32], function: impl Fn(f32) -> f32) {
            for x in block {
                *x = function(*x);
            }
        }
        match self {
            Unary::Abs => each(block, f32::abs),
            Unary::Ceil => each(block, f32::ceil),
            Unary::Clip { low, high } => each(block, |x| at_most(at_least(x, low), high)),
            Unary::Cos => each(block, libm::cosf),
            Unary::Elu { alpha } => {
                for x in block {
                    *x = if *x < 0.0 { alpha * (exp(*x) - 1.0) } else { *x };
                }
            }
            Unary::Erf => each(block, libm::erff),
            Unary::Exp => each(block, exponential),
            Unary::Floor => each(block, f32::floor),
            Unary::HardSigmoid { alpha, beta } => each(block, |x| at_most(at_least(alpha * x + beta, 0.0), 1.0)),
            Unary::HardSwish => each(block, |x| x * at_most(at_least(x / 6.0 + 0.5, 0.0), 1.0)),
            Unary::LeakyRelu { alpha } => each(block, |x| if x < 0.0 { alpha * x } else { x }),
            Unary::Log => each(block, log),
            Unary::Negative => each(block, |x| -x),
            Unary::Reciprocal => each(block, |x| 1.0 / x),
            Unary::Round => each(block, f32::round_ties_even),
            Unary::Sigmoid => each(block, sigmoid),
            Unary::Sign => each(block, sign),
            Unary::Sin => each(block, libm::sinf),
            Unary::Softplus => each(block, softplus),
            Unary::Softsign => each(block, |x| x / (1.0 + x.abs())),
            Unary::SquareRoot => each(block, f32::sqrt),
            Unary::Tanh => each(block, libm::tanhf),
        }
    }
}

impl Binary {
    /// left becomes what the operator makes of both.
    #[inline(always)]
    pub(super) fn apply(self, left: &mut [f32], right: &[f32]) {
        #[inline(always)]
        fn each(left: &mut [f32], right: &[f32], function: impl Fn(f32, f32) -> f32) {
            for (x, &y) in left.iter_mut().zip(right) {
                *x = function(*x, y);
            }
        }
        match self {
            Binary::Add => each(left, right, |x, y| x + y),
            Binary::Subtract => each(left, right, |x, y| x - y),
            Binary::Multiply => each(left, right, |x, y| x * y),
            Binary::Divide => each(left, right, |x, y| x / y),
            Binary::Maximum => each(left, right, |x, y| if x > y || x.is_nan() { x } else { y }),
            Binary::Minimum => each(left, right, |x, y| if x < y || x.is_nan() { x } else { y }),
            Binary::Power => each(left, right, libm::powf),
        }
    }
}

/// A NaN stays one.
#[inline(always)]
fn at_least(x: f32, low: f32) -> f32 {
    if x < low { low } else { x }
}

#[inline(always)]
fn at_most(x: f32, high: f32) -> f32 {
    if x > high { high } else { x }
}

/// [`exp`] with 0, infinity and NaN where it saturates.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    let inside = exp(x);
    let above = if x > 88.72 { f32::INFINITY } else { inside };
    let below = if x < -87.3 { 0.0 } else { above };
    if x.is_nan() { x } else { below }
}

#[inline(always)]
fn softplus(x: f32) -> f32 {
    at_least(x, 0.0) + log(1.0 + exp(-x.abs()))
}

#[inline(always)]
fn sign(x: f32) -> f32 {
    let negative = if x < 0.0 { -1.0 } else { x };
    if x > 0.0 { 1.0 } else { negative }
}

/// The stack of a formula while it is computed.
pub(super) struct Stack {
    blocks: [[f32; BLOCK]; DEPTH],
    len: usize,
}

impl Stack {
    pub(super) fn new() -> Self {
        Stack { blocks: [[0.0; BLOCK]; DEPTH], len: 0 }
    }

    #[inline(always)]
    pub(super) fn push(&mut self) -> &mut [f32; BLOCK] {
        self.len += 1;
        &mut self.blocks[self.len - 1]
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> &[f32; BLOCK] {
        self.len -= 1;
        &self.blocks[self.len]
    }

    #[inline(always)]
    pub(super) fn unary(&mut self, function: Unary, count: usize) {
        function.apply(&mut self.blocks[self.len - 1][..count]);
    }

    #[inline(always)]
    pub(super) fn binary(&mut self, function: Binary, count: usize) {
        self.len -= 1;
        let (left, right) = self.blocks.split_at_mut(self.len);
        function.apply(&mut left[self.len - 1][..count], &right[0][..count]);
    }
}
