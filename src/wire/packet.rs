//! Packets: a frame with all its tiles, some, or what changed in them, one tile of a frame, the end of a stream, the wish for a key frame.

use super::codec::{self, Prior, Scratch};
use super::header::{self, CRC32C, Context, Form, Header, Parsed};
use super::{Params, Patch, Payload, TileSet, Tiling, WireError, soft, tokens};
use core::ops::Range;
use heapless::Vec;

/// A packet as it came, its header checked.
#[expect(clippy::large_enum_variant, reason = "there is no allocator to box with")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    Frame(FramePacket<'a>),
    Tile(TilePacket<'a>),
    End(End),
    Request(KeyRequest),
}

/// A frame whose header holds; its tiles are checked one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramePacket<'a> {
    pub header: Header,
    /// The header came damaged and was mended.
    pub repaired: bool,
    /// The tiles that the sender put in. Of a delta frame, those that changed.
    pub sent: TileSet,
    bytes: &'a [u8],
    /// Where each tile ends; one that wasn't sent, where the one before it does. Of a delta frame, where its changes end.
    ends: Vec<u32, { Tiling::MAX_TILES }>,
    start: usize,
}

/// One tile, alone in its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TilePacket<'a> {
    pub header: Header,
    pub repaired: bool,
    pub index: usize,
    /// The tile with its checksum, as [`read_map_tile`] and [`read_soft_tile`] take it.
    pub tile: &'a [u8],
}

/// The stream's last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub stream: u16,
    /// How many frames the stream had: sequence numbers `0..frames`.
    pub frames: u32,
}

/// What a receiver sends back: it lacks the key frame, or a tile of it, that frame `sequence` leans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRequest {
    pub stream: u16,
    pub sequence: u32,
}

impl<'a> Packet<'a> {
    /// Checks `bytes` as one packet of version 1.
    ///
    /// `context` is what the stream's last key packet said ([`Header::context`]); packets that are not key can't be read without.
    ///
    /// # Errors
    /// Any [`WireError`] but `Buffer`, `TileChecksum` and `Codec`.
    pub fn parse(bytes: &'a [u8], context: Option<&Context>) -> Result<Self, WireError> {
        let (Parsed { prefix, header, form, len }, repaired) = header::parse(bytes, context)?;
        match (form, header) {
            (Form::Frame { sent, lengths }, Some(header)) => {
                FramePacket::locate(header, repaired, bytes, sent, &lengths, len).map(Packet::Frame)
            }
            (Form::Tile { index }, Some(header)) => {
                Ok(Packet::Tile(TilePacket { header, repaired, index: index as usize, tile: &bytes[len..] }))
            }
            _ if bytes.len() > len => Err(WireError::Oversized { extra: bytes.len() - len }),
            (Form::Request, _) => Ok(Packet::Request(KeyRequest { stream: prefix.stream, sequence: prefix.sequence })),
            _ => Ok(Packet::End(End { stream: prefix.stream, frames: prefix.sequence })),
        }
    }
}

/// Bytes that check a tile of `payload`: CRC-32C behind maps and tokens, nothing behind soft values.
const fn check_len(payload: Payload) -> usize {
    if matches!(payload, Payload::Map | Payload::Tokens) { 4 } else { 0 }
}

impl<'a> FramePacket<'a> {
    fn locate(
        header: Header,
        repaired: bool,
        bytes: &'a [u8],
        sent: TileSet,
        lengths: &[u32],
        start: usize,
    ) -> Result<Self, WireError> {
        let (mut ends, mut lengths) = (Vec::new(), lengths.iter());
        let mut at = start;
        if header.reference.is_some() {
            let cells = patches(&header.params, sent).map(Patch::cells).sum();
            if let Some(&length) = lengths.next() {
                check_length(length, cells, &header)?;
                at += length as usize + check_len(header.params.payload);
            }
            let _ = ends.push(at as u32);
            return FramePacket::whole(header, repaired, bytes, sent, ends, start);
        }
        for index in 0..header.params.slots() {
            if sent.contains(index)
                && let Some(&length) = lengths.next()
            {
                if header.params.payload == Payload::Tokens && length as usize > tokens::MAX_LEN {
                    return Err(WireError::Field { field: "tile length", reason: "is more than tokens may take" });
                }
                if header.params.payload == Payload::Map {
                    let patch = header.params.patch(index);
                    check_length(length, patch.map_or(largest(&header.params) + PARITY_ROOM, Patch::cells), &header)?;
                }
                at += length as usize + check_len(header.params.payload);
            }
            // Never full: a tiling has at most `MAX_TILES` tiles.
            let _ = ends.push(at as u32);
        }
        FramePacket::whole(header, repaired, bytes, sent, ends, start)
    }

    /// A frame whose last tile ends where `ends` says, unless bytes follow behind its trailer.
    fn whole(
        header: Header,
        repaired: bool,
        bytes: &'a [u8],
        sent: TileSet,
        ends: Vec<u32, { Tiling::MAX_TILES }>,
        start: usize,
    ) -> Result<Self, WireError> {
        let whole = ends.last().map_or(start, |&end| end as usize) + header::trailer_len(header.params.classes);
        match bytes.len() {
            len if len > whole => Err(WireError::Oversized { extra: len - whole }),
            // A cut frame keeps the tiles that came whole.
            _ => Ok(FramePacket { header, repaired, sent, bytes, ends, start }),
        }
    }

    /// Where the changes of a delta frame lie in the packet, their checksum included; nowhere if nothing changed. `None` for the other frames.
    pub fn changes_range(&self) -> Option<Range<usize>> {
        self.header.reference?;
        Some(self.start..*self.ends.first()? as usize)
    }

    /// The changes of a delta frame, as [`read_changes`] takes them; empty if nothing changed. `None` when the packet was cut before their end, and for the other
    /// frames.
    pub fn changes(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.changes_range()?)
    }

    /// Where what the radio delivers or not as one lies in the packet: tile `index`, or, of a delta frame, all changes as index 0.
    pub fn slot_range(&self, index: usize) -> Option<Range<usize>> {
        match self.header.reference {
            Some(_) => self.changes_range().filter(|_| index == 0),
            None => self.tile_range(index),
        }
    }

    /// The bytes of such a slot. `None` as for [`tile`](FramePacket::tile) and [`changes`](FramePacket::changes).
    pub fn slot(&self, index: usize) -> Option<&'a [u8]> {
        self.bytes.get(self.slot_range(index)?)
    }

    /// Where tile `index` lies in the packet, its checksum included. `None` past the last tile, where it wasn't sent, and in a delta frame.
    pub fn tile_range(&self, index: usize) -> Option<Range<usize>> {
        if !self.sent.contains(index) || self.header.reference.is_some() {
            return None;
        }
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => self.start,
        };
        Some(start..end)
    }

    /// Tile `index` with its checksum. `None` when it wasn't sent, or the packet was cut before its end.
    pub fn tile(&self, index: usize) -> Option<&'a [u8]> {
        self.bytes.get(self.tile_range(index)?)
    }
}

/// Cells beyond those of the largest tile that a tile of parity may be as long as: it holds two bytes more.
const PARITY_ROOM: usize = 16;

/// Cells of the largest tile.
fn largest(params: &Params) -> usize {
    (0..params.tiling.tiles()).filter_map(|index| params.patch(index)).map(Patch::cells).max().unwrap_or(0)
}

/// `length`: of map tiles that have so many cells together.
fn check_length(length: u32, cells: usize, header: &Header) -> Result<(), WireError> {
    if length as usize > codec::max_len(cells, header.present.len()) {
        return Err(WireError::Field { field: "tile length", reason: "is more than the tile's cells can take" });
    }
    Ok(())
}

/// Most bytes that a frame or a tile of `header` can take: what a buffer for [`emit_frame`] or [`emit_tile`] should hold.
pub fn buffer_len(header: &Header) -> usize {
    let params = &header.params;
    let patches = (0..params.tiling.tiles()).filter_map(|index| params.patch(index));
    let tiles: usize = patches
        .map(|patch| match params.payload.soft_bits() {
            _ if params.payload == Payload::Tokens => tokens::MAX_LEN + check_len(params.payload),
            Some(bits) => soft::tile_len(patch, header.present, bits),
            None => codec::max_len(patch.cells(), header.present.len()) + check_len(params.payload),
        })
        .sum();
    let parity = params.parity as usize * (codec::max_len(largest(params) + PARITY_ROOM, header.present.len()) + 4);
    tiles + parity + header_room(params)
}

/// Most bytes beside the tiles: 64 of header and trailer, a bit and the length of each tile.
const fn header_room(params: &Params) -> usize {
    64 + TileSet::wire_len(params.slots()) + 4 * params.slots()
}

/// Writes the tiles of the map `cells` that are in `sent` as one frame packet, and returns its length.
///
/// # Errors
/// A header that makes no sense, cells of these tiles outside the present set, or `out` shorter than the frame.
pub fn emit_frame(
    header: &Header,
    sent: TileSet,
    cells: &[u8],
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, WireError> {
    emit_tiles(header, sent, |index, out| emit_tile_data(header, index, cells, scratch, out), out)
}

/// Writes a frame packet of tiles that are coded already, and returns its length: `tiles` gives the bytes of each tile that is sent, those of parity included, as [`encode_map_tile`]
/// gave them.
///
/// # Errors
/// A header that makes no sense, or `out` shorter than the frame.
pub fn emit_coded<'a>(
    header: &Header,
    tiles: impl Fn(usize) -> Option<&'a [u8]>,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let mut sent = TileSet::default();
    (0..header.params.slots()).filter(|&index| tiles(index).is_some()).for_each(|index| sent.insert(index));
    emit_tiles(header, sent, |index, out| put_tile(header, index, tiles(index).unwrap_or_default(), out), out)
}

fn emit_tiles(
    header: &Header,
    sent: TileSet,
    mut tile: impl FnMut(usize, &mut [u8]) -> Result<usize, WireError>,
    out: &mut [u8],
) -> Result<usize, WireError> {
    if header.reference.is_some() {
        return Err(WireError::Field { field: "reference", reason: "is a delta frame's" });
    }
    header.params.validate()?;
    if !sent.is_below(header.params.slots()) {
        return Err(WireError::Field { field: "tile set", reason: "names a tile past the last" });
    }
    // The lengths come before the tiles: write the tiles behind the longest header, then close the gap.
    let room = header_room(&header.params);
    let have = out.len();
    let mut lengths = Vec::new();
    let mut at = room;
    for index in sent.iter() {
        let space = out.get_mut(at..).ok_or(WireError::Buffer { need: at, have })?;
        let length = tile(index, space)?;
        at += length;
        let _ = lengths.push((length - check_len(header.params.payload)) as u32);
    }
    close_frame(header, sent, lengths, at, out)
}

/// Puts the header before the tiles, which lie in `out` from [`header_room`] up to `end`, and the trailer behind them; the length of the frame.
fn close_frame(
    header: &Header,
    sent: TileSet,
    lengths: Vec<u32, { Tiling::MAX_TILES }>,
    end: usize,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let (room, have) = (header_room(&header.params), out.len());
    let start = header::emit(header, &Form::Frame { sent, lengths }, &mut out[..room])?;
    out.copy_within(room..end, start);
    let end = start + end - room;
    let len = end + header::trailer_len(header.params.classes);
    let trailer = out.get_mut(end..len).ok_or(WireError::Buffer { need: len, have })?;
    header::emit_trailer(header, trailer);
    Ok(len)
}

/// Writes tile `index` of the map `cells` as a packet of its own, and returns its length.
///
/// # Errors
/// As [`emit_frame`].
pub fn emit_tile(
    header: &Header,
    index: usize,
    cells: &[u8],
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let form = Form::Tile { index: index as u8 };
    let len = header::emit(header, &form, out)?;
    Ok(len + emit_tile_data(header, index, cells, scratch, &mut out[len..])?)
}

/// Writes tile `index`, coded already, as a packet of its own, and returns its length.
///
/// # Errors
/// As [`emit_coded`].
pub fn emit_coded_tile(header: &Header, index: usize, tile: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    let len = header::emit(header, &Form::Tile { index: index as u8 }, out)?;
    Ok(len + put_tile(header, index, tile, &mut out[len..])?)
}

/// Writes the end marker of a stream of `frames` frames.
pub fn emit_end(stream: u16, frames: u32, capture_us: u64) -> [u8; header::BARE_LEN] {
    header::emit_end(stream, frames, capture_us)
}

/// What to ask for where a packet can't be read without a key frame: its numbers, which nothing has checked.
pub fn request_for(packet: &[u8]) -> Option<KeyRequest> {
    let (stream, sequence) = header::numbers(packet)?;
    Some(KeyRequest { stream, sequence })
}

/// Writes a receiver's wish for a key frame.
pub fn emit_request(request: KeyRequest) -> [u8; header::BARE_LEN] {
    header::emit_request(request.stream, request.sequence)
}

fn patch_of(header: &Header, index: usize) -> Result<Patch, WireError> {
    let patch = header.params.patch(index);
    patch.ok_or(WireError::Field { field: "tile index", reason: "is past the last tile" })
}

fn emit_tile_data(
    header: &Header,
    index: usize,
    cells: &[u8],
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, WireError> {
    if let Some(bits) = header.params.payload.soft_bits() {
        let patch = patch_of(header, index)?;
        check_cells(header, cells)?;
        return soft::emit_tile(cells, header.params.grid, patch, header.present, bits, out);
    }
    let len = encode_map_tile(header, index, cells, scratch, out)?;
    Ok(len + put_check(header, index, len, out)?)
}

/// The codec's bytes of tile `index` of the map `cells`, without a checksum; their length.
///
/// # Errors
/// As [`emit_frame`].
pub fn encode_map_tile(
    header: &Header,
    index: usize,
    cells: &[u8],
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let (params, patch) = (&header.params, patch_of(header, index)?);
    check_cells(header, cells)?;
    let prior = Prior::for_label_set(params.label_set, params.grid);
    Ok(codec::encode_tile(cells, params.grid, patch, header.present, prior, scratch, out)?)
}

fn check_cells(header: &Header, cells: &[u8]) -> Result<(), WireError> {
    if cells.len() != header.params.grid.cells() {
        return Err(WireError::Field { field: "cells", reason: "are not as many as the grid has" });
    }
    Ok(())
}

/// A tile's bytes with their checksum.
fn put_tile(header: &Header, index: usize, tile: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    let (len, have) = (tile.len(), out.len());
    out.get_mut(..len).ok_or(WireError::Buffer { need: len + 4, have })?.copy_from_slice(tile);
    Ok(len + put_check(header, index, len, out)?)
}

/// The checksum of the tile in the first `len` bytes of `out`, behind them.
fn put_check(header: &Header, index: usize, len: usize, out: &mut [u8]) -> Result<usize, WireError> {
    let check = tile_check(header, index, &out[..len]);
    let have = out.len();
    let tail = out.get_mut(len..len + 4).ok_or(WireError::Buffer { need: len + 4, have })?;
    tail.copy_from_slice(&check.to_le_bytes());
    Ok(4)
}

/// Binds a tile to its frame, its place and the present set that it decodes with; the changes of a delta frame, as index 0, to the frame that they lean on too.
fn tile_check(header: &Header, index: usize, data: &[u8]) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(&header.stream.to_le_bytes());
    digest.update(&header.sequence.to_le_bytes());
    digest.update(&[index as u8]);
    digest.update(&header.present.0.to_le_bytes());
    if let Some(sequence) = header.reference {
        digest.update(&sequence.to_le_bytes());
    }
    digest.update(data);
    digest.finalize()
}

/// Checks and decodes a map tile into its rectangle of `cells` (the whole map). On error the rectangle is untouched.
///
/// # Errors
/// [`WireError::TileChecksum`] or [`WireError::Truncated`] for a damaged tile; `Field` and `Codec` when the arguments don't fit each other.
pub fn read_map_tile(
    header: &Header,
    index: usize,
    tile: &[u8],
    scratch: &mut Scratch,
    cells: &mut [u8],
) -> Result<(), WireError> {
    patch_of(header, index)?;
    decode_map_tile(header, index, map_tile_data(header, index, tile)?, scratch, cells)
}

/// The bytes of map tile `index`, of parity or not, without their checksum.
///
/// # Errors
/// [`WireError::TileChecksum`] or [`WireError::Truncated`] for a damaged tile.
pub fn map_tile_data<'a>(header: &Header, index: usize, tile: &'a [u8]) -> Result<&'a [u8], WireError> {
    checked(header, index, tile, "tile checksum")
}

/// The tokens of tile `index`, checked one by one as they are taken.
///
/// # Errors
/// [`WireError::TileChecksum`] or [`WireError::Truncated`] for a damaged tile.
pub fn read_tokens<'a>(header: &Header, index: usize, tile: &'a [u8]) -> Result<tokens::Tokens<'a>, WireError> {
    patch_of(header, index)?;
    let data = checked(header, index, tile, "tile checksum")?;
    Ok(tokens::Tokens::new(data, header.params.grid, header.present))
}

/// What [`put_check`] was put behind; `field` names it in errors.
fn checked<'a>(header: &Header, index: usize, bytes: &'a [u8], field: &'static str) -> Result<&'a [u8], WireError> {
    let (data, check) = bytes.split_last_chunk::<4>().ok_or(WireError::Truncated { field })?;
    match tile_check(header, index, data) == u32::from_le_bytes(*check) {
        true => Ok(data),
        false => Err(WireError::TileChecksum),
    }
}

/// Decodes what [`encode_map_tile`] gave. On error `cells` is untouched.
///
/// # Errors
/// `Field` and `Codec` when the arguments don't fit each other.
pub fn decode_map_tile(
    header: &Header,
    index: usize,
    data: &[u8],
    scratch: &mut Scratch,
    cells: &mut [u8],
) -> Result<(), WireError> {
    let (params, patch) = (&header.params, patch_of(header, index)?);
    let prior = Prior::for_label_set(params.label_set, params.grid);
    codec::decode_tile(data, params.grid, patch, header.present, prior, scratch, cells)?;
    Ok(())
}

/// Writes a delta frame: the tiles in `changed` of the map `cells`, as changes since the map `key_cells`, the key frame of number `header.reference`. Returns its
/// length; `None` where the changes take more than the tiles could.
///
/// # Errors
/// As [`emit_frame`]; a header without a reference.
pub fn emit_delta(
    header: &Header,
    changed: TileSet,
    cells: &[u8],
    key_cells: &[u8],
    out: &mut [u8],
) -> Result<Option<usize>, WireError> {
    header.params.validate()?;
    if header.reference.is_none() {
        return Err(WireError::Field { field: "reference", reason: "is missing" });
    }
    if !changed.is_below(header.params.tiling.tiles()) {
        return Err(WireError::Field { field: "tile set", reason: "names a tile past the last" });
    }
    // As in a whole frame: the length comes before the changes.
    let room = header_room(&header.params);
    let have = out.len();
    let (mut lengths, mut end) = (Vec::new(), room);
    if !changed.is_empty() {
        let space = out.get_mut(room..).ok_or(WireError::Buffer { need: room, have })?;
        let patches = patches(&header.params, changed);
        let Some(len) = codec::encode_changes(cells, key_cells, header.params.grid, patches, header.present, space)?
        else {
            return Ok(None);
        };
        let _ = lengths.push(len as u32);
        end += len + put_check(header, 0, len, space)?;
    }
    close_frame(header, changed, lengths, end, out).map(Some)
}

/// Checks and decodes the changes of a delta frame into the tiles in `changed` of `cells` (the whole map). On error `cells` is untouched. `key_cells` is the key
/// frame that it leans on, known in these tiles.
///
/// # Errors
/// As [`read_map_tile`].
pub fn read_changes(
    header: &Header,
    changed: TileSet,
    changes: &[u8],
    key_cells: &[u8],
    cells: &mut [u8],
) -> Result<(), WireError> {
    let data = checked(header, 0, changes, "changes' checksum")?;
    let Header { params, present, .. } = header;
    codec::decode_changes(data, key_cells, params.grid, patches(params, changed), *present, cells)?;
    Ok(())
}

fn patches(params: &Params, tiles: TileSet) -> impl Iterator<Item = Patch> + Clone {
    let params = *params;
    tiles.iter().filter_map(move |index| params.patch(index))
}

/// Reads a soft tile into `codes`: a plane of the whole grid per present class in ascending order. See [`soft`].
///
/// # Errors
/// [`WireError::Truncated`] when the tile is not as long as its cells and classes ask; `Buffer` when `codes` is too small.
pub fn read_soft_tile(header: &Header, index: usize, tile: &[u8], codes: &mut [u8]) -> Result<(), WireError> {
    let params = &header.params;
    let patch = patch_of(header, index)?;
    let bits = params.payload.soft_bits().ok_or(WireError::Field { field: "payload", reason: "is not soft" })?;
    soft::read_tile(tile, params.grid, patch, header.present, bits, codes)
}
