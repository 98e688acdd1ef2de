//! Delta frames on links that lose and reorder: what the station makes of them.
#![cfg(feature = "onnx")]

#[path = "common/drive.rs"]
mod drive;

use drive::drive;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::plan::Machine;
use semrx::link::Packet;
use semrx::receiver::{Config, Mode};
use semrx::report::record::Outcome;
use semrx::scene::Reception;
use semrx::sender::{Delta, Settings};
use semrx::station::{Published, Station};
use semrx::wire::KeyRequest;
use std::path::Path;

/// Frames of a drive, a key frame every five.
fn packets(frames: u32) -> Vec<Packet> {
    drive(frames, 100_000, Settings { delta: Some(Delta::Task), key_every: 5, ..Settings::default() })
}

struct Told {
    sequence: u32,
    late: bool,
    known_permille: u16,
    hazards: Vec<&'static str>,
}

/// What is told of the packets in this order, and the frames for which a key frame is asked for.
fn told(packets: &[Packet], from_start: bool) -> (Vec<Told>, Vec<u32>) {
    let bundle = Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/street")).unwrap();
    let engine = Engine::Plan(Machine::new(1).unwrap());
    let config = Config { mode: Mode::SemanticFirst, ..Config::default() };
    let mut station = Station::open(&bundle, config, from_start, &engine).unwrap();
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    for packet in packets {
        let publish = &mut |published: Published<'_>| {
            let Published::Record { record, .. } = published else { return };
            let Some(decision) = &record.decision else { return };
            assert_eq!(record.steady.is_none(), record.outcome == Outcome::DecidedLate);
            told.push(Told {
                sequence: record.sequence,
                late: record.outcome == Outcome::DecidedLate,
                known_permille: record.known_permille,
                hazards: decision.hazards.to_vec(),
            });
        };
        station.push(&packet.bytes, Reception::default(), |_| false, publish).unwrap();
        if let Some(KeyRequest { stream, sequence }) = station.key_request() {
            assert_eq!(stream, 1);
            asked.push(sequence);
        }
    }
    assert_eq!(station.drops().damaged_tiles, 0);
    (told, asked)
}

#[test]
fn order_changes_no_decision() {
    let mut packets = packets(12);
    let (in_order, asked) = told(&packets, true);
    assert!(asked.is_empty());
    // A delta behind the next one.
    packets.swap(2, 3);
    let (swapped, asked) = told(&packets, true);
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(swapped.iter().filter(|told| told.late).map(|told| told.sequence).collect::<Vec<_>>(), [2]);
    for told in &swapped {
        assert_eq!(told.known_permille, 1000, "frame {}", told.sequence);
        assert_eq!(told.hazards, in_order[told.sequence as usize].hazards, "frame {}", told.sequence);
    }
}

#[test]
fn a_key_frame_that_is_overtaken_serves_those_that_come_after_it() {
    let mut packets = packets(12);
    // 6 leans on 5, and comes first.
    packets.swap(5, 6);
    let (told, asked) = told(&packets, true);
    assert_eq!(asked, [6]);
    for told in &told {
        assert_eq!(told.known_permille == 0, told.sequence == 6, "frame {}", told.sequence);
    }
}

#[test]
fn without_its_key_frame_a_stream_is_asked_for_one() {
    let packets = packets(8);
    // Joined behind the first key frame: 1 to 4 can't be read at all.
    let (first, asked) = told(&packets[1..], false);
    assert_eq!((asked, first[0].sequence), (vec![1, 2, 3, 4], 5));
    // The second key frame is lost: 6 and 7 are frames of which nothing is known.
    let lossy: Vec<Packet> = packets[..5].iter().chain(&packets[6..]).cloned().collect();
    let (told, asked) = told(&lossy, true);
    assert_eq!(asked, [6, 7]);
    assert!(told.iter().all(|told| (told.known_permille == 0) == (told.sequence > 5)));
}
