//! A node that has no step of its own, run by somebody else: tract. It allocates.

use super::arena::Rest;
use super::slot::SlotId;
use super::step::Layout;
use std::fmt;
use std::sync::Arc;

/// Runs a node on the bytes of its computed inputs, and writes one of its outputs, by its place among those that are not left out.
pub type Operator = dyn Fn(&[&[u8]], usize, &mut [u8]) -> Result<(), String> + Send + Sync;

/// A tensor of the arena in one piece.
#[derive(Debug, Clone)]
pub struct Dense {
    pub slot: SlotId,
    /// First byte in the slot.
    pub at: usize,
    pub bytes: usize,
}

pub struct Foreign {
    pub label: String,
    pub operator: Arc<Operator>,
    pub inputs: Vec<Dense>,
    /// Which output of the node, and where it goes.
    pub result: usize,
    pub to: Dense,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Foreign {
    pub fn output(&self) -> SlotId {
        self.to.slot
    }

    pub fn reads(&self, read: &mut dyn FnMut(SlotId)) {
        self.inputs.iter().for_each(|input| read(input.slot));
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) -> Result<(), String> {
        let bytes = |input: &Dense| &layout.bytes(rest, input.slot)[input.at..][..input.bytes];
        let inputs: Vec<&[u8]> = self.inputs.iter().map(bytes).collect();
        let to = &mut own[self.to.at..][..self.to.bytes];
        (self.operator)(&inputs, self.result, to).map_err(|reason| format!("{}: {reason}", self.label))
    }
}
