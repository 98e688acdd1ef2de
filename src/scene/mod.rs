//! What a frame says: the class of each cell, how sure, what is missing, and what the stream showed before.

pub mod assembly;
mod denoise;
mod fill;
mod labels;
mod map;
mod regions;
pub mod rule;
mod snr;
mod street;
mod tiles;

pub use assembly::{Assembly, Dropped, Event, ReceivedFrame, Reception};
pub use denoise::{Decider, FDS_BELOW_CDB, Soft};
pub use fill::{Nearest, nearest_fill};
pub use labels::{CAMVID12, CITYSCAPES20, Class, LABEL_SETS, LabelSet, Role};
pub use map::ClassMap;
pub use regions::{Regions, beside};
pub use rule::{Rule, Tally};
pub use snr::{BLIND_CDB, blind_snr_cdb};
pub use street::Street;
pub use tiles::Tiles;

use crate::wire::codec::Scratch;
use crate::wire::{Header, Params, Payload, WireError, read_map_tile, read_soft_tile, soft};
use alloc::vec;
use alloc::vec::Vec;

/// A cell that the stream has not shown yet, in [`Scene::held`].
pub const NEVER: u8 = 255;

/// The received scene of one stream, frame after frame. All buffers are laid out once, for the stream's parameters.
///
/// [`begin`](Scene::begin), then [`put_tile`](Scene::put_tile) for each tile that arrived, then [`finish`](Scene::finish).
#[derive(Debug, Clone)]
pub struct Scene {
    params: Params,
    /// Class of each known cell; what stands in the others means nothing.
    cells: Vec<u8>,
    confidence: Vec<u8>,
    known: Vec<bool>,
    held: Vec<u8>,
    held_age: Vec<u16>,
    /// Soft codes, a plane per present class; empty for map payloads.
    codes: Vec<u8>,
    present: Vec<u8>,
    decider: Decider,
    sequence: Option<u32>,
    /// Told by the link.
    snr_cdb: Option<i16>,
    blind_snr_cdb: Option<i16>,
    /// Whether `cells` and `known` belong to a frame that the held scene has not taken in yet.
    open: bool,
}

impl Scene {
    /// A scene with nothing known and nothing held.
    pub fn new(params: Params) -> Self {
        let cells = params.grid.cells();
        Scene {
            params,
            cells: vec![0; cells],
            confidence: vec![0; cells],
            known: vec![false; cells],
            held: vec![NEVER; cells],
            held_age: vec![0; cells],
            codes: Vec::with_capacity(params.payload.soft_bits().map_or(0, |_| cells * params.classes as usize)),
            present: Vec::with_capacity(params.classes as usize),
            decider: Decider::default(),
            sequence: None,
            snr_cdb: None,
            blind_snr_cdb: None,
            open: false,
        }
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Starts the frame of `header`: the last frame's cells become the held scene, which ages by the frames since.
    ///
    /// The header's parameters are those of the scene, and its sequence number is past the last frame's.
    pub fn begin(&mut self, header: &Header) {
        self.hold();
        let age = self.sequence.map_or(0, |last| header.sequence.saturating_sub(last));
        let age = age.min(u16::MAX as u32) as u16;
        self.held_age.iter_mut().for_each(|held| *held = held.saturating_add(age));
        self.sequence = Some(header.sequence);
        self.known.fill(false);
        self.confidence.fill(0);
        self.present.clear();
        self.present.extend(header.present.iter());
        if self.params.payload != Payload::Map {
            self.codes.clear();
            self.codes.resize(self.cells.len() * self.present.len(), 0);
        }
        self.open = true;
    }

    fn hold(&mut self) {
        if !core::mem::take(&mut self.open) {
            return;
        }
        for cell in (0..self.cells.len()).filter(|&cell| self.known[cell]) {
            self.held[cell] = self.cells[cell];
            self.held_age[cell] = 0;
        }
    }

    /// Takes in tile `index` of the frame begun with `header`.
    ///
    /// # Errors
    /// What [`read_map_tile`] and [`read_soft_tile`] say; the tile's cells then stay unknown.
    pub fn put_tile(
        &mut self,
        header: &Header,
        index: usize,
        tile: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), WireError> {
        match self.params.payload {
            Payload::Map => read_map_tile(header, index, tile, scratch, &mut self.cells)?,
            Payload::Soft4 | Payload::Soft8 => read_soft_tile(header, index, tile, &mut self.codes)?,
        }
        let Some(rect) = self.params.tiling.rect(self.params.grid, index) else { return Ok(()) };
        for cells in rect.rows(self.params.grid) {
            self.known[cells.clone()].fill(true);
            self.confidence[cells].fill(255);
        }
        Ok(())
    }

    /// Closes the frame: soft codes become classes, by argmax or by FDS as the SNR asks ([`FDS_BELOW_CDB`]). `snr_cdb` is what the link told; of
    /// a soft payload it is [estimated](blind_snr_cdb) where the link told none.
    pub fn finish(&mut self, snr_cdb: Option<i16>) {
        self.snr_cdb = snr_cdb;
        self.blind_snr_cdb = None;
        let Some(bits) = self.params.payload.soft_bits() else { return };
        let soft = Soft {
            grid: self.params.grid,
            codes: &self.codes,
            classes: &self.present,
            known: &self.known,
            unit: soft::unit_steps(bits),
        };
        if snr_cdb.is_none() {
            self.blind_snr_cdb = blind_snr_cdb(&soft);
        }
        let method = match self.snr_cdb.or(self.blind_snr_cdb) {
            Some(snr_cdb) if snr_cdb >= FDS_BELOW_CDB => Decider::argmax,
            _ => Decider::fast_denoise,
        };
        method(&mut self.decider, &soft, &mut self.cells, &mut self.confidence);
    }

    /// The class of each cell; only those of [`known`](Scene::known) cells mean anything.
    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    /// 0 unknown, 255 sure. For soft payloads, how far the best class leads the second.
    pub fn confidence(&self) -> &[u8] {
        &self.confidence
    }

    pub fn known(&self) -> &[bool] {
        &self.known
    }

    /// Known cells of 1000.
    pub fn known_permille(&self) -> u16 {
        let known = self.known.iter().filter(|known| **known).count();
        (known * 1000 / self.known.len()) as u16
    }

    /// The class that each cell showed when it was last received before this frame, or [`NEVER`].
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Age of each held cell in frames, at least 1 where a class is held.
    pub fn held_age(&self) -> &[u16] {
        &self.held_age
    }

    /// Classes that occur in the frame, ascending.
    pub fn present(&self) -> &[u8] {
        &self.present
    }

    /// Soft codes, a plane of the whole grid per present class; empty for map payloads.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The SNR of this frame in hundredths of dB: what the link told, else the estimate.
    pub fn snr_cdb(&self) -> Option<i16> {
        self.snr_cdb.or(self.blind_snr_cdb)
    }

    /// The [estimate](blind_snr_cdb) of a soft payload whose SNR the link did not tell.
    pub fn blind_snr_cdb(&self) -> Option<i16> {
        self.blind_snr_cdb
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClassSet, Grid, Packet, TileSet, Tiling, buffer_len, emit_frame};

    fn header(sequence: u32, cells: &[u8]) -> Header {
        Header {
            stream: 1,
            sequence,
            capture_us: sequence as u64 * 100_000,
            key: true,
            params: Params {
                grid: Grid::new(32, 16),
                tiling: Tiling { rows: 2, cols: 2 },
                payload: Payload::Map,
                label_set: 1,
                classes: 12,
            },
            present: ClassSet::of(cells).unwrap(),
        }
    }

    fn receive(scene: &mut Scene, sequence: u32, class: u8, lost: &[usize]) {
        let cells = vec![class; 512];
        let header = header(sequence, &cells);
        let mut scratch = Scratch::new();
        let mut bytes = vec![0; buffer_len(&header)];
        let len = emit_frame(&header, TileSet::all(4), &cells, &mut scratch, &mut bytes).unwrap();
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes[..len], None) else { panic!() };
        scene.begin(&frame.header);
        for index in (0..4).filter(|index| !lost.contains(index)) {
            scene.put_tile(&frame.header, index, frame.tile(index).unwrap(), &mut scratch).unwrap();
        }
        scene.finish(None);
    }

    #[test]
    fn the_held_scene_is_what_was_last_shown_and_ages() {
        let mut scene = Scene::new(header(0, &[3]).params);
        receive(&mut scene, 0, 3, &[3]);
        assert_eq!(scene.known_permille(), 750);
        assert!(scene.held().iter().all(|&class| class == NEVER));
        receive(&mut scene, 1, 4, &[0, 3]);
        assert_eq!((scene.held()[0], scene.held_age()[0]), (3, 1));
        assert_eq!(scene.held()[511], NEVER);
        receive(&mut scene, 4, 5, &[0, 1, 2, 3]);
        assert_eq!((scene.held()[0], scene.held_age()[0]), (3, 4));
        assert_eq!((scene.held()[31], scene.held_age()[31]), (4, 3));
        assert_eq!(scene.known_permille(), 0);
    }
}
