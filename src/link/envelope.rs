//! The link's own framing: what the radio says about a packet, then the packet.
//!
//! A flags byte, the fields it announces in the order of its bits, and the packet's bytes up to the end:
//!
//! | flag | field | size |
//! |---|---|---|
//! | `0x01` | measured SNR, hundredths of a dB | i16, little-endian |
//! | `0x02` | added delay, µs | varint of a u32 |
//! | `0x04` | erased slots | count `n` in 1..=32, then `n` bytes: slot `i` is bit `i % 8` of byte `i / 8`; the last byte isn't 0 |
//!
//! The other flags are 0. A varint holds seven bits a byte, least significant first, with bit 7 set on all bytes but the
//! last; five bytes at most. The same envelope is a UDP datagram, a record of a `.srx` capture behind its length, and
//! stands on a serial line behind its length and a check.

#[cfg(feature = "std")]
use super::Packet;
use super::{Erasures, LinkInfo};

const SNR: u8 = 0x01;
const DELAY: u8 = 0x02;
const ERASED: u8 = 0x04;
const KNOWN: u8 = SNR | DELAY | ERASED;

/// Why bytes are no envelope: where, which field, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeError {
    /// Byte offset from the start of the envelope.
    pub offset: usize,
    pub field: &'static str,
    pub reason: &'static str,
}

/// Why a varint could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarintError {
    /// The bytes end before the varint does.
    Short,
    /// The value doesn't fit 32 bits, or more bytes were spent than it needs.
    Invalid,
}

/// Whether an envelope may begin with `flags`.
pub(super) fn flags_are_known(flags: u8) -> bool {
    flags & !KNOWN == 0
}

/// Appends `value` as a varint.
#[cfg(feature = "std")]
pub(super) fn push_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a varint at the start of `bytes`: its value and how many bytes it took.
pub fn read_varint(bytes: &[u8]) -> Result<(u32, usize), VarintError> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let minimal = byte != 0 || i == 0;
            return match u32::try_from(value) {
                Ok(value) if minimal => Ok((value, i + 1)),
                _ => Err(VarintError::Invalid),
            };
        }
    }
    Err(if bytes.len() < 5 { VarintError::Short } else { VarintError::Invalid })
}

/// How many bytes `value` takes as a varint.
#[cfg(feature = "std")]
pub(super) fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// Appends the envelope of `packet`, its bytes included.
#[cfg(feature = "std")]
pub fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let LinkInfo { snr_cdb, delay_us, erased } = &packet.info;
    let mut flags = 0;
    if snr_cdb.is_some() {
        flags |= SNR;
    }
    if *delay_us != 0 {
        flags |= DELAY;
    }
    if !erased.is_empty() {
        flags |= ERASED;
    }
    out.push(flags);
    if let Some(snr) = snr_cdb {
        out.extend_from_slice(&snr.to_le_bytes());
    }
    if *delay_us != 0 {
        push_varint(*delay_us, out);
    }
    if !erased.is_empty() {
        let len = erased_len(*erased);
        out.push(len as u8);
        out.extend_from_slice(&erased.to_bytes()[..len]);
    }
    out.extend_from_slice(&packet.bytes);
}

/// How many bytes [`encode`] appends.
#[cfg(feature = "std")]
pub fn encoded_len(packet: &Packet) -> usize {
    let LinkInfo { snr_cdb, delay_us, erased } = &packet.info;
    let snr = if snr_cdb.is_some() { 2 } else { 0 };
    let delay = if *delay_us != 0 { varint_len(*delay_us) } else { 0 };
    let erased = if erased.is_empty() { 0 } else { 1 + erased_len(*erased) };
    1 + snr + delay + erased + packet.bytes.len()
}

#[cfg(feature = "std")]
fn erased_len(erased: Erasures) -> usize {
    erased.to_bytes().iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// Splits an envelope into what the radio said and the packet's bytes, of which there is at least one.
pub fn decode(bytes: &[u8]) -> Result<(LinkInfo, &[u8]), EnvelopeError> {
    let fail = |offset, field, reason| Err(EnvelopeError { offset, field, reason });
    let Some((&flags, mut rest)) = bytes.split_first() else {
        return fail(0, "flags", "the envelope is empty");
    };
    if !flags_are_known(flags) {
        return fail(0, "flags", "unknown flags are set");
    }
    let at = |rest: &[u8]| bytes.len() - rest.len();
    let mut info = LinkInfo::default();
    if flags & SNR != 0 {
        let Some((snr, after)) = rest.split_first_chunk::<2>() else {
            return fail(at(rest), "snr", "the envelope ends inside it");
        };
        info.snr_cdb = Some(i16::from_le_bytes(*snr));
        rest = after;
    }
    if flags & DELAY != 0 {
        match read_varint(rest) {
            Ok((delay, len)) => {
                info.delay_us = delay;
                rest = &rest[len..];
            }
            Err(VarintError::Short) => {
                return fail(at(rest), "delay", "the envelope ends inside it");
            }
            Err(VarintError::Invalid) => {
                return fail(at(rest), "delay", "it is no varint of 32 bits");
            }
        }
    }
    if flags & ERASED != 0 {
        let Some((&count, after)) = rest.split_first() else {
            return fail(at(rest), "erased", "the envelope ends before it");
        };
        let count = usize::from(count);
        if !(1..=32).contains(&count) {
            return fail(at(rest), "erased", "its byte count isn't in 1..=32");
        }
        let Some((set, after)) = after.split_at_checked(count) else {
            return fail(at(after), "erased", "the envelope ends inside it");
        };
        if set.last() == Some(&0) {
            return fail(at(after) - 1, "erased", "its last byte is 0");
        }
        let mut words = [0; 32];
        words[..count].copy_from_slice(set);
        info.erased = Erasures::from_bytes(words);
        rest = after;
    }
    if rest.is_empty() {
        return fail(bytes.len(), "packet", "it is empty");
    }
    Ok((info, rest))
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    fn packet(snr_cdb: Option<i16>, delay_us: u32, slots: &[u8]) -> Packet {
        let mut erased = Erasures::NONE;
        for &slot in slots {
            erased.set(slot);
        }
        Packet { bytes: b"scene".to_vec(), info: LinkInfo { snr_cdb, delay_us, erased } }
    }

    #[test]
    fn vectors() {
        let table: [(Packet, &[u8]); 4] = [
            (packet(None, 0, &[]), b"\x00scene"),
            (packet(Some(-250), 0, &[]), b"\x01\x06\xffscene"),
            (packet(None, 20_000, &[]), b"\x02\xa0\x9c\x01scene"),
            (packet(Some(1000), 127, &[0, 7, 9]), b"\x07\xe8\x03\x7f\x02\x81\x02scene"),
        ];
        for (packet, expected) in table {
            let mut bytes = Vec::new();
            encode(&packet, &mut bytes);
            assert_eq!(bytes, expected);
            assert_eq!(encoded_len(&packet), expected.len());
            let (info, rest) = decode(&bytes).unwrap();
            assert_eq!(Packet { bytes: rest.to_vec(), info }, packet);
        }
    }

    #[test]
    fn extremes_round_trip() {
        for packet in [packet(Some(i16::MIN), u32::MAX, &[255]), packet(Some(i16::MAX), 1, &[0, 128, 254])] {
            let mut bytes = Vec::new();
            encode(&packet, &mut bytes);
            assert_eq!(bytes.len(), encoded_len(&packet));
            let (info, rest) = decode(&bytes).unwrap();
            assert_eq!(Packet { bytes: rest.to_vec(), info }, packet);
        }
    }

    #[test]
    fn damage_is_named() {
        let table: [(&[u8], usize, &str); 12] = [
            (b"", 0, "flags"),
            (b"\x08scene", 0, "flags"),
            (b"\x00", 1, "packet"),
            (b"\x01\x06", 1, "snr"),
            (b"\x02\xa0", 1, "delay"),
            (b"\x02\xff\xff\xff\xff\x1f!", 1, "delay"),
            (b"\x02\x80\x00!", 1, "delay"),
            (b"\x04", 1, "erased"),
            (b"\x04\x00!", 1, "erased"),
            (b"\x04\x21!", 1, "erased"),
            (b"\x04\x02\x01", 2, "erased"),
            (b"\x04\x02\x01\x00!", 3, "erased"),
        ];
        for (bytes, offset, field) in table {
            let error = decode(bytes).unwrap_err();
            assert_eq!((error.offset, error.field), (offset, field), "{bytes:?}");
        }
    }

    #[test]
    fn varints() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 0x1f_ffff, 0x20_0000, 0x0fff_ffff, 0x1000_0000, u32::MAX] {
            let mut bytes = Vec::new();
            push_varint(value, &mut bytes);
            assert_eq!(bytes.len(), varint_len(value));
            assert_eq!(read_varint(&bytes), Ok((value, bytes.len())));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), Err(VarintError::Short));
        }
    }
}
