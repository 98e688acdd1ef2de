//! Same bytes, same decisions: a drive through lossy radios gives the capture and the readings that stand here, on every CPU.
//!
//! Codec priors, the procedural street or the wire changed on purpose? Then the failing test prints the lines to put in their place.

#![cfg(feature = "std")]

use crc::{CRC_64_XZ, Crc};
use semrx::link::srx::SrxWriter;
use semrx::link::{Packet, Sink};
use semrx::scene::{Assembly, CAMVID12, Event, Reception, Rule, Scene, Street};
use semrx::sender::{Packing, Sender, Settings};
use semrx::wire::codec::Scratch;
use semrx::wire::{Grid, Payload};

const FRAMES: u32 = 24;
const GRID: Grid = Grid::new(128, 96);

/// How a drive is sent, with the CRC-64 of its capture and of what is read from it.
struct Drive {
    payload: Payload,
    packing: Packing,
    channel: &'static str,
    capture: u64,
    readings: u64,
}

const DRIVES: [Drive; 5] = [
    Drive {
        payload: Payload::Map,
        packing: Packing::Frame,
        channel: "tile-loss=0.4,burst=3,frame-loss=0.05,delay-ms=20,jitter-ms=8",
        capture: 0x6c63447fff0beb0f,
        readings: 0x5ed3176a0df58477,
    },
    Drive {
        payload: Payload::Map,
        packing: Packing::Frame,
        channel: "snr=7,reorder=0.2,duplicate=0.2",
        capture: 0xf9ee336aa0194da6,
        readings: 0x897d3414c9225946,
    },
    Drive {
        payload: Payload::Map,
        packing: Packing::Tile,
        channel: "tile-loss=0.3,reorder=0.1,duplicate=0.1",
        capture: 0x71dce34fe650cd3d,
        readings: 0xdd92a80682617498,
    },
    Drive {
        payload: Payload::Soft8,
        packing: Packing::Frame,
        channel: "sigma=0.9",
        capture: 0x473bb14fc2e5a8d9,
        readings: 0x6b25776b8b8e625b,
    },
    Drive {
        payload: Payload::Soft4,
        packing: Packing::Frame,
        channel: "snr=12,tile-loss=0.2",
        capture: 0x0a98c84e8bc0a921,
        readings: 0xfa91590771f1ce30,
    },
];

#[test]
fn a_drive_is_the_same_on_every_cpu() {
    let mut differ = false;
    let mut found = String::new();
    for drive in &DRIVES {
        let packets = sent(drive);
        let (capture, readings) = (digest(&captured(&packets)), digest(&read(&packets)));
        differ |= (capture, readings) != (drive.capture, drive.readings);
        found += &format!("{}\n    capture: {capture:#018x},\n    readings: {readings:#018x},\n", drive.channel);
    }
    assert!(!differ, "the drives are now\n{found}");
}

fn sent(drive: &Drive) -> Vec<Packet> {
    let street = Street::new(7, GRID);
    let channel = drive.channel.parse().unwrap();
    let settings =
        Settings { payload: drive.payload, packing: drive.packing, channel, seed: 11, ..Settings::default() };
    let mut sender = Sender::new(settings, &CAMVID12);
    let mut arrived = Vec::new();
    for frame in 0..FRAMES {
        sender.send(&street.frame(frame), u64::from(frame) * Street::PERIOD_US, &mut arrived).unwrap();
    }
    sender.end(&mut arrived);
    arrived
}

fn captured(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut capture = SrxWriter::new(&mut bytes, "memory").unwrap();
    for packet in packets {
        capture.send(packet).unwrap();
    }
    capture.finish().unwrap();
    bytes
}

/// Every frame as the receiver sees it and the rule reads it, and every frame that never came.
fn read(packets: &[Packet]) -> Vec<u8> {
    let rule = Rule::new(GRID, &CAMVID12);
    let (mut assembly, mut scratch) = (Assembly::new(true), Scratch::new());
    let mut current: Option<Scene> = None;
    let mut seen = Vec::new();
    let mut frames = 0;
    for packet in packets.iter().map(Some).chain([None]) {
        match packet {
            Some(packet) => {
                let reception = Reception { snr_cdb: packet.info.snr_cdb, ..Reception::default() };
                assembly.push(&packet.bytes, reception, |tile| packet.info.erased.contains(tile as u8));
            }
            None => assembly.end(),
        }
        while let Some(event) = assembly.event() {
            match event {
                Event::Frame(frame) => {
                    let mut alone = frame.late.then(|| Scene::new(frame.header.params));
                    let scene = match &mut alone {
                        Some(scene) => scene,
                        None => current.get_or_insert_with(|| Scene::new(frame.header.params)),
                    };
                    scene.begin(&frame.header);
                    for (index, tile) in frame.tiles.iter().enumerate() {
                        let Some(tile) = tile else { continue };
                        let damaged = scene.put_tile(&frame.header, index, tile, &mut scratch).is_err();
                        seen.push(u8::from(damaged));
                    }
                    scene.finish(frame.snr_cdb);
                    let reading = rule.read(scene.cells(), scene.known());
                    seen.extend(frame.header.sequence.to_le_bytes());
                    seen.push(u8::from(frame.late));
                    seen.extend(reading.free_rows.iter().flat_map(|rows| rows.to_le_bytes()));
                    seen.extend(reading.hazards.0.to_le_bytes());
                    seen.extend(scene.known_permille().to_le_bytes());
                    // What stands in unknown cells means nothing.
                    let known = scene.cells().iter().zip(scene.confidence()).zip(scene.known());
                    seen.extend(known.filter(|(_, known)| **known).flat_map(|((class, sure), _)| [*class, *sure]));
                    seen.extend(scene.held());
                    frames += 1;
                }
                Event::Lost { sequence, frames } => {
                    seen.extend([sequence, frames].map(u32::to_le_bytes).as_flattened())
                }
                Event::Dropped(_) => seen.push(0xdd),
            }
        }
    }
    assert!(assembly.ended() && frames >= FRAMES / 2, "{frames} frames");
    seen
}

fn digest(bytes: &[u8]) -> u64 {
    Crc::<u64>::new(&CRC_64_XZ).checksum(bytes)
}
