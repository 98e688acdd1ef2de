//! The tiles of a frame as they came, in one buffer that the next frame uses again.

use crate::wire::Tiling;
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes that a buffer has room for from the start: most frames of maps take less.
const ROOM: usize = 16 * 1024;

/// Each tile with its checksum, where it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tiles {
    bytes: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
}

impl Tiles {
    /// Empty, with room for `bytes` bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        let (mut tiles, room) = (Tiles::default(), bytes.max(ROOM));
        tiles.bytes.reserve_exact(room);
        tiles.places.reserve_exact(Tiling::MAX_TILES);
        tiles
    }

    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for `bytes` bytes in all.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
    }

    /// Begins a frame of `count` tiles.
    pub(super) fn clear(&mut self, count: usize) {
        self.bytes.clear();
        self.places.clear();
        self.places.resize(count, None);
    }

    /// Takes tile `index`, which has not arrived before.
    pub(super) fn put(&mut self, index: usize, tile: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(tile);
        self.places[index] = Some(start..self.bytes.len());
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
        Some(&self.bytes[self.places.get(index)?.clone()?])
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
