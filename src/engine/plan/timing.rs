//! When a step has to run: once for the inputs that stay, once a timestep, or always.

use super::slot::SlotId;
use super::step::Step;

/// What a step hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// Inputs that stay for several runs, or none.
    Once,
    /// The timestep alone.
    Timestep,
    Always,
}

/// The timing of each step: `lasting` are the slots of inputs that stay, `timestep` that of the timestep, `changing` all others.
pub fn timings(
    steps: &[Step],
    slots: usize,
    lasting: &[SlotId],
    timestep: Option<SlotId>,
    changing: &[SlotId],
) -> Vec<Timing> {
    let [lasting, timed, changing] =
        [lasting, timestep.as_slice(), changing].map(|inputs| reached(steps, slots, inputs));
    let mut timings: Vec<Timing> = (0..steps.len())
        .map(|index| match (changing[index], timed[index], lasting[index]) {
            (true, ..) | (_, true, true) => Timing::Always,
            (false, true, false) => Timing::Timestep,
            (false, false, _) => Timing::Once,
        })
        .collect();
    // What is put back for a timestep is whole slots: those that others write to as well are not.
    loop {
        let mut settled = true;
        let mut is_mixed = vec![false; slots];
        for (step, _) in steps.iter().zip(&timings).filter(|(_, timing)| **timing != Timing::Timestep) {
            is_mixed[step.output()] = true;
        }
        for (step, timing) in steps.iter().zip(&mut timings).filter(|(_, timing)| **timing == Timing::Timestep) {
            let mut mixed = is_mixed[step.output()];
            step.reads(&mut |slot| mixed |= is_mixed[slot]);
            if mixed {
                (*timing, settled) = (Timing::Always, false);
            }
        }
        if settled {
            return timings;
        }
    }
}

/// For each step whether what it writes changes with what is in `inputs`.
fn reached(steps: &[Step], slots: usize, inputs: &[SlotId]) -> Vec<bool> {
    let (mut changes, mut reached) = (vec![false; slots], vec![false; steps.len()]);
    inputs.iter().for_each(|&slot| changes[slot] = true);
    // Several steps may write a slot: what one of them changes, a step before it may read again.
    loop {
        let mut settled = true;
        for (step, reached) in steps.iter().zip(&mut reached) {
            let mut now = step.completes() && changes[step.output()];
            step.reads(&mut |slot| now |= changes[slot]);
            settled &= now == *reached;
            *reached |= now;
            changes[step.output()] |= now;
        }
        if settled {
            return reached;
        }
    }
}
