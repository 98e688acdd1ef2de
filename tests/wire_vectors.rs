//! Byte-exact vectors of the wire and the capture, version 1, and a second reader written from `docs/wire.md` alone.
//!
//! `MAP_FRAME` holds two tiles out of the map codec: their bytes follow from the baked priors in `models/priors`, and change with them,
//! with the example in `docs/wire.md`. A failing test prints what it got. The other vectors hang on no prior: a tile whose frame has one class takes no bytes.
#![cfg(feature = "std")]

use semrx::link::srx::{SrxReader, SrxWriter};
use semrx::link::{Erasures, Interrupt, LinkInfo, Packet as LinkPacket, Sink, Source};
use semrx::wire::codec::Scratch;
use semrx::wire::{
    ClassSet, Cut, End, Grid, Header, KeyRequest, Packet, Params, Payload, TileSet, Tiling, WireError, buffer_len,
    emit_delta, emit_end, emit_frame, emit_request, emit_tile, read_changes, read_map_tile, read_soft_tile,
};

/// 8x4 cells in one row of two tiles, camvid12: road with a car on it.
const MAP_FRAME: &str = "
    d5 18 01 00 00 00 00 00 00 f2 05 2a 01 00 00 00 08 00 04 00 01 00 01 00 0c 08 01 00 03 bf
    c7 20 7d 03 01 b8 1e 03 c9 28 06 74 7d 5a 08 01 85 dd";
const MAP_CELLS: [u8; 32] = [
    3, 3, 3, 3, 3, 3, 3, 3, //
    3, 3, 3, 3, 3, 8, 8, 3, //
    3, 3, 3, 3, 3, 8, 8, 3, //
    3, 3, 3, 3, 3, 3, 3, 3, //
];

/// The same, 100 ms later and the car a column further left, as what changed. Its tile hangs on `models/priors/changes.bin`.
const DELTA_FRAME: &str = "
    d5 14 01 00 01 00 00 00 a0 78 07 2a af 3a 01 08 01 02 02 b9 33 68 81 f4 60 ec f2 8d 8a 08
    01 ae d9";
/// A receiver of stream 1 lacks what frame 300 leans on.
const REQUEST: &str = "d5 15 01 00 2c 01 00 00 00 00 00 00 67 85 9b 3a";
/// The frame after it, 100 ms later, not key: road and nothing else.
const NEXT_FRAME: &str = "
    d5 10 01 00 01 00 00 00 a0 78 07 2a af 3a 08 00 00 00 44 5b 37 5d ae 15 69 46 e6 c3 57 b2
    08 00 27 c8";

/// The same frame without its tile 0.
const PARTIAL_FRAME: &str = "
    d5 13 01 00 01 00 00 00 a0 78 07 2a af 3a 08 00 02 00 4b 0f 5f 9a e6 c3 57 b2 08 00 27 c8";

/// Tile 1 of that frame, alone.
const TILE: &str = "
    d5 11 01 00 01 00 00 00 a0 78 07 2a af 3a 01 08 00 a2 80 e6 8e e6 c3 57 b2";

/// The end of that stream: two frames.
const END: &str = "
    d5 12 01 00 02 00 00 00 a0 78 07 2a 0e 66 c2 9e";

/// 3x2 cells in one tile, scores in 4 and in 8 bits.
const SOFT4_FRAME: &str = "
    d5 18 34 12 07 00 00 00 00 f2 05 2a 01 00 00 00 03 00 02 00 00 01 01 00 0c 29 00 ac f1 11
    43 99 66 66 66 99 66 66 66 99 29 00 ad 12";
const SOFT8_FRAME: &str = "
    d5 18 34 12 07 00 00 00 00 f2 05 2a 01 00 00 00 03 00 02 00 00 02 01 00 0c 29 00 76 3a ad
    77 99 99 66 66 66 66 66 66 99 99 66 66 66 66 66 66 99 99 29 00 ad 12";
const SOFT_CELLS: [u8; 6] = [0, 0, 3, 3, 5, 5];

/// A capture of the end marker without link information, and of [`TILE`] with all of it.
const CAPTURE: &str = "
    53 52 58 31 11 00 d5 12 01 00 02 00 00 00 a0 78 07 2a 0e 66 c2 9e 22 07 06 ff a0 9c 01 02
    81 02 d5 11 01 00 01 00 00 00 a0 78 07 2a af 3a 01 08 00 a2 80 e6 8e e6 c3 57 b2";

const PAGE: &str = include_str!("../docs/wire.md");

fn params() -> Params {
    Params {
        grid: Grid::new(8, 4),
        tiling: Tiling { rows: 1, cols: 2 },
        cut: Cut::Blocks,
        parity: 0,
        payload: Payload::Map,
        label_set: 1,
        classes: 12,
    }
}

fn map_header() -> Header {
    Header {
        stream: 1,
        sequence: 0,
        capture_us: 5_000_000_000,
        key: true,
        reference: None,
        params: params(),
        present: ClassSet::of(&MAP_CELLS).unwrap(),
    }
}

fn next_header() -> Header {
    Header { sequence: 1, capture_us: 5_000_100_000, key: false, present: ClassSet(1 << 3), ..map_header() }
}

fn soft_header(payload: Payload) -> Header {
    let params = Params { grid: Grid::new(3, 2), tiling: Tiling { rows: 1, cols: 1 }, payload, ..params() };
    Header { stream: 0x1234, sequence: 7, params, present: ClassSet::of(&SOFT_CELLS).unwrap(), ..map_header() }
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect(text)).collect()
}

#[track_caller]
fn same(got: &[u8], vector: &str) {
    let spelled: Vec<String> = got.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(got == hex(vector), "got {}", spelled.join(" "));
}

fn frame(header: &Header, cells: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; buffer_len(header)];
    let len =
        emit_frame(header, TileSet::all(header.params.tiling.tiles()), cells, &mut Scratch::new(), &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

fn tile(header: &Header, index: usize, cells: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; buffer_len(header)];
    let len = emit_tile(header, index, cells, &mut Scratch::new(), &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// The map in frame `vector`, every tile of which must hold.
fn map_of(vector: &str, header: &Header, bytes: &[u8]) -> Vec<u8> {
    let context = map_header().context();
    let Packet::Frame(frame) = Packet::parse(bytes, Some(&context)).expect(vector) else { panic!("{vector}") };
    assert_eq!(frame.header, *header);
    assert!(!frame.repaired);
    let mut cells = vec![255; header.params.grid.cells()];
    for index in 0..header.params.tiling.tiles() {
        read_map_tile(header, index, frame.tile(index).expect(vector), &mut Scratch::new(), &mut cells).unwrap();
    }
    cells
}

#[test]
fn a_key_frame() {
    same(&frame(&map_header(), &MAP_CELLS), MAP_FRAME);
    assert_eq!(map_of("key frame", &map_header(), &hex(MAP_FRAME)), MAP_CELLS);
    assert!(Packet::parse(&hex(MAP_FRAME), None).is_ok());
}

#[test]
fn a_frame_that_is_not_key() {
    same(&frame(&next_header(), &[3; 32]), NEXT_FRAME);
    assert_eq!(map_of("next frame", &next_header(), &hex(NEXT_FRAME)), [3; 32]);
    assert!(Packet::parse(&hex(NEXT_FRAME), None).is_err());
}

#[test]
fn a_frame_without_all_of_its_tiles() {
    let (header, mut sent) = (next_header(), TileSet::all(2));
    sent.remove(0);
    let mut bytes = vec![0; buffer_len(&header)];
    let len = emit_frame(&header, sent, &[3; 32], &mut Scratch::new(), &mut bytes).unwrap();
    same(&bytes[..len], PARTIAL_FRAME);
    let (mut bytes, context) = (hex(PARTIAL_FRAME), map_header().context());
    let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, Some(&context)) else { panic!() };
    assert_eq!((frame.header, frame.sent, frame.tile(0)), (header, sent, None));
    assert_eq!(frame.tile(1).map(<[u8]>::len), Some(4));
    // A tile past the last, under a checksum that holds.
    bytes[16] |= 4;
    let check = crc32c(bytes[..18].iter().copied());
    bytes[18..22].copy_from_slice(&check.to_le_bytes());
    let refused = Packet::parse(&bytes, Some(&context));
    assert!(matches!(refused, Err(WireError::Field { field: "tile set", .. })), "{refused:?}");
    assert!(emit_frame(&next_header(), TileSet::all(3), &[3; 32], &mut Scratch::new(), &mut [0; 400]).is_err());
}

#[test]
fn a_tile_alone() {
    same(&tile(&next_header(), 1, &[3; 32]), TILE);
    let (bytes, context) = (hex(TILE), map_header().context());
    let Ok(Packet::Tile(tile)) = Packet::parse(&bytes, Some(&context)) else { panic!() };
    assert_eq!((tile.header, tile.index, tile.repaired), (next_header(), 1, false));
    let mut cells = [255; 32];
    read_map_tile(&tile.header, 1, tile.tile, &mut Scratch::new(), &mut cells).unwrap();
    for row in cells.chunks(8) {
        assert_eq!(row, [255, 255, 255, 255, 3, 3, 3, 3]);
    }
}

#[test]
fn a_delta_frame() {
    let mut cells = MAP_CELLS;
    // The car is a column further left.
    for row in [1, 2] {
        (cells[8 * row + 4], cells[8 * row + 6]) = (8, 3);
    }
    let header = Header { present: map_header().present, reference: Some(0), ..next_header() };
    let mut changed = TileSet::default();
    changed.insert(1);
    let mut bytes = vec![0; buffer_len(&header)];
    let len = emit_delta(&header, changed, &cells, &MAP_CELLS, &mut bytes).unwrap().unwrap();
    same(&bytes[..len], DELTA_FRAME);
    let (bytes, context) = (hex(DELTA_FRAME), map_header().context());
    let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, Some(&context)) else { panic!() };
    assert_eq!((frame.header, frame.sent, frame.tile(0), frame.tile(1)), (header, changed, None, None));
    let mut read = MAP_CELLS;
    read_changes(&header, changed, frame.changes().unwrap(), &MAP_CELLS, &mut read).unwrap();
    assert_eq!(read, cells);
    let elsewhere = Header { reference: None, ..header };
    let refused = read_changes(&elsewhere, changed, frame.changes().unwrap(), &MAP_CELLS, &mut read);
    assert_eq!(refused, Err(WireError::TileChecksum));
    // One damaged bit of the reference is mended; a frame can't lean on itself, nor one before the stream's start.
    let mut damaged = bytes.clone();
    damaged[14] ^= 4;
    let Ok(Packet::Frame(frame)) = Packet::parse(&damaged, Some(&context)) else { panic!() };
    assert!(frame.repaired && frame.header == header);
    for (reference, key) in [(Some(1), false), (Some(2), false), (Some(0), true)] {
        let wrong = Header { reference, key, ..header };
        let refused = emit_delta(&wrong, changed, &cells, &MAP_CELLS, &mut [0; 400]);
        assert!(matches!(refused, Err(WireError::Field { field: "reference", .. })), "{refused:?}");
    }
    for back in [0, 2] {
        let mut wrong = bytes.clone();
        wrong[14] = back;
        let check = crc32c(wrong[..19].iter().copied());
        wrong[19..23].copy_from_slice(&check.to_le_bytes());
        let refused = Packet::parse(&wrong, Some(&context));
        assert!(matches!(refused, Err(WireError::Field { field: "reference", .. })), "{refused:?}");
    }
}

#[test]
fn a_wish_for_a_key_frame() {
    let request = KeyRequest { stream: 1, sequence: 300 };
    same(&emit_request(request), REQUEST);
    assert_eq!(Packet::parse(&hex(REQUEST), None), Ok(Packet::Request(request)));
}

#[test]
fn an_end_marker() {
    same(&emit_end(1, 2, 5_000_100_000), END);
    assert_eq!(Packet::parse(&hex(END), None), Ok(Packet::End(End { stream: 1, frames: 2 })));
}

#[test]
fn soft_frames() {
    // Scores 0 and 1 are codes 6 and 9 of 4 bits, 102 and 153 of 8.
    for (payload, vector, zero, one) in [(Payload::Soft4, SOFT4_FRAME, 6, 9), (Payload::Soft8, SOFT8_FRAME, 102, 153)] {
        let header = soft_header(payload);
        same(&frame(&header, &SOFT_CELLS), vector);
        let bytes = hex(vector);
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, None) else { panic!("{payload:?}") };
        assert_eq!(frame.header, header);
        let mut codes = [0; 18];
        read_soft_tile(&header, 0, frame.tile(0).unwrap(), &mut codes).unwrap();
        for (plane, class) in [0u8, 3, 5].into_iter().enumerate() {
            let expected = SOFT_CELLS.map(|cell| if cell == class { one } else { zero });
            assert_eq!(codes[plane * 6..][..6], expected, "{payload:?} class {class}");
        }
    }
}

#[test]
fn a_capture() {
    let mut erased = Erasures::NONE;
    [0, 7, 9].into_iter().for_each(|slot| erased.set(slot));
    let info = LinkInfo { snr_cdb: Some(-250), delay_us: 20_000, erased };
    let packets = [LinkPacket::new(hex(END)), LinkPacket { bytes: hex(TILE), info }];
    let mut bytes = Vec::new();
    let mut writer = SrxWriter::new(&mut bytes, "vector").unwrap();
    for packet in &packets {
        writer.send(packet).unwrap();
    }
    writer.finish().unwrap();
    same(&bytes, CAPTURE);
    let bytes = hex(CAPTURE);
    let mut reader = SrxReader::new(&bytes[..], "vector", Interrupt::default());
    let read: Vec<LinkPacket> = std::iter::from_fn(|| reader.next().unwrap()).collect();
    assert_eq!(read, packets);
}

/// Also the bit that says key, before anything has been heard.
#[test]
fn any_wrong_bit_of_a_header_is_mended() {
    let header_len = 33;
    for bit in 8..8 * header_len {
        let mut bytes = hex(MAP_FRAME);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(Packet::Frame(frame)) = Packet::parse(&bytes, None) else { panic!("bit {bit}") };
        assert_eq!((frame.header, frame.repaired), (map_header(), true), "bit {bit}");
    }
}

#[test]
fn a_length_that_no_tile_has_is_refused() {
    let mut bytes = hex(NEXT_FRAME);
    // 16 cells of one class take a few bytes at most.
    bytes[16] = 100;
    let check = crc32c(bytes[..18].iter().copied());
    bytes[18..22].copy_from_slice(&check.to_le_bytes());
    let refused = Packet::parse(&bytes, Some(&map_header().context()));
    assert!(matches!(refused, Err(WireError::Field { field: "tile length", .. })), "{refused:?}");
}

/// The records in the table of the page.
#[test]
fn records_of_the_page() {
    let with = |bytes: &[u8], delay_us, slots: &[u8]| {
        let mut erased = Erasures::NONE;
        slots.iter().for_each(|&slot| erased.set(slot));
        LinkPacket { bytes: bytes.to_vec(), info: LinkInfo { snr_cdb: Some(1000), delay_us, erased } }
    };
    let table = PAGE.split("| packet | bytes of its record |").nth(1).unwrap();
    let vectors = table.lines().skip(2).map_while(|line| line.split('`').nth(3));
    let packets = [LinkPacket::new(b"ab".to_vec()), with(b"ab", 0, &[]), with(b"scene", 127, &[0, 7, 9])];
    assert_eq!(vectors.clone().count(), packets.len());
    for (packet, vector) in packets.iter().zip(vectors) {
        let mut bytes = Vec::new();
        SrxWriter::new(&mut bytes, "page").unwrap().send(packet).unwrap();
        same(&bytes, &format!("53 52 58 31 {vector}"));
    }
}

/// The example of the page is `MAP_FRAME`: lines of offset, bytes, meaning, with two spaces between them.
#[test]
fn the_example_of_the_page() {
    let block = PAGE.split("## A frame, byte by byte").nth(1).and_then(|text| text.split("```").nth(1)).unwrap();
    let mut bytes = Vec::new();
    for line in block.lines().skip(1) {
        let [offset, spelled, ..] = line.split("  ").filter(|column| !column.is_empty()).collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert_eq!(offset.trim().parse(), Ok(bytes.len()), "{line}");
        bytes.extend(hex(spelled));
    }
    same(&bytes, MAP_FRAME);
}

/// Bit by bit, as the page gives the polynomials.
fn crc(bytes: impl IntoIterator<Item = u8>, reflected: u32, ones: u32) -> u32 {
    let end = bytes.into_iter().fold(ones, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ reflected } else { crc >> 1 })
    });
    end ^ ones
}

fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    crc(bytes, 0x82f6_3b78, u32::MAX)
}

fn crc16(bytes: impl IntoIterator<Item = u8>) -> u16 {
    crc(bytes, 0x8408, 0xffff) as u16
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Reads `MAP_FRAME` and `NEXT_FRAME` with nothing but the page: fields at their places, and all four kinds of checksum.
#[test]
fn a_reader_written_from_the_page_agrees() {
    assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
    assert_eq!(crc16(*b"123456789"), 0x906e);

    let (key, next) = (hex(MAP_FRAME), hex(NEXT_FRAME));
    let block = &key[16..25];
    for (bytes, sequence, capture_us, present) in
        [(&key, 0u32, 5_000_000_000u64, 1u64 << 3 | 1 << 8), (&next, 1, 5_000_100_000, 1 << 3)]
    {
        let is_key = bytes[1] & 8 != 0;
        assert_eq!((bytes[0], bytes[1] >> 4, bytes[1] & 7, is_key), (0xd5, 1, 0, sequence == 0));
        assert_eq!(little(&bytes[2..4]), 1);
        assert_eq!(little(&bytes[4..8]), u64::from(sequence));
        assert_eq!(little(&bytes[8..12]), capture_us & 0xffff_ffff);
        let mut at = if is_key {
            assert_eq!(little(&bytes[12..16]), capture_us >> 32);
            assert_eq!((little(&block[0..2]), little(&block[2..4])), (8, 4));
            assert_eq!(((block[4] >> 4) + 1, (block[4] & 15) + 1), (1, 2));
            assert_eq!((block[5], little(&block[6..8]), block[8]), (0, 1, 12));
            25
        } else {
            assert_eq!(little(&bytes[12..14]), u64::from(crc16(block.iter().copied())));
            14
        };
        let set = &bytes[at..at + 2];
        assert_eq!(little(set), present);
        at += 2;
        // Both lengths are below 128: one byte each.
        let lengths = [usize::from(bytes[at]), usize::from(bytes[at + 1])];
        assert!(lengths.iter().all(|&length| length < 128));
        at += 2;
        assert_eq!(little(&bytes[at..at + 4]), u64::from(crc32c(bytes[..at].iter().copied())));
        at += 4;
        for (tile, length) in lengths.into_iter().enumerate() {
            let mut covered = bytes[2..8].to_vec();
            covered.push(tile as u8);
            covered.extend(present.to_le_bytes());
            covered.extend(&bytes[at..at + length]);
            at += length;
            assert_eq!(little(&bytes[at..at + 4]), u64::from(crc32c(covered)), "tile {tile}");
            at += 4;
        }
        let trailer = &bytes[at..];
        assert_eq!(trailer.len(), 4);
        assert_eq!(&trailer[..2], set);
        let covered = bytes[2..8].iter().chain(set).copied();
        assert_eq!(little(&trailer[2..]), u64::from(crc16(covered)));
    }
}
