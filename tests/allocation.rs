//! From bytes to decision nothing is allocated once a frame has been decided: the buffers are those of the start. Counters are of the
//! whole process: no test harness runs beside it.

#[path = "common/fed.rs"]
mod fed;

use semrx::board::Watch;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::plan::Machine;
use semrx::link::{Interrupt, Packet};
use semrx::receiver::{Config, Depth, Mode, Pace, Receiver};
use semrx::sampler::{Cache, Turns};
use semrx::scene::{CAMVID12, Reception, Street};
use semrx::sender::{Sender, Settings};
use semrx::service::{Lane, Link, Service};
use semrx::station::{Published, Station};
use semrx::wire::{Grid, Payload};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

const GRID: Grid = Grid::new(128, 96);

fn packets(payload: Payload, channel: &str) -> Vec<Packet> {
    let street = Street::new(3, GRID);
    let settings = Settings { payload, channel: channel.parse().unwrap(), seed: 5, ..Settings::default() };
    let mut sender = Sender::new(settings, &CAMVID12);
    let mut packets = Vec::new();
    for frame in 0..12 {
        sender.send(&street.frame(frame), u64::from(frame) * 200_000, &mut packets).unwrap();
    }
    sender.end(&mut packets);
    packets
}

/// Allocations for each packet, and how many frames were refined.
fn allocations(packets: &[Packet], config: Config, threads: usize) -> (Vec<usize>, usize) {
    let mut bundle = Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/street")).unwrap();
    bundle.learned.turns = Turns::parse("W-SW");
    let engine = Engine::Plan(Machine::new(threads).unwrap());
    let mut station = Station::open(&bundle, config, true, &engine).unwrap();
    let mut refined = 0;
    let mut publish = |published: Published<'_>| {
        if let Published::Record { record, .. } = published
            && record.mode == "hybrid"
        {
            refined += 1;
        }
    };
    let mut counts = Vec::with_capacity(packets.len());
    for packet in packets {
        let before = allocated();
        let reception = Reception { snr_cdb: packet.info.snr_cdb, ..Reception::default() };
        let erased = |tile: usize| packet.info.erased.contains(tile as u8);
        station.push(&packet.bytes, reception, erased, &mut publish).unwrap();
        counts.push(allocated() - before);
    }
    (counts, refined)
}

/// Allocations of the loop for each packet of two streams, which come by turns.
fn serving(packets: &[Packet]) -> Vec<usize> {
    let bundle = Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/street")).unwrap();
    let engine = Engine::Plan(Machine::new(1).unwrap());
    let (mut links, mut lanes, mut feeds) = (Vec::new(), Vec::new(), Vec::new());
    for link in 0..2 {
        let (fed, source) = fed::feed();
        links.push(Link { source: Box::new(source), interrupt: Interrupt::default(), is_live: true });
        feeds.push(fed);
        let config = Config { mode: Mode::Hybrid, steps: Some(2), ..Config::default() };
        let receiver = Receiver::open(&bundle, config, Pace::default(), &engine).unwrap();
        lanes.push(Lane { link, stream: None, priority: link as u8, receiver });
    }
    let mut service = Service::start(links, lanes, Watch::off(), None).unwrap();
    let mut counts = Vec::with_capacity(packets.len());
    for packet in packets {
        for fed in &feeds {
            fed.give(packet.clone());
            while !fed.is_taken() {
                std::thread::yield_now();
            }
        }
        let before = allocated();
        while service.turn(&mut |_, _| ()).unwrap() {}
        counts.push(allocated() - before);
    }
    counts
}

fn main() {
    let counts = serving(&packets(Payload::Map, "tile-loss=0.4,burst=2"));
    let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
    // The end marker has the links closed.
    assert!(counts[first + 1..counts.len() - 1].iter().all(|&count| count == 0), "{counts:?}");
    for (payload, channel) in [(Payload::Map, "tile-loss=0.4,burst=2"), (Payload::Soft8, "sigma=0.9")] {
        let packets = packets(payload, channel);
        let plain = Config { mode: Mode::Hybrid, steps: Some(2), ..Config::default() };
        let taylor = Config { steps: Some(4), cache: Some(Cache::Taylor { interval: 2 }), ..plain };
        let bounded = Config { steps: Some(4), cache: Some(Cache::Bounded { threshold: 0.1 }), ..plain };
        let turns = Config { cache: Some(Cache::Turns), ..taylor };
        let adaptive = Config { steps: Some(4), depth: Depth::Adaptive, ..plain };
        for (config, threads) in [(plain, 1), (plain, 2), (taylor, 1), (bounded, 1), (turns, 1), (adaptive, 1)] {
            let (counts, refined) = allocations(&packets, config, threads);
            assert!(refined > 3, "{channel}: {refined} frames were refined");
            let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
            let later = &counts[first + 1..];
            assert!(later.iter().all(|&count| count == 0), "{channel}, {config:?}, {threads} threads: {counts:?}");
        }
    }
}
