//! The front, in lent memory, tells what the scene and the rule say in memory of their own. With `SEMRX_FEED` naming a folder, each case is also written
//! there, as bytes of a serial line and the records that a microcontroller has to make of them: `.ci/run` asks its firmware.

#![cfg(feature = "std")]

use crc::{CRC_16_IBM_SDLC, Crc};
use semrx::front::{Front, GRID_CELLS, Memory, PACKET_BYTES, Told};
use semrx::link::{Packet, envelope};
use semrx::noise::Noise;
use semrx::report::record::{MAX_LEN, Outcome, PAIR_NAMES, Record};
use semrx::scene::assembly::BUFFERS;
use semrx::scene::{
    Assembly, CAMVID12, Drops, Event, LabelSet, ReceivedFrame, Reception, Rule, Scene, Street, TileMemory,
};
use semrx::sender::{Delta, Packing, Sender, Settings};
use semrx::wire::codec::Scratch;
use semrx::wire::{Cut, Grid, Payload, Tiling};
use std::path::Path;

const GRID: Grid = Grid::new(128, 96);
const FRAMES: u32 = 24;

struct Case {
    name: &'static str,
    packets: Vec<Packet>,
    /// What a front refuses, or drops, that larger memory would decide.
    is_too_much: bool,
}

fn drive(settings: Settings, grid: Grid, channel: &str) -> Vec<Packet> {
    let street = Street::new(3, grid);
    let channel = channel.parse().unwrap();
    let mut sender = Sender::new(Settings { seed: 5, channel, ..settings }, &CAMVID12);
    let mut packets = Vec::new();
    for frame in 0..FRAMES {
        sender.send(&street.frame(frame), u64::from(frame) * 100_000, &mut packets).unwrap();
    }
    sender.end(&mut packets);
    packets
}

/// What no channel does: packets that end early, some of noise, and one that is not for receivers.
fn broken(mut packets: Vec<Packet>) -> Vec<Packet> {
    let noise = Noise::new(9, 0);
    for at in [3, 7, 12, 16] {
        let bytes = &mut packets[at].bytes;
        let kept = bytes.len() * at / 20;
        bytes.truncate(kept);
    }
    let random = |length: u64| (0..length).map(|at| noise.u64_at(length << 20 | at) as u8).collect();
    for (at, length) in [(2, 1), (5, 40), (9, 700)] {
        packets.insert(at, Packet::new(random(length)));
    }
    let tail = packets.split_off(14);
    packets.push(Packet::new([&[0xd5, 0x18][..], &random(60)[..]].concat()));
    packets.extend(tail);
    packets
}

/// A stream whose second half is of another grid.
fn changed(grid: Grid) -> Vec<Packet> {
    let half = |grid| drive(Settings { key_every: 4, ..Settings::default() }, grid, "none");
    let (mut packets, after) = (half(GRID), half(grid));
    packets.splice(12.., after.into_iter().skip(12));
    packets
}

fn cases() -> Vec<Case> {
    let settings = Settings::default;
    let lossy = "tile-loss=0.3,burst=3,snr=9,delay-ms=20,jitter-ms=9,reorder=0.1,duplicate=0.1";
    let case = |name, packets| Case { name, packets, is_too_much: false };
    let too_much = |name, packets| Case { name, packets, is_too_much: true };
    let tiles = Settings { packing: Packing::Tile, ..settings() };
    let delta = Settings { delta: Some(Delta::All), ..settings() };
    let parity = Settings { cut: Cut::Phases, parity: 2, ..settings() };
    let tokens = Settings { payload: Payload::Tokens, ..settings() };
    let many = Settings { packing: Packing::Tile, tiling: Tiling { rows: 16, cols: 16 }, ..settings() };
    vec![
        case("clean", drive(settings(), GRID, "none")),
        case("frames", drive(settings(), GRID, lossy)),
        case("lost", drive(Settings { key_every: 2, ..settings() }, GRID, "tile-loss=0.3,frame-loss=0.3")),
        case("tiles", drive(tiles, GRID, lossy)),
        case("many-tiles", drive(many, Grid::new(64, 48), lossy)),
        case("delta", drive(delta, GRID, "tile-loss=0.2,reorder=0.2,duplicate=0.1")),
        case("parity", drive(parity, GRID, "tile-loss=0.2")),
        case("tokens", drive(tokens, GRID, lossy)),
        case("unended", drive(settings(), GRID, "tile-loss=0.1").split_last().unwrap().1.to_vec()),
        case("broken", broken(drive(settings(), GRID, "tile-loss=0.1"))),
        too_much("soft", drive(Settings { payload: Payload::Soft4, ..settings() }, Grid::new(32, 24), "sigma=0.6")),
        too_much("large", drive(settings(), Grid::new(192, 144), "none")),
        too_much("larger", changed(Grid::new(192, 144))),
        case("changed", changed(Grid::new(64, 48))),
    ]
}

/// What a record says of a frame that was decided: number, late, cells known, tiles missing, free space, hazards.
type Said = (u32, bool, u16, u16, [u16; 16], Vec<&'static str>);

fn said(record: &Record<'_>) -> Option<Said> {
    let decision = record.decision.as_ref()?;
    assert_eq!(record.provisional.as_ref(), Some(decision));
    let late = record.outcome == Outcome::DecidedLate;
    let hazards = decision.hazards.to_vec();
    Some((record.sequence, late, record.known_permille, record.tiles_missing, decision.free_permille, hazards))
}

/// How the packet arrived; `bytes` of it went over the link.
fn reception(packet: &Packet, bytes: usize) -> Reception {
    Reception { snr_cdb: packet.info.snr_cdb, delay_us: packet.info.delay_us, link_bytes: bytes }
}

fn erased(packet: &Packet) -> impl Fn(usize) -> bool {
    let erased = packet.info.erased;
    move |tile| u8::try_from(tile).is_ok_and(|tile| erased.contains(tile))
}

/// The lines of a front in memory for `CELLS` cells, and what they say of the frames that were decided.
fn front<const CELLS: usize>(packets: &[Packet]) -> (Vec<u8>, Vec<Said>, Drops) {
    let mut memory = Box::new(Memory::<CELLS, PACKET_BYTES>::new());
    let mut front = Front::new(&mut memory, false);
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    let mut tell = |told: Told<'_>| {
        let Told::Record(record) = told else { return };
        let mut line = [0; MAX_LEN];
        let len = record.emit(&mut line).unwrap();
        lines.extend_from_slice(&line[..len]);
        lines.push(b'\n');
        all.extend(said(record));
    };
    for packet in packets {
        front.push(&packet.bytes, reception(packet, framed(packet).len()), erased(packet), &mut tell);
    }
    front.end(&mut tell);
    let drops = front.drops();
    (lines, all, drops)
}

/// The same of an assembly and scenes in memory of their own, as a station has them.
fn owned(packets: &[Packet]) -> Vec<Said> {
    let (mut assembly, mut scratch) = (Assembly::new(false), Scratch::new());
    let (mut current, mut all): (Option<Scene>, _) = (None, Vec::new());
    for packet in packets.iter().map(Some).chain([None]) {
        match packet {
            Some(packet) => assembly.push(&packet.bytes, reception(packet, 0), erased(packet)),
            None => assembly.end(),
        }
        while let Some(event) = assembly.event() {
            let Event::Frame(frame) = event else { continue };
            let params = frame.header.params;
            let current = match &mut current {
                Some(scene) if *scene.params() == params => scene,
                current => current.insert(Scene::new(params)),
            };
            match frame.late {
                true => {
                    let mut alone = current.beside();
                    all.push(read(&mut alone, &frame, &mut scratch));
                    current.take_key_frame(alone);
                }
                false => all.push(read(current, &frame, &mut scratch)),
            }
        }
    }
    all
}

fn read(scene: &mut Scene, frame: &ReceivedFrame, scratch: &mut Scratch) -> Said {
    let params = frame.header.params;
    let missing = scene.take(frame, scratch, |_, _| ());
    let reading = Rule::new(params.grid, LabelSet::by_id(params.label_set).unwrap()).read(scene.cells(), scene.known());
    let hazards = reading.hazards.iter().map(|pair| PAIR_NAMES[pair]).collect();
    let free = reading.free_permille(params.grid);
    (frame.header.sequence, frame.late, scene.known_permille(), missing as u16, free, hazards)
}

/// A packet on a serial line: the check and the length of its envelope, and the envelope, COBS-encoded between zeros.
fn framed(packet: &Packet) -> Vec<u8> {
    let mut length = envelope::encoded_len(packet);
    let mut content = vec![0; 2];
    while length >= 0x80 {
        content.push(length as u8 | 0x80);
        length >>= 7;
    }
    content.push(length as u8);
    envelope::encode(packet, &mut content);
    let check = Crc::<u16>::new(&CRC_16_IBM_SDLC).checksum(&content[2..content.len() - packet.bytes.len()]);
    content[..2].copy_from_slice(&check.to_le_bytes());
    let mut line = vec![0];
    for run in content.split(|&byte| byte == 0) {
        for full in run.chunks(254) {
            line.push(full.len() as u8 + 1);
            line.extend_from_slice(full);
        }
        if run.is_empty() || run.len().is_multiple_of(254) {
            line.push(1);
        }
    }
    line.push(0);
    line
}

#[test]
fn a_front_tells_what_the_rule_reads() {
    for case in cases() {
        let (lines, told, drops) = front::<GRID_CELLS>(&case.packets);
        let expected = owned(&case.packets);
        let records = lines.iter().filter(|&&byte| byte == b'\n').count();
        if case.is_too_much {
            let text = String::from_utf8(lines.clone()).unwrap();
            let refused = text.matches("\"outcome\":\"refused\"").count();
            assert!(refused > 0 || drops.no_room > 0, "{}: {drops:?}", case.name);
        } else {
            assert_eq!(told, expected, "{}", case.name);
            assert!(told.len() > 10 && records >= told.len() && drops.no_room == 0, "{}: {drops:?}", case.name);
        }
        if let Some(folder) = std::env::var_os("SEMRX_FEED") {
            write(folder.as_ref(), &case, &lines);
        }
    }
}

/// On the line, noise stands between the packets, and must change nothing.
fn write(folder: &Path, case: &Case, lines: &[u8]) {
    let noise = Noise::new(11, 0);
    let mut line = Vec::new();
    for (at, packet) in (0..).zip(&case.packets) {
        line.extend(framed(packet));
        if at % 5 == 2 {
            line.extend((0..30).map(|byte| noise.u64_at(at << 20 | byte) as u8));
            line.push(0);
        }
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(case.name).with_extension("line"), line).unwrap();
    std::fs::write(folder.join(case.name).with_extension("jsonl"), lines).unwrap();
}

/// Memory for the first tiles of a frame is none for the others: these are dropped, and counted.
#[test]
fn what_the_memory_lacks_is_dropped_and_counted() {
    let packets = drive(Settings { packing: Packing::Tile, ..Settings::default() }, GRID, "none");
    let mut memory = [const { TileMemory::<100>::new() }; BUFFERS];
    let mut assembly = Assembly::lent(true, &mut memory);
    let (mut arrived, mut drops) = (0, Drops::default());
    for packet in packets.iter().map(Some).chain([None]) {
        match packet {
            Some(packet) => assembly.push(&packet.bytes, Reception::default(), |_| false),
            None => assembly.end(),
        }
        while let Some(event) = assembly.event() {
            match event {
                Event::Frame(frame) => {
                    arrived += frame.tiles.arrived();
                    assembly.recycle(frame);
                }
                Event::Lost { sequence, .. } => panic!("{sequence}"),
                Event::Dropped(why) => drops.packet(why),
            }
        }
    }
    let tiles = packets.len() - 1;
    assert!(arrived > FRAMES as usize && arrived < tiles, "{arrived} of {tiles}");
    assert_eq!((arrived as u64 + drops.no_room, drops.stale), (tiles as u64, 0), "{drops:?}");
}
