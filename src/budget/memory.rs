//! What weights take with the kernels of another machine: each packs them in its own order, with zeros to whole blocks.

use super::cost::Instructions;
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv8;
use crate::engine::plan::Plan;
use crate::engine::plan::step::{Conv8, Kernel8, Step};
use std::iter::Sum;

/// What plans hold, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub weights: u64,
    /// What a run writes to, and what threads need beside it.
    pub arena: u64,
}

impl Held {
    /// By a plan, with the kernels that `instructions` has.
    pub fn of(plan: &Plan, instructions: Instructions) -> Held {
        let weights = plan.steps().iter().map(|step| weights_bytes(step, instructions)).sum::<usize>();
        Held { weights: weights as u64, arena: arena_bytes(plan, instructions) as u64 }
    }

    /// By a plan, as it is here.
    pub fn here(plan: &Plan) -> Held {
        Held { weights: plan.weights_bytes() as u64, arena: plan.arena_bytes() as u64 }
    }
}

impl Sum for Held {
    fn sum<I: Iterator<Item = Held>>(all: I) -> Held {
        all.fold(Held::default(), |sum, held| Held {
            weights: sum.weights + held.weights,
            arena: sum.arena + held.arena,
        })
    }
}

/// Bytes of a step's weights and other constants.
fn weights_bytes(step: &Step, instructions: Instructions) -> usize {
    match step {
        Step::Conv8(step) if instructions.is_neon() => step.end.bytes() + conv8_bytes(step, instructions),
        Step::Conv32(step) if instructions.is_neon() => {
            let shape = &step.shape;
            let padded = shape.outputs.next_multiple_of(4);
            4 * padded * (shape.taps[0] * shape.taps[1] * shape.depth) + 4 * shape.outputs.next_multiple_of(8)
        }
        step => step.weights_bytes(),
    }
}

/// Bytes of the arena, of what each thread needs beside it, and of what is folded.
fn arena_bytes(plan: &Plan, instructions: Instructions) -> usize {
    let scratch = |instructions: Option<Instructions>| {
        let of = |step: &Step| match (step, instructions) {
            (Step::Conv8(conv), Some(instructions)) => scratch(conv, instructions),
            _ => step.scratch(),
        };
        8 * plan.steps().iter().map(of).max().unwrap_or(0) * plan.machine().threads.count()
    };
    let own = scratch(None);
    plan.arena_bytes() - own + if instructions.is_neon() { scratch(Some(instructions)) } else { own }
}

fn conv8_bytes(step: &Conv8, instructions: Instructions) -> usize {
    match &step.kernel {
        Kernel8::Dense(shape, weights) => {
            let (outputs, taps) = (shape.outputs.next_multiple_of(8), shape.taps[0] * shape.taps[1]);
            let depth = shape.depth.next_multiple_of(match is_winograd(step, instructions) {
                true => 8,
                false => 16,
            });
            let bytes = outputs * taps * depth.max(8);
            // What is kept in 4 bits takes half, and its factors.
            let share = if is_in_nibbles(shape, weights) { 0.6 } else { 1.0 };
            (bytes as f64 * share) as usize + 4 * outputs
        }
        Kernel8::Depthwise(shape, _) => {
            let taps = shape.taps[0] * shape.taps[1];
            shape.outputs.next_multiple_of(16) * (taps + 4) + 8 * taps
        }
    }
}

/// Whether the weights are kept in 4 bits, here as there.
fn is_in_nibbles(shape: &Shape, weights: &conv8::Weights) -> bool {
    10 * weights.bytes() < 8 * shape.outputs * shape.taps[0] * shape.taps[1] * shape.depth
}

fn is_winograd(step: &Conv8, instructions: Instructions) -> bool {
    match &step.kernel {
        Kernel8::Dense(shape, _) => instructions == Instructions::Neon && conv8::may_be_transformed(shape, step.rows),
        Kernel8::Depthwise(..) => false,
    }
}

/// Numbers of 8 bytes that a thread needs beside the arena: as `winograd::scratch` has it.
fn scratch(step: &Conv8, instructions: Instructions) -> usize {
    let Kernel8::Dense(shape, weights) = &step.kernel else { return 0 };
    let (taps, steps) = (shape.taps[0] * shape.taps[1], shape.depth.div_ceil(8));
    // Where weights of 4 bits are unpacked, for a block of outputs.
    let room = |depth: usize| if is_in_nibbles(shape, weights) { 2 * taps * depth + 16 } else { 0 };
    if !is_winograd(step, instructions) {
        return room(shape.depth.next_multiple_of(16)).div_ceil(2);
    }
    let group = 36 * steps * 64;
    let groups = (step.rows.div_ceil(4) * shape.width.div_ceil(4)).div_ceil(8);
    let band = ((192 << 10) / (2 * group)).next_multiple_of(4).max(4).min(groups);
    ((band * group + 36 * 64 * steps) / 2 + 4 * 8 * 36 * 8 + room(8 * steps)).div_ceil(2)
}
