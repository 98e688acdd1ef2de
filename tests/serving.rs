//! The work loop: whose turn it is, what is given up for whom, and that every frame still ends in one record.
#![cfg(feature = "onnx")]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/fed.rs"]
mod fed;

use drive::drive;
use fed::{Fed, feed};
use semrx::board::{Limits, Watch};
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::link::{Interrupt, Packet};
use semrx::receiver::{Config, Mode, Pace, Receiver};
use semrx::sender::Settings;
use semrx::service::{Lane, Link, Service};
use semrx::station::Published;
use std::path::Path;
use std::time::{Duration, Instant};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/street");

/// What was published, in a word a line: `1 provisional 0`, `1 decided 0 hybrid`.
type Told = Vec<String>;

struct Bench {
    service: Service,
    fed: Vec<Fed>,
    told: Told,
}

impl Bench {
    /// Streams 1, 2, ... of one link each, with these priorities and configurations.
    fn new(streams: &[(u8, Config)]) -> Self {
        Self::watched(streams, Watch::off())
    }

    fn watched(streams: &[(u8, Config)], watch: Watch) -> Self {
        let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
        let engine = Engine::Plan(Machine::one_thread(Isa::best()));
        let (mut links, mut lanes, mut feeds) = (Vec::new(), Vec::new(), Vec::new());
        for (link, &(priority, config)) in streams.iter().enumerate() {
            let (fed, source) = feed();
            links.push(Link { source: Box::new(source), interrupt: Interrupt::default(), is_live: true });
            feeds.push(fed);
            let receiver = Receiver::open(&bundle, config, Pace::default(), &engine).unwrap();
            lanes.push(Lane { link, stream: Some(link as u16 + 1), priority, receiver });
        }
        let service = Service::start(links, lanes, watch, None).unwrap();
        Bench { service, fed: feeds, told: Vec::new() }
    }

    /// Hands a packet of a stream over, and waits until it lies in the queue.
    fn give(&mut self, link: usize, packet: &Packet) {
        self.fed[link].give(packet.clone());
        let before = Instant::now();
        while !self.fed[link].is_taken() {
            assert!(before.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// One piece of work, and what came of it.
    fn turn(&mut self) -> Told {
        let mut told = Told::new();
        let has_worked = self.service.turn(&mut |lane, published| {
            told.push(match published {
                Published::Provisional { sequence, .. } => format!("{} provisional {sequence}", lane + 1),
                Published::Record { record, .. } => {
                    let outcome = serde_json_core::to_string::<_, 32>(&record.outcome).unwrap();
                    let gate = if record.mode.is_empty() { record.reason } else { record.gate };
                    let outcome = outcome.trim_matches('"');
                    format!("{} {outcome} {} {} {gate}", record.stream, record.sequence, record.mode)
                }
                Published::Dropped(why) => format!("{} dropped {why:?}", lane + 1),
            });
        });
        if !has_worked.unwrap() {
            told.push("nothing".into());
        }
        self.told.extend(told.iter().cloned());
        told
    }

    /// Turns until there is nothing to do.
    fn work_off(&mut self) -> Told {
        let before = self.told.len();
        while self.turn().last().is_none_or(|last| last != "nothing") {}
        self.told[before..self.told.len() - 1].to_vec()
    }
}

fn packets(stream: u16, frames: u32) -> Vec<Packet> {
    let settings = Settings { stream, channel: "tile-loss=0.5".parse().unwrap(), seed: 5, ..Settings::default() };
    drive(frames, 200_000, settings)
}

fn refined(steps: u16) -> Config {
    Config { mode: Mode::Hybrid, steps: Some(steps), ..Config::default() }
}

#[test]
fn a_refinement_makes_way_for_decisions_and_for_who_is_more_important() {
    let mut bench =
        Bench::new(&[(0, refined(4)), (7, refined(2)), (3, Config { mode: Mode::SemanticFirst, ..Config::default() })]);
    let [low, high, middle] = [1, 2, 3].map(|stream| packets(stream, 1).remove(0));
    bench.give(0, &low);
    assert_eq!(bench.turn(), ["1 provisional 0"]);
    // A step of four; then others come.
    assert!(bench.turn().is_empty());
    bench.give(2, &middle);
    bench.give(1, &high);
    assert_eq!(bench.turn(), ["2 provisional 0"]);
    assert_eq!(bench.turn(), ["3 provisional 0", "3 decided 0 semantic_first off"]);
    // The more important one is refined first, and the other one then goes on where it was.
    assert!(bench.turn().is_empty());
    let gate = |told: &Told| told[0].rsplit(' ').next().unwrap().to_owned();
    let told = bench.turn();
    assert!(told[0].starts_with("2 decided 0 hybrid"), "{told:?}");
    assert!(["unknown", "forced"].contains(&gate(&told).as_str()));
    assert!(bench.turn().is_empty() && bench.turn().is_empty());
    assert!(bench.turn()[0].starts_with("1 decided 0 hybrid"));
    assert_eq!(bench.turn(), ["nothing"]);
}

#[test]
fn a_newer_frame_overtakes_an_older_one() {
    let mut bench = Bench::new(&[(0, refined(4))]);
    let packets = packets(1, 4);
    bench.give(0, &packets[0]);
    bench.give(0, &packets[1]);
    let waiting = "1 stale 0  a newer frame of its stream was waiting";
    assert_eq!(bench.turn(), [waiting, "1 provisional 1"]);
    assert!(bench.turn().is_empty());
    bench.give(0, &packets[2]);
    assert_eq!(bench.turn(), ["1 decided 1 semantic_first preempted", "1 provisional 2"]);
    assert_eq!(bench.work_off().len(), 1);
    bench.give(0, &packets[3]);
    assert_eq!(bench.work_off().len(), 2);
    let records = bench.told.iter().filter(|line| line.contains("decided") || line.contains("stale"));
    assert_eq!(records.count(), 4);
}

#[test]
fn a_frame_whose_deadline_has_passed_is_dropped() {
    let config = Config { deadline_us: Some(20_000), mode: Mode::SemanticFirst, ..Config::default() };
    let mut bench = Bench::new(&[(0, config)]);
    bench.give(0, &packets(1, 1)[0]);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(bench.turn(), ["1 stale 0  its deadline had passed before it was its turn"]);
}

#[test]
fn of_equals_the_earlier_deadline_goes_first() {
    let due = |seconds: Option<u64>| {
        let deadline_us = seconds.map(|seconds| seconds * 1_000_000);
        (2, Config { deadline_us, mode: Mode::SemanticFirst, ..Config::default() })
    };
    let mut bench = Bench::new(&[due(None), due(Some(2000)), due(Some(1000))]);
    for link in 0..3 {
        let packet = packets(link as u16 + 1, 1).remove(0);
        bench.give(link, &packet);
    }
    for stream in [3, 2, 1] {
        assert_eq!(bench.turn()[0], format!("{stream} provisional 0"));
    }
}

#[test]
fn a_refinement_without_time_left_is_given_up() {
    let config = Config { deadline_us: Some(4_000_000), ..refined(2) };
    let mut bench = Bench::new(&[(0, config)]);
    bench.give(0, &packets(1, 1)[0]);
    assert_eq!(bench.turn(), ["1 provisional 0"]);
    std::thread::sleep(Duration::from_millis(4_100));
    // The provisional decision was in time, and stands.
    assert_eq!(bench.turn(), ["1 decided 0 semantic_first preempted"]);
}

#[test]
fn who_is_late_is_allowed_fewer_steps() {
    let limits = Limits { period: Duration::ZERO, ..Limits::default() };
    let mut bench = Bench::watched(&[(0, refined(2))], Watch::new(limits, 2).unwrap());
    let packets = packets(1, 9);
    let mut steps = Vec::new();
    for pair in packets.chunks(4) {
        pair.iter().for_each(|packet| bench.give(0, packet));
        bench.work_off();
        (0..4).for_each(|_| {
            bench.service.look(Instant::now());
        });
        steps.push(bench.service.watch().steps());
    }
    // Three of four are stale, and again; then there is nobody to overtake.
    assert_eq!(steps, [1, 0, 0]);
    assert!(bench.told.last().is_some_and(|last| last == "nothing"));
    assert!(bench.told.iter().any(|line| line == "1 decided 8 semantic_first throttled"), "{:?}", bench.told);
}

#[test]
fn a_changed_receiver_loses_no_frame() {
    let mut bench = Bench::new(&[(0, refined(4))]);
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let packets = packets(1, 3);
    let mut changed = Vec::new();
    for (packet, turns) in packets.iter().zip([1, 2]) {
        // Before the first step of its refinement, and after it.
        bench.give(0, packet);
        (0..turns).for_each(|_| drop(bench.turn()));
        let receiver = Receiver::open(&bundle, refined(2), Pace::default(), &engine).unwrap();
        let publish = &mut |_, published: Published<'_>| {
            let Published::Record { record, .. } = published else { return };
            changed.push((record.sequence, record.gate.to_owned(), record.steps));
        };
        bench.service.change([(0, receiver)], publish).unwrap();
    }
    assert_eq!(changed, [(0, "preempted".to_owned(), 0), (1, "preempted".to_owned(), 1)]);
    bench.give(0, &packets[2]);
    let told = bench.work_off();
    assert!(told.len() == 2 && told[1].starts_with("1 decided 2 hybrid"), "{told:?}");
}

#[test]
fn streams_of_one_link_are_told_apart() {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let (fed, source) = feed();
    let link = Link { source: Box::new(source), interrupt: Interrupt::default(), is_live: false };
    let lane = |stream, priority| {
        let config = Config { mode: Mode::SemanticFirst, ..Config::default() };
        let receiver = Receiver::open(&bundle, config, Pace::default(), &engine).unwrap();
        Lane { link: 0, stream, priority, receiver }
    };
    let lanes = vec![lane(Some(9), 0), lane(None, 1)];
    let mut service = Service::start(vec![link], lanes, Watch::off(), None).unwrap();
    let (nine, four, five) = (packets(9, 3), packets(4, 3), packets(5, 1));
    for packet in four[..1].iter().chain(&nine[..2]).chain(&five).chain(&four[1..]).chain(&nine[2..]) {
        fed.give(packet.clone());
    }
    drop(fed);
    let (mut records, mut strangers) = (Vec::new(), 0);
    while !service.is_done() {
        let has_worked = service.turn(&mut |lane, published| match published {
            Published::Record { record, .. } => records.push((lane, record.stream, record.sequence)),
            Published::Dropped(_) => strangers += 1,
            Published::Provisional { .. } => {}
        });
        if !has_worked.unwrap() {
            service.wait(Duration::from_millis(10));
        }
    }
    records.sort();
    assert_eq!(records, [(0, 9, 0), (0, 9, 1), (0, 9, 2), (1, 4, 0), (1, 4, 1), (1, 4, 2)]);
    assert_eq!((strangers, service.drops().other_stream), (1, 1));
}

#[test]
fn who_stays_hears_the_next_stream() {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let (fed, source) = feed();
    let link = Link { source: Box::new(source), interrupt: Interrupt::default(), is_live: true };
    let config = Config { mode: Mode::SemanticFirst, ..Config::default() };
    let receiver = Receiver::open(&bundle, config, Pace::default(), &engine).unwrap();
    let lanes = vec![Lane { link: 0, stream: None, priority: 0, receiver }];
    let mut service = Service::start(vec![link], lanes, Watch::off(), Some(Duration::from_millis(600))).unwrap();
    let mut records = Vec::new();
    // The first one ends without a word, and the other one goes on until it is heard.
    let (first, second) = (packets(3, 2), packets(8, 2));
    for (packet, expected) in [(&first[0], (3, 0)), (&first[1], (3, 1)), (&second[0], (8, 0)), (&second[1], (8, 1))] {
        let before = Instant::now();
        while records.last() != Some(&expected) {
            assert!(before.elapsed() < Duration::from_secs(60));
            fed.give(packet.clone());
            std::thread::sleep(Duration::from_millis(10));
            let publish = &mut |_, published: Published<'_>| {
                let Published::Record { record, .. } = published else { return };
                records.push((record.stream, record.sequence));
            };
            service.turn(publish).unwrap();
        }
    }
    assert_eq!(records, [(3, 0), (3, 1), (8, 0), (8, 1)]);
    service.drain();
    while !service.is_done() {
        service.turn(&mut |_, _| ()).unwrap();
        service.wait(Duration::from_millis(10));
    }
}
