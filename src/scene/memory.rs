//! Memory for a scene, to be lent where there is no allocator.

/// For grids of up to `CELLS` cells; tiles of parity of up to `BYTES` bytes can restore others. It starts as zeros, which cost a program no flash.
#[derive(Debug)]
pub struct SceneMemory<const CELLS: usize, const BYTES: usize> {
    pub(super) cells: [u8; CELLS],
    pub(super) confidence: [u8; CELLS],
    pub(super) known: [bool; CELLS],
    pub(super) key_cells: [u8; CELLS],
    pub(super) key_known: [bool; CELLS],
    pub(super) restored: [u8; BYTES],
}

impl<const CELLS: usize, const BYTES: usize> SceneMemory<CELLS, BYTES> {
    pub const fn new() -> Self {
        SceneMemory {
            cells: [0; CELLS],
            confidence: [0; CELLS],
            known: [false; CELLS],
            key_cells: [0; CELLS],
            key_known: [false; CELLS],
            restored: [0; BYTES],
        }
    }
}

impl<const CELLS: usize, const BYTES: usize> Default for SceneMemory<CELLS, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}
