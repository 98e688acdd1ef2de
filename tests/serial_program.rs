//! The program on serial lines: what `send` puts on one, and what `run` makes of it.

#![cfg(all(feature = "cli", feature = "serial", target_os = "linux"))]

#[path = "common/folder.rs"]
mod folder;
#[path = "common/pty.rs"]
mod pty;

use folder::Folder;
use pty::{Pty, carry};
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semrx"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("SEMRX_BUNDLES").stdin(Stdio::null());
    command
}

fn semrx(arguments: &[&str]) -> Output {
    let output = command(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Maps of a short drive.
fn street(folder: &Folder, frames: u32) -> String {
    let maps = folder.path("maps");
    semrx(&["street", "--out", &maps, "--frames", &frames.to_string()]);
    maps
}

/// Ends the program if the test ends before it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `run` from this line, which it has open.
fn listen(pty: &Pty, out: &str) -> Running {
    let address = pty.address(460_800);
    let options = ["--mode", "semantic-first", "--record", out, "--json", "--idle-ms", "30000"];
    let mut run = command(&[&["run", "--from", &address], &options[..]].concat());
    let run = Running(run.stdout(Stdio::piped()).spawn().unwrap());
    let start = Instant::now();
    while pty.baud() != 460_800 {
        assert!(start.elapsed() < PATIENCE, "nobody opens {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The device is emptied once it is set up.
    std::thread::sleep(Duration::from_millis(200));
    run
}

/// What it says at its end.
fn summary(mut run: Running) -> Value {
    let printed = std::io::read_to_string(run.0.stdout.take().unwrap()).unwrap();
    assert!(run.0.wait().unwrap().success());
    serde_json::from_str::<Value>(printed.lines().last().unwrap()).unwrap()["summary"].clone()
}

/// The records in `file`, without what hangs on the link and on time.
fn records(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &mut records {
        for field in ["timing", "bytes"] {
            record.as_object_mut().unwrap().remove(field);
        }
    }
    records
}

#[test]
fn a_line_gives_the_records_of_a_file() {
    let folder = Folder::new("clean");
    let (maps, capture) = (street(&folder, 8), folder.path("drive.srx"));
    let channel = ["--channel", "tile-loss=0.2,snr=12", "--seed", "4"];
    semrx(&[&["send", "--maps", &maps, "--to", &capture], &channel[..]].concat());
    let (by_file, by_line) = (folder.path("file.jsonl"), folder.path("line.jsonl"));
    semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--record", &by_file]);

    let (near, far) = (Pty::new(), Pty::new());
    carry(&near, &far, <[u8]>::to_vec);
    let run = listen(&far, &by_line);
    semrx(&[&["send", "--maps", &maps, "--to", &near.address(460_800)], &channel[..]].concat());
    let summary = summary(run);
    assert_eq!((&summary["end_marker"], &summary["drops"]["malformed"]), (&Value::from(true), &Value::from(0)));
    let (mut by_line, mut by_file) = (records(&by_line), records(&by_file));
    assert_eq!(by_line.len(), by_file.len());
    // On a busy machine some were not decided in time, and say so.
    let in_time: Vec<bool> = by_line.iter().map(|record| record["outcome"] != "stale").collect();
    assert!(in_time.iter().filter(|&&is_in_time| is_in_time).count() >= 4, "{summary}");
    for records in [&mut by_line, &mut by_file] {
        let mut own = in_time.iter();
        records.retain(|_| *own.next().unwrap());
    }
    assert_eq!(by_line, by_file);
}

#[test]
fn every_frame_over_a_noisy_line_ends_in_one_record() {
    let folder = Folder::new("noisy");
    let (maps, out) = (street(&folder, 30), folder.path("out.jsonl"));
    let (near, far) = (Pty::new(), Pty::new());
    carry(&far, &near, <[u8]>::to_vec);
    // A bit in two hundred bytes, a byte lost or doubled in a thousand; the first frame's parameters get through.
    let mut at = 0;
    let noise = semrx::noise::Noise::new(8, 0);
    carry(&near, &far, move |bytes| {
        let mut came = Vec::new();
        for &byte in bytes {
            at += 1;
            let word = noise.u64_at(at);
            match word % 1000 {
                _ if at < 600 || byte == 0 => came.push(byte),
                0..5 => came.push(byte ^ 1 << (word >> 61)),
                5 => {}
                6 => came.extend([byte, byte]),
                _ => came.push(byte),
            }
        }
        came
    });
    let run = listen(&far, &out);
    let send = ["send", "--maps", &maps, "--to", &near.address(460_800), "--delta", "all"];
    semrx(&send);
    let summary = summary(run);
    let mut frames: Vec<u64> = Vec::new();
    let (mut whole, mut partly) = (0, 0);
    for record in records(&out) {
        let first = record["sequence"].as_u64().unwrap();
        frames.extend(first..first + record["frames"].as_u64().unwrap());
        whole += u32::from(record["known_permille"] == 1000);
        // Also what came too late on a busy machine has arrived.
        let has_come = record["outcome"] == "decided" || record["outcome"] == "stale";
        partly += u32::from(has_come && record["known_permille"] != 1000);
    }
    frames.sort_unstable();
    assert_eq!(frames, (0..frames.len() as u64).collect::<Vec<_>>(), "{summary}");
    assert!(frames.len() >= 25 && whole >= 2 && partly >= 5, "{whole} whole, {partly} in part: {summary}");
    assert!(summary["drops"]["damaged_tiles"].as_u64() > Some(5), "{summary}");
}

#[test]
fn a_line_that_is_slower_than_the_frames_is_told() {
    let folder = Folder::new("slow");
    let maps = street(&folder, 24);
    let (near, far) = (Pty::new(), Pty::new());
    // Some 10 KiB a second.
    carry(&near, &far, |_| {
        std::thread::sleep(Duration::from_millis(50));
        Vec::new()
    });
    let address = near.address(115_200);
    let sent = semrx(&["send", "--maps", &maps, "--to", &address, "--fps", "200", "--tiles", "16x16", "--json"]);
    let text = String::from_utf8(sent.stderr).unwrap();
    assert!(text.contains(&format!("{address}: frame ")) && text.contains("slower than --fps 200"), "{text}");
    let sums: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let slowed = &sums["slowed"];
    assert!(slowed["fps"].as_f64() < Some(20.0) && slowed["link_percent"].as_f64() > Some(20.0), "{text}");
}

#[test]
fn a_device_that_is_none_is_refused() {
    let folder = Folder::new("none");
    let maps = street(&folder, 1);
    for (address, words) in
        [("serial:/dev/null@9600", "no serial device"), ("serial:/dev/nowhere@9600", "check the path")]
    {
        for arguments in [&["run", "--from", address][..], &["send", "--maps", &maps, "--to", address]] {
            let output = command(arguments).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.starts_with(&format!("semrx: {address}: ")) && text.contains(words), "{text}");
        }
    }
}
