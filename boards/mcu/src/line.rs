//! How packets stand on the serial line, as `semrx send --to serial:…` writes them: a check, a length and an envelope, COBS-encoded between zeros.
//!
//! | field | size | content |
//! |---|---|---|
//! | check | 2 | CRC-16/IBM-SDLC of the length and of the envelope up to its packet, little-endian |
//! | length | 1–3 | varint: bytes of the envelope |
//! | envelope | length | what the radio said, then the packet's bytes |

use cobs::{DecodeResult, DecoderState};
use crc::{CRC_16_IBM_SDLC, Crc};
use semrx::front::PACKET_BYTES;
use semrx::link::{LinkInfo, envelope};

const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);
const CHECK_BYTES: usize = 2;
/// Check, length and the longest that an envelope has before its packet: flags, SNR, delay, erased slots.
const HEAD_BYTES: usize = CHECK_BYTES + 3 + 1 + 2 + 5 + 33;

/// A packet whose head holds; its own checks tell what of it does.
pub struct Heard<'a> {
    pub info: LinkInfo,
    pub packet: &'a [u8],
    /// On the line, with a zero at each end.
    pub line_bytes: usize,
}

/// Finds packets of up to [`PACKET_BYTES`] bytes in the bytes of a line, in step again at each zero byte.
pub struct Line {
    content: [u8; HEAD_BYTES + PACKET_BYTES],
    len: usize,
    /// Since the last zero.
    line_bytes: usize,
    /// The stretch was too long, and is skipped to its end.
    skips: bool,
    decoder: DecoderState,
    /// What stands in `content` was handed on.
    is_told: bool,
    pub malformed: u32,
    pub oversized: u32,
}

impl Line {
    pub const fn new() -> Self {
        Line {
            content: [0; HEAD_BYTES + PACKET_BYTES],
            len: 0,
            line_bytes: 0,
            skips: false,
            decoder: DecoderState::Idle,
            is_told: false,
            malformed: 0,
            oversized: 0,
        }
    }

    /// Takes the next byte of the line; a packet, if one ends with it.
    pub fn push(&mut self, byte: u8) -> Option<Heard<'_>> {
        if core::mem::take(&mut self.is_told) {
            self.begin();
        }
        if byte != 0 {
            self.put(byte);
            return None;
        }
        self.is_told = true;
        if self.line_bytes == 0 || self.skips {
            return None;
        }
        // A stretch that ends before its code says is read as far as it goes: noise may have made a zero of the byte that stood there.
        let Some((info, packet)) = read(&self.content[..self.len]) else {
            self.malformed += 1;
            return None;
        };
        Some(Heard { info, packet, line_bytes: self.line_bytes + 2 })
    }

    /// Forgets what it counted.
    pub fn restart(&mut self) {
        (self.malformed, self.oversized) = (0, 0);
    }

    fn begin(&mut self) {
        (self.len, self.line_bytes, self.skips, self.decoder) = (0, 0, false, DecoderState::Idle);
    }

    fn put(&mut self, byte: u8) {
        self.line_bytes += 1;
        if self.skips {
            return;
        }
        // Only a zero is ever unexpected.
        let Ok(DecodeResult::DataContinue(decoded)) = self.decoder.feed(byte) else { return };
        match self.content.get_mut(self.len) {
            Some(place) => {
                *place = decoded;
                self.len += 1;
            }
            None => {
                self.skips = true;
                self.oversized += 1;
            }
        }
    }
}

fn read(content: &[u8]) -> Option<(LinkInfo, &[u8])> {
    let (check, rest) = content.split_first_chunk::<CHECK_BYTES>()?;
    let (length, taken) = envelope::read_varint(rest).ok()?;
    // What noise put in behind a packet, or within it, moves its end; the tiles before are worth having.
    let envelope = &rest[taken..rest.len().min(taken.saturating_add(length as usize))];
    let (info, packet) = envelope::decode(envelope).ok()?;
    let head = &rest[..taken + envelope.len() - packet.len()];
    (CHECK.checksum(head) == u16::from_le_bytes(*check)).then_some((info, packet))
}
