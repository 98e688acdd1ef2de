//! Serial lines as links, over pseudo-terminals.

#![cfg(all(feature = "serial", target_os = "linux"))]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/folder.rs"]
mod folder;
#[path = "common/pty.rs"]
mod pty;

use drive::drive;
use folder::Folder;
use pty::{Pty, carry};
use semrx::link::serial::{Framer, MAX_ENVELOPE_BYTES};
use semrx::link::{Address, Counters, Interrupt, LinkError, Packet, Sink, Source, SourceOptions};
use semrx::noise::Noise;
use semrx::scene::{Assembly, Event, Reception, Scene};
use semrx::sender::Settings;
use semrx::wire::codec::Scratch;
use semrx::wire::{KeyRequest, Packet as WirePacket, Tiling, emit_end, emit_request};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const FAST: u32 = 921_600;

fn open(address: &str, idle_ms: u64) -> Result<Box<dyn Source + Send>, LinkError> {
    let options = SourceOptions { idle: Some(Duration::from_millis(idle_ms)), ..SourceOptions::default() };
    address.parse::<Address>().unwrap().source(&options)
}

fn source(pty: &Pty, idle_ms: u64) -> Box<dyn Source + Send> {
    open(&pty.address(FAST), idle_ms).unwrap()
}

fn sink(pty: &Pty) -> Box<dyn Sink + Send> {
    pty.address(FAST).parse::<Address>().unwrap().sink().unwrap()
}

fn all(source: &mut dyn Source) -> Vec<Packet> {
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

fn frame(packet: &Packet) -> Vec<u8> {
    Framer::default().frame(packet).to_vec()
}

#[test]
fn packets_cross_a_line_with_what_the_radio_said() {
    let settings = Settings { channel: "tile-loss=0.3,snr=9,delay-ms=5".parse().unwrap(), ..Settings::default() };
    let sent = drive(12, 100_000, settings);
    let (near, far) = (Pty::new(), Pty::new());
    carry(&near, &far, <[u8]>::to_vec);
    let (mut source, mut sink) = (source(&far, 3000), sink(&near));
    for packet in &sent {
        sink.send(packet).unwrap();
        assert_eq!(source.next().unwrap().as_ref(), Some(packet));
    }
    sink.finish().unwrap();
    let bytes = sent.iter().map(|packet| frame(packet).len() as u64).sum();
    assert_eq!(source.counters(), Counters { received: 12, bytes, ..Counters::default() });
}

/// What the line does to `bytes` of the stream, counted before anything was done to it.
struct Edit {
    bytes: Range<usize>,
    into: Vec<u8>,
}

fn damage(line: &[u8], edits: &[Edit]) -> Vec<u8> {
    let (mut damaged, mut at) = (Vec::new(), 0);
    for edit in edits {
        damaged.extend_from_slice(&line[at..edit.bytes.start]);
        damaged.extend_from_slice(&edit.into);
        at = edit.bytes.end;
    }
    damaged.extend_from_slice(&line[at..]);
    damaged
}

#[test]
fn noise_costs_the_packets_it_hits_and_no_other() {
    let mut sent = drive(60, 100_000, Settings::default());
    sent.push(Packet::new(emit_end(1, 60, 5_900_000).to_vec()));
    let frames: Vec<Vec<u8>> = sent.iter().map(frame).collect();
    let starts: Vec<usize> =
        frames.iter().scan(0, |at, frame| Some(std::mem::replace(at, *at + frame.len()))).collect();
    let line = frames.concat();
    let noise = Noise::new(21, 0);
    // Zeros end a packet: they come where they are meant to.
    let nonzero = |range: Range<usize>| range.map(|at| (noise.u64_at(at as u64 | 1 << 40) as u8).max(1)).collect();
    let mut edits = Vec::new();
    // The first frame is the one whose parameters the others quote.
    for index in (2..59).step_by(3).filter(|index| !(30..33).contains(index)) {
        let (start, end) = (starts[index], starts[index + 1]);
        let word = noise.u64_at(index as u64);
        // Behind the head, which takes less than ten bytes.
        let at = start + 10 + word as usize % (end - start - 10);
        edits.push(match index % 4 {
            0 => {
                let bit = 1 << (word >> 61);
                let flipped = if line[at] == bit { bit | bit.rotate_left(1) } else { bit };
                Edit { bytes: at..at + 1, into: vec![line[at] ^ flipped] }
            }
            1 => Edit { bytes: at..at, into: nonzero(at..at + 1 + index % 5) },
            2 => Edit { bytes: at..(at + 1 + index % 7).min(end), into: Vec::new() },
            _ => Edit { bytes: at..(at + 60).min(end), into: nonzero(at..(at + 60).min(end)) },
        });
    }
    // The line is cut within one frame, and comes back within the next but one.
    edits.push(Edit { bytes: starts[30] + 100..starts[32] + 50, into: Vec::new() });
    // A head is spoilt, and a packet split.
    edits.push(Edit { bytes: starts[45] + 1..starts[45] + 6, into: nonzero(0..5) });
    edits.push(Edit { bytes: starts[51] + 120..starts[51] + 121, into: vec![0] });
    edits.sort_by_key(|edit| edit.bytes.start);
    let is_hit = |index: usize| {
        let span = starts[index]..starts[index] + frames[index].len();
        edits.iter().any(|edit| {
            let inside = edit.bytes.is_empty() && edit.bytes.start > span.start && edit.bytes.start < span.end;
            inside || edit.bytes.start.max(span.start) < edit.bytes.end.min(span.end)
        })
    };
    let hit: Vec<usize> = (0..sent.len()).filter(|&index| is_hit(index)).collect();
    assert!(hit.len() == 23 && !hit.contains(&0), "{hit:?}");

    let pty = Pty::new();
    let mut source = source(&pty, 1000);
    // The receiver joins within a packet.
    let noisy = [&frames[59][70..], &damage(&line, &edits)].concat();
    let mut far = pty.line.try_clone().unwrap();
    let writing = std::thread::spawn(move || far.write_all(&noisy).unwrap());
    let came = all(&mut *source);
    writing.join().unwrap();
    let whole: Vec<&Packet> = came.iter().filter(|packet| sent.contains(packet)).collect();
    let unhit: Vec<&Packet> = (0..sent.len()).filter(|index| !hit.contains(index)).map(|index| &sent[index]).collect();
    assert!(unhit.iter().all(|packet| whole.contains(packet)));
    let counters = source.counters();
    // The cut took two packets, the spoilt head one; what is no packet is the tail of the one joined within, the spoilt one, and the end of the split one.
    assert_eq!((counters.received, counters.malformed, counters.oversized, counters.reopened), (58, 3, 0, 0));

    // Every number ends once, and the damaged frames are not all lost: their tiles are worth having.
    let (mut ends, mut partly) = (BTreeMap::new(), 0);
    let (mut assembly, mut scratch) = (Assembly::new(true), Box::new(Scratch::new()));
    let mut settle = |assembly: &mut Assembly| {
        while let Some(event) = assembly.event() {
            match event {
                Event::Frame(frame) => {
                    *ends.entry(frame.header.sequence as usize).or_insert(0) += 1;
                    let missing = Scene::new(frame.header.params).take(&frame, &mut scratch, |_, _| {});
                    assert!(missing == 0 || hit.contains(&(frame.header.sequence as usize)));
                    partly += u32::from(missing > 0 && missing < Tiling::DEFAULT.tiles());
                }
                Event::Lost { sequence, frames } => {
                    for sequence in sequence as usize..(sequence + frames) as usize {
                        assert!(hit.contains(&sequence), "frame {sequence} came whole");
                        *ends.entry(sequence).or_insert(0) += 1;
                    }
                }
                Event::Dropped(_) => {}
            }
        }
    };
    for packet in &came {
        assembly.push(&packet.bytes, Reception::default(), |_| false);
        settle(&mut assembly);
    }
    assembly.end();
    settle(&mut assembly);
    assert!(ends.len() == 60 && ends.values().all(|times| *times == 1), "{ends:?}");
    assert!(partly >= 5, "{partly} frames came in part");
}

#[test]
fn a_request_comes_back_over_the_same_line() {
    let (near, far) = (Pty::new(), Pty::new());
    carry(&near, &far, <[u8]>::to_vec);
    carry(&far, &near, <[u8]>::to_vec);
    let (mut source, mut sink) = (source(&far, 3000), sink(&near));
    let sent = drive(2, 100_000, Settings::default());
    let request = Packet::new(emit_request(KeyRequest { stream: 1, sequence: 4 }).to_vec());
    for packet in &sent {
        sink.send(packet).unwrap();
        assert_eq!(source.next().unwrap().as_ref(), Some(packet));
        source.reply(&request);
        let heard = (0..400).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            sink.heard()
        });
        let heard = heard.expect("nothing came back");
        assert!(matches!(WirePacket::parse(&heard.bytes, None), Ok(WirePacket::Request(asked)) if asked.sequence == 4));
        assert_eq!((heard, sink.heard()), (request.clone(), None));
    }
}

#[test]
fn a_device_that_goes_away_is_opened_again_when_it_is_back() {
    let folder = Folder::new("away");
    let device = folder.path("line");
    let plug = |pty: &Pty| symlink(&pty.device, &device).unwrap();
    let (first, second) = (Pty::new(), Pty::new());
    plug(&first);
    let mut source = open(&format!("serial:{device}@115200"), 5000).unwrap();
    let packet = Packet::new(b"before".to_vec());
    (&first.line).write_all(&frame(&packet)).unwrap();
    assert_eq!(source.next().unwrap(), Some(packet));
    // Half a packet is on its way when it goes.
    (&first.line).write_all(&frame(&Packet::new(b"never".to_vec()))[..6]).unwrap();
    std::fs::remove_file(&device).unwrap();
    drop(first);
    let packet = Packet::new(b"after".to_vec());
    let waiting = std::thread::spawn(move || (source.next(), source.counters()));
    std::thread::sleep(Duration::from_millis(500));
    plug(&second);
    let start = Instant::now();
    while second.baud() != 115_200 && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // What was there before the device was set up is thrown away.
    std::thread::sleep(Duration::from_millis(100));
    (&second.line).write_all(&frame(&packet)).unwrap();
    let (came, counters) = waiting.join().unwrap();
    assert_eq!(came.unwrap(), Some(packet));
    assert_eq!((counters.received, counters.malformed, counters.reopened), (2, 0, 1));
}

#[test]
fn a_device_that_stays_away_ends_the_link_after_its_idle_time() {
    // By a name of its own: that of the device goes to the next one that another test opens.
    let (folder, pty) = (Folder::new("stays-away"), Pty::new());
    let device = folder.path("line");
    symlink(&pty.device, &device).unwrap();
    let mut source = open(&format!("serial:{device}@{FAST}"), 300).unwrap();
    std::fs::remove_file(&device).unwrap();
    drop(pty);
    let start = Instant::now();
    assert_eq!(source.next().unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(source.counters(), Counters::default());
}

#[test]
fn a_line_that_takes_nothing_is_an_error_in_time() {
    let pty = Pty::new();
    let mut sink = sink(&pty);
    let packet = Packet::new(vec![0x55; 4000]);
    let start = Instant::now();
    let error = (0..100).find_map(|_| sink.send(&packet).err()).expect("the line takes all");
    let text = error.to_string();
    assert!(text.starts_with(&pty.address(FAST)) && text.contains("the line took nothing for 2.0 s"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_packet_that_is_too_long_for_a_line_is_refused() {
    let pty = Pty::new();
    let mut sink = sink(&pty);
    for (len, expected) in [(0, 0), (MAX_ENVELOPE_BYTES, MAX_ENVELOPE_BYTES + 1)] {
        let error = sink.send(&Packet::new(vec![0; len])).unwrap_err();
        assert!(matches!(error, LinkError::Size { bytes, .. } if bytes == expected), "{error}");
        assert!(len == 0 || error.to_string().contains("--packet tile"), "{error}");
    }
}

#[test]
fn what_cannot_be_opened_is_named_with_the_reason() {
    let pty = Pty::new();
    let _first = source(&pty, 0);
    for (address, reason) in [
        (pty.address(9600), "another program has it"),
        ("serial:/dev/null@9600".into(), "it is no serial device"),
        ("serial:/dev/nowhere@9600".into(), "check the path"),
    ] {
        let error = open(&address, 0).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{address}: cannot open: ")) && error.contains(reason), "{error}");
    }
}

#[test]
fn rates_of_any_kind_are_set() {
    for baud in [9600, 115_200, 250_000, 420_000, FAST, 4_000_000] {
        let pty = Pty::new();
        let _source = open(&pty.address(baud), 0).unwrap();
        assert_eq!(pty.baud(), baud);
    }
}

#[test]
fn an_interrupt_ends_the_wait_within_200_ms() {
    let pty = Pty::new();
    let interrupt = Interrupt::default();
    let options = SourceOptions { idle: None, interrupt: interrupt.clone() };
    let mut source = pty.address(FAST).parse::<Address>().unwrap().source(&options).unwrap();
    let waiting = std::thread::spawn(move || (source.next(), Instant::now()));
    std::thread::sleep(Duration::from_millis(30));
    let set = Instant::now();
    interrupt.store(true, Ordering::Relaxed);
    let (result, returned) = waiting.join().unwrap();
    assert!(matches!(result, Err(LinkError::Interrupted)));
    assert!(returned - set < Duration::from_millis(200));
}
