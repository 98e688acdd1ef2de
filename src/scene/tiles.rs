//! The tiles of a frame as they came, in one buffer that the next frame uses again.

use super::buffer::{Buffer, Full};
use crate::wire::Tiling;

/// Bytes that a buffer of its own memory has room for from the start: most frames of maps take less.
#[cfg(feature = "alloc")]
const ROOM: usize = 16 * 1024;

/// Where a tile lies in its frame's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    end: u32,
}

/// Memory for the tiles of a frame, to be lent: at most `BYTES` bytes of tiles.
#[derive(Debug)]
pub struct TileMemory<const BYTES: usize> {
    bytes: [u8; BYTES],
    places: [Option<Place>; Tiling::MAX_TILES],
}

impl<const BYTES: usize> TileMemory<BYTES> {
    pub const fn new() -> Self {
        TileMemory { bytes: [0; BYTES], places: [None; Tiling::MAX_TILES] }
    }
}

impl<const BYTES: usize> Default for TileMemory<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// Each tile with its checksum, where it arrived.
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug, PartialEq, Eq)]
pub struct Tiles<'a> {
    bytes: Buffer<'a, u8>,
    places: Buffer<'a, Option<Place>>,
}

impl<'a> Tiles<'a> {
    /// Empty, in lent memory.
    pub(super) fn lent<const BYTES: usize>(memory: &'a mut TileMemory<BYTES>) -> Self {
        Tiles { bytes: Buffer::lent(&mut memory.bytes), places: Buffer::lent(&mut memory.places) }
    }

    /// Empty, with room for `bytes` bytes.
    #[cfg(feature = "alloc")]
    pub(super) fn with_room(bytes: usize) -> Self {
        Tiles { bytes: Buffer::owned(bytes.max(ROOM)), places: Buffer::owned(Tiling::MAX_TILES) }
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for `bytes` bytes in all, where the memory isn't lent.
    #[cfg(feature = "alloc")]
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes.grow(bytes);
    }

    /// Begins a frame of `count` tiles, at most [`Tiling::MAX_TILES`].
    pub(super) fn clear(&mut self, count: usize) {
        self.bytes.clear();
        // Never full: there is a place for each tile that a frame can have.
        let _ = self.places.refill(count, None);
    }

    /// Takes tile `index`, which has not arrived before.
    ///
    /// # Errors
    /// [`Full`] where the memory is lent; the tile is then missing.
    pub(super) fn put(&mut self, index: usize, tile: &[u8]) -> Result<(), Full> {
        let start = self.bytes.len() as u32;
        self.bytes.append(tile)?;
        self.places[index] = Some(Place { start, end: self.bytes.len() as u32 });
        Ok(())
    }

    /// Tiles of the frame, arrived or not.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// `None` where it did not arrive.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let Place { start, end } = (*self.places.get(index)?)?;
        Some(&self.bytes[start as usize..end as usize])
    }

    /// Tile by tile; `None` where one did not arrive.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// How many arrived.
    pub fn arrived(&self) -> usize {
        self.places.iter().flatten().count()
    }
}
