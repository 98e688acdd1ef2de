//! What did not end in a scene, counted.

use super::{Dropped, ReceivedFrame};
use crate::wire::WireError;
use core::ops::Add;

/// Packets that did not end in a scene, and tiles that came damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Drops {
    /// Packets whose header does not hold, or that lean on a key frame that is missing.
    pub refused: u64,
    pub duplicate: u64,
    /// Packets of frames that were closed without them.
    pub stale: u64,
    pub other_stream: u64,
    /// Packets that the lent memory has no room for.
    pub no_room: u64,
    /// Tiles whose checksum or length is wrong.
    pub damaged_tiles: u64,
    /// Headers that came damaged and were mended.
    pub repaired_headers: u64,
}

impl Drops {
    /// Packets that were of no use.
    pub fn packets(&self) -> u64 {
        self.refused + self.duplicate + self.stale + self.other_stream + self.no_room
    }

    pub fn packet(&mut self, why: Dropped) {
        *match why {
            Dropped::Refused(_) => &mut self.refused,
            Dropped::Duplicate { .. } => &mut self.duplicate,
            Dropped::Stale { .. } => &mut self.stale,
            Dropped::OtherStream { .. } => &mut self.other_stream,
            Dropped::NoRoom { .. } => &mut self.no_room,
        } += 1;
    }

    pub fn frame(&mut self, frame: &ReceivedFrame<'_>) {
        self.repaired_headers += u64::from(frame.repaired);
    }

    /// A tile that can't be read. What a delta frame leans on may be missing: then nothing is wrong with the frame.
    pub fn tile(&mut self, error: WireError) {
        self.damaged_tiles += u64::from(error != WireError::NoReference);
    }
}

impl Add for Drops {
    type Output = Drops;

    fn add(self, other: Drops) -> Drops {
        Drops {
            refused: self.refused + other.refused,
            duplicate: self.duplicate + other.duplicate,
            stale: self.stale + other.stale,
            other_stream: self.other_stream + other.other_stream,
            no_room: self.no_room + other.no_room,
            damaged_tiles: self.damaged_tiles + other.damaged_tiles,
            repaired_headers: self.repaired_headers + other.repaired_headers,
        }
    }
}
