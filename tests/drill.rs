//! The fault drill: what can happen to a service on a robot, with pins that are files, under a stand-in for systemd that does what boards/semrx.service
//! asks of it. Each prints what it measured: `cargo test --test drill -- --nocapture`.

// Signals, notify sockets and /dev/full are Linux's.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/folder.rs"]
mod folder;
#[path = "common/running.rs"]
mod running;

use drive::drive;
use folder::Folder;
use running::{BUNDLE, PATIENCE, Running, WATCHDOG, eventually, spawn};
use semrx::link::Packet;
use semrx::scene::{CAMVID12, Street};
use semrx::sender::{Sender, Settings};
use semrx::wire::Grid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Of the unit, sooner.
const RESTART: Duration = Duration::from_millis(100);
/// What a busy machine may take to start a program.
const SLACK: Duration = Duration::from_secs(10);
/// RestartPreventExitStatus= of the unit.
const NEVER_AGAIN: [i32; 3] = [2, 3, 4];

/// A service with pins, and who looks after it.
struct Drill {
    running: Running,
    starts: u32,
}

/// What is beside schema, bundle, record and link.
fn config(folder: &Folder, own: Value) -> Value {
    fs::create_dir_all(folder.0.join("lines")).unwrap();
    let pins = json!({
        "backend": "files", "chip": folder.path("lines"), "hazard": {"line": 17}, "heartbeat": {"line": 27}, "fault": {"line": 22},
        "stale_ms": 3_600_000, "starve_ms": 3_600_000, "free_permille": 0,
    });
    fs::write(folder.path("pins.json"), pins.to_string()).unwrap();
    let mut whole = json!({"mode": "semantic-first", "pins": folder.path("pins.json"), "stay_ms": 3_600_000});
    whole.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    whole
}

impl Drill {
    fn start(test: &str, own: Value) -> Self {
        let folder = Folder::new(test);
        let config = config(&folder, own);
        Drill { running: Running::start(folder, config), starts: 1 }
    }

    fn is_asserted(&self, line: u32) -> bool {
        fs::read_to_string(self.running.folder.0.join("lines").join(line.to_string())).unwrap().starts_with('1')
    }

    /// Hazard and fault asserted.
    fn is_safe(&self) -> bool {
        self.is_asserted(17) && self.is_asserted(22)
    }

    /// Does what systemd does, until `holds`: the watchdog, ExecStopPost, the next start.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        let mut heard = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {}", self.running.stderr());
            heard = heard.max(self.running.told.lock().unwrap().last().map_or(begun, |(at, _)| *at));
            if self.running.count("READY=1") > 0 && heard.elapsed() > WATCHDOG {
                self.running.child.kill().unwrap();
                heard = Instant::now();
            }
            if let Some(status) = self.running.child.try_wait().unwrap() {
                let mut post = Command::new(env!("CARGO_BIN_EXE_semrx"));
                post.args(["pins", "--config", &self.running.folder.path("semrx.json")]).stderr(Stdio::null());
                post.status().unwrap();
                if holds(self) {
                    return;
                }
                assert!(!status.success() && status.code().is_none_or(|code| !NEVER_AGAIN.contains(&code)), "{status}");
                sleep(RESTART);
                self.running.told.lock().unwrap().clear();
                self.running.child = spawn(&self.running.folder);
                self.starts += 1;
                heard = Instant::now();
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// From the fault, which is over, to safe levels and to the next decision; the records hold what they held.
    fn recovers(&mut self, what: &str, since: Instant, rest: &[Packet]) {
        let before = self.running.records();
        self.until("safe levels", |drill| drill.is_safe());
        let safe = since.elapsed();
        // A start that it doesn't survive puts them anew.
        self.until("another start", |drill| {
            drill.running.count("READY=1") > 0 && drill.running.child.try_wait().unwrap().is_none()
        });
        let mut rest = rest.iter();
        self.until("a decision", |drill| {
            if let Some(packet) = rest.next() {
                drill.running.send(packet);
                sleep(Duration::from_millis(20));
            }
            drill.running.records().iter().skip(before.len()).any(|record| record["outcome"] == "decided")
        });
        assert_eq!(self.running.records()[..before.len()], before);
        assert!(self.starts > 1 && safe < WATCHDOG + SLACK, "{safe:?}");
        let (safe, back) = (safe.as_millis(), since.elapsed().as_millis());
        println!(
            "{what}: safe levels after {safe} ms, of a watchdog of {} ms; {} records kept; decides again after {back} ms",
            WATCHDOG.as_millis(),
            before.len()
        );
    }
}

fn stream(frames: u32) -> Vec<Packet> {
    drive(frames, 200_000, Settings { stream: 1, key_every: 1, ..Settings::default() })
}

#[test]
fn a_killed_service() {
    let mut drill = Drill::start("killed", json!({}));
    let packets = stream(40);
    packets[..5].iter().for_each(|packet| drill.running.decided(packet));
    assert!(!drill.is_asserted(22));
    let since = Instant::now();
    drill.running.signal("-KILL");
    drill.recovers("kill -9", since, &packets[5..]);
    drill.running.signal("-TERM");
    assert_eq!(drill.running.code(), Some(0));
}

#[test]
fn a_stopped_service() {
    let mut drill = Drill::start("stopped", json!({}));
    let packets = stream(40);
    packets[..5].iter().for_each(|packet| drill.running.decided(packet));
    let since = Instant::now();
    drill.running.signal("-STOP");
    drill.recovers("SIGSTOP", since, &packets[5..]);
}

#[test]
fn a_power_cut() {
    let mut drill = Drill::start("cut", json!({}));
    let packets = stream(12);
    drill.running.decided(&packets[0]);
    // At any moment, while frames flow.
    let (path, mut copies) = (drill.running.folder.path("out.jsonl"), Vec::new());
    for packet in &packets[1..8] {
        drill.running.send(packet);
        sleep(Duration::from_millis(30));
        copies.push(fs::read(&path).unwrap());
    }
    let (early, middle, late) = (copies[1].clone(), &copies[4], &copies[6]);
    // What was written last is as it was, half, or NULs that a file system put in its place.
    let half = middle[..middle.len().saturating_sub(100)].to_vec();
    let nulls = [&late[..], &[0; 4096]].concat();
    for (name, left) in [("as it was", early), ("half", half), ("nulls", nulls)] {
        let kept = left.iter().filter(|byte| **byte == b'\n').count();
        let folder = Folder::new(&format!("cut-{name}"));
        fs::write(folder.path("out.jsonl"), &left).unwrap();
        let config = config(&folder, json!({}));
        let mut copy = Running::start(folder, config);
        // Mended before anything is heard.
        let before = copy.records();
        assert_eq!(before.len(), kept);
        copy.decided(&packets[8]);
        assert_eq!((&copy.records()[..kept], copy.records().len()), (&before[..], kept + 1));
        println!("a power cut, {name}: {kept} of {kept} whole records kept, the next one follows them");
    }
}

#[test]
fn a_full_disk() {
    if !Path::new("/dev/full").exists() {
        println!("a full disk: skipped, there is no /dev/full");
        return;
    }
    let folder = Folder::new("full");
    symlink("/dev/full", folder.path("out.jsonl")).unwrap();
    let config = config(&folder, json!({}));
    let mut running = Running::start(folder, config);
    let packets = stream(12);
    let heartbeat = |running: &Running| fs::read_to_string(running.folder.0.join("lines/27")).unwrap();
    for packet in &packets[..6] {
        let before = heartbeat(&running);
        running.send(packet);
        eventually("a decision", || heartbeat(&running) != before);
    }
    let fault = |running: &Running| fs::read_to_string(running.folder.0.join("lines/22")).unwrap();
    eventually("an alarm", || fault(&running) == "1\n");
    fs::remove_file(running.folder.path("out.jsonl")).unwrap();
    packets[6..9].iter().for_each(|packet| running.decided(packet));
    eventually("no alarm", || fault(&running) == "0\n");
    assert_eq!(
        running.records().iter().map(|record| record["sequence"].as_u64().unwrap()).collect::<Vec<_>>(),
        [6, 7, 8]
    );
    running.signal("-TERM");
    assert_eq!(running.code(), Some(1), "records are missing");
    let text = running.stderr();
    let once = |words: &str| text.matches(words).count() == 1;
    assert!(once("No space left") && once("records are written again; 6 are missing so far"), "{text}");
    println!("a full disk: 6 frames decided without a record, 3 recorded once there is room; fault asserted meanwhile");
}

#[test]
fn a_clock_that_jumps() {
    let drill = &mut Drill::start("clock", json!({"mode": "hybrid"}));
    let street = Street::new(3, Grid::new(128, 96));
    let mut sender = Sender::new(
        Settings { stream: 1, channel: "tile-loss=0.3".parse().unwrap(), ..Settings::default() },
        &CAMVID12,
    );
    let year = 365 * 24 * 3600 * 1_000_000_u64;
    let captures = [0, 100_000, year, year + 100_000, 200_000, 0, 30 * year, 30 * year, u64::MAX, 300_000];
    for (frame, capture_us) in captures.into_iter().enumerate() {
        let mut packets = Vec::new();
        sender.send(&street.frame(frame as u32), capture_us, &mut packets).unwrap();
        packets.iter().for_each(|packet| drill.running.decided(packet));
    }
    let records = drill.running.records();
    assert_eq!(records.len(), captures.len());
    assert!(records.iter().all(|record| record["outcome"] == "decided"), "{records:?}");
    assert!(drill.running.child.try_wait().unwrap().is_none());
    println!("a clock that jumps: {} of {} frames decided", records.len(), captures.len());
}

#[test]
fn a_missing_bundle() {
    let bundle = Folder::new("bundle");
    for file in fs::read_dir(BUNDLE).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), bundle.0.join(file.file_name())).unwrap();
    }
    let mut drill = Drill::start("missing", json!({"bundle": bundle.0}));
    let packets = stream(40);
    packets[..3].iter().for_each(|packet| drill.running.decided(packet));
    let away = bundle.0.with_extension("away");
    fs::rename(&bundle.0, &away).unwrap();
    drill.running.signal("-KILL");
    drill.until("starts in vain", |drill| drill.starts > 3);
    assert!(drill.is_safe());
    assert!(drill.running.child.wait().unwrap().signal().is_none());
    let since = Instant::now();
    fs::rename(&away, &bundle.0).unwrap();
    drill.recovers("a missing bundle", since, &packets[3..]);
}

#[test]
fn a_hot_board() {
    let zone = Folder::new("drill-zone");
    let heat = |celsius: u32| fs::write(zone.path("temp"), format!("{}\n", celsius * 1000)).unwrap();
    heat(50);
    let watch = json!({"thermal_zone": zone.path("temp"), "hot_celsius": 70, "period_ms": 20});
    let mut drill = Drill::start("heat", json!({"mode": "hybrid", "steps": 1, "watch": watch}));
    let packets =
        drive(40, 200_000, Settings { stream: 1, channel: "tile-loss=0.4".parse().unwrap(), ..Settings::default() });
    let mut packets = packets.iter();
    drill.running.decided(packets.next().unwrap());
    assert!(!drill.is_asserted(22));
    let since = Instant::now();
    heat(90);
    drill.until("an alarm", |drill| drill.is_asserted(22));
    let alarm = since.elapsed();
    drill.running.decided(packets.next().unwrap());
    let last = drill.running.records().pop().unwrap();
    assert_eq!((last["outcome"].as_str(), last["gate"].as_str()), (Some("decided"), Some("throttled")));
    heat(50);
    drill.until("no alarm", |drill| !drill.is_asserted(22));
    println!(
        "a hot board: decides on what arrives, fault asserted after {} ms, released when it is cooler",
        alarm.as_millis()
    );
    assert_eq!(drill.starts, 1);
}
