//! `.srx` captures: the four bytes `SRX1`, then records; a record is a varint length and that many bytes of
//! [`envelope`].
//!
//! A capture has no index and no end mark, so it can be written to a pipe and read while it grows. A damaged record is
//! skipped when [`WITNESSES`] whole records in a row follow somewhere behind it; where none do, as in a capture that was
//! cut off, the packets before the damage are delivered and then one error says where it is.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering;

use log::{Level, log};

use super::envelope::{self, VarintError};
use super::{Counters, Interrupt, LinkError, Packet, Sink, Source};

/// The first bytes of a capture; the last of them is the version.
pub const MAGIC: [u8; 4] = *b"SRX1";

/// The longest packet, without its envelope.
pub const MAX_PACKET_BYTES: usize = 1 << 20;

/// How many whole records in a row prove that the reader is in step again after damage.
pub const WITNESSES: usize = 4;

/// Damaged stretches that a reader warns of; what comes after is counted, and logged for those who ask.
const WARNED: u64 = 10;

/// The longest side information: flags, SNR, delay and 256 erasures.
const MAX_SIDE_BYTES: usize = 1 + 2 + 5 + 33;
const MAX_RECORD_BYTES: usize = MAX_PACKET_BYTES + MAX_SIDE_BYTES;
/// How far behind the damage the reader looks: room for the damaged record and the witnesses, each of the longest kind.
const SEARCH_BYTES: usize = (WITNESSES + 2) * MAX_RECORD_BYTES;
const READ_BYTES: usize = 64 * 1024;

/// How many bytes `packet` takes in a capture: length, envelope and packet.
pub fn record_len(packet: &Packet) -> usize {
    let len = envelope::encoded_len(packet);
    envelope::varint_len(u32::try_from(len).unwrap_or(u32::MAX)) + len
}

/// Writes a capture, one `write` a packet: what was sent is whole even when the program is killed after it.
pub struct SrxWriter<W> {
    output: W,
    link: String,
    record: Vec<u8>,
    packets: u64,
}

impl<W: Write> SrxWriter<W> {
    /// Starts a capture on `output`; `link` names it in errors.
    pub fn new(output: W, link: impl Into<String>) -> Result<Self, LinkError> {
        let mut writer = SrxWriter { output, link: link.into(), record: MAGIC.to_vec(), packets: 0 };
        writer.write_record()?;
        Ok(writer)
    }

    fn write_record(&mut self) -> Result<(), LinkError> {
        let written = self.output.write_all(&self.record).and_then(|()| self.output.flush());
        written.map_err(|cause| LinkError::Write { link: self.link.clone(), packets: self.packets, cause })
    }
}

impl<W: Write> Sink for SrxWriter<W> {
    fn send(&mut self, packet: &Packet) -> Result<(), LinkError> {
        if packet.bytes.is_empty() || packet.bytes.len() > MAX_PACKET_BYTES {
            return Err(LinkError::Size {
                link: self.link.clone(),
                bytes: packet.bytes.len(),
                limit: MAX_PACKET_BYTES,
            });
        }
        self.record.clear();
        envelope::push_varint(envelope::encoded_len(packet) as u32, &mut self.record);
        envelope::encode(packet, &mut self.record);
        self.write_record()?;
        self.packets += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        self.output.flush().map_err(|cause| LinkError::Write { link: self.link.clone(), packets: self.packets, cause })
    }
}

/// Reads a capture from any stream. A `read` that fails with [`ErrorKind::Interrupted`] is tried again unless the
/// interrupt is set.
pub struct SrxReader<R> {
    input: R,
    link: String,
    interrupt: Interrupt,
    /// Bytes read and not yet delivered, from `cursor` on.
    window: Vec<u8>,
    cursor: usize,
    /// Offset in the capture of `window[0]`.
    window_offset: u64,
    input_ended: bool,
    stage: Stage,
    counters: Counters,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Magic,
    Records,
    Over,
}

/// What lies at a place in the window.
enum Look<'a> {
    /// A whole record that ends before `window[end]`.
    Record {
        end: usize,
        envelope: &'a [u8],
    },
    /// Nothing wrong so far, but the window ends first.
    Short {
        field: &'static str,
    },
    Damage(Damage),
}

struct Damage {
    at: usize,
    field: &'static str,
    reason: &'static str,
}

impl<R: Read> SrxReader<R> {
    /// Nothing is read before the first [`Source::next`]; `link` names the capture in errors.
    pub fn new(input: R, link: impl Into<String>, interrupt: Interrupt) -> Self {
        SrxReader {
            input,
            link: link.into(),
            interrupt,
            window: Vec::new(),
            cursor: 0,
            window_offset: 0,
            input_ended: false,
            stage: Stage::Magic,
            counters: Counters::default(),
        }
    }

    fn look(&self, at: usize) -> Look<'_> {
        let bytes = &self.window[at..];
        let (len, start) = match envelope::read_varint(bytes) {
            Ok((len, taken)) => (len as usize, at + taken),
            Err(VarintError::Short) => return Look::Short { field: "length" },
            Err(VarintError::Invalid) => {
                return Look::Damage(Damage { at, field: "length", reason: "it is no varint of 32 bits" });
            }
        };
        if len == 0 {
            return Look::Damage(Damage { at, field: "length", reason: "it is 0" });
        }
        if len > MAX_RECORD_BYTES {
            return Look::Damage(Damage { at, field: "length", reason: "it is beyond the limit of 1 MiB" });
        }
        // Wrong flags show damage before a wrong length makes the reader wait for bytes that may never come.
        if self.window.get(start).is_some_and(|&flags| !envelope::flags_are_known(flags)) {
            return Look::Damage(Damage { at: start, field: "flags", reason: "unknown flags are set" });
        }
        match self.window.get(start..start + len) {
            Some(envelope) => Look::Record { end: start + len, envelope },
            None => Look::Short { field: "record" },
        }
    }

    /// Whether enough whole records follow each other from `at` on to be sure that one begins there.
    fn in_step(&self, mut at: usize) -> bool {
        for _ in 0..WITNESSES {
            match self.look(at) {
                Look::Record { end, envelope } if envelope::decode(envelope).is_ok() => at = end,
                _ => return false,
            }
        }
        true
    }

    /// Moves behind the damage, or says that there's nothing behind it.
    fn skip_damage(&mut self, damage: Damage) -> Result<(), LinkError> {
        let start = self.cursor;
        let offset = self.window_offset + damage.at as u64;
        // Searching again at each read would make the time grow with the square of what was read.
        let mut next_search = 0;
        loop {
            let reach = self.window.len() - start;
            let last = self.input_ended || reach > SEARCH_BYTES;
            if last || reach >= next_search {
                if let Some(found) = (start + 1..self.window.len()).find(|&at| self.in_step(at)) {
                    self.counters.malformed += 1;
                    let level = if self.counters.malformed <= WARNED { Level::Warn } else { Level::Debug };
                    log!(
                        level,
                        "{}: byte {offset}: {}: {}; {} bytes skipped",
                        self.link,
                        damage.field,
                        damage.reason,
                        found - start
                    );
                    self.cursor = found;
                    return Ok(());
                }
                next_search = reach + reach / 4;
            }
            if last {
                self.counters.malformed += 1;
                return Err(self.damaged(offset, damage.field, damage.reason));
            }
            self.read_more()?;
        }
    }

    fn damaged(&self, offset: u64, field: &'static str, reason: &'static str) -> LinkError {
        LinkError::Damaged { link: self.link.clone(), offset, field, reason, packets: self.counters.received }
    }

    /// Waits for more bytes, or the end of the stream.
    fn read_more(&mut self) -> Result<(), LinkError> {
        let held = self.window.len();
        self.window.resize(held + READ_BYTES, 0);
        let result = loop {
            if self.interrupt.load(Ordering::Relaxed) {
                break Err(LinkError::Interrupted);
            }
            match self.input.read(&mut self.window[held..]) {
                Ok(len) => break Ok(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(cause) => {
                    let offset = self.window_offset + held as u64;
                    break Err(LinkError::Read { link: self.link.clone(), offset, cause });
                }
            }
        };
        let read = *result.as_ref().unwrap_or(&0);
        self.window.truncate(held + read);
        self.input_ended = matches!(result, Ok(0));
        result.map(|_| ())
    }

    /// Forgets what was delivered, so that the window doesn't grow with the capture.
    fn forget_delivered(&mut self) {
        self.window.drain(..self.cursor);
        self.window_offset += self.cursor as u64;
        self.cursor = 0;
    }

    fn expect_magic(&mut self) -> Result<(), LinkError> {
        while self.window.len() < MAGIC.len() && !self.input_ended {
            self.read_more()?;
        }
        let [name @ .., version] = MAGIC;
        let seen = self.window.len().min(name.len());
        if self.window[..seen] != name[..seen] {
            return Err(self.damaged(0, "magic", "it isn't SRX"));
        }
        match self.window.get(name.len()) {
            None => Err(self.damaged(self.window.len() as u64, "magic", "the capture ends before it")),
            Some(&seen) if seen != version => {
                Err(self.damaged(name.len() as u64, "version", "this program reads version 1"))
            }
            Some(_) => {
                self.cursor = MAGIC.len();
                self.stage = Stage::Records;
                Ok(())
            }
        }
    }

    fn next_record(&mut self) -> Result<Option<Packet>, LinkError> {
        if self.stage == Stage::Magic {
            self.expect_magic()?;
        }
        loop {
            let damage = match self.look(self.cursor) {
                Look::Record { end, envelope } => match envelope::decode(envelope) {
                    Ok((info, bytes)) => {
                        let packet = Packet { bytes: bytes.to_vec(), info };
                        self.counters.received += 1;
                        self.counters.bytes += (end - self.cursor) as u64;
                        self.cursor = end;
                        return Ok(Some(packet));
                    }
                    Err(error) => {
                        Damage { at: end - envelope.len() + error.offset, field: error.field, reason: error.reason }
                    }
                },
                Look::Short { .. } if !self.input_ended => {
                    self.forget_delivered();
                    self.read_more()?;
                    continue;
                }
                Look::Short { .. } if self.cursor == self.window.len() => return Ok(None),
                Look::Short { field } => Damage { at: self.cursor, field, reason: "the capture ends inside it" },
                Look::Damage(damage) => damage,
            };
            self.skip_damage(damage)?;
        }
    }
}

impl<R: Read> Source for SrxReader<R> {
    fn next(&mut self) -> Result<Option<Packet>, LinkError> {
        if self.stage == Stage::Over {
            return Ok(None);
        }
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(LinkError::Interrupted);
        }
        let next = self.next_record();
        if !matches!(next, Ok(Some(_)) | Err(LinkError::Interrupted)) {
            self.stage = Stage::Over;
        }
        next
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Erasures, LinkInfo};
    use crate::noise::Noise;
    use std::io::{self, Cursor};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    fn packets(count: u64) -> Vec<Packet> {
        let noise = Noise::new(7, 0);
        (0..count)
            .map(|i| {
                let len = 100 + noise.u64_at(i) % 300;
                let bytes = (0..len).map(|j| noise.u64_at(1000 + i * 1000 + j) as u8).collect();
                let mut info = LinkInfo::default();
                if i % 3 == 1 {
                    info.snr_cdb = Some(1000 - i as i16);
                    info.delay_us = 20_000 + i as u32;
                    info.erased = {
                        let mut erased = Erasures::NONE;
                        erased.set((i % 8) as u8);
                        erased
                    };
                }
                Packet { bytes, info }
            })
            .collect()
    }

    fn capture(packets: &[Packet]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = SrxWriter::new(&mut bytes, "test").unwrap();
        for packet in packets {
            writer.send(packet).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    /// Gives a few bytes a read, as a pipe does.
    struct Trickle(Cursor<Vec<u8>>);

    impl Read for Trickle {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = out.len().min(37);
            self.0.read(&mut out[..len])
        }
    }

    fn read(bytes: &[u8]) -> (Vec<Packet>, Option<LinkError>, Counters) {
        let mut reader = SrxReader::new(Trickle(Cursor::new(bytes.to_vec())), "test", Interrupt::default());
        let mut seen = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(packet)) => seen.push(packet),
                Ok(None) => return (seen, None, reader.counters()),
                Err(error) => {
                    assert!(matches!(reader.next(), Ok(None)), "an error is given once");
                    return (seen, Some(error), reader.counters());
                }
            }
        }
    }

    #[test]
    fn vector() {
        let plain = Packet::new(b"ab".to_vec());
        let heard = Packet { info: LinkInfo { snr_cdb: Some(1000), ..LinkInfo::default() }, ..plain.clone() };
        let bytes = capture(&[plain, heard]);
        assert_eq!(bytes, b"SRX1\x03\x00ab\x05\x01\xe8\x03ab");
    }

    #[test]
    fn packets_come_back_as_they_went() {
        let sent = packets(50);
        let bytes = capture(&sent);
        assert_eq!(bytes.len(), MAGIC.len() + sent.iter().map(record_len).sum::<usize>());
        let (seen, error, counters) = read(&bytes);
        assert_eq!(seen, sent);
        assert!(error.is_none());
        assert_eq!((counters.received, counters.malformed), (50, 0));
        assert_eq!(counters.bytes as usize, bytes.len() - MAGIC.len());
    }

    #[test]
    fn the_longest_packet_passes_and_longer_or_empty_ones_do_not() {
        let longest = Packet::new(vec![1; MAX_PACKET_BYTES]);
        let (seen, error, _) = read(&capture(std::slice::from_ref(&longest)));
        assert!(error.is_none() && seen == [longest]);
        let mut writer = SrxWriter::new(Vec::new(), "test").unwrap();
        for len in [0, MAX_PACKET_BYTES + 1] {
            let error = writer.send(&Packet::new(vec![1; len])).unwrap_err();
            assert!(matches!(error, LinkError::Size { bytes, .. } if bytes == len));
        }
        assert_eq!(writer.output, MAGIC);
    }

    #[test]
    fn a_capture_cut_anywhere_gives_the_packets_before_the_cut() {
        let sent = packets(6);
        let bytes = capture(&sent);
        let mut ends = vec![MAGIC.len()];
        for packet in &sent {
            ends.push(ends[ends.len() - 1] + record_len(packet));
        }
        for cut in 0..bytes.len() {
            let (seen, error, counters) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|&&end| end <= cut).count().saturating_sub(1);
            assert_eq!(seen, sent[..whole], "cut at {cut}");
            if ends.contains(&cut) {
                assert!(error.is_none(), "cut at {cut}: {error:?}");
                continue;
            }
            let Some(LinkError::Damaged { offset, packets, .. }) = error else { panic!("cut at {cut}: {error:?}") };
            assert_eq!(packets, whole as u64);
            let expected = if cut < MAGIC.len() { cut } else { ends[whole] };
            assert_eq!(offset, expected as u64, "cut at {cut}");
            assert_eq!(counters.malformed, u64::from(cut >= MAGIC.len()));
        }
    }

    #[test]
    fn a_flipped_bit_costs_at_most_the_packets_it_hits() {
        let sent = packets(60);
        let bytes = capture(&sent);
        let mut lost_most = 0;
        let half = bytes.len() / 2;
        for bit in (MAGIC.len() * 8..half * 8).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (seen, error, _) = read(&damaged);
            assert!(error.is_none(), "bit {bit}: {error:?}");
            let intact = seen.iter().filter(|packet| sent.contains(packet)).count();
            lost_most = lost_most.max(sent.len() - intact);
            assert_eq!(seen.last(), sent.last(), "bit {bit}");
        }
        // A length that grew by 8 KiB swallows as much.
        assert!(lost_most < 45, "{lost_most}");
    }

    #[test]
    fn damaged_flags_cost_one_packet() {
        let sent = packets(20);
        let mut bytes = capture(&sent);
        let flags = MAGIC.len() + sent[..5].iter().map(record_len).sum::<usize>() + 2;
        bytes[flags] ^= 0x40;
        let (seen, error, counters) = read(&bytes);
        assert!(error.is_none());
        assert_eq!(counters.malformed, 1);
        assert_eq!(seen[..5], sent[..5]);
        assert_eq!(seen[5..], sent[6..]);
    }

    #[test]
    fn any_bytes_end_in_an_error_or_the_end() {
        let noise = Noise::new(3, 1);
        for i in 0..300 {
            let mut bytes = MAGIC.to_vec();
            bytes.extend((0..noise.u64_at(i) % 700).map(|j| noise.u64_at((i + 1) << 20 | j) as u8));
            let (seen, error, counters) = read(&bytes);
            assert!(matches!(error, None | Some(LinkError::Damaged { .. })), "{error:?}");
            assert_eq!(counters.received, seen.len() as u64);
            assert!(counters.bytes + MAGIC.len() as u64 <= bytes.len() as u64);
        }
    }

    #[test]
    fn what_is_no_capture_is_refused_by_name() {
        for (bytes, field, offset) in [
            (&b"\x89PNG\r\n"[..], "magic", 0),
            (b"SRX2", "version", 3),
            (b"", "magic", 0),
            (b"SR", "magic", 2),
            (b"X", "magic", 0),
        ] {
            let (seen, error, _) = read(bytes);
            assert!(seen.is_empty());
            let Some(LinkError::Damaged { field: f, offset: o, .. }) = error else { panic!("{bytes:?}: {error:?}") };
            assert_eq!((f, o), (field, offset), "{bytes:?}");
        }
    }

    #[test]
    fn the_error_says_where_what_and_how_many() {
        let sent = packets(3);
        let bytes = capture(&sent);
        let (_, error, _) = read(&bytes[..bytes.len() - 1]);
        let offset = bytes.len() - record_len(&sent[2]);
        assert_eq!(
            error.unwrap().to_string(),
            format!(
                "test: byte {offset}: record: the capture ends inside it; 2 packets were read before it; what was read is good, capture again for the rest"
            )
        );
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        struct Never;
        impl Read for Never {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                std::thread::sleep(std::time::Duration::from_millis(5));
                Err(ErrorKind::Interrupted.into())
            }
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        let mut reader = SrxReader::new(Never, "test", interrupt.clone());
        let waiting = std::thread::spawn(move || reader.next());
        std::thread::sleep(std::time::Duration::from_millis(20));
        interrupt.store(true, Ordering::Relaxed);
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Interrupted)));
    }

    #[test]
    fn a_full_disk_is_reported_with_the_packets_that_are_whole() {
        struct Small(usize);
        impl Write for Small {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(ErrorKind::StorageFull.into());
                }
                let len = bytes.len().min(self.0);
                self.0 -= len;
                Ok(len)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sent = packets(3);
        let room = MAGIC.len() + record_len(&sent[0]) + 10;
        let mut writer = SrxWriter::new(Small(room), "drive.srx").unwrap();
        writer.send(&sent[0]).unwrap();
        let error = writer.send(&sent[1]).unwrap_err();
        assert!(matches!(error, LinkError::Write { packets: 1, .. }));
        assert!(error.to_string().contains("make room"), "{error}");
    }
}
