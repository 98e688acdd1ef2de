//! What hangs on the timestep alone, for the timesteps of a schedule: computed when the plan is made, and put back when one of them comes.

use super::slot::SlotId;
use std::ops::Range;

#[derive(Debug)]
pub struct Timesteps {
    /// The plan's input that says which it is.
    pub input: usize,
    /// What the steps that hang on it leave for others.
    pub slots: Vec<SlotId>,
    folded: Vec<Folded>,
}

#[derive(Debug)]
struct Folded {
    /// Of the input.
    timestep: Vec<u8>,
    /// Of the slots, one after the other.
    bytes: Vec<u8>,
}

impl Timesteps {
    pub fn new(input: usize, slots: Vec<SlotId>) -> Self {
        Timesteps { input, slots, folded: Vec::new() }
    }

    pub fn bytes(&self) -> usize {
        self.folded.iter().map(|folded| folded.timestep.len() + folded.bytes.len()).sum()
    }

    /// Keeps what the slots hold for this timestep.
    pub fn keep(&mut self, timestep: &[u8], arena: &[u8], ranges: &[Range<usize>]) {
        let bytes = self.slots.iter().flat_map(|&slot| &arena[ranges[slot].clone()]).copied().collect();
        self.folded.push(Folded { timestep: timestep.to_vec(), bytes });
    }

    /// Puts back what was kept for this timestep, if it was.
    pub fn put_back(&self, input: &Range<usize>, arena: &mut [u8], ranges: &[Range<usize>]) -> bool {
        let Some(folded) = self.folded.iter().find(|folded| folded.timestep == arena[input.clone()]) else {
            return false;
        };
        let mut bytes = &folded.bytes[..];
        for &slot in &self.slots {
            let (own, rest) = bytes.split_at(ranges[slot].len());
            arena[ranges[slot].clone()].copy_from_slice(own);
            bytes = rest;
        }
        true
    }
}
