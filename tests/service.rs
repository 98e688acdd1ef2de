//! `semrx run` as a service: readiness and watchdog as the service manager sees them, signals in the middle of a stream, a hot board.

// Signals, notify sockets and /proc/net/udp are Linux's.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/folder.rs"]
mod folder;
#[path = "common/running.rs"]
mod running;

use drive::drive;
use folder::Folder;
use running::{BUNDLE, Running, eventually, free_port, write};
use semrx::link::Packet;
use semrx::link::udp::UdpSink;
use semrx::scene::{CAMVID12, Street};
use semrx::sender::{Sender, Settings};
use semrx::wire::{Grid, emit_end};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn numbers(records: &[Value]) -> Vec<u64> {
    let mut numbers: Vec<_> = records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert!(records.iter().all(|record| record["frames"] == 1));
    numbers.sort();
    numbers
}

/// Where its configuration says that it listens.
fn link(running: &Running) -> String {
    let text = fs::read_to_string(running.folder.path("semrx.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    config["streams"][0]["from"].as_str().unwrap().to_owned()
}

fn stream(stream: u16, frames: u32, channel: &str) -> Vec<Packet> {
    drive(frames, 200_000, Settings { stream, channel: channel.parse().unwrap(), seed: 4, ..Settings::default() })
}

#[test]
fn a_reload_in_the_middle_of_a_stream_loses_no_frame() {
    let mut running = Running::start(Folder::new("reload"), json!({"mode": "semantic-first"}));
    let (street, mut sent) = (Street::new(3, Grid::new(128, 96)), 0);
    let mut sender = Sender::new(Settings { stream: 1, ..Settings::default() }, &CAMVID12);
    let mut send = |running: &mut Running| {
        let mut packets = Vec::new();
        sender.send(&street.frame(sent), u64::from(sent) * 50_000, &mut packets).unwrap();
        packets.iter().for_each(|packet| running.send(packet));
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    };
    (0..10).for_each(|_| send(&mut running));
    write(&running.folder, &link(&running), json!({"mode": "semantic-first", "head": "cautious"}));
    running.signal("-HUP");
    while running.count("READY=1") < 2 {
        send(&mut running);
    }
    assert_eq!(running.count("RELOADING=1"), 1);
    (0..10).for_each(|_| send(&mut running));
    // What can't be read, and what can't be changed, changes nothing.
    for (at, (config, words)) in [
        (json!({"steps": "many"}), "steps: expected a whole number 1..=100, found a string"),
        (json!({"bundle": "/no/such"}), "no bundle"),
        (json!({"idle_ms": 3}), "stay as they are"),
    ]
    .into_iter()
    .enumerate()
    {
        write(&running.folder, &link(&running), config);
        running.signal("-HUP");
        while running.count("READY=1") < 3 + at {
            send(&mut running);
        }
        let text = running.stderr();
        assert!(text.contains("not loaded anew") && text.contains(words), "{text}");
    }
    (0..5).for_each(|_| send(&mut running));
    running.send(&Packet::new(emit_end(1, sent, 0).to_vec()));
    // The end marker ends it.
    assert_eq!(running.code(), Some(0), "{}", running.stderr());
    let records = running.records();
    assert_eq!(numbers(&records), (0..u64::from(sent)).collect::<Vec<_>>());
    let decided: Vec<_> = records.iter().filter(|record| record["outcome"] == "decided").collect();
    assert!(records.iter().all(|record| record["outcome"] == "decided" || record["outcome"] == "stale"));
    assert!(decided[0]["tasks"].is_null() && decided.last().unwrap()["tasks"].is_object());
}

#[test]
fn sigterm_decides_what_came_and_ends_well() {
    let mut running = Running::start(Folder::new("drain"), json!({"mode": "hybrid", "steps": 2}));
    // The manager hears from the loop while nothing comes.
    running.expect("WATCHDOG=1", 3);
    let packets = stream(1, 4, "tile-loss=0.4");
    packets[..3].iter().for_each(|packet| running.decided(packet));
    running.send(&packets[3]);
    std::thread::sleep(Duration::from_millis(300));
    running.signal("-TERM");
    assert_eq!(running.code(), Some(0), "{}", running.stderr());
    assert_eq!(running.count("STOPPING=1"), 1);
    assert!(running.told.lock().unwrap().iter().any(|(_, line)| line.starts_with("STATUS=")));
    let records = running.records();
    assert_eq!(numbers(&records), [0, 1, 2, 3]);
    assert!(records.iter().all(|record| record["mode"] == "hybrid"), "{records:?}");
}

#[test]
fn a_loop_that_is_stuck_starves_the_watchdog() {
    let pipe = Folder::new("pipe");
    assert!(Command::new("mkfifo").arg(pipe.path("records")).status().unwrap().success());
    // Open at both ends, so that nobody waits for the other one.
    let mut reader = File::options().read(true).write(true).open(pipe.path("records")).unwrap();
    let mut running =
        Running::start(Folder::new("stuck"), json!({"mode": "semantic-first", "record": pipe.path("records")}));
    running.expect("WATCHDOG=1", 2);
    // Nobody reads the records: once the pipe is full, the loop waits for ever.
    for packet in stream(1, 150, "none") {
        running.send(&packet);
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut before = 0;
    eventually("silence", || {
        std::thread::sleep(Duration::from_secs(2));
        before == std::mem::replace(&mut before, running.count("WATCHDOG=1"))
    });
    let silent = running.count("WATCHDOG=1");
    reader.read_exact(&mut [0; 60_000]).unwrap();
    running.expect("WATCHDOG=1", silent + 1);
}

#[test]
fn sigint_is_told_by_the_exit_code() {
    let mut running = Running::start(Folder::new("interrupt"), json!({"mode": "semantic-first"}));
    running.decided(&stream(1, 1, "none")[0]);
    running.signal("-INT");
    assert_eq!(running.code(), Some(130));
    assert_eq!(numbers(&running.records()), [0]);
}

#[test]
fn two_streams_share_a_socket() {
    let port = free_port();
    let from = format!("udp://127.0.0.1:{port}");
    let streams = json!([{"from": from, "stream": 2, "priority": 7, "mode": "semantic-first"}, {"from": from, "stream": 1, "head": "cautious"}]);
    let mut running = Running::start(Folder::new("two"), json!({"streams": streams}));
    running.sink = UdpSink::open(([127, 0, 0, 1], port).into(), "udp").unwrap();
    for (one, two) in stream(1, 5, "none").iter().zip(&stream(2, 5, "none")) {
        running.decided(one);
        running.decided(two);
    }
    for id in [1, 2] {
        running.send(&Packet::new(emit_end(id, 5, 0).to_vec()));
    }
    assert_eq!(running.code(), Some(0), "{}", running.stderr());
    let records = running.records();
    for (id, has_tasks) in [(1, true), (2, false)] {
        let own: Vec<_> = records.iter().filter(|record| record["stream"] == id).cloned().collect();
        assert_eq!(numbers(&own), [0, 1, 2, 3, 4]);
        assert!(own.iter().all(|record| record["tasks"].is_object() == has_tasks));
    }
}

#[test]
fn a_hot_board_refines_less_and_then_nothing() {
    let zone = Folder::new("zone");
    let file = zone.path("temp");
    let heat = |celsius: u32| fs::write(Path::new(&file), format!("{}\n", celsius * 1000)).unwrap();
    heat(50);
    let watch = json!({"thermal_zone": file, "hot_celsius": 70, "period_ms": 50});
    let mut running = Running::start(Folder::new("hot"), json!({"mode": "hybrid", "steps": 2, "watch": watch}));
    let packets = stream(1, 60, "tile-loss=0.4");
    let mut packets = packets.iter();
    running.decided(packets.next().unwrap());
    heat(70);
    let last = |running: &Running| running.records().pop().unwrap();
    for packet in packets {
        running.decided(packet);
        if last(&running)["gate"] == "throttled" {
            break;
        }
    }
    let records = running.records();
    assert_eq!((records[0]["mode"].as_str(), records[0]["steps"].as_u64()), (Some("hybrid"), Some(2)));
    let last = last(&running);
    assert_eq!((last["gate"].as_str(), last["steps"].as_u64()), (Some("throttled"), Some(0)));
    assert_eq!(last["decision"], last["provisional"]);
    let text = running.stderr();
    assert!(text.contains("1 sampler steps are allowed now, 70.0 °C"), "{text}");
    assert!(text.contains("0 sampler steps are allowed now"), "{text}");
    running.signal("-TERM");
    assert_eq!(running.code(), Some(0));
}

#[test]
fn what_cannot_be_watched_is_refused_at_start() {
    let folder = Folder::new("unwatched");
    let from = format!("udp://127.0.0.1:{}", free_port());
    let config =
        json!({"schema": 1, "bundle": BUNDLE, "streams": [{"from": from}], "watch": {"thermal_zone": "/no/zone"}});
    for (config, words) in [
        (config, "watch: /no/zone: No such file"),
        (json!({"schema": 1, "strems": []}), "the nearest one is \"streams\""),
    ] {
        fs::write(folder.path("semrx.json"), config.to_string()).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_semrx")).args(["run", "--config", &folder.path("semrx.json")]).output();
        let text = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(text.contains(words) && text.lines().count() == 1, "{text}");
    }
}
