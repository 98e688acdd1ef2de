//! How packets stand on a serial line: a head that is checked, the packet, both COBS-encoded between zero bytes.
//!
//! | field | size | content |
//! |---|---|---|
//! | check | 2 | CRC-16/IBM-SDLC of the length and of the envelope up to its packet, little-endian |
//! | length | 1–3 | varint: bytes of the envelope |
//! | envelope | length | [`envelope`]: what the radio said, then the packet's bytes |
//!
//! The check is of the head alone: a packet that came damaged may hold good tiles, and its own checks tell which. What nothing else
//! protects is here: where the packet begins and ends, and what the radio said of it.

use cobs::{DecodeResult, DecoderState};
use crc::{CRC_16_IBM_SDLC, Crc};

use super::super::Packet;
use super::super::envelope::{self, EnvelopeError, VarintError};

/// The longest envelope, packet included: room for a frame of any map of 128x96 cells.
pub const MAX_ENVELOPE_BYTES: usize = 16 * 1024;

const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);
const CHECK_BYTES: usize = 2;
/// Check, length and envelope.
const MAX_CONTENT_BYTES: usize = CHECK_BYTES + 3 + MAX_ENVELOPE_BYTES;

/// Writes packets as they go over the line.
#[derive(Debug, Default)]
pub struct Framer {
    content: Vec<u8>,
    line: Vec<u8>,
}

impl Framer {
    /// What goes over the line for `packet`, the zeros before and behind it included. One would do while nothing is lost; of two, noise can spoil one.
    pub fn frame(&mut self, packet: &Packet) -> &[u8] {
        let Framer { content, line } = self;
        content.clear();
        content.extend([0; CHECK_BYTES]);
        envelope::push_varint(envelope::encoded_len(packet) as u32, content);
        envelope::encode(packet, content);
        let head = CHECK_BYTES..content.len() - packet.bytes.len();
        let check = CHECK.checksum(&content[head]);
        content[..CHECK_BYTES].copy_from_slice(&check.to_le_bytes());
        line.clear();
        line.resize(1 + cobs::max_encoding_length(content.len()), 0);
        let len = cobs::encode(content, &mut line[1..]);
        line.truncate(1 + len);
        line.push(0);
        line
    }
}

/// What a zero byte ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// A packet whose head holds. It may have come damaged or short; never longer than its sender said.
    Packet {
        packet: Packet,
        /// On the line, with a zero at each end.
        line_bytes: usize,
    },
    /// More than any packet takes; told as soon as it is too long.
    Oversized,
    /// No packet: noise, the tail of a packet that was split, or a head that came damaged.
    Malformed(EnvelopeError),
}

/// Finds packets in the bytes of a line, in step again at each zero byte. Holds one packet at most.
#[derive(Debug)]
pub struct Deframer {
    decoder: DecoderState,
    content: Vec<u8>,
    /// Since the last zero.
    line_bytes: usize,
    /// The stretch was too long, and is skipped to its end.
    skips: bool,
}

impl Default for Deframer {
    fn default() -> Self {
        Deframer {
            decoder: DecoderState::Idle,
            content: Vec::with_capacity(MAX_CONTENT_BYTES),
            line_bytes: 0,
            skips: false,
        }
    }
}

impl Deframer {
    /// Takes the next byte of the line; something, if a stretch ends with it.
    pub fn push(&mut self, byte: u8) -> Option<Stretch> {
        if byte == 0 {
            let is_empty = self.line_bytes == 0;
            let stretch = (!is_empty && !self.skips).then(|| self.stretch());
            self.restart();
            return stretch;
        }
        self.line_bytes += 1;
        if self.skips {
            return None;
        }
        // Only a zero is ever unexpected.
        if let Ok(DecodeResult::DataContinue(decoded)) = self.decoder.feed(byte) {
            if self.content.len() == MAX_CONTENT_BYTES {
                self.skips = true;
                return Some(Stretch::Oversized);
            }
            self.content.push(decoded);
        }
        None
    }

    /// Forgets what the line began.
    pub fn restart(&mut self) {
        self.decoder = DecoderState::Idle;
        self.content.clear();
        self.line_bytes = 0;
        self.skips = false;
    }

    /// A stretch that ends before its code says is read as far as it goes: noise may have made a zero of the byte that stood there.
    fn stretch(&self) -> Stretch {
        match read(&self.content) {
            Ok(packet) => Stretch::Packet { packet, line_bytes: self.line_bytes + 2 },
            Err(error) => Stretch::Malformed(error),
        }
    }
}

fn read(content: &[u8]) -> Result<Packet, EnvelopeError> {
    let fail = |offset, field, reason| Err(EnvelopeError { offset, field, reason });
    let Some((check, rest)) = content.split_first_chunk::<CHECK_BYTES>() else {
        return fail(0, "check", "the stretch ends inside it");
    };
    let (length, taken) = match envelope::read_varint(rest) {
        Ok(read) => read,
        Err(VarintError::Short) => return fail(CHECK_BYTES, "length", "the stretch ends inside it"),
        Err(VarintError::Invalid) => return fail(CHECK_BYTES, "length", "it is no varint of 32 bits"),
    };
    // What noise put in behind a packet, or within it, moves its end; the tiles before are worth having.
    let envelope = &rest[taken..rest.len().min(taken.saturating_add(length as usize))];
    let (info, bytes) = envelope::decode(envelope)
        .map_err(|error| EnvelopeError { offset: CHECK_BYTES + taken + error.offset, ..error })?;
    let head = &rest[..taken + envelope.len() - bytes.len()];
    if CHECK.checksum(head) != u16::from_le_bytes(*check) {
        return fail(0, "check", "it isn't that of the length and of what the radio said");
    }
    Ok(Packet { bytes: bytes.to_vec(), info })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Erasures, LinkInfo};
    use crate::noise::Noise;

    fn told(bytes: &[u8]) -> Packet {
        let mut erased = Erasures::NONE;
        [0, 7, 9].into_iter().for_each(|slot| erased.set(slot));
        Packet { bytes: bytes.to_vec(), info: LinkInfo { snr_cdb: Some(1000), delay_us: 127, erased } }
    }

    fn frame(packet: &Packet) -> Vec<u8> {
        Framer::default().frame(packet).to_vec()
    }

    fn stretches(line: &[u8]) -> Vec<Stretch> {
        let mut deframer = Deframer::default();
        line.iter().filter_map(|&byte| deframer.push(byte)).collect()
    }

    fn packets(line: &[u8]) -> Vec<Packet> {
        let packet = |stretch| match stretch {
            Stretch::Packet { packet, .. } => Some(packet),
            _ => None,
        };
        stretches(line).into_iter().filter_map(packet).collect()
    }

    fn malformed(stretch: &Stretch) -> Option<&'static str> {
        match stretch {
            Stretch::Malformed(error) => Some(error.field),
            _ => None,
        }
    }

    #[test]
    fn vectors() {
        let heard = |bytes: &[u8], snr_cdb| Packet {
            info: LinkInfo { snr_cdb: Some(snr_cdb), ..LinkInfo::default() },
            bytes: bytes.to_vec(),
        };
        let table: [(Packet, &[u8]); 4] = [
            (Packet::new(b"ab".to_vec()), b"\x00\x04\x2f\x25\x03\x03ab\x00"),
            (Packet::new(b"a\0\0b".to_vec()), b"\x00\x04\xff\x71\x05\x02a\x01\x02b\x00"),
            (heard(b"ab", 1000), b"\x00\x09\x97\xdd\x05\x01\xe8\x03ab\x00"),
            (told(b"scene"), b"\x00\x10\x8c\x2a\x0c\x07\xe8\x03\x7f\x02\x81\x02scene\x00"),
        ];
        for (packet, line) in table {
            assert_eq!(frame(&packet), line);
            assert_eq!(stretches(line), [Stretch::Packet { packet, line_bytes: line.len() }]);
        }
    }

    #[test]
    fn packets_of_every_length_come_back() {
        let noise = Noise::new(5, 0);
        let lengths = (1..800).chain([MAX_ENVELOPE_BYTES - 2, MAX_ENVELOPE_BYTES - 1]);
        for length in lengths {
            let bytes = (0..length).map(|i| noise.u64_at((length << 20 | i) as u64) as u8).collect();
            for packet in [Packet::new(bytes), Packet::new(vec![0; length]), Packet::new(vec![0xd5; length])] {
                let line = frame(&packet);
                assert_eq!(line.iter().filter(|byte| **byte == 0).count(), 2);
                assert_eq!(packets(&line), [packet], "{length} bytes");
            }
        }
    }

    #[test]
    fn a_byte_more_or_less_leaves_what_stands_before_it() {
        let packet = Packet::new((1..=200).collect());
        let line = frame(&packet);
        for at in [20, 100, 190] {
            let (before, behind) = line.split_at(at);
            let [more] = &packets(&[before, b"x", behind].concat())[..] else { panic!("inserted at {at}") };
            let [less] = &packets(&[before, &behind[1..]].concat())[..] else { panic!("deleted at {at}") };
            // A zero, two bytes of the code, the head: what stands at `at` is byte `at - 7` of the packet.
            assert_eq!(more.bytes[..at - 7], packet.bytes[..at - 7]);
            assert_eq!(less.bytes[..at - 7], packet.bytes[..at - 7]);
            assert_eq!((more.bytes.len(), less.bytes.len()), (200, 199));
        }
    }

    #[test]
    fn a_zero_within_a_packet_leaves_its_first_part() {
        let packet = told(&[0x5a; 100]);
        let mut line = frame(&packet);
        line[60] = 0;
        let [Stretch::Packet { packet: first, .. }, rest] = &stretches(&line)[..] else { panic!("{line:?}") };
        assert_eq!((&first.info, &first.bytes[..]), (&packet.info, &packet.bytes[..60 - 12]));
        assert_eq!(malformed(rest), Some("flags"));
    }

    #[test]
    fn one_spoilt_zero_costs_nothing() {
        let sent = [Packet::new(vec![1; 30]), Packet::new(vec![2; 30])];
        let line = [frame(&sent[0]), frame(&sent[1])].concat();
        let border = line.len() / 2;
        for at in [border - 1, border] {
            let mut line = line.clone();
            line[at] = 0x55;
            let came = packets(&line);
            // The byte belongs to one of both packets now; a head that it stands before is lost.
            assert!(came.contains(&sent[usize::from(at < border)]), "{at}: {came:?}");
            assert!(at >= border || came == sent, "{at}: {came:?}");
        }
    }

    #[test]
    fn who_joins_in_the_middle_is_in_step_at_the_next_zero() {
        let sent = [told(b"first"), told(b"second")];
        let line = [frame(&sent[0]), frame(&sent[1])].concat();
        let border = frame(&sent[0]).len();
        for start in 1..border {
            let stretches = stretches(&line[start..]);
            let second = Stretch::Packet { packet: sent[1].clone(), line_bytes: line.len() - border };
            assert_eq!(stretches.last(), Some(&second), "from {start} on");
            assert!(stretches.len() <= 2);
        }
        assert_eq!(packets(&line[1..]), sent, "without the zero before it");
    }

    #[test]
    fn a_flipped_bit_changes_nothing_of_what_the_radio_said_and_no_other_packet() {
        let (damaged, next) = (told(&[3; 40]), told(b"next"));
        let line = frame(&damaged);
        for bit in 0..line.len() * 8 {
            let mut line = line.clone();
            line[bit / 8] ^= 1 << (bit % 8);
            let came = packets(&[&line[..], &frame(&next)].concat());
            assert_eq!(came.last(), Some(&next), "bit {bit}");
            for packet in &came[..came.len() - 1] {
                assert_eq!(packet.info, damaged.info, "bit {bit}");
                assert!(packet.bytes.len() <= damaged.bytes.len());
            }
        }
    }

    #[test]
    fn more_than_a_packet_takes_is_told_once_and_skipped() {
        let good = Packet::new(b"good".to_vec());
        let too_long = frame(&Packet::new(vec![7; MAX_ENVELOPE_BYTES + 100]));
        let line = [&too_long[..], &frame(&good), &vec![9; 5 * MAX_ENVELOPE_BYTES], &frame(&good)].concat();
        let came = stretches(&line);
        let good = Stretch::Packet { packet: good, line_bytes: 11 };
        assert_eq!(came, [Stretch::Oversized, good, Stretch::Oversized, came[1].clone()]);
    }

    #[test]
    fn any_bytes_end_in_bounded_stretches() {
        let noise = Noise::new(11, 2);
        let mut deframer = Deframer::default();
        let room = deframer.content.capacity();
        let mut came = 0;
        for i in 0..400_000 {
            // Long stretches, short ones, and many that begin like a packet.
            let byte = match noise.u64_at(i) {
                word if word >> 32 & 0x3ff < 1 + (i >> 12) % 40 => 0,
                word => (word as u8).max(1),
            };
            match deframer.push(byte) {
                Some(Stretch::Packet { packet, .. }) => assert!(packet.bytes.len() < MAX_ENVELOPE_BYTES),
                Some(_) => came += 1,
                None => {}
            }
            assert_eq!(deframer.content.capacity(), room);
        }
        assert!(came > 1000, "{came} stretches");
    }
}
