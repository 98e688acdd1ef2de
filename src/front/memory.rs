//! The front's memory, laid out by its user: in a microcontroller, a static.

use crate::scene::assembly::BUFFERS;
use crate::scene::{SceneMemory, TileMemory};
use crate::wire::codec::Scratch;

/// Cells of the largest grid that a front serves where nothing else is said: the shipped bundle's 128x96.
pub const GRID_CELLS: usize = 128 * 96;
/// Bytes of the longest packet, and of the tiles of a frame, where nothing else is said. A map of that grid and 12 classes takes 6321 at most, in 8 tiles.
pub const PACKET_BYTES: usize = 8 * 1024;

/// All that a [`Front`](super::Front) works in. It starts as zeros, which cost a program no flash.
pub struct Memory<const CELLS: usize = GRID_CELLS, const BYTES: usize = PACKET_BYTES> {
    pub(super) tiles: [TileMemory<BYTES>; BUFFERS],
    pub(super) scene: SceneMemory<CELLS, BYTES>,
    pub(super) scratch: Scratch,
}

impl<const CELLS: usize, const BYTES: usize> Memory<CELLS, BYTES> {
    pub const fn new() -> Self {
        Memory { tiles: [const { TileMemory::new() }; BUFFERS], scene: SceneMemory::new(), scratch: Scratch::new() }
    }
}

impl<const CELLS: usize, const BYTES: usize> Default for Memory<CELLS, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}
