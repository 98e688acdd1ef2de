//! What stays the same from frame to frame: sent with key frames, quoted by the others.

use super::{ClassSet, Cut, Grid, Patch, Tiling, WireError};
use crc::{CRC_16_IBM_SDLC, Crc};

/// How the cells of a tile are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// The class of each cell, lossless, arithmetic-coded.
    Map,
    /// A score per present class and cell in 4 bits, for analogue links.
    Soft4,
    /// The same in 8 bits.
    Soft8,
    /// What stands in the scene, and feature vectors: [`tokens`](super::tokens).
    Tokens,
}

impl Payload {
    /// Bits of a soft score; `None` for the others.
    pub const fn soft_bits(self) -> Option<u8> {
        match self {
            Payload::Map | Payload::Tokens => None,
            Payload::Soft4 => Some(4),
            Payload::Soft8 => Some(8),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Payload::Map => "map",
            Payload::Soft4 => "soft4",
            Payload::Soft8 => "soft8",
            Payload::Tokens => "tokens",
        }
    }
}

impl core::str::FromStr for Payload {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "map" => Ok(Payload::Map),
            "soft4" => Ok(Payload::Soft4),
            "soft8" => Ok(Payload::Soft8),
            "tokens" => Ok(Payload::Tokens),
            _ => Err("a payload is map, soft4, soft8 or tokens"),
        }
    }
}

/// Most tiles of parity: what three bits of the payload's byte hold.
pub const MAX_PARITY: u8 = 7;
/// Bit of the payload's byte that says how tiles are cut.
const PHASES: u8 = 16;

/// The parameters of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    pub grid: Grid,
    pub tiling: Tiling,
    pub cut: Cut,
    /// Further tiles that each frame has, from any of which a lost tile can be restored; 0..=7, of maps alone.
    pub parity: u8,
    pub payload: Payload,
    /// Which classes the indices mean: a number agreed between both ends.
    pub label_set: u16,
    /// Classes in the label set, 1..=64.
    pub classes: u8,
}

impl Params {
    /// Bytes of the parameters in a key packet.
    pub const WIRE_LEN: usize = 9;

    /// The cells of tile `index`. `None` past the last tile.
    pub const fn patch(&self, index: usize) -> Option<Patch> {
        self.tiling.patch(self.grid, self.cut, index)
    }

    /// Tiles of a frame, those of parity included: these come last.
    pub const fn slots(&self) -> usize {
        self.tiling.tiles() + self.parity as usize
    }

    /// CRC-16/IBM-SDLC of the parameters, by which packets that are not key quote them.
    pub fn check(&self) -> u16 {
        const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);
        CRC.checksum(&self.emit())
    }

    /// # Errors
    /// [`WireError::Field`] names the parameter that is out of range.
    pub fn validate(&self) -> Result<(), WireError> {
        let field = |field, reason| Err(WireError::Field { field, reason });
        if !self.grid.is_valid() {
            return field("grid", "each side is 1 to 4096 cells, 2097152 cells at most");
        }
        if !self.tiling.fits(self.grid) {
            return field("tiling", "rows and columns are 1 to 16, and no more than the grid has cells");
        }
        let widest = self.grid.width.div_ceil(self.tiling.cols as u16);
        let tallest = self.grid.height.div_ceil(self.tiling.rows as u16);
        if widest > 1024 || tallest > 1024 {
            return field("tiling", "a tile has at most 1024 cells a side: use more tiles");
        }
        if self.parity > MAX_PARITY || self.slots() > Tiling::MAX_TILES {
            return field("parity", "a frame has at most 7 tiles of parity, and 256 tiles with them");
        }
        if self.parity > 0 && self.payload != Payload::Map {
            return field("parity", "is for maps");
        }
        if self.classes == 0 || self.classes > ClassSet::MAX_CLASSES {
            return field("classes", "a label set has 1 to 64 classes");
        }
        Ok(())
    }

    pub(super) fn emit(&self) -> [u8; Self::WIRE_LEN] {
        let width = self.grid.width.to_le_bytes();
        let height = self.grid.height.to_le_bytes();
        let label_set = self.label_set.to_le_bytes();
        let tiling = (self.tiling.rows.wrapping_sub(1) & 15) << 4 | (self.tiling.cols.wrapping_sub(1) & 15);
        let payload = match self.payload {
            Payload::Map => 0,
            Payload::Soft4 => 1,
            Payload::Soft8 => 2,
            Payload::Tokens => 3,
        };
        let cut = match self.cut {
            Cut::Blocks => 0,
            Cut::Phases => PHASES,
        };
        [
            width[0],
            width[1],
            height[0],
            height[1],
            tiling,
            self.parity << 5 | cut | payload,
            label_set[0],
            label_set[1],
            self.classes,
        ]
    }

    pub(super) fn parse(bytes: &[u8; Self::WIRE_LEN]) -> Result<Self, WireError> {
        let cut = if bytes[5] & PHASES != 0 { Cut::Phases } else { Cut::Blocks };
        let payload = match bytes[5] & (PHASES - 1) {
            0 => Payload::Map,
            1 => Payload::Soft4,
            2 => Payload::Soft8,
            3 => Payload::Tokens,
            _ => {
                let reason = "is 0 (map), 1 (soft4), 2 (soft8) or 3 (tokens)";
                return Err(WireError::Field { field: "payload", reason });
            }
        };
        let params = Params {
            grid: Grid::new(u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]])),
            tiling: Tiling { rows: (bytes[4] >> 4) + 1, cols: (bytes[4] & 15) + 1 },
            cut,
            parity: bytes[5] >> 5,
            payload,
            label_set: u16::from_le_bytes([bytes[6], bytes[7]]),
            classes: bytes[8],
        };
        params.validate()?;
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let params = Params {
            grid: Grid::new(128, 96),
            tiling: Tiling::DEFAULT,
            cut: Cut::Phases,
            parity: 0,
            payload: Payload::Soft4,
            label_set: 0x1234,
            classes: 12,
        };
        let bytes = params.emit();
        assert_eq!(bytes, [128, 0, 96, 0, 0x31, 0x11, 0x34, 0x12, 12]);
        assert_eq!(Params::parse(&bytes), Ok(params));
        assert_ne!(params.check(), Params { label_set: 1, ..params }.check());
    }

    #[test]
    fn nonsense_is_named() {
        let names = |bytes: [u8; 9]| match Params::parse(&bytes) {
            Err(WireError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(names([0, 0, 96, 0, 0x31, 0, 1, 0, 12]), "grid");
        assert_eq!(names([1, 0, 96, 0, 0x31, 0, 1, 0, 12]), "tiling");
        assert_eq!(names([0, 8, 96, 0, 0x00, 0, 1, 0, 12]), "tiling");
        assert_eq!(names([128, 0, 96, 0, 0x31, 4, 1, 0, 12]), "payload");
        assert_eq!(names([128, 0, 96, 0, 0x31, 0x22, 1, 0, 12]), "parity");
        assert_eq!(names([128, 0, 96, 0, 0x31, 0x23, 1, 0, 12]), "parity");
        assert_eq!(names([128, 0, 96, 0, 0xff, 0x20, 1, 0, 12]), "parity");
        assert_eq!(names([128, 0, 96, 0, 0x31, 0, 1, 0, 65]), "classes");
    }
}
