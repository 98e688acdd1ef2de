//! From packets to frames: order, duplicates, gaps, and tiles that travel alone.
//!
//! A frame that comes whole is handed on at once. Tiles are gathered until their frame or a later one is complete, or until
//! [`OPEN_FRAMES`] later frames have begun. What arrives behind a later frame, within [`WINDOW`] frames, is handed on marked late. A number that
//! has not come when it leaves the window, or when the stream ends, is lost. Every number ends in one [`Event`].

use super::tiles::{TileMemory, Tiles};
use crate::wire::{Context, End, FramePacket, Header, KeyRequest, Packet, TilePacket, TileSet, WireError, request_for};

/// Sequence numbers behind the newest one that are still waited for.
pub const WINDOW: u32 = 64;
/// Frames whose tiles are gathered at the same time.
pub const OPEN_FRAMES: usize = 2;

/// Buffers that are in use at most, where each frame is given back before the next packet comes: of the open frames and of the packet's.
pub const BUFFERS: usize = OPEN_FRAMES + 1;

/// Buffers of its own memory: of the open frames, one that is decided, and those that one packet closes.
const SPARE: usize = OPEN_FRAMES + 3;

/// Events of one packet: every other number of the window may be lost at once, around the frames that it closes.
const EVENTS: usize = WINDOW as usize;

/// Bytes that are made room for before they come.
const MAX_AHEAD: usize = 64 * 1024;

/// What the link says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reception {
    pub snr_cdb: Option<i16>,
    pub delay_us: u32,
    /// Bytes that the packet took on the link, its envelope included.
    pub link_bytes: usize,
}

/// A frame as far as it arrived.
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedFrame<'a> {
    pub header: Header,
    /// The tiles that the sender put in; of a delta frame, those that changed.
    pub sent: TileSet,
    /// Of a delta frame, the changes as tile 0, and no other.
    pub tiles: Tiles<'a>,
    /// Mean over its packets, for tiles that travelled alone.
    pub snr_cdb: Option<i16>,
    /// The longest of its packets.
    pub delay_us: u32,
    pub link_bytes: usize,
    /// A later frame was handed on before.
    pub late: bool,
    /// A header came damaged and was mended.
    pub repaired: bool,
}

/// What became of a packet or of a sequence number.
#[cfg_attr(feature = "alloc", derive(Clone))]
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Frame(ReceivedFrame<'a>),
    /// `frames` numbers from `sequence` on never came.
    Lost {
        sequence: u32,
        frames: u32,
    },
    Dropped(Dropped),
}

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Its header does not hold.
    Refused(WireError),
    /// It came before.
    Duplicate { sequence: u32 },
    /// Its frame left the window, or was closed without it.
    Stale { sequence: u32 },
    /// Another stream than the first one heard.
    OtherStream { stream: u16 },
    /// It, or its frame so far, is longer than the memory that was lent.
    NoRoom { sequence: u32 },
}

/// Puts the packets of one stream together: of the one that it was told to [follow](Assembly::follow), or of the first that it hears.
#[derive(Debug)]
pub struct Assembly<'a> {
    stream: Option<u16>,
    context: Option<Context>,
    /// One past the highest number that has come. `None` until the stream's first number is known.
    next: Option<u64>,
    /// The numbers below `next` that are still waited for, in order.
    missing: heapless::Vec<u32, { WINDOW as usize }>,
    /// In the order of their numbers.
    open: heapless::Vec<ReceivedFrame<'a>, { OPEN_FRAMES + 1 }>,
    /// Buffers that no frame uses.
    spare: heapless::Vec<Tiles<'a>, SPARE>,
    is_lent: bool,
    events: heapless::Deque<Event<'a>, EVENTS>,
    /// How many frames the stream had, by its end marker.
    end: Option<u64>,
    /// What would help to read a packet that was refused.
    wish: Option<KeyRequest>,
}

impl<'a> Assembly<'a> {
    /// `from_start`: numbers before the first one heard count as lost. A capture starts with its stream, a socket may join later.
    #[cfg(feature = "alloc")]
    pub fn new(from_start: bool) -> Self {
        Self::with(from_start, (0..SPARE).map(|_| Tiles::with_room(0)).collect(), false)
    }

    /// As [`new`](Assembly::new), in lent memory: a packet, or a frame of tiles, of more than `BYTES` bytes is dropped. Every frame has to be given
    /// [back](Assembly::recycle).
    pub fn lent<const BYTES: usize>(from_start: bool, memory: &'a mut [TileMemory<BYTES>; BUFFERS]) -> Self {
        Self::with(from_start, memory.iter_mut().map(Tiles::lent).collect(), true)
    }

    fn with(from_start: bool, spare: heapless::Vec<Tiles<'a>, SPARE>, is_lent: bool) -> Self {
        Assembly {
            stream: None,
            context: None,
            next: from_start.then_some(0),
            missing: heapless::Vec::new(),
            open: heapless::Vec::new(),
            spare,
            is_lent,
            events: heapless::Deque::new(),
            end: None,
            wish: None,
        }
    }

    /// Forgets the stream, and follows the next one that it hears. The old one has [ended](Assembly::end), and its events are taken.
    pub fn restart(&mut self, from_start: bool) {
        *self = Self::with(from_start, core::mem::take(&mut self.spare), self.is_lent);
    }

    /// Follows `stream` and no other.
    pub fn follow(mut self, stream: u16) -> Self {
        self.stream = Some(stream);
        self
    }

    /// The stream of a packet, as far as it can be read here.
    pub fn stream_of(&self, bytes: &[u8]) -> Option<u16> {
        match Packet::parse(bytes, self.context.as_ref()) {
            Ok(Packet::Frame(frame)) => Some(frame.header.stream),
            Ok(Packet::Tile(tile)) => Some(tile.header.stream),
            Ok(Packet::End(end)) => Some(end.stream),
            Ok(Packet::Request(_)) => None,
            Err(_) => request_for(bytes).map(|request| request.stream),
        }
    }

    /// The key frame that a refused packet leans on and that has not been heard, once for each such packet.
    pub fn key_request(&mut self) -> Option<KeyRequest> {
        self.wish.take()
    }

    /// The next thing that happened, oldest first. Take all before the next [`push`](Assembly::push).
    pub fn event(&mut self) -> Option<Event<'a>> {
        self.events.pop_front()
    }

    /// The stream that it follows, once it has heard one.
    pub fn stream(&self) -> Option<u16> {
        self.stream
    }

    /// The stream's end marker has come.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes a packet. `erased(i)` says whether the radio could not deliver tile `i` of a whole frame.
    pub fn push(&mut self, bytes: &[u8], reception: Reception, erased: impl Fn(usize) -> bool) {
        match Packet::parse(bytes, self.context.as_ref()) {
            Err(error) => {
                if matches!(error, WireError::NoKeyFrame | WireError::ParamsChanged) {
                    self.wish = request_for(bytes).filter(|wish| self.stream.is_none_or(|own| own == wish.stream));
                }
                self.drop(Dropped::Refused(error));
            }
            Ok(Packet::End(End { stream, frames })) => self.hear_end(stream, frames),
            Ok(Packet::Request(_)) => {
                let error = WireError::Field { field: "kind", reason: "a wish for a key frame is for senders" };
                self.drop(Dropped::Refused(error));
            }
            Ok(Packet::Frame(frame)) => {
                if !self.is_own(frame.header.stream) {
                    return;
                }
                self.remember(&frame.header);
                self.take(frame, bytes.len(), reception, erased);
            }
            Ok(Packet::Tile(tile)) => {
                if self.is_own(tile.header.stream) {
                    self.remember(&tile.header);
                    self.gather(tile, reception);
                }
            }
        }
    }

    /// A whole frame, of a packet of `len` bytes.
    fn take(&mut self, frame: FramePacket<'_>, len: usize, reception: Reception, erased: impl Fn(usize) -> bool) {
        let sequence = frame.header.sequence;
        let Some(mut tiles) = self.buffer(&frame.header, len, len) else {
            return self.drop(Dropped::NoRoom { sequence });
        };
        for index in (0..tiles.len()).filter(|&index| !erased(index)) {
            if let Some(tile) = frame.slot(index) {
                // Never full: there is room for the whole packet.
                let _ = tiles.put(index, tile);
            }
        }
        self.hand_on(ReceivedFrame {
            header: frame.header,
            sent: frame.sent,
            tiles,
            snr_cdb: reception.snr_cdb,
            delay_us: reception.delay_us,
            link_bytes: reception.link_bytes,
            late: false,
            repaired: frame.repaired,
        });
    }

    /// Gives back the buffer of a frame that nobody needs any more: then the next one takes no new memory.
    pub fn recycle(&mut self, frame: ReceivedFrame<'a>) {
        self.recycle_tiles(frame.tiles);
    }

    /// A buffer for a frame of which a packet brings `bytes` bytes, and that may take `ahead` bytes in all. `None` where the lent ones don't have the room.
    fn buffer(&mut self, header: &Header, bytes: usize, ahead: usize) -> Option<Tiles<'a>> {
        self.make_room(ahead);
        let mut tiles = self.spare.pop()?;
        if tiles.room() < bytes {
            self.recycle_tiles(tiles);
            return None;
        }
        tiles.clear(header.slots());
        Some(tiles)
    }

    /// Where the memory isn't lent: a spare buffer, and `bytes` bytes in it.
    fn make_room(&mut self, bytes: usize) {
        #[cfg(feature = "alloc")]
        if !self.is_lent {
            if self.spare.is_empty() {
                self.recycle_tiles(Tiles::with_room(bytes));
            }
            if self.spare.iter().any(|tiles| tiles.room() < bytes) {
                self.spare.iter_mut().for_each(|tiles| tiles.grow(bytes.next_power_of_two()));
            }
        }
        #[cfg(not(feature = "alloc"))]
        let _ = bytes;
    }

    fn recycle_tiles(&mut self, tiles: Tiles<'a>) {
        // More than are kept, where the memory isn't lent.
        let _ = self.spare.push(tiles);
    }

    /// The frames that the marker counts may still come: it settles nothing by itself.
    fn hear_end(&mut self, stream: u16, frames: u32) {
        // Who joins and hears an end first has heard nothing of that stream.
        if self.next.is_none() && self.open.is_empty() {
            return self.drop(Dropped::OtherStream { stream });
        }
        if !self.is_own(stream) {
            return;
        }
        if self.next.is_some_and(|next| next > frames as u64) {
            let error = WireError::Field { field: "end marker", reason: "counts fewer frames than have come" };
            return self.drop(Dropped::Refused(error));
        }
        self.end = Some(frames as u64);
    }

    /// No packet follows: closes what is open, and what never came is lost.
    pub fn end(&mut self) {
        while !self.open.is_empty() {
            let frame = self.open.remove(0);
            self.hand_on(frame);
        }
        if let Some(end) = self.end {
            self.advance(end);
        }
        for sequence in core::mem::take(&mut self.missing) {
            self.lose(sequence, 1);
        }
    }

    /// The end marker has come, and so has every frame before it.
    pub fn complete(&self) -> bool {
        self.end.is_some() && self.end == self.next && self.missing.is_empty() && self.open.is_empty()
    }

    fn drop(&mut self, why: Dropped) {
        self.tell(Event::Dropped(why));
    }

    fn is_own(&mut self, stream: u16) -> bool {
        let own = *self.stream.get_or_insert(stream) == stream;
        if !own {
            self.drop(Dropped::OtherStream { stream });
        }
        own
    }

    /// Later packets lean on the newest key frame, and tell the time by the newest frame: a late one changes neither.
    fn remember(&mut self, header: &Header) {
        if self.next.is_none_or(|next| header.sequence as u64 >= next) {
            self.context = Some(header.context());
        }
    }

    fn gather(&mut self, packet: TilePacket<'_>, reception: Reception) {
        let sequence = packet.header.sequence;
        let place = self.open.binary_search_by_key(&sequence, |frame| frame.header.sequence);
        if let Err(place) = place {
            if self.has_come(sequence) {
                return self.drop(Dropped::Stale { sequence });
            }
            let header = packet.header;
            // Its other tiles may be as long; but what has not come is not worth much memory.
            let ahead = (header.params.slots() * packet.tile.len()).min(MAX_AHEAD);
            let Some(tiles) = self.buffer(&header, packet.tile.len(), ahead) else {
                return self.drop(Dropped::NoRoom { sequence });
            };
            let frame = ReceivedFrame {
                tiles,
                header,
                sent: TileSet::all(header.params.slots()),
                snr_cdb: None,
                delay_us: 0,
                link_bytes: 0,
                late: false,
                repaired: false,
            };
            // Never full: more than `OPEN_FRAMES` are not left open.
            let _ = self.open.insert(place, frame);
        }
        let (Ok(place) | Err(place)) = place;
        let Some(frame) = self.open.get_mut(place) else { return };
        // A forged tile may contradict the others: the first one says what the frame is.
        let same = Header { key: frame.header.key, ..packet.header } == frame.header;
        if !same || packet.index >= frame.tiles.len() {
            let error = WireError::Field { field: "header", reason: "contradicts the frame's other tiles" };
            return self.drop(Dropped::Refused(error));
        }
        if frame.tiles.get(packet.index).is_some() {
            return self.drop(Dropped::Duplicate { sequence });
        }
        let kept = frame.tiles.put(packet.index, packet.tile);
        if kept.is_ok() {
            let arrived = frame.tiles.arrived() as i32;
            frame.snr_cdb = match (frame.snr_cdb, reception.snr_cdb) {
                (Some(mean), Some(new)) => Some((mean as i32 + (new as i32 - mean as i32) / arrived) as i16),
                (mean, new) => mean.or(new),
            };
            frame.delay_us = frame.delay_us.max(reception.delay_us);
            frame.link_bytes += reception.link_bytes;
            frame.repaired |= packet.repaired;
        }
        let complete = frame.tiles.arrived() == frame.tiles.len();
        let is_open = |own: &Self| own.open.iter().any(|frame| frame.header.sequence == sequence);
        while self.open.len() > OPEN_FRAMES || complete && is_open(self) {
            let oldest = self.open.remove(0);
            self.hand_on(oldest);
        }
        if kept.is_err() {
            self.drop(Dropped::NoRoom { sequence });
        }
    }

    fn has_come(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| (sequence as u64) < next) && self.missing.binary_search(&sequence).is_err()
    }

    fn hand_on(&mut self, mut frame: ReceivedFrame<'a>) {
        let sequence = frame.header.sequence;
        let next = *self.next.get_or_insert(sequence as u64);
        if sequence as u64 >= next {
            self.advance(sequence as u64);
            self.next = Some(sequence as u64 + 1);
        } else if let Ok(place) = self.missing.binary_search(&sequence) {
            self.missing.remove(place);
            frame.late = true;
        } else {
            self.recycle(frame);
            return self.drop(match next - sequence as u64 <= WINDOW as u64 {
                true => Dropped::Duplicate { sequence },
                false => Dropped::Stale { sequence },
            });
        }
        self.tell(Event::Frame(frame));
    }

    fn tell(&mut self, event: Event<'a>) {
        // Never full where all are taken before the next packet.
        let _ = self.events.push_back(event);
    }

    /// Numbers in a row that are lost at the same time are one gap.
    fn lose(&mut self, sequence: u32, frames: u32) {
        if let Some(Event::Lost { sequence: first, frames: count }) = self.events.back_mut()
            && *first as u64 + *count as u64 == sequence as u64
        {
            *count = count.saturating_add(frames);
        } else {
            self.tell(Event::Lost { sequence, frames });
        }
    }

    /// The numbers up to `next` are waited for from now on; those more than [`WINDOW`] behind it are lost.
    fn advance(&mut self, next: u64) {
        let from = self.next.unwrap_or(next);
        let oldest = next.saturating_sub(WINDOW as u64);
        let given_up = self.missing.iter().take_while(|&&sequence| (sequence as u64) < oldest).count();
        for _ in 0..given_up {
            let sequence = self.missing.remove(0);
            self.lose(sequence, 1);
        }
        // Below 2^32: `next` is a sequence number, or a count of frames.
        if from < oldest {
            self.lose(from as u32, (oldest - from) as u32);
        }
        // Never full: the window has no more numbers.
        self.missing.extend((from.max(oldest)..next).map(|sequence| sequence as u32));
        self.next = Some(next.max(from));
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::wire::codec::Scratch;
    use crate::wire::{ClassSet, Cut, Grid, Params, Payload, Tiling, buffer_len, emit_end, emit_frame, emit_tile};
    use alloc::vec;
    use alloc::vec::Vec;

    fn header(sequence: u32) -> Header {
        Header {
            stream: 7,
            sequence,
            capture_us: sequence as u64 * 100_000,
            key: sequence.is_multiple_of(4),
            reference: None,
            params: Params {
                grid: Grid::new(16, 8),
                tiling: Tiling { rows: 1, cols: 2 },
                cut: Cut::Blocks,
                parity: 0,
                payload: Payload::Map,
                label_set: 1,
                classes: 12,
            },
            present: ClassSet(8),
        }
    }

    fn frame(header: Header) -> Vec<u8> {
        let mut bytes = vec![0; buffer_len(&header)];
        let len =
            emit_frame(&header, TileSet::all(header.params.tiling.tiles()), &[3; 128], &mut Scratch::new(), &mut bytes)
                .unwrap();
        bytes.truncate(len);
        bytes
    }

    fn tile(sequence: u32, index: usize) -> Vec<u8> {
        let header = header(sequence);
        let mut bytes = vec![0; buffer_len(&header)];
        let len = emit_tile(&header, index, &[3; 128], &mut Scratch::new(), &mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    /// `12` decided, `12!` late, `12x` lost, `12-20x` lost as a stretch, `dup`, `stale`, `other`, `refused`.
    fn story(from_start: bool, packets: &[Vec<u8>]) -> std::string::String {
        let mut assembly = Assembly::new(from_start);
        for packet in packets {
            assembly.push(packet, Reception { snr_cdb: Some(500), delay_us: 3, link_bytes: packet.len() }, |_| false);
        }
        assembly.end();
        let mut words = Vec::new();
        while let Some(event) = assembly.event() {
            words.push(match event {
                Event::Frame(frame) => {
                    let mark = if frame.late { "!" } else { "" };
                    let missing = frame.tiles.iter().filter(|tile| tile.is_none()).count();
                    let missing = if missing > 0 { std::format!("({missing})") } else { "".into() };
                    std::format!("{}{mark}{missing}", frame.header.sequence)
                }
                Event::Lost { sequence, frames: 1 } => std::format!("{sequence}x"),
                Event::Lost { sequence, frames } => std::format!("{sequence}-{}x", sequence + (frames - 1)),
                Event::Dropped(Dropped::Duplicate { .. }) => "dup".into(),
                Event::Dropped(Dropped::Stale { .. }) => "stale".into(),
                Event::Dropped(Dropped::OtherStream { .. }) => "other".into(),
                Event::Dropped(Dropped::Refused(_)) => "refused".into(),
                Event::Dropped(Dropped::NoRoom { .. }) => "no room".into(),
            });
        }
        words.join(" ")
    }

    fn frames(sequences: &[u32]) -> Vec<Vec<u8>> {
        sequences.iter().map(|&sequence| frame(header(sequence))).collect()
    }

    #[test]
    fn every_number_ends_once() {
        assert_eq!(story(true, &frames(&[0, 1, 2])), "0 1 2");
        assert_eq!(story(true, &frames(&[0, 3, 2, 4, 2])), "0 3 2! 4 dup 1x");
        let mut ended = frames(&[0, 1]);
        ended.push(emit_end(7, 4, 0).to_vec());
        assert_eq!(story(true, &ended), "0 1 2-3x");
        // A key frame is needed to begin with: 1 can't be read, and is missed once 4 has come.
        assert_eq!(story(true, &frames(&[1, 4])), "refused 4 0-3x");
        assert_eq!(story(false, &frames(&[4, 6])), "4 6 5x");
    }

    #[test]
    fn an_end_marker_settles_nothing_by_itself() {
        let end = |frames| emit_end(7, frames, 0).to_vec();
        // It may overtake the frames that it counts, and one that counts too few is wrong.
        let overtaken = [frame(header(0)), end(3), frame(header(1)), frame(header(2))];
        assert_eq!(story(true, &overtaken), "0 1 2");
        assert_eq!(story(true, &[frame(header(0)), frame(header(1)), end(1)]), "0 1 refused");
        assert_eq!(story(false, &[end(9), frame(header(0))]), "other 0");
    }

    #[test]
    fn a_jump_is_one_stretch_and_a_window() {
        let story = story(true, &frames(&[0, 1000]));
        assert_eq!(story, "0 1-935x 1000 936-999x");
    }

    #[test]
    fn a_count_of_frames_at_the_end_of_the_range_is_no_trouble() {
        let mut packets = frames(&[0]);
        packets.push(frame(Header { key: true, ..header(u32::MAX) }));
        packets.push(emit_end(7, u32::MAX, 0).to_vec());
        assert_eq!(story(true, &packets), "0 1-4294967230x 4294967295 refused 4294967231-4294967294x");
    }

    #[test]
    fn tiles_are_gathered_across_frames() {
        let in_order = [tile(0, 0), tile(0, 1), tile(1, 0), tile(1, 1)];
        assert_eq!(story(true, &in_order), "0 1");
        let mixed = [tile(0, 0), tile(1, 1), tile(0, 1), tile(1, 1), tile(1, 0), tile(0, 0)];
        assert_eq!(story(true, &mixed), "0 dup 1 stale");
        let lossy = [tile(0, 1), tile(1, 0), tile(2, 0), tile(2, 1), tile(3, 0), tile(3, 1)];
        assert_eq!(story(true, &lossy), "0(1) 1(1) 2 3");
    }

    #[test]
    fn a_late_key_frame_does_not_take_the_stream_back() {
        let changed = |sequence| {
            let header = header(sequence);
            frame(Header { params: Params { label_set: 2, ..header.params }, ..header })
        };
        let packets = [frame(header(0)), changed(8), frame(header(4)), changed(9)];
        assert_eq!(story(true, &packets), "0 8 4! 9 1-3x 5-7x");
    }

    #[test]
    fn other_streams_are_counted_and_left_alone() {
        let mut packets = frames(&[0, 1]);
        packets.insert(1, frame(Header { stream: 8, ..header(0) }));
        assert_eq!(story(true, &packets), "0 other 1");
    }

    #[test]
    fn what_cannot_be_read_without_a_key_frame_asks_for_one() {
        let mut assembly = Assembly::new(false);
        assembly.push(&frame(header(5)), Reception::default(), |_| false);
        assert_eq!(assembly.key_request(), Some(KeyRequest { stream: 7, sequence: 5 }));
        assert_eq!(assembly.key_request(), None);
        assembly.push(&frame(header(8)), Reception::default(), |_| false);
        assembly.push(&[1, 2, 3], Reception::default(), |_| false);
        assert_eq!(assembly.key_request(), None);
    }

    #[test]
    fn what_the_radio_erased_is_missing() {
        let mut assembly = Assembly::new(true);
        assembly.push(&frame(header(0)), Reception::default(), |tile| tile == 1);
        let Some(Event::Frame(frame)) = assembly.event() else { panic!() };
        assert!(frame.tiles.get(0).is_some() && frame.tiles.get(1).is_none());
    }
}
