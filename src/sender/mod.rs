//! The other end, simulated: maps become packets, and packets cross a channel.

mod change;
mod edits;
mod rate;
mod simplify;
mod times;
mod tokens;

pub use change::Delta;
pub use rate::GivenUp;
pub use times::{capture_us, fps};

use crate::link::{Channel, ChannelSpec, CodeBits, Layout, Packet, Slot, SlotKind};
use crate::scene::{ClassMap, LabelSet, Rule, parity};
use crate::wire::codec::Scratch;
use crate::wire::{
    ClassSet, Cut, Header, KeyRequest, Packet as WirePacket, Params, Payload, TileSet, Tiling, WireError, buffer_len,
    emit_coded, emit_coded_tile, emit_delta, emit_end, emit_frame, emit_tile, encode_map_tile, soft,
};
use rate::{Fitted, Rate};
use std::borrow::Cow;

/// What travels in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// A whole frame.
    #[default]
    Frame,
    /// A tile, with a header of its own.
    Tile,
}

/// How maps are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub stream: u16,
    pub tiling: Tiling,
    pub cut: Cut,
    /// Tiles of parity, as [`Params::parity`].
    pub parity: u8,
    pub payload: Payload,
    pub packing: Packing,
    /// Every so many frames one is a key frame, the first one always; at least 1.
    pub key_every: u32,
    /// Frames that are not key say what changed since the key frame before them, where that is shorter. Of maps in whole frames alone.
    pub delta: Option<Delta>,
    /// Most bytes of a frame: tiles that the task doesn't need much are simplified, and if that isn't enough left out. Where tiles travel alone, a frame
    /// of which none fits isn't sent at all.
    pub max_bytes: Option<u32>,
    pub channel: ChannelSpec,
    /// Seed of the channel.
    pub seed: u64,
}

/// What a frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// On the air.
    pub bytes: usize,
    pub form: Form,
    /// For [`Settings::max_bytes`]; nothing without.
    pub given_up: GivenUp,
    /// Of the cells, those that [`Delta::Task`] left as the key frame had them though they changed.
    pub stale_cells: usize,
}

/// What a frame leans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing: others lean on it.
    Key,
    /// The parameters of a key frame.
    Plain,
    /// The map of a key frame.
    Delta,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            stream: 1,
            tiling: Tiling::DEFAULT,
            cut: Cut::Blocks,
            parity: 0,
            payload: Payload::Map,
            packing: Packing::Frame,
            key_every: 10,
            delta: None,
            max_bytes: None,
            channel: ChannelSpec::default(),
            seed: 0,
        }
    }
}

/// Halvings of the room for tiles that leaves enough for those of parity.
const SEARCH: usize = 7;

/// A key frame as it was sent, with all of its tiles.
struct KeyFrame {
    sequence: u32,
    map: ClassMap,
}

/// Sends maps, one after the other.
pub struct Sender {
    settings: Settings,
    labels: &'static LabelSet,
    channel: Channel,
    /// Laid out with the first map that has to fit, anew when the grid changes.
    rate: Option<Rate>,
    scratch: Box<Scratch>,
    sequence: u32,
    capture_us: u64,
    /// For [`Delta::Task`], as `rate`.
    rule: Option<Rule>,
    /// What delta frames lean on.
    key_frame: Option<KeyFrame>,
    /// The next frame is a key frame: one was asked for, or no packet of the last one was sent, without which those behind it can't be read.
    owes_key: bool,
    buffer: Vec<u8>,
}

impl Sender {
    pub fn new(settings: Settings, labels: &'static LabelSet) -> Self {
        Sender {
            channel: Channel::new(settings.channel.clone(), settings.seed),
            settings,
            labels,
            rate: None,
            scratch: Box::new(Scratch::new()),
            sequence: 0,
            capture_us: 0,
            rule: None,
            key_frame: None,
            owes_key: false,
            buffer: Vec::new(),
        }
    }

    /// Changes the channel from the next frame on.
    pub fn set_channel(&mut self, spec: ChannelSpec) {
        self.channel.set_spec(spec);
    }

    /// Frames sent so far.
    pub fn frames(&self) -> u32 {
        self.sequence
    }

    /// Sends `map`, captured at `capture_us`; appends what arrives of it, and of packets that waited, to `arrived`.
    ///
    /// # Errors
    /// [`WireError`] when the map doesn't fit the settings: its grid, its classes; `Buffer` when [`Settings::max_bytes`] has no room for a header.
    pub fn send(&mut self, map: &ClassMap, capture_us: u64, arrived: &mut Vec<Packet>) -> Result<Sent, WireError> {
        let unknown_class = WireError::Field { field: "cells", reason: "hold a class that the label set doesn't have" };
        let header = Header {
            stream: self.settings.stream,
            sequence: self.sequence,
            capture_us,
            key: self.owes_key || self.sequence.is_multiple_of(self.settings.key_every.max(1)),
            reference: None,
            params: Params {
                grid: map.grid,
                tiling: self.settings.tiling,
                cut: self.settings.cut,
                parity: self.settings.parity,
                payload: self.settings.payload,
                label_set: self.labels.id,
                classes: self.labels.len() as u8,
            },
            present: ClassSet::of(&map.cells).ok_or(unknown_class)?,
        };
        header.params.validate()?;
        if header.params.payload == Payload::Tokens && self.settings.max_bytes.is_some() {
            return Err(WireError::Field { field: "max_bytes", reason: "is for maps and soft values, not for tokens" });
        }
        self.buffer.resize(buffer_len(&header), 0);
        let most = self.settings.max_bytes.map(|most| most as usize);
        // What it would take with nothing given up: to be below it is what deltas are for, and frames that keep to so many bytes start from it.
        let may_lean = self.may_lean(&header);
        let whole = if may_lean || most.is_some() { self.whole(&header, map)? } else { 0 };
        let limit = most.unwrap_or(usize::MAX).min(whole.saturating_sub(1));
        if may_lean && let Some((bytes, stale_cells)) = self.delta(&header, map, limit)? {
            self.transmit_frame(&header, bytes, arrived)?;
            (self.sequence, self.capture_us) = (self.sequence + 1, capture_us);
            return Ok(Sent { bytes, form: Form::Delta, given_up: GivenUp::default(), stale_cells });
        }
        let fitted = match most {
            Some(most) if whole > most => Some(self.fit(&header, map, most)?),
            _ => None,
        };
        let (map, sent, given_up) = match fitted {
            Some(Fitted { map, sent, given_up }) => (Cow::Owned(map), sent, given_up),
            None => (Cow::Borrowed(map), TileSet::all(header.params.tiling.tiles()), GivenUp::default()),
        };
        let bytes = match self.settings.packing {
            Packing::Frame => {
                let len = self.emit(&header, sent, &map)?;
                self.transmit_frame(&header, len, arrived)?;
                len
            }
            Packing::Tile => {
                let coded = self.coded(&header, sent, &map)?;
                let mut total = 0;
                for index in 0..header.params.slots() {
                    let Some(len) = self.emit_alone(&header, index, sent, &map, &coded)? else { continue };
                    let layout = Layout { slots: vec![slot(&header, index, tile_start(&header), len)] };
                    let packet = Packet::new(self.buffer[..len].to_vec());
                    let number = self.sequence as u64 * header.params.slots() as u64 + index as u64;
                    self.channel.transmit(packet, &layout, number, true, arrived);
                    total += len;
                }
                total
            }
        };
        if header.key && self.settings.delta.is_some() {
            let is_whole = sent.len() == header.params.tiling.tiles();
            self.key_frame = is_whole.then(|| KeyFrame { sequence: self.sequence, map: map.into_owned() });
        }
        self.owes_key = header.key && bytes == 0;
        (self.sequence, self.capture_us) = (self.sequence + 1, capture_us);
        let form = if header.key { Form::Key } else { Form::Plain };
        Ok(Sent { bytes, form, given_up, stale_cells: 0 })
    }

    /// Sends the frame in the first `len` bytes of the buffer.
    fn transmit_frame(&mut self, header: &Header, len: usize, arrived: &mut Vec<Packet>) -> Result<(), WireError> {
        let layout = frame_layout(header, &self.buffer[..len])?;
        let packet = Packet::new(self.buffer[..len].to_vec());
        self.channel.transmit(packet, &layout, self.sequence as u64, false, arrived);
        Ok(())
    }

    /// A receiver lacks what a frame leans on: the next frame is a key frame, unless one was sent since.
    pub fn ask_key(&mut self, request: KeyRequest) {
        let has_come = self.key_frame.as_ref().is_some_and(|key| key.sequence > request.sequence);
        self.owes_key |= request.stream == self.settings.stream && !has_come;
    }

    /// Whether a frame may say what changed since the last key frame.
    fn may_lean(&self, header: &Header) -> bool {
        let Settings { delta, packing, payload, .. } = &self.settings;
        let is_wanted = delta.is_some() && *packing == Packing::Frame && *payload == Payload::Map;
        let is_near =
            |key: &KeyFrame| key.map.grid == header.params.grid && header.sequence - key.sequence <= u8::MAX as u32;
        is_wanted && !header.key && self.key_frame.as_ref().is_some_and(is_near)
    }

    /// Writes `map`, which [may lean](Sender::may_lean), as a delta frame into the buffer, if that takes at most `limit` bytes. Its length, and the cells in which it
    /// isn't `map`.
    fn delta(&mut self, header: &Header, map: &ClassMap, limit: usize) -> Result<Option<(usize, usize)>, WireError> {
        let (Some(delta), Some(KeyFrame { sequence, map: key_map })) = (self.settings.delta, &self.key_frame) else {
            return Ok(None);
        };
        let told = match delta {
            Delta::All => Cow::Borrowed(map),
            Delta::Task => {
                let rule = self.rule.take().filter(|rule| rule.grid() == map.grid);
                let rule = self.rule.insert(rule.unwrap_or_else(|| Rule::new(map.grid, self.labels)));
                Cow::Owned(change::needed(map, key_map, rule))
            }
        };
        let Params { grid, tiling, .. } = header.params;
        let mut changed = TileSet::default();
        for index in 0..tiling.tiles() {
            let mut cells = header.params.patch(index).into_iter().flat_map(|patch| patch.indices(grid));
            if cells.any(|cell| told.cells[cell] != key_map.cells[cell]) {
                changed.insert(index);
            }
        }
        let present = ClassSet::of(&told.cells).unwrap_or(header.present);
        let header = Header { reference: Some(*sequence), present, ..*header };
        // Classes that are in the key frame alone may make it longer than any whole frame of the map.
        self.buffer.resize(buffer_len(&header).max(self.buffer.len()), 0);
        let Some(len) = emit_delta(&header, changed, &told.cells, &key_map.cells, &mut self.buffer)? else {
            return Ok(None);
        };
        let stale = told.cells.iter().zip(&map.cells).filter(|(told, cell)| told != cell).count();
        Ok((len <= limit).then_some((len, stale)))
    }

    /// Writes the tiles in `sent` of `map` as a frame into the buffer; its length.
    fn emit(&mut self, header: &Header, sent: TileSet, map: &ClassMap) -> Result<usize, WireError> {
        if header.params.parity == 0 && header.params.payload != Payload::Tokens {
            return emit_frame(header, sent, &map.cells, &mut self.scratch, &mut self.buffer);
        }
        let coded = self.coded(header, sent, map)?;
        emit_coded(header, |index| coded[index].as_deref(), &mut self.buffer)
    }

    /// Where there is parity, the tiles in `sent` and those of parity as the codec and the code give them, by index; of tokens, those of each tile.
    fn coded(&mut self, header: &Header, sent: TileSet, map: &ClassMap) -> Result<Vec<Option<Vec<u8>>>, WireError> {
        let Params { tiling, parity, .. } = header.params;
        if header.params.payload == Payload::Tokens {
            let tiles = tokens::by_tile(&tokens::of_map(map, self.labels), &header.params);
            return Ok(tiles.into_iter().map(Some).collect());
        }
        if parity == 0 {
            return Ok(Vec::new());
        }
        let mut coded: Vec<Option<Vec<u8>>> = vec![None; tiling.tiles()];
        for index in sent.iter() {
            let len = encode_map_tile(header, index, &map.cells, &mut self.scratch, &mut self.buffer)?;
            coded[index] = Some(self.buffer[..len].to_vec());
        }
        let tiles: Vec<Option<&[u8]>> = coded.iter().map(Option::as_deref).collect();
        let made = match sent.is_empty() {
            true => vec![None; parity as usize],
            false => parity::make(&tiles, parity as usize).into_iter().map(Some).collect(),
        };
        coded.extend(made);
        coded.resize(header.params.slots(), None);
        Ok(coded)
    }

    /// Writes tile `index` as a packet of its own into the buffer; its length, `None` where it isn't sent. `coded` is what [`coded`](Sender::coded) gave.
    fn emit_alone(
        &mut self,
        header: &Header,
        index: usize,
        sent: TileSet,
        map: &ClassMap,
        coded: &[Option<Vec<u8>>],
    ) -> Result<Option<usize>, WireError> {
        match coded.get(index) {
            Some(tile) => tile.as_ref().map(|tile| emit_coded_tile(header, index, tile, &mut self.buffer)).transpose(),
            None if sent.contains(index) => {
                emit_tile(header, index, &map.cells, &mut self.scratch, &mut self.buffer).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Bytes of the tiles in `sent` of `map`.
    fn bytes_of(&mut self, header: &Header, sent: TileSet, map: &ClassMap) -> Result<usize, WireError> {
        match self.settings.packing {
            Packing::Frame => self.emit(header, sent, map),
            Packing::Tile => {
                let coded = self.coded(header, sent, map)?;
                let mut total = 0;
                for index in 0..header.params.slots() {
                    total += self.emit_alone(header, index, sent, map, &coded)?.unwrap_or(0);
                }
                Ok(total)
            }
        }
    }

    /// Bytes of `map` with nothing given up.
    fn whole(&mut self, header: &Header, map: &ClassMap) -> Result<usize, WireError> {
        self.bytes_of(header, TileSet::all(header.params.tiling.tiles()), map)
    }

    /// As much of `map` as fits into `most` bytes.
    fn fit(&mut self, header: &Header, map: &ClassMap, most: usize) -> Result<Fitted, WireError> {
        let fitted = self.fit_tiles(header, map, most, most)?;
        if header.params.parity == 0 || self.bytes_of(header, fitted.sent, &fitted.map)? <= most {
            return Ok(fitted);
        }
        // What parity takes hangs on the longest tile, which is known afterwards: the room that is left for the others is searched.
        let (mut best, mut least, mut above) = (self.fit_tiles(header, map, most, 0)?, 0usize, most);
        for _ in 0..SEARCH {
            let left = least.midpoint(above);
            let fitted = self.fit_tiles(header, map, most, left)?;
            if self.bytes_of(header, fitted.sent, &fitted.map)? <= most {
                (best, least) = (fitted, left);
            } else {
                above = left;
            }
        }
        Ok(best)
    }

    /// As much of `map` as fits into `left` bytes of `most`, parity not counted.
    fn fit_tiles(&mut self, header: &Header, map: &ClassMap, most: usize, left: usize) -> Result<Fitted, WireError> {
        let payload = header.params.payload;
        let rate = self.rate.take().filter(|rate| rate.is_for(&header.params));
        let rate = rate.unwrap_or_else(|| Rate::new(header.params, self.labels));
        let (scratch, buffer) = (&mut self.scratch, &mut self.buffer);
        let frame = self.settings.packing == Packing::Frame;
        let before = match frame {
            true => emit_frame(header, TileSet::default(), &map.cells, scratch, buffer)?,
            false => 0,
        };
        if before > most {
            return Err(WireError::Buffer { need: before, have: most });
        }
        let alone = tile_start(header);
        let fitted = rate.fit(map, payload == Payload::Map, left, before, |map, index| {
            let len = emit_tile(header, index, &map.cells, scratch, buffer)?;
            Ok(match frame {
                // In a frame it has no header of its own, and a map tile a length.
                true => len - alone + length_len(payload, len - alone),
                false => len,
            })
        });
        self.rate = Some(rate);
        fitted
    }

    /// Ends the stream: what still waited arrives, and the end marker, which the simulated channel spares.
    pub fn end(&mut self, arrived: &mut Vec<Packet>) {
        self.channel.flush(arrived);
        arrived.push(Packet::new(emit_end(self.settings.stream, self.sequence, self.capture_us).to_vec()));
    }
}

/// Where the tiles of a frame packet lie, for the channel.
fn frame_layout(header: &Header, bytes: &[u8]) -> Result<Layout, WireError> {
    let context = header.context();
    let WirePacket::Frame(frame) = WirePacket::parse(bytes, Some(&context))? else {
        return Err(WireError::Kind(0));
    };
    // A tile that isn't sent has a slot too, without bytes: the others keep their numbers.
    let ranges = (0..frame.header.slots()).map(|index| frame.slot_range(index).unwrap_or(0..0));
    let slots = ranges.enumerate().map(|(index, range)| slot(header, index, range.start, range.end));
    Ok(Layout { slots: slots.collect() })
}

/// First byte behind the header of a tile packet: prefix, key block or check, tile index, present set, checksum.
fn tile_start(header: &Header) -> usize {
    let parameters = if header.key { 4 + Params::WIRE_LEN } else { 2 };
    12 + parameters + 1 + ClassSet::wire_len(header.params.classes) + 4
}

/// Bytes that the length of a tile takes in a frame, its checksum not counted.
fn length_len(payload: Payload, tile: usize) -> usize {
    match payload {
        Payload::Map | Payload::Tokens => (tile.saturating_sub(4).max(1).ilog2() / 7 + 1) as usize,
        Payload::Soft4 | Payload::Soft8 => 0,
    }
}

fn slot(header: &Header, index: usize, start: usize, end: usize) -> Slot {
    let kind = match header.params.payload {
        Payload::Map | Payload::Tokens => SlotKind::Digital,
        Payload::Soft4 => SlotKind::Analog { bits: CodeBits::Four, unit: soft::unit_steps(4) as f32 },
        Payload::Soft8 => SlotKind::Analog { bits: CodeBits::Eight, unit: soft::unit_steps(8) as f32 },
    };
    let cols = header.params.tiling.cols as usize;
    Slot { start, end, kind, row: (index / cols) as u16, col: (index % cols) as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Assembly, CAMVID12, Event, Reception, Scene, Street};
    use crate::wire::Grid;

    fn received(settings: Settings, frames: u32) -> Vec<(ClassMap, Scene<'static>)> {
        let street = Street::new(3, Grid::new(128, 96));
        let mut sender = Sender::new(settings, &CAMVID12);
        let (mut assembly, mut scratch) = (Assembly::new(true), Scratch::new());
        let mut arrived = Vec::new();
        let maps: Vec<ClassMap> = (0..frames).map(|frame| street.frame(frame)).collect();
        for (index, map) in maps.iter().enumerate() {
            sender.send(map, index as u64 * 100_000, &mut arrived).unwrap();
        }
        sender.end(&mut arrived);
        let (mut scenes, mut scene) = (Vec::new(), None);
        let last = arrived.len() - 1;
        for (index, packet) in arrived.into_iter().enumerate() {
            let reception = Reception { snr_cdb: packet.info.snr_cdb, ..Reception::default() };
            assembly.push(&packet.bytes, reception, |tile| packet.info.erased.contains(tile as u8));
            if index == last {
                assembly.end();
            }
            while let Some(event) = assembly.event() {
                let Event::Frame(frame) = event else { continue };
                let scene = scene.get_or_insert_with(|| Scene::new(frame.header.params));
                scene.take(&frame, &mut scratch, |_, error| panic!("{error}"));
                scenes.push((maps[frame.header.sequence as usize].clone(), scene.clone()));
            }
        }
        assert!(assembly.ended());
        scenes
    }

    #[test]
    fn a_clean_channel_changes_nothing() {
        for payload in [Payload::Map, Payload::Soft4, Payload::Soft8] {
            for packing in [Packing::Frame, Packing::Tile] {
                let settings = Settings { payload, packing, ..Settings::default() };
                let scenes = received(settings, 12);
                assert_eq!(scenes.len(), 12);
                for (map, scene) in scenes {
                    assert_eq!(scene.known_permille(), 1000);
                    if payload == Payload::Map {
                        assert_eq!(scene.cells(), map.cells);
                    }
                }
            }
        }
    }

    #[test]
    fn whole_frames_and_tiles_lose_the_same_tiles() {
        let lossy = |packing| {
            let channel = "tile-loss=0.4,burst=3".parse().unwrap();
            received(Settings { channel, packing, seed: 5, key_every: 1, ..Settings::default() }, 20)
                .into_iter()
                .map(|(_, scene)| scene.known().to_vec())
                .collect::<Vec<_>>()
        };
        let frames = lossy(Packing::Frame);
        let share = frames.iter().flatten().filter(|known| !**known).count() as f64 / (20.0 * 12288.0);
        assert!((0.2..0.6).contains(&share), "{share}");
        // A frame of which no tile arrives is lost as tiles, and known in no cell as a frame.
        let nonempty: Vec<_> = frames.into_iter().filter(|known| known.contains(&true)).collect();
        assert!(nonempty == lossy(Packing::Tile));
    }

    #[test]
    fn frames_keep_to_their_bytes() {
        let street = Street::new(3, Grid::new(128, 96));
        for (payload, packing) in [
            (Payload::Map, Packing::Frame),
            (Payload::Map, Packing::Tile),
            (Payload::Soft4, Packing::Frame),
            (Payload::Soft8, Packing::Tile),
        ] {
            for most in [0, 60, 150, 300, 5_000, 40_000, 1 << 20] {
                let settings =
                    Settings { payload, packing, max_bytes: Some(most), key_every: 2, ..Settings::default() };
                let mut sender = Sender::new(settings, &CAMVID12);
                let mut arrived = Vec::new();
                for frame in 0..3 {
                    match sender.send(&street.frame(frame), u64::from(frame) * 100_000, &mut arrived) {
                        Ok(sent) => {
                            assert!(sent.bytes <= most as usize, "{payload:?} {packing:?}: {} of {most}", sent.bytes);
                            assert_eq!(sent.bytes, arrived.drain(..).map(|packet| packet.bytes.len()).sum::<usize>());
                            assert!(most < 1 << 20 || sent.given_up == GivenUp::default());
                            assert!(most > 150 || sent.given_up != GivenUp::default(), "{most}");
                        }
                        Err(error) => assert!(most == 0 && packing == Packing::Frame, "{error}"),
                    }
                }
            }
        }
    }

    #[test]
    fn parity_restores_as_many_tiles_as_it_has() {
        for (packing, cut) in [
            (Packing::Frame, Cut::Blocks),
            (Packing::Frame, Cut::Phases),
            (Packing::Tile, Cut::Blocks),
            (Packing::Tile, Cut::Phases),
        ] {
            let known = |parity, loss: &str| {
                let channel = format!("tile-loss={loss}").parse().unwrap();
                let settings = Settings { channel, packing, cut, parity, key_every: 1, seed: 5, ..Settings::default() };
                let scenes = received(settings, 20);
                for (map, scene) in &scenes {
                    let is_right = |cell: usize| !scene.known()[cell] || scene.cells()[cell] == map.cells[cell];
                    assert!((0..map.cells.len()).all(is_right));
                }
                scenes.iter().map(|(_, scene)| scene.known_permille() as usize).sum::<usize>() / scenes.len()
            };
            let (whole, bare, some, most) = (known(0, "0"), known(0, "0.2"), known(2, "0.2"), known(7, "0.2"));
            assert!(bare < whole && whole == 1000, "{packing:?} {cut:?}: {bare} of {whole}");
            assert!(some > (bare + 1000) / 2, "{packing:?} {cut:?}: {some} after {bare}");
            assert!(most > 990, "{packing:?} {cut:?}: {most}");
        }
    }

    #[test]
    fn frames_with_parity_keep_to_their_bytes() {
        let street = Street::new(3, Grid::new(128, 96));
        for packing in [Packing::Frame, Packing::Tile] {
            let mut less = usize::MAX;
            for most in [150, 200, 300, 500] {
                let settings = Settings { packing, max_bytes: Some(most), parity: 3, ..Settings::default() };
                let mut sender = Sender::new(settings, &CAMVID12);
                for frame in 0..3 {
                    let mut arrived = Vec::new();
                    let sent = sender.send(&street.frame(frame), 0, &mut arrived).unwrap();
                    assert!(sent.bytes <= most as usize, "{packing:?}: {} of {most}", sent.bytes);
                    assert_eq!(sent.bytes, arrived.iter().map(|packet| packet.bytes.len()).sum::<usize>());
                    if frame == 2 {
                        assert!(sent.given_up.tiles <= less, "{packing:?}: {most} bytes give up more than fewer do");
                        less = sent.given_up.tiles;
                    }
                }
            }
        }
    }

    #[test]
    fn delta_frames_say_what_changed() {
        let street = Street::new(3, Grid::new(128, 96));
        let rule = Rule::new(street.frame(0).grid, &CAMVID12);
        let plain = bytes_of(&street, None);
        for (delta, most) in [(Delta::All, 0.9), (Delta::Task, 1.0 / 3.0)] {
            let settings = Settings { delta: Some(delta), ..Settings::default() };
            let scenes = received(settings, 20);
            for (map, scene) in &scenes {
                assert_eq!(scene.known_permille(), 1000);
                assert_eq!(rule.read_all(scene.cells()), rule.read_all(&map.cells));
                assert!(delta != Delta::All || scene.cells() == map.cells);
            }
            let bytes = bytes_of(&street, Some(delta));
            assert!((bytes as f64) < most * plain as f64, "{delta:?}: {bytes} of {plain}");
        }
    }

    /// Of twenty frames.
    fn bytes_of(street: &Street, delta: Option<Delta>) -> usize {
        let mut sender = Sender::new(Settings { delta, ..Settings::default() }, &CAMVID12);
        let send =
            |frame| sender.send(&street.frame(frame), u64::from(frame) * 100_000, &mut Vec::new()).unwrap().bytes;
        (0..20).map(send).sum()
    }

    #[test]
    fn a_key_frame_comes_when_it_is_asked_for() {
        let street = Street::new(3, Grid::new(128, 96));
        let settings = Settings { delta: Some(Delta::Task), key_every: 50, ..Settings::default() };
        let mut sender = Sender::new(settings, &CAMVID12);
        let mut forms = Vec::new();
        for frame in 0..8 {
            match frame {
                3 => sender.ask_key(KeyRequest { stream: 1, sequence: 2 }),
                // Asked before that one came, and by another stream's receiver.
                5 => sender.ask_key(KeyRequest { stream: 1, sequence: 2 }),
                6 => sender.ask_key(KeyRequest { stream: 2, sequence: 5 }),
                _ => {}
            }
            forms.push(sender.send(&street.frame(frame), 0, &mut Vec::new()).unwrap().form);
        }
        let (key, delta) = (Form::Key, Form::Delta);
        assert_eq!(forms, [key, delta, delta, key, delta, delta, delta, delta]);
    }

    #[test]
    fn a_frame_that_fits_to_the_byte_is_sent_as_it_is() {
        let map = Street::new(3, Grid::new(128, 96)).frame(0);
        let send = |max_bytes, packing| {
            let settings = Settings { max_bytes, packing, ..Settings::default() };
            Sender::new(settings, &CAMVID12).send(&map, 0, &mut Vec::new()).unwrap()
        };
        for packing in [Packing::Frame, Packing::Tile] {
            let whole = send(None, packing);
            assert_eq!(send(Some(whole.bytes as u32), packing), whole);
            let less = send(Some(whole.bytes as u32 - 1), packing);
            assert!(less.bytes < whole.bytes && less.given_up.cells > 0 && less.given_up.tiles == 0, "{less:?}");
        }
    }

    #[test]
    fn what_is_lost_of_a_frame_without_all_of_its_tiles_is_what_the_radio_says() {
        for (payload, most) in [(Payload::Map, 150), (Payload::Soft4, 20_000), (Payload::Soft8, 50_000)] {
            let known = |loss: &str| {
                let channel = loss.parse().unwrap();
                let settings = Settings { payload, max_bytes: Some(most), channel, seed: 3, ..Settings::default() };
                // Tiles that come must hold: `received` takes none that doesn't.
                received(settings, 12).iter().map(|(_, scene)| u32::from(scene.known_permille())).sum::<u32>()
            };
            let (all, some, none) = (known("none"), known("tile-loss=0.5"), known("tile-loss=1"));
            assert!(all > 0 && none == 0 && (all / 4..3 * all / 4).contains(&some), "{payload:?}: {all} {some} {none}");
        }
    }

    #[test]
    fn a_key_frame_that_is_not_sent_is_made_good() {
        let settings = Settings { packing: Packing::Tile, max_bytes: Some(36), ..Settings::default() };
        let mut sender = Sender::new(settings, &CAMVID12);
        let (grid, mut arrived) = (Grid::new(128, 96), Vec::new());
        // No tile of the first fits, however simple it becomes; of one class, each takes 36 bytes.
        let noise = ClassMap { grid, cells: (0..grid.cells()).map(|cell| (cell * cell % 12) as u8).collect() };
        assert_eq!(sender.send(&noise, 0, &mut arrived).unwrap().bytes, 0);
        assert!(sender.send(&ClassMap::filled(grid, 3), 100_000, &mut arrived).unwrap().bytes > 0);
        assert!(arrived.iter().all(|packet| WirePacket::parse(&packet.bytes, None).is_ok()));
    }

    #[test]
    fn tiles_that_are_not_sent_are_unknown() {
        let settings = Settings { max_bytes: Some(120), ..Settings::default() };
        let scenes = received(settings, 12);
        assert_eq!(scenes.len(), 12);
        for (map, scene) in scenes {
            assert!((125..1000).contains(&scene.known_permille()), "{}", scene.known_permille());
            let right =
                (0..map.cells.len()).filter(|&cell| scene.known()[cell] && scene.cells()[cell] == map.cells[cell]);
            let known = scene.known().iter().filter(|known| **known).count();
            assert!(10 * right.count() > 8 * known);
        }
    }

    #[test]
    fn soft_values_take_the_channels_noise() {
        let channel = "sigma=0.22".parse().unwrap();
        let scenes = received(Settings { payload: Payload::Soft8, channel, ..Settings::default() }, 3);
        for (map, scene) in scenes {
            let wrong = scene.cells().iter().zip(&map.cells).filter(|(a, b)| a != b).count();
            // At this noise about one cell in a hundred is wrong by argmax.
            assert!((20..400).contains(&wrong), "{wrong}");
            assert!(scene.snr_cdb().is_some_and(|snr| (1250..1400).contains(&snr)));
        }
    }
}
