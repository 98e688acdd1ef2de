//! Resident memory of a whole program, at worst.

use super::Held;

/// What a link and the scenes of a stream hold at most: a capture that came damaged is searched over six records of the largest size.
const LINK_BYTES: u64 = 8 << 20;
/// Stacks, and what an allocator keeps for itself.
const HEAP_BYTES: u64 = 4 << 20;

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    pub weights: u64,
    pub arena: u64,
    /// The receiver's own: conditions, beliefs, planes between networks.
    pub buffers: u64,
    /// What is taken while a model is loaded, and not always given back.
    pub loading: u64,
    /// The program's own text and constants.
    pub program: u64,
    pub link: u64,
    pub heap: u64,
}

impl Resident {
    /// `own_bytes` is what a receiver says that it takes on this machine, `here` what its plans hold of it; `there` is what they would hold on the
    /// board. `largest_file` is that of the models, `program` the program's text.
    pub fn new(there: Held, here: Held, own_bytes: u64, largest_file: u64, program: u64) -> Resident {
        Resident {
            weights: there.weights,
            arena: there.arena,
            buffers: own_bytes.saturating_sub(here.weights + here.arena),
            loading: 2 * largest_file,
            program,
            link: LINK_BYTES,
            heap: HEAP_BYTES,
        }
    }

    /// With what it is called.
    pub fn lines(&self) -> [(&'static str, u64); 7] {
        [
            ("weights", self.weights),
            ("arena", self.arena),
            ("receiver's buffers", self.buffers),
            ("loading", self.loading),
            ("program", self.program),
            ("link and streams", self.link),
            ("heap and stacks", self.heap),
        ]
    }

    /// What another receiver beside this one doesn't share: all but weights, loading and the program.
    pub fn own(&self) -> u64 {
        self.arena + self.buffers + self.link + self.heap
    }

    pub fn total(&self) -> u64 {
        self.lines().iter().map(|(_, bytes)| bytes).sum()
    }
}
