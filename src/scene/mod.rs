//! What a frame says: the class of each cell, how sure, what is missing, and what the stream showed before.

pub mod assembly;
mod buffer;
#[cfg(feature = "alloc")]
mod denoise;
mod drops;
#[cfg(feature = "alloc")]
mod fill;
mod labels;
#[cfg(feature = "alloc")]
mod map;
mod memory;
pub mod parity;
#[cfg(feature = "alloc")]
mod regions;
pub mod rule;
#[cfg(feature = "alloc")]
mod snr;
#[cfg(feature = "alloc")]
mod street;
mod tiles;

pub use assembly::{Assembly, Dropped, Event, ReceivedFrame, Reception};
pub use buffer::Full;
#[cfg(feature = "alloc")]
pub use denoise::{Decider, FDS_BELOW_CDB, Soft};
pub use drops::Drops;
#[cfg(feature = "alloc")]
pub use fill::{Nearest, nearest_fill};
pub use labels::{CAMVID12, CITYSCAPES20, Class, LABEL_SETS, LabelSet, Role};
#[cfg(feature = "alloc")]
pub use map::ClassMap;
pub use memory::SceneMemory;
#[cfg(feature = "alloc")]
pub use regions::{Regions, beside};
pub use rule::Rule;
#[cfg(feature = "alloc")]
pub use rule::Tally;
#[cfg(feature = "alloc")]
pub use snr::{BLIND_CDB, blind_snr_cdb};
#[cfg(feature = "alloc")]
pub use street::Street;
pub use tiles::{TileMemory, Tiles};

use crate::wire::codec::Scratch;
#[cfg(feature = "alloc")]
use crate::wire::soft;
use crate::wire::{
    ClassSet, Cut, Grid, Header, Params, Payload, TileSet, Tiling, WireError, decode_map_tile, read_changes,
    read_map_tile, read_soft_tile, read_tokens, tokens,
};
use buffer::Buffer;
use parity::Lost;
use tokens::Token;

/// A cell that the stream has not shown yet, in [`Scene::held`].
pub const NEVER: u8 = 255;

/// The received scene of one stream, frame after frame. All buffers are laid out once, for the stream's parameters.
///
/// [`take`](Scene::take) shows it a frame: [`begin`](Scene::begin), then [`put_tile`](Scene::put_tile) for each tile that arrived, or
/// [`put_changes`](Scene::put_changes) of a delta frame, then [`finish`](Scene::finish).
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug)]
pub struct Scene<'a> {
    params: Params,
    /// Class of each known cell; what stands in the others means nothing.
    cells: Buffer<'a, u8>,
    confidence: Buffer<'a, u8>,
    known: Buffer<'a, bool>,
    /// `None` in lent memory.
    held: Option<Held<'a>>,
    key_frame: Option<KeyFrame<'a>>,
    /// Soft codes, a plane per present class; empty for the other payloads.
    codes: Buffer<'a, u8>,
    /// The last feature vector for the head that the frame brought.
    vector: Buffer<'a, f32>,
    /// A tile of parity's length, for what is restored.
    restored: Buffer<'a, u8>,
    present: heapless::Vec<u8, { ClassSet::MAX_CLASSES as usize }>,
    #[cfg(feature = "alloc")]
    decider: Decider,
    sequence: Option<u32>,
    /// When the last frame begun was captured, by the sender's clock.
    captured_us: Option<u64>,
    is_key: bool,
    /// Told by the link.
    snr_cdb: Option<i16>,
    blind_snr_cdb: Option<i16>,
    /// Whether `cells` and `known` belong to a frame that the held scene has not taken in yet.
    open: bool,
    /// The frame leans on a key frame, or on a tile of it, that isn't there.
    lacks_key: bool,
}

/// What the stream showed before.
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug)]
struct Held<'a> {
    cells: Buffer<'a, u8>,
    /// Since the capture of the frame that showed it, in microseconds.
    age: Buffer<'a, u32>,
}

/// What delta frames lean on: the last key frame, as far as it arrived.
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug)]
struct KeyFrame<'a> {
    /// `None` before the first one.
    sequence: Option<u32>,
    cells: Buffer<'a, u8>,
    known: Buffer<'a, bool>,
}

/// Of a scene without cells.
const NO_CELLS: Params = Params {
    grid: Grid::new(0, 0),
    tiling: Tiling { rows: 1, cols: 1 },
    cut: Cut::Blocks,
    parity: 0,
    payload: Payload::Map,
    label_set: 0,
    classes: 0,
};

impl<'a> Scene<'a> {
    /// A scene with nothing known and nothing held.
    #[cfg(feature = "alloc")]
    pub fn new(params: Params) -> Self {
        let Params { payload, .. } = params;
        let vector = if payload == Payload::Tokens { tokens::MAX_VALUES } else { 0 };
        let key_frame = (payload == Payload::Map).then(|| KeyFrame {
            sequence: None,
            cells: Buffer::owned(0),
            known: Buffer::owned(0),
        });
        let mut scene = Scene {
            params,
            cells: Buffer::owned(0),
            confidence: Buffer::owned(0),
            known: Buffer::owned(0),
            held: Some(Held { cells: Buffer::owned(0), age: Buffer::owned(0) }),
            key_frame,
            codes: Buffer::owned(payload.soft_bits().map_or(0, |_| params.grid.cells() * params.classes as usize)),
            vector: Buffer::owned(vector),
            restored: Buffer::owned(0),
            present: heapless::Vec::new(),
            decider: Decider::default(),
            sequence: None,
            captured_us: None,
            is_key: false,
            snr_cdb: None,
            blind_snr_cdb: None,
            open: false,
            lacks_key: false,
        };
        // Never full: the memory is its own.
        let _ = scene.lay_out();
        scene
    }

    /// A scene of no cells in lent memory: [`restart`](Scene::restart) it for a stream. It holds nothing of the frames before, takes late frames in like any other, and
    /// keeps no feature vector.
    pub fn lent<const CELLS: usize, const BYTES: usize>(memory: &'a mut SceneMemory<CELLS, BYTES>) -> Self {
        let SceneMemory { cells, confidence, known, key_cells, key_known, restored } = memory;
        Scene {
            params: NO_CELLS,
            cells: Buffer::lent(cells),
            confidence: Buffer::lent(confidence),
            known: Buffer::lent(known),
            held: None,
            key_frame: Some(KeyFrame {
                sequence: None,
                cells: Buffer::lent(key_cells),
                known: Buffer::lent(key_known),
            }),
            codes: Buffer::lent(&mut []),
            vector: Buffer::lent(&mut []),
            restored: Buffer::lent(restored),
            present: heapless::Vec::new(),
            #[cfg(feature = "alloc")]
            decider: Decider::default(),
            sequence: None,
            captured_us: None,
            is_key: false,
            snr_cdb: None,
            blind_snr_cdb: None,
            open: false,
            lacks_key: false,
        }
    }

    /// Whether [`restart`](Scene::restart) has room for frames of `params`.
    pub fn has_room(&self, params: &Params) -> bool {
        let is_lent = self.held.is_none();
        !is_lent || params.payload.soft_bits().is_none() && params.grid.cells() <= self.cells.capacity()
    }

    /// Nothing known and nothing held, for a stream of `params`.
    ///
    /// # Errors
    /// [`Full`]: the grid has more cells than memory was lent for, or the payload is soft and memory was lent. Its parameters are then as they were.
    pub fn restart(&mut self, params: Params) -> Result<(), Full> {
        if !self.has_room(&params) {
            return Err(Full);
        }
        self.params = params;
        (self.sequence, self.captured_us, self.open, self.lacks_key) = (None, None, false, false);
        self.lay_out()
    }

    /// Gives each buffer a value for each cell, as a scene has them before the first frame.
    fn lay_out(&mut self) -> Result<(), Full> {
        let cells = self.params.grid.cells();
        self.cells.refill(cells, 0)?;
        self.confidence.refill(cells, 0)?;
        self.known.refill(cells, false)?;
        if let Some(held) = &mut self.held {
            held.cells.refill(cells, NEVER)?;
            held.age.refill(cells, 0)?;
        }
        if let Some(key_frame) = &mut self.key_frame {
            key_frame.sequence = None;
            key_frame.cells.refill(cells, 0)?;
            key_frame.known.refill(cells, false)?;
        }
        Ok(())
    }

    /// A scene with nothing held, for a frame of the same stream that came late: it leans on the same key frame.
    #[cfg(feature = "alloc")]
    pub fn beside(&self) -> Scene<'static> {
        let key_frame = self.key_frame.as_ref().map(|KeyFrame { sequence, cells, known }| KeyFrame {
            sequence: *sequence,
            cells: cells.copied(),
            known: known.copied(),
        });
        Scene { key_frame, ..Scene::new(self.params) }
    }

    /// Takes over the key frame of a scene [beside](Scene::beside) this one, if it is newer.
    #[cfg(feature = "alloc")]
    pub fn take_key_frame(&mut self, other: Scene<'a>) {
        let sequence = |key_frame: &Option<KeyFrame<'_>>| key_frame.as_ref().and_then(|key_frame| key_frame.sequence);
        if sequence(&other.key_frame) > sequence(&self.key_frame) {
            self.key_frame = other.key_frame;
        }
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Starts the frame of `header`: the last frame's cells become the held scene, which ages by the time between both captures. Where the sender's
    /// clock was set back, it doesn't age.
    ///
    /// The header's parameters are those of the scene, and its sequence number is past the last frame's.
    pub fn begin(&mut self, header: &Header) {
        self.hold();
        let since =
            self.captured_us.map_or(0, |last| header.capture_us.saturating_sub(last)).min(u32::MAX.into()) as u32;
        if let Some(held) = &mut self.held {
            held.age.iter_mut().for_each(|age| *age = age.saturating_add(since));
        }
        self.captured_us = Some(header.capture_us);
        self.sequence = Some(header.sequence);
        self.is_key = header.key;
        self.known.fill(false);
        self.confidence.fill(0);
        self.lacks_key = false;
        self.present.clear();
        self.present.extend(header.present.iter());
        self.vector.clear();
        if self.params.payload.soft_bits().is_some() {
            // Never full: a soft payload has its own memory.
            let _ = self.codes.refill(self.cells.len() * self.present.len(), 0);
        }
        self.open = true;
    }

    fn hold(&mut self) {
        let is_open = core::mem::take(&mut self.open);
        let Some(held) = self.held.as_mut().filter(|_| is_open) else { return };
        let (cells, ages) = (&mut held.cells[..], &mut held.age[..]);
        let shown = self.cells.iter().zip(self.known.iter()).enumerate().filter(|(_, (_, known))| **known);
        for (cell, (&class, _)) in shown {
            (cells[cell], ages[cell]) = (class, 0);
        }
    }

    /// Takes in tile `index` of the frame begun with `header`.
    ///
    /// # Errors
    /// What [`read_map_tile`], [`read_soft_tile`] and [`read_tokens`] say, or one of the tokens; what the tile says then stays unknown.
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
            Payload::Tokens => return self.put_tokens(header, index, tile),
        }
        self.know(index);
        Ok(())
    }

    /// Boxes and keypoints make cells known, each by the token that is surest of it, of equals by the last.
    fn put_tokens(&mut self, header: &Header, index: usize, tile: &[u8]) -> Result<(), WireError> {
        let told = read_tokens(header, index, tile)?;
        told.clone().try_for_each(|token| token.map(|_| ()))?;
        let row = self.params.grid.width as usize;
        let (cells, known, confidence) = (&mut self.cells[..], &mut self.known[..], &mut self.confidence[..]);
        for token in told.flatten() {
            let (class, sure, [x, y, width, height]) = match token {
                Token::Box { class, confidence, x, y, width, height } => (class, confidence, [x, y, width, height]),
                Token::Keypoint { class, confidence, x, y } => (class, confidence, [x, y, 1, 1]),
                Token::Vector { meaning: tokens::FOR_HEAD, values } => {
                    self.vector.clear();
                    // Whose memory is lent has no head to read it.
                    let _ = values.iter().try_for_each(|value| self.vector.append(&[value]));
                    continue;
                }
                Token::Vector { .. } => continue,
            };
            let [x, y, width, height] = [x, y, width, height].map(usize::from);
            for from in (y..y + height).map(|y| y * row + x) {
                for cell in from..from + width {
                    if !known[cell] || confidence[cell] <= sure {
                        (cells[cell], known[cell], confidence[cell]) = (class, true, sure);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes in the delta frame begun with `header`: its `changes`, in the tiles in `changed`, and the other tiles as the key frame had them. The tiles that the key
    /// frame lacks stay unknown, and where it lacks one of those that changed, all of these do.
    ///
    /// # Errors
    /// [`WireError::NoReference`] for these, and what [`read_changes`] says.
    pub fn put_changes(&mut self, header: &Header, changed: TileSet, changes: Option<&[u8]>) -> Result<(), WireError> {
        let Params { grid, tiling, .. } = self.params;
        let key_frame = self.key_frame.as_ref().filter(|key| key.sequence == header.reference);
        let Some(key_frame) = key_frame else {
            self.lacks_key = true;
            return Err(WireError::NoReference);
        };
        let (mut holds, cells) = (TileSet::default(), &mut self.cells[..]);
        for index in (0..tiling.tiles()).filter(|&index| key_frame.holds(&self.params, index)) {
            holds.insert(index);
            for cell in self.params.patch(index).into_iter().flat_map(|patch| patch.indices(grid)) {
                cells[cell] = key_frame.cells[cell];
            }
        }
        self.lacks_key = holds.len() < tiling.tiles();
        let read = match changes {
            None => Ok(false),
            Some(_) if changed.is_empty() => Ok(true),
            Some(_) if !changed.iter().all(|index| holds.contains(index)) => Err(WireError::NoReference),
            Some(changes) => read_changes(header, changed, changes, &key_frame.cells, cells).map(|()| true),
        };
        for index in holds.iter().filter(|&index| !changed.contains(index) || read == Ok(true)) {
            self.know(index);
        }
        read.map(|_| ())
    }

    /// Tiles of which nothing is known.
    fn missing(&self) -> usize {
        (0..self.params.tiling.tiles()).filter(|&index| !self.knows(index)).count()
    }

    /// Whether tile `index` is known: in all of its cells, or in none.
    fn knows(&self, index: usize) -> bool {
        first_cell(&self.params, index).is_some_and(|cell| self.known[cell])
    }

    fn know(&mut self, index: usize) {
        let Some(patch) = self.params.patch(index) else { return };
        let (known, confidence) = (&mut self.known[..], &mut self.confidence[..]);
        for cell in patch.indices(self.params.grid) {
            (known[cell], confidence[cell]) = (true, 255);
        }
    }

    /// Shows it a frame as far as that arrived, and returns how many of its tiles are missing. `damaged` is told of each tile that came and can't be read.
    ///
    /// The frame's parameters are those of the scene, and its sequence number is past the last frame's.
    pub fn take(
        &mut self,
        frame: &ReceivedFrame<'_>,
        scratch: &mut Scratch,
        mut damaged: impl FnMut(usize, WireError),
    ) -> usize {
        let header = &frame.header;
        let mut unread = 0;
        self.begin(header);
        if header.reference.is_some() {
            if let Err(error) = self.put_changes(header, frame.sent, frame.tiles.get(0)) {
                damaged(0, error);
            }
        } else {
            for (index, tile) in frame.tiles.iter().take(header.params.tiling.tiles()).enumerate() {
                let put = tile.map_or(Ok(()), |tile| self.put_tile(header, index, tile, scratch));
                unread += usize::from(tile.is_none() || put.is_err());
                put.unwrap_or_else(|error| damaged(index, error));
            }
            if header.params.parity > 0 && self.missing() > 0 {
                self.restore(frame, scratch);
            }
        }
        let missing = match self.params.payload {
            Payload::Tokens => unread,
            _ => self.missing(),
        };
        self.finish(frame.snr_cdb);
        missing
    }

    /// Makes good for lost tiles by those of parity.
    fn restore(&mut self, frame: &ReceivedFrame<'_>, scratch: &mut Scratch) {
        let Some(lost) = Lost::of(frame) else { return };
        for index in lost.missing().iter() {
            let Some(data) = lost.restore(index, &mut self.restored) else { continue };
            if decode_map_tile(&frame.header, index, data, scratch, &mut self.cells).is_ok() {
                self.know(index);
            }
        }
    }

    /// Closes the frame: soft codes become classes, by argmax or by FDS as the SNR asks ([`FDS_BELOW_CDB`]). `snr_cdb` is what the link told; of
    /// a soft payload it is [estimated](blind_snr_cdb) where the link told none. Later frames may lean on a key frame.
    pub fn finish(&mut self, snr_cdb: Option<i16>) {
        let is_newer = |key_frame: &&mut KeyFrame<'_>| key_frame.sequence < self.sequence;
        if let Some(key_frame) = self.key_frame.as_mut().filter(|_| self.is_key).filter(is_newer) {
            key_frame.sequence = self.sequence;
            key_frame.cells.copy_from_slice(&self.cells);
            key_frame.known.copy_from_slice(&self.known);
        }
        self.snr_cdb = snr_cdb;
        self.blind_snr_cdb = None;
        #[cfg(feature = "alloc")]
        self.denoise();
    }

    #[cfg(feature = "alloc")]
    fn denoise(&mut self) {
        let Some(bits) = self.params.payload.soft_bits() else { return };
        let soft = Soft {
            grid: self.params.grid,
            codes: &self.codes,
            classes: &self.present,
            known: &self.known,
            unit: soft::unit_steps(bits),
        };
        if self.snr_cdb.is_none() {
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

    /// 0 unknown, 255 sure. For soft payloads, how far the best class leads the second; for tokens, what they say.
    pub fn confidence(&self) -> &[u8] {
        &self.confidence
    }

    pub fn known(&self) -> &[bool] {
        &self.known
    }

    /// Known cells of 1000.
    pub fn known_permille(&self) -> u16 {
        let known = self.known.iter().filter(|known| **known).count();
        (known * 1000 / self.known.len().max(1)) as u16
    }

    /// The class that each cell showed when it was last received before this frame, or [`NEVER`]. Empty in lent memory.
    pub fn held(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], |held| &held.cells)
    }

    /// Age of each held cell in microseconds, from the capture of the frame that showed it to that of this frame; an hour and more is 71 minutes. Empty in lent
    /// memory.
    pub fn held_age_us(&self) -> &[u32] {
        self.held.as_ref().map_or(&[], |held| &held.age)
    }

    /// The frame leans on a key frame that didn't arrive, or on a tile of it that didn't: what it leaves out is unknown, and a new key frame would help.
    pub fn lacks_key(&self) -> bool {
        self.lacks_key
    }

    /// Classes that occur in the frame, ascending.
    pub fn present(&self) -> &[u8] {
        &self.present
    }

    /// The feature vector for the head that came with the frame's tokens; empty without one.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Soft codes, a plane of the whole grid per present class; empty for the other payloads.
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

impl KeyFrame<'_> {
    fn holds(&self, params: &Params, index: usize) -> bool {
        first_cell(params, index).is_some_and(|cell| self.known[cell])
    }
}

fn first_cell(params: &Params, tile: usize) -> Option<usize> {
    params.patch(tile).map(|patch| patch.at(params.grid, 0, 0))
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::wire::{Packet, buffer_len, emit_delta, emit_frame};
    use alloc::vec;
    use alloc::vec::Vec;

    fn header(sequence: u32, cells: &[u8]) -> Header {
        Header {
            stream: 1,
            sequence,
            capture_us: sequence as u64 * 100_000,
            key: true,
            reference: None,
            params: Params {
                grid: Grid::new(32, 16),
                tiling: Tiling { rows: 2, cols: 2 },
                cut: Cut::Blocks,
                parity: 0,
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
        assert_eq!((scene.held()[0], scene.held_age_us()[0]), (3, 100_000));
        assert_eq!(scene.held()[511], NEVER);
        receive(&mut scene, 4, 5, &[0, 1, 2, 3]);
        assert_eq!((scene.held()[0], scene.held_age_us()[0]), (3, 400_000));
        assert_eq!((scene.held()[31], scene.held_age_us()[31]), (4, 300_000));
        assert_eq!(scene.known_permille(), 0);
    }

    #[test]
    fn a_delta_frame_leaves_most_as_the_key_frame_had_it() {
        let key_cells: Vec<u8> = (0..512).map(|cell| (cell % 32 / 8) as u8).collect();
        let mut cells = key_cells.clone();
        cells[0] = 9;
        let key = header(0, &key_cells);
        let delta = Header { key: false, reference: Some(0), ..header(3, &cells) };
        let mut scratch = Scratch::new();
        let mut bytes = vec![0; buffer_len(&key)];
        let len = emit_frame(&key, TileSet::all(4), &key_cells, &mut scratch, &mut bytes).unwrap();
        let mut changed = TileSet::default();
        changed.insert(0);
        let mut delta_bytes = vec![0; buffer_len(&delta)];
        let delta_len = emit_delta(&delta, changed, &cells, &key_cells, &mut delta_bytes).unwrap().unwrap();
        assert!(delta_len < len, "{delta_len} of {len}");
        // What the key frame lost: nothing, a tile that doesn't change, the one that does, all of it.
        for (lost, known, lacks) in [(0, 1000, false), (0b1000, 750, true), (1, 750, true), (0b1111, 0, true)] {
            let mut assembly = Assembly::new(true);
            let mut scene = Scene::new(key.params);
            for (packet, lost) in [(&bytes[..len], lost), (&delta_bytes[..delta_len], 0)] {
                assembly.push(packet, Reception::default(), |tile| lost >> tile & 1 == 1);
                while let Some(event) = assembly.event() {
                    let Event::Frame(frame) = event else { continue };
                    scene.take(&frame, &mut scratch, |_, error| assert!(lacks, "{error}"));
                }
            }
            assert_eq!((scene.known_permille(), scene.lacks_key()), (known, lacks), "{lost:b}");
            for (cell, known) in scene.known().iter().enumerate() {
                assert!(!known || scene.cells()[cell] == cells[cell]);
            }
        }
    }
}
