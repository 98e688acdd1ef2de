//! What holds of every packet, not of those alone that somebody thought of.
#![cfg(feature = "std")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use semrx::scene::{Assembly, Event, Reception};
use semrx::wire::codec::Scratch;
use semrx::wire::tokens::{Token, Tokens};
use semrx::wire::{
    ClassSet, Context, Cut, End, Grid, Header, Packet, Params, Payload, TileSet, Tiling, buffer_len, emit_delta,
    emit_end, emit_frame, emit_tile, read_changes, read_map_tile, read_soft_tile, read_tokens, soft,
};

/// A frame as its sender has it.
#[derive(Debug, Clone)]
struct Sent {
    header: Header,
    cells: Vec<u8>,
    /// The tiles that its frame holds.
    held: TileSet,
}

impl Sent {
    /// What a receiver knows that has heard this frame's stream.
    fn context(&self) -> Context {
        self.header.context()
    }

    fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![0; buffer_len(&self.header)];
        let len = emit_frame(&self.header, self.held, &self.cells, &mut Scratch::new(), &mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn tile(&self, index: usize) -> Vec<u8> {
        let mut bytes = vec![0; buffer_len(&self.header)];
        let len = emit_tile(&self.header, index, &self.cells, &mut Scratch::new(), &mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn tiles(&self) -> usize {
        self.header.params.tiling.tiles()
    }

    /// Whether the cells of tile `index` in `cells` are those that were sent.
    fn holds(&self, index: usize, cells: &[u8]) -> bool {
        let params = &self.header.params;
        params.patch(index).unwrap().indices(params.grid).all(|cell| cells[cell] == self.cells[cell])
    }
}

fn params() -> impl Strategy<Value = Params> {
    let payload = prop_oneof![2 => Just(Payload::Map), 1 => Just(Payload::Soft4), 1 => Just(Payload::Soft8)];
    // Label set 1 has priors of its own, for twelve classes: more of them are nonsense that must be survived too.
    let labels = prop_oneof![Just((1u16, 12u8)), (Just(1u16), 1u8..=64), (any::<u16>(), 1u8..=64)];
    (1u16..=40, 1u16..=30, any::<(Index, Index, bool)>(), payload, labels).prop_map(
        |(width, height, (rows, cols, is_phases), payload, (label_set, classes))| Params {
            grid: Grid::new(width, height),
            tiling: Tiling {
                rows: 1 + rows.index(height.min(16) as usize) as u8,
                cols: 1 + cols.index(width.min(16) as usize) as u8,
            },
            cut: if is_phases { Cut::Phases } else { Cut::Blocks },
            parity: 0,
            payload,
            label_set,
            classes,
        },
    )
}

/// Tiles that a frame is sent without: mostly none.
fn left_out() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<Index>(), 1..20)]
}

/// Any grid, tiling, payload and present set; maps in runs, as streets are, or cell by cell at random.
fn sent() -> impl Strategy<Value = Sent> {
    let header = (any::<u16>(), any::<u32>(), any::<u64>(), any::<bool>(), params(), any::<u64>());
    (header, vec((any::<Index>(), 1usize..60), 1..40), any::<bool>(), left_out()).prop_map(
        |((stream, sequence, capture_us, key, params, present), runs, rough, left_out)| {
            let mut held = TileSet::all(params.tiling.tiles());
            left_out.iter().for_each(|index| held.remove(index.index(params.tiling.tiles())));
            let set = present & (u64::MAX >> (64 - params.classes));
            let present = ClassSet(if set == 0 { 1 << (params.classes - 1) } else { set });
            let classes: Vec<u8> = present.iter().collect();
            let painted = runs.iter().cycle().flat_map(|(class, length)| {
                let length = if rough { 1 } else { *length };
                std::iter::repeat_n(classes[class.index(classes.len())], length)
            });
            let cells = painted.take(params.grid.cells()).collect();
            let header = Header { stream, sequence, capture_us, key, reference: None, params, present };
            Sent { header, cells, held }
        },
    )
}

/// What happens to a packet on its way.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Vec<Index>),
    Cut(Index),
    /// A stretch comes twice.
    Double(Index, Index),
    /// The head of this packet, the tail of another.
    Splice(Index, Index),
    Overwrite(Index, Vec<u8>),
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        vec(any::<Index>(), 1..12).prop_map(Damage::Flip),
        any::<Index>().prop_map(Damage::Cut),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Double(from, to)),
        any::<(Index, Index)>().prop_map(|(head, tail)| Damage::Splice(head, tail)),
        (any::<Index>(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>, other: &[u8]) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        match self {
            Damage::Flip(bits) => bits.iter().map(|bit| bit.index(8 * len)).for_each(|bit| flip(bytes, bit)),
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Double(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let stretch = bytes[from.min(to)..from.max(to)].to_vec();
                let tail = bytes.split_off(from.max(to));
                bytes.extend(stretch);
                bytes.extend(tail);
            }
            Damage::Splice(head, tail) => {
                bytes.truncate(head.index(len));
                bytes.extend(&other[tail.index(other.len())..]);
            }
            Damage::Overwrite(at, new) => {
                let at = at.index(len);
                bytes.splice(at..len.min(at + new.len()), new.iter().copied());
            }
            Damage::Append(new) => bytes.extend(new),
        }
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// What `tile` says it is, read into a fresh map; `None` where it is refused.
fn read_tile(header: &Header, index: usize, tile: &[u8]) -> Option<Vec<u8>> {
    let cells = header.params.grid.cells();
    match header.params.payload {
        Payload::Map => {
            let mut map = vec![255; cells];
            read_map_tile(header, index, tile, &mut Scratch::new(), &mut map).ok().map(|()| map)
        }
        Payload::Soft4 | Payload::Soft8 => {
            let mut codes = vec![255; cells * header.present.len()];
            read_soft_tile(header, index, tile, &mut codes).ok().map(|()| codes)
        }
        Payload::Tokens => read_tokens(header, index, tile).ok().map(|_| Vec::new()),
    }
}

/// Every tile that a map packet gives is one that was sent by `one` or `other`; soft values may be anything of the right size.
fn only_what_was_sent(bytes: &[u8], context: &Context, one: &Sent, other: &Sent) -> Result<(), TestCaseError> {
    let (header, tiles) = match Packet::parse(bytes, Some(context)) {
        Ok(Packet::Frame(frame)) => {
            let tiles = 0..frame.header.params.tiling.tiles();
            let tiles: Vec<_> = tiles.filter_map(|index| Some((index, frame.tile(index)?.to_vec()))).collect();
            (frame.header, tiles)
        }
        Ok(Packet::Tile(tile)) => (tile.header, vec![(tile.index, tile.tile.to_vec())]),
        Ok(Packet::End(_) | Packet::Request(_)) | Err(_) => return Ok(()),
    };
    let sender = if header == one.header { one } else { other };
    prop_assert_eq!(header, sender.header);
    for (index, tile) in tiles {
        let Some(cells) = read_tile(&header, index, &tile) else { continue };
        if header.params.payload == Payload::Map {
            prop_assert!(sender.holds(index, &cells), "tile {} passed and differs", index);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_frame_says_what_was_sent(sent in sent()) {
        let bytes = sent.frame();
        let context = (!sent.header.key).then(|| sent.context());
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, context.as_ref()) else { panic!() };
        prop_assert_eq!(frame.header, sent.header);
        prop_assert!(!frame.repaired);
        prop_assert_eq!(frame.sent, sent.held);
        for index in 0..sent.tiles() {
            prop_assert_eq!(frame.tile(index).is_some(), sent.held.contains(index));
            let Some(tile) = frame.tile(index) else { continue };
            assert_tile(&sent, index, &read_tile(&frame.header, index, tile).unwrap())?;
        }
    }

    #[test]
    fn tiles_alone_say_what_was_sent(sent in sent(), pick in any::<Index>()) {
        let index = pick.index(sent.tiles());
        let bytes = sent.tile(index);
        let context = (!sent.header.key).then(|| sent.context());
        let Ok(Packet::Tile(tile)) = Packet::parse(&bytes, context.as_ref()) else { panic!() };
        prop_assert_eq!((tile.header, tile.index), (sent.header, index));
        assert_tile(&sent, index, &read_tile(&tile.header, index, tile.tile).unwrap())?;
    }

    /// A delta frame says what was sent; damaged, it says that or nothing.
    #[test]
    fn a_delta_frame_says_what_changed(
        mut sent in sent(),
        (by, back) in any::<(Index, u8)>(),
        damages in vec(damage(), 1..4),
    ) {
        let Sent { header, cells, held } = &mut sent;
        (header.key, header.params.payload) = (false, Payload::Map);
        header.sequence = header.sequence.max(256);
        header.reference = Some(header.sequence - back.max(1) as u32);
        // The same scene a little further on, with a class that this frame may not have.
        let mut key_cells = cells.clone();
        key_cells.rotate_left(by.index(cells.len().min(4)));
        key_cells[0] = header.params.classes - 1;
        let mut bytes = vec![0; buffer_len(header)];
        let Some(len) = emit_delta(header, *held, cells, &key_cells, &mut bytes).unwrap() else { return Ok(()) };
        bytes.truncate(len);
        let (context, spare) = (header.context(), bytes.clone());
        let read = |bytes: &[u8]| {
            let Ok(Packet::Frame(frame)) = Packet::parse(bytes, Some(&context)) else { return None };
            let mut cells = vec![255; key_cells.len()];
            if !frame.sent.is_empty() {
                read_changes(&frame.header, frame.sent, frame.changes()?, &key_cells, &mut cells).ok()?;
            }
            Some((frame.header, frame.sent, cells))
        };
        let (read_header, changed, cells) = read(&bytes).unwrap();
        prop_assert_eq!((read_header, changed), (sent.header, sent.held));
        for index in (0..sent.tiles()).filter(|&index| changed.contains(index)) {
            prop_assert!(sent.holds(index, &cells));
        }
        damages.iter().for_each(|damage| damage.apply(&mut bytes, &spare));
        if let Some((damaged_header, _, damaged_cells)) = read(&bytes) {
            prop_assert_eq!((damaged_header, damaged_cells), (sent.header, cells));
        }
    }

    /// The low half of the clock is enough, half an hour around the last frame.
    #[test]
    fn the_capture_time_is_made_whole(mut sent in sent(), off in -0x7fff_ffffi64..=0x7fff_ffff) {
        sent.header.key = false;
        let heard = Context { capture_us: sent.header.capture_us.wrapping_add_signed(off), ..sent.context() };
        let bytes = sent.frame();
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, Some(&heard)) else { panic!() };
        prop_assert_eq!(frame.header.capture_us, sent.header.capture_us);
    }

    #[test]
    fn damage_is_refused_or_harmless(
        one in sent(),
        mut other in sent(),
        damages in vec(damage(), 1..4),
        alone in any::<Option<Index>>(),
    ) {
        // Key and of the same stream, so that what is spliced from it can be read.
        other.header.stream = one.header.stream;
        other.header.key = true;
        let packet = |sent: &Sent| match alone {
            Some(pick) => sent.tile(pick.index(sent.tiles())),
            None => sent.frame(),
        };
        let (mut bytes, spare) = (packet(&one), packet(&other));
        damages.iter().for_each(|damage| damage.apply(&mut bytes, &spare));
        only_what_was_sent(&bytes, &one.context(), &one, &other)?;
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200), sent in sent(), prefixed in any::<bool>()) {
        let mut bytes = bytes;
        if prefixed && bytes.len() >= 2 {
            bytes[0] = 0xd5;
            bytes[1] = bytes[1] & 15 | 16;
        }
        // A checksum of 32 bits does not hold by chance in so few trials.
        prop_assert!(Packet::parse(&bytes, Some(&sent.context())).is_err());
        prop_assert!(Packet::parse(&bytes, None).is_err());
    }

    /// A map tile of any bytes is refused; soft values of the right number are values.
    #[test]
    fn any_tile_is_read_without_harm(sent in sent(), pick in any::<Index>(), bytes in vec(any::<u8>(), 0..80)) {
        let index = pick.index(sent.tiles());
        let read = read_tile(&sent.header, index, &bytes);
        match sent.header.params.payload.soft_bits() {
            None => prop_assert!(read.is_none()),
            Some(bits) => {
                let patch = sent.header.params.patch(index).unwrap();
                prop_assert_eq!(read.is_some(), bytes.len() == soft::tile_len(patch, sent.header.present, bits));
            }
        }
        prop_assert!(read_tile(&sent.header, sent.tiles(), &bytes).is_none());
    }

    #[test]
    fn one_wrong_bit_in_a_header_is_mended(sent in sent(), pick in any::<Index>()) {
        let mut bytes = sent.frame();
        let Ok(Packet::Frame(whole)) = Packet::parse(&bytes, Some(&sent.context())) else { panic!() };
        let first = (0..sent.tiles()).find_map(|index| whole.tile_range(index));
        let trailer = ClassSet::wire_len(sent.header.params.classes) + 2;
        let header_len = first.map_or(bytes.len() - trailer, |first| first.start).min(64);
        let bit = 8 + pick.index(8 * (header_len - 1));
        flip(&mut bytes, bit);
        let context = (!sent.header.key).then(|| sent.context());
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, context.as_ref()) else {
            return Err(TestCaseError::fail(format!("bit {bit} of a header of {header_len} bytes")));
        };
        prop_assert_eq!(frame.header, sent.header);
        prop_assert!(frame.repaired);
        for index in (0..sent.tiles()).filter(|&index| sent.held.contains(index)) {
            assert_tile(&sent, index, &read_tile(&frame.header, index, frame.tile(index).unwrap()).unwrap())?;
        }
    }

    #[test]
    fn a_present_set_is_mended_from_its_second_copy(sent in sent(), wrong in any::<[u8; 8]>()) {
        let mut bytes = sent.frame();
        let start = if sent.header.key { 25 } else { 14 };
        let set = start..start + ClassSet::wire_len(sent.header.params.classes);
        let damaged = &mut bytes[set];
        prop_assume!(damaged != &wrong[..damaged.len()]);
        damaged.copy_from_slice(&wrong[..damaged.len()]);
        let context = (!sent.header.key).then(|| sent.context());
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, context.as_ref()) else { panic!() };
        prop_assert_eq!(frame.header, sent.header);
        prop_assert!(frame.repaired);
    }

    #[test]
    fn an_end_marker_with_a_wrong_bit_is_mended(stream in any::<u16>(), frames in any::<u32>(), bit in 8usize..128) {
        let mut bytes = emit_end(stream, frames, 0);
        flip(&mut bytes, bit);
        prop_assert_eq!(Packet::parse(&bytes, None), Ok(Packet::End(End { stream, frames })));
    }

    #[test]
    fn every_number_ends_in_one_event(journey in journey()) {
        let mut assembly = Assembly::new(journey.from_start);
        let mut ended = Vec::new();
        for packet in &journey.packets {
            assembly.push(packet, Reception::default(), |_| false);
            collect(&mut assembly, &mut ended);
        }
        assembly.end();
        collect(&mut assembly, &mut ended);
        ended.sort_unstable();
        // No number twice, and no number left out between the first and the last.
        for pair in ended.windows(2) {
            prop_assert_eq!(pair[0].1, pair[1].0, "{:?}", &ended);
        }
        if journey.from_start {
            prop_assert_eq!(ended.first().map_or(0, |first| first.0), 0);
        }
        if journey.ends && (journey.from_start || !ended.is_empty()) {
            prop_assert!(assembly.ended());
            prop_assert_eq!(ended.last().map_or(0, |last| last.1), journey.frames);
        }
    }
}

fn assert_tile(sent: &Sent, index: usize, read: &[u8]) -> Result<(), TestCaseError> {
    let params = &sent.header.params;
    let Some(bits) = params.payload.soft_bits() else {
        prop_assert!(sent.holds(index, read));
        return Ok(());
    };
    let (zero, one) = (soft::zero_code(bits), soft::zero_code(bits) + soft::unit_steps(bits));
    let patch = params.patch(index).unwrap();
    for (plane, class) in read.chunks(params.grid.cells()).zip(sent.header.present.iter()) {
        for cell in patch.indices(params.grid) {
            prop_assert_eq!(plane[cell], if sent.cells[cell] == class { one } else { zero });
        }
    }
    Ok(())
}

/// The packets of a stream as they arrive.
#[derive(Debug, Clone)]
struct Journey {
    from_start: bool,
    packets: Vec<Vec<u8>>,
    /// How many frames the stream had.
    frames: u64,
    /// The end marker arrives, last.
    ends: bool,
}

/// Some frames, whole or as tiles, some numbers never sent; then lost, doubled and moved, with noise between them.
fn journey() -> impl Strategy<Value = Journey> {
    let gap = prop_oneof![8 => Just(1u32), 1 => 1u32..6, 1 => 1u32..200];
    let fate = prop_oneof![6 => Just(1usize), 2 => Just(0), 1 => Just(2)];
    let moved = prop_oneof![4 => Just(0usize), 2 => 0usize..6, 1 => 0usize..300];
    let frame = (gap, any::<bool>(), any::<bool>(), vec((fate, moved), 4));
    (vec(frame, 1..60), any::<bool>(), any::<bool>(), vec((any::<Index>(), vec(any::<u8>(), 0..30)), 0..4)).prop_map(
        |(frames, from_start, ends, noise)| {
            let params = Params {
                grid: Grid::new(4, 2),
                tiling: Tiling { rows: 2, cols: 2 },
                cut: Cut::Blocks,
                parity: 0,
                payload: Payload::Map,
                label_set: 1,
                classes: 12,
            };
            let mut arrivals = Vec::new();
            let mut next = 0;
            for (gap, key, whole, fates) in frames {
                let header = Header {
                    stream: 9,
                    sequence: next + gap - 1,
                    capture_us: 0,
                    key,
                    reference: None,
                    params,
                    present: ClassSet(1),
                };
                next += gap;
                let sent = Sent { header, cells: vec![0; 8], held: TileSet::all(4) };
                let packets = if whole { vec![sent.frame()] } else { (0..4).map(|index| sent.tile(index)).collect() };
                for (packet, (copies, moved)) in packets.into_iter().zip(fates) {
                    let at = arrivals.len();
                    arrivals.extend((0..copies).map(|copy| (at + moved * (copy + 1), packet.clone())));
                }
            }
            arrivals.sort_by_key(|(at, _)| *at);
            let mut packets: Vec<Vec<u8>> = arrivals.into_iter().map(|(_, packet)| packet).collect();
            for (at, bytes) in noise {
                packets.insert(at.index(packets.len() + 1), bytes);
            }
            if ends {
                packets.push(emit_end(9, next, 0).to_vec());
            }
            Journey { from_start, packets, frames: next as u64, ends }
        },
    )
}

/// Appends the stretch of numbers that each event settles, as start and end.
fn collect(assembly: &mut Assembly, ended: &mut Vec<(u64, u64)>) {
    while let Some(event) = assembly.event() {
        let (start, frames) = match event {
            Event::Frame(frame) => (frame.header.sequence, 1),
            Event::Lost { sequence, frames } => (sequence, frames),
            Event::Dropped(_) => continue,
        };
        ended.push((start as u64, start as u64 + frames as u64));
    }
}

proptest! {
    /// Whatever bytes a tile of tokens has, each token that is read lies in the grid, is of a present class, and is written as it was read; what can't
    /// be read ends them.
    #[test]
    fn any_bytes_are_tokens_or_an_error(bytes in vec(prop_oneof![0u8..4, any::<u8>()], 0..200), present in 1u64..) {
        let (grid, present) = (Grid::new(40, 30), ClassSet(present));
        let (mut at, mut again) = (0, [0; 2100]);
        for token in Tokens::new(&bytes, grid, present) {
            let Ok(token) = token else { break };
            let len = token.emit(&mut again).unwrap();
            prop_assert_eq!(&again[..len], &bytes[at..at + len]);
            at += len;
            match token {
                Token::Box { class, x, y, width, height, .. } => {
                    prop_assert!(present.contains(class) && width > 0 && height > 0);
                    prop_assert!(x + width <= grid.width && y + height <= grid.height);
                }
                Token::Keypoint { class, x, y, .. } => prop_assert!(present.contains(class) && x < grid.width && y < grid.height),
                Token::Vector { values, .. } => prop_assert!(values.iter().all(f32::is_finite)),
            }
        }
    }
}
