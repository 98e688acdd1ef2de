//! The header that every packet begins with.

use super::{ClassSet, Params, Payload, TileSet, Tiling, WireError};
use crc::{CRC_16_IBM_SDLC, CRC_32_ISCSI, Crc};
use heapless::Vec;

/// First byte of every packet.
pub const SYNC: u8 = 0xd5;
/// Version of the wire that this module speaks.
pub const VERSION: u8 = 1;

pub(super) const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

const KIND_FRAME: u8 = 0;
const KIND_TILE: u8 = 1;
const KIND_END: u8 = 2;
/// A frame of which the sender left tiles out.
const KIND_PARTIAL: u8 = 3;
/// A frame that says what changed since a key frame.
const KIND_DELTA: u8 = 4;
/// What a receiver sends back: a wish for a key frame.
const KIND_REQUEST: u8 = 5;
const KEY: u8 = 8;

/// A single wrong bit in the first bytes of a header is found by trying: this bounds the trials.
const REPAIRABLE: usize = 64;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub stream: u16,
    /// Counts frames from 0.
    pub sequence: u32,
    /// When the scene was captured, in µs of the sender's clock.
    pub capture_us: u64,
    /// A key frame carries the stream's parameters; the others quote them.
    pub key: bool,
    /// Number of the key frame that a delta frame leans on, at most 255 before it; `None` for the others.
    pub reference: Option<u32>,
    pub params: Params,
    /// The classes that occur in the frame.
    pub present: ClassSet,
}

/// What a receiver remembers of a stream between packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub params: Params,
    pub capture_us: u64,
}

impl Header {
    /// What the radio delivers or not as one: the tiles of a frame, those of parity included; of a delta frame, its changes together.
    pub const fn slots(&self) -> usize {
        if self.reference.is_some() { 1 } else { self.params.slots() }
    }

    pub fn context(&self) -> Context {
        Context { params: self.params, capture_us: self.capture_us }
    }
}

/// The first twelve bytes, which every packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub kind: u8,
    pub key: bool,
    pub stream: u16,
    pub sequence: u32,
    pub capture_low: u32,
}

pub(super) const PREFIX_LEN: usize = 12;

impl Prefix {
    fn emit(&self) -> [u8; PREFIX_LEN] {
        let mut bytes = [0; PREFIX_LEN];
        bytes[0] = SYNC;
        bytes[1] = VERSION << 4 | self.kind | if self.key { KEY } else { 0 };
        bytes[2..4].copy_from_slice(&self.stream.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.capture_low.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        match bytes.first() {
            None => return Err(WireError::Truncated { field: "sync" }),
            Some(&SYNC) => {}
            Some(&other) => return Err(WireError::Sync(other)),
        }
        let Some(bytes) = bytes.first_chunk::<PREFIX_LEN>() else {
            return Err(WireError::Truncated { field: "header" });
        };
        let version = bytes[1] >> 4;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        Ok(Prefix {
            kind: bytes[1] & 7,
            key: bytes[1] & KEY != 0,
            stream: u16::from_le_bytes([bytes[2], bytes[3]]),
            sequence: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            capture_low: u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        })
    }
}

/// Stream and sequence number of a packet, unchecked.
pub(super) fn numbers(packet: &[u8]) -> Option<(u16, u32)> {
    Prefix::parse(packet).ok().map(|prefix| (prefix.stream, prefix.sequence))
}

/// Which packet a header begins.
#[expect(clippy::large_enum_variant, reason = "there is no allocator to box with")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// A frame, with the tiles that it holds and the length in bytes of each of them; of a delta frame, the tiles that changed and the length of all changes, if
    /// there are any.
    Frame { sent: TileSet, lengths: Vec<u32, { Tiling::MAX_TILES }> },
    /// One tile of a frame.
    Tile { index: u8 },
    /// The stream has ended; `sequence` is the number of frames that it had.
    End,
    /// A receiver lacks what frame `sequence` leans on.
    Request,
}

/// A header with its form, and how many bytes it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub prefix: Prefix,
    /// `None` for an end marker and for a request.
    pub header: Option<Header>,
    pub form: Form,
    pub len: usize,
}

/// Reads the header at the start of `packet`, mending one wrong bit, or a damaged present set from its copy in the trailer.
///
/// # Errors
/// The first thing that is wrong, as [`WireError`] names it.
pub(super) fn parse(packet: &[u8], context: Option<&Context>) -> Result<(Parsed, bool), WireError> {
    match parse_exact(packet, context) {
        Ok(parsed) => Ok((parsed, false)),
        // Not one of ours. A missing key frame is no reason to give up: the bit that says key may be the wrong one.
        Err(error @ WireError::Sync(_)) => Err(error),
        Err(error) => repair(packet, context).map(|parsed| (parsed, true)).ok_or(error),
    }
}

fn repair(packet: &[u8], context: Option<&Context>) -> Option<Parsed> {
    // The header alone is read, so a copy of what can hold one is enough.
    let mut copy: Vec<u8, MAX_HEADER_LEN> = Vec::new();
    copy.extend_from_slice(&packet[..packet.len().min(MAX_HEADER_LEN)]).ok()?;
    if let Some(parsed) = repair_present(packet, &mut copy, context) {
        return Some(parsed);
    }
    for bit in 8..8 * copy.len().min(REPAIRABLE) {
        copy[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = parse_exact(&copy, context) {
            return Some(parsed);
        }
        copy[bit / 8] ^= 1 << (bit % 8);
    }
    None
}

/// Puts the trailer's copy of the present set where the header's is, and reads again.
fn repair_present(packet: &[u8], copy: &mut [u8], context: Option<&Context>) -> Option<Parsed> {
    let prefix = Prefix::parse(packet).ok()?;
    let (classes, start) = match prefix.key {
        true => {
            let block = packet.get(PREFIX_LEN + 4..PREFIX_LEN + KEY_LEN)?;
            (Params::parse(block.try_into().ok()?).ok()?.classes, PREFIX_LEN + KEY_LEN)
        }
        false => (context?.params.classes, PREFIX_LEN + CHECK_LEN + (prefix.kind == KIND_DELTA) as usize),
    };
    let set = ClassSet::wire_len(classes);
    let trailer = packet.get(packet.len().checked_sub(trailer_len(classes))?..)?;
    let (present, check) = trailer.split_at(set);
    if trailer_check(prefix.stream, prefix.sequence, present) != u16::from_le_bytes(check.try_into().ok()?) {
        return None;
    }
    let here = copy.get_mut(start..start + set)?;
    let mut damaged = [0; 8];
    damaged[..set].copy_from_slice(here);
    here.copy_from_slice(present);
    let parsed = parse_exact(copy, context).ok();
    if parsed.is_none() {
        copy[start..start + set].copy_from_slice(&damaged[..set]);
    }
    parsed
}

const KEY_LEN: usize = 4 + Params::WIRE_LEN;
const CHECK_LEN: usize = 2;
/// A length is a varint of at most 4 bytes.
const MAX_HEADER_LEN: usize =
    PREFIX_LEN + KEY_LEN + 1 + 8 + TileSet::wire_len(Tiling::MAX_TILES) + 4 * Tiling::MAX_TILES + 4;

/// Cuts fields off the front of a packet.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let taken = self.bytes.get(self.at..self.at + len).ok_or(WireError::Truncated { field })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], WireError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        taken.ok_or(WireError::Truncated { field })
    }

    /// LEB128, at most 28 bits.
    fn varint(&mut self, field: &'static str) -> Result<u32, WireError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = *self.array::<1>(field)?;
            value |= ((byte & 127) as u32) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(WireError::Field { field, reason: "a length takes at most 4 bytes" })
    }
}

fn parse_exact(packet: &[u8], context: Option<&Context>) -> Result<Parsed, WireError> {
    let prefix = Prefix::parse(packet)?;
    let mut reader = Reader { bytes: packet, at: PREFIX_LEN };
    let (header, form) = match prefix.kind {
        KIND_END => (None, Form::End),
        KIND_REQUEST => (None, Form::Request),
        KIND_FRAME | KIND_PARTIAL | KIND_DELTA | KIND_TILE => {
            let (params, capture_us) = if prefix.key {
                let high = u32::from_le_bytes(*reader.array("capture time")?);
                let params = Params::parse(reader.array("parameters")?)?;
                (params, (high as u64) << 32 | prefix.capture_low as u64)
            } else {
                let check = u16::from_le_bytes(*reader.array("parameters check")?);
                let context = context.ok_or(WireError::NoKeyFrame)?;
                if check != context.params.check() {
                    return Err(WireError::ParamsChanged);
                }
                (context.params, extend(prefix.capture_low, context.capture_us))
            };
            let reference = match prefix.kind {
                KIND_DELTA => Some(reference(&prefix, reader.array::<1>("reference")?[0], &params)?),
                _ => None,
            };
            let index = match prefix.kind {
                KIND_TILE => Some(reader.array::<1>("tile index")?[0]),
                _ => None,
            };
            let present = ClassSet::parse(reader.take(ClassSet::wire_len(params.classes), "present set")?);
            let form = match index {
                Some(index) => Form::Tile { index },
                None => {
                    let tiles = slots(&params, prefix.kind);
                    let sent = match prefix.kind {
                        KIND_PARTIAL | KIND_DELTA => TileSet::parse(reader.take(TileSet::wire_len(tiles), "tile set")?),
                        _ => TileSet::all(tiles),
                    };
                    Form::Frame { sent, lengths: tile_lengths(&mut reader, prefix.kind, &params, present, &sent)? }
                }
            };
            let header = Header {
                stream: prefix.stream,
                sequence: prefix.sequence,
                capture_us,
                key: prefix.key,
                reference,
                params,
                present,
            };
            (Some(header), form)
        }
        other => return Err(WireError::Kind(other)),
    };
    let covered = reader.at;
    let stored = u32::from_le_bytes(*reader.array("header checksum")?);
    if CRC32C.checksum(&packet[..covered]) != stored {
        return Err(WireError::HeaderChecksum);
    }
    // Checked last: until the checksum holds, what the fields say is not to be blamed.
    if let Some(header) = &header {
        if header.present.is_empty() || !header.present.is_below(header.params.classes) {
            return Err(WireError::Field { field: "present set", reason: "is empty or names a class past the last" });
        }
        match &form {
            Form::Tile { index } if *index as usize >= header.params.slots() => {
                return Err(WireError::Field { field: "tile index", reason: "is past the last tile" });
            }
            Form::Frame { sent, .. } if !sent.is_below(slots(&header.params, prefix.kind)) => {
                return Err(WireError::Field { field: "tile set", reason: "names a tile past the last" });
            }
            _ => {}
        }
    }
    Ok(Parsed { prefix, header, form, len: reader.at })
}

/// Tiles that a frame of this kind may hold: what changed has no parity.
fn slots(params: &Params, kind: u8) -> usize {
    if kind == KIND_DELTA { params.tiling.tiles() } else { params.slots() }
}

/// The number of the key frame that a delta frame leans on, `back` frames before it.
fn reference(prefix: &Prefix, back: u8, params: &Params) -> Result<u32, WireError> {
    let field = |reason| Err(WireError::Field { field: "reference", reason });
    match prefix.sequence.checked_sub(back as u32) {
        _ if prefix.key => field("a key frame leans on no other"),
        _ if params.payload != Payload::Map => field("only maps lean on another frame"),
        Some(sequence) if back > 0 => Ok(sequence),
        _ => field("is 1 to 255 frames back, and not before the stream's start"),
    }
}

fn tile_lengths(
    reader: &mut Reader<'_>,
    kind: u8,
    params: &Params,
    present: ClassSet,
    sent: &TileSet,
) -> Result<Vec<u32, { Tiling::MAX_TILES }>, WireError> {
    let mut lengths = Vec::new();
    if kind == KIND_DELTA {
        if !sent.is_empty() {
            let _ = lengths.push(reader.varint("length of the changes")?);
        }
        return Ok(lengths);
    }
    for index in sent.iter().take_while(|&index| index < params.slots()) {
        let length = match (params.payload.soft_bits(), params.patch(index)) {
            (Some(bits), Some(patch)) => super::soft::tile_len(patch, present, bits) as u32,
            _ => reader.varint("tile length")?,
        };
        // Never full: a tiling has at most `MAX_TILES` tiles.
        let _ = lengths.push(length);
    }
    Ok(lengths)
}

/// The time nearest to `around` whose low 32 bits are `low`.
fn extend(low: u32, around: u64) -> u64 {
    let ahead = low.wrapping_sub(around as u32) as i32;
    around.wrapping_add_signed(ahead as i64)
}

/// Bytes of the header of a frame or tile packet, its checksum included.
pub(super) fn emit(header: &Header, form: &Form, out: &mut [u8]) -> Result<usize, WireError> {
    header.params.validate()?;
    if header.present.is_empty() || !header.present.is_below(header.params.classes) {
        return Err(WireError::Field { field: "present set", reason: "is empty or names a class past the last" });
    }
    let prefix = Prefix {
        kind: match form {
            Form::Tile { .. } => KIND_TILE,
            _ if header.reference.is_some() => KIND_DELTA,
            Form::Frame { sent, .. } if sent.len() < header.params.slots() => KIND_PARTIAL,
            _ => KIND_FRAME,
        },
        key: header.key,
        stream: header.stream,
        sequence: header.sequence,
        capture_low: header.capture_us as u32,
    };
    let mut bytes: Vec<u8, MAX_HEADER_LEN> = Vec::new();
    // A header never outgrows `MAX_HEADER_LEN`: the pushes below can't fail.
    let _ = bytes.extend_from_slice(&prefix.emit());
    if header.key {
        let _ = bytes.extend_from_slice(&((header.capture_us >> 32) as u32).to_le_bytes());
        let _ = bytes.extend_from_slice(&header.params.emit());
    } else {
        let _ = bytes.extend_from_slice(&header.params.check().to_le_bytes());
    }
    if let Some(sequence) = header.reference {
        let back = header.sequence.checked_sub(sequence).and_then(|back| u8::try_from(back).ok()).unwrap_or(0);
        if matches!(form, Form::Tile { .. }) {
            return Err(WireError::Field { field: "reference", reason: "a tile alone leans on no other" });
        }
        reference(&prefix, back, &header.params)?;
        let _ = bytes.push(back);
    }
    if let Form::Tile { index } = form {
        let _ = bytes.push(*index);
    }
    let mut present = [0; 8];
    header.present.emit(&mut present);
    let _ = bytes.extend_from_slice(&present[..ClassSet::wire_len(header.params.classes)]);
    if let (Form::Frame { sent, .. }, KIND_PARTIAL | KIND_DELTA) = (form, prefix.kind) {
        for at in 0..TileSet::wire_len(slots(&header.params, prefix.kind)) {
            let _ = bytes.push(sent.byte(at));
        }
    }
    if let (Form::Frame { lengths, .. }, Payload::Map | Payload::Tokens) = (form, header.params.payload) {
        for &length in lengths {
            let mut rest = length;
            while rest >= 128 {
                let _ = bytes.push(rest as u8 | 128);
                rest >>= 7;
            }
            let _ = bytes.push(rest as u8);
        }
    }
    let check = CRC32C.checksum(&bytes);
    let _ = bytes.extend_from_slice(&check.to_le_bytes());
    let (need, have) = (bytes.len(), out.len());
    out.get_mut(..need).ok_or(WireError::Buffer { need, have })?.copy_from_slice(&bytes);
    Ok(need)
}

/// Bytes of a packet that is no more than a prefix: with its checksum.
pub(super) const BARE_LEN: usize = PREFIX_LEN + 4;

pub(super) fn emit_end(stream: u16, frames: u32, capture_us: u64) -> [u8; BARE_LEN] {
    bare(Prefix { kind: KIND_END, key: false, stream, sequence: frames, capture_low: capture_us as u32 })
}

pub(super) fn emit_request(stream: u16, sequence: u32) -> [u8; BARE_LEN] {
    bare(Prefix { kind: KIND_REQUEST, key: false, stream, sequence, capture_low: 0 })
}

fn bare(prefix: Prefix) -> [u8; BARE_LEN] {
    let prefix = prefix.emit();
    let mut bytes = [0; BARE_LEN];
    bytes[..PREFIX_LEN].copy_from_slice(&prefix);
    bytes[PREFIX_LEN..].copy_from_slice(&CRC32C.checksum(&prefix).to_le_bytes());
    bytes
}

/// Bytes of a frame's trailer: the second copy of the present set, and its own check.
pub(super) const fn trailer_len(classes: u8) -> usize {
    ClassSet::wire_len(classes) + 2
}

pub(super) fn emit_trailer(header: &Header, out: &mut [u8]) {
    let set = ClassSet::wire_len(header.params.classes);
    let mut present = [0; 8];
    header.present.emit(&mut present);
    let check = trailer_check(header.stream, header.sequence, &present[..set]);
    out[..set].copy_from_slice(&present[..set]);
    out[set..set + 2].copy_from_slice(&check.to_le_bytes());
}

fn trailer_check(stream: u16, sequence: u32, present: &[u8]) -> u16 {
    let mut digest = CRC16.digest();
    digest.update(&stream.to_le_bytes());
    digest.update(&sequence.to_le_bytes());
    digest.update(present);
    digest.finalize()
}
