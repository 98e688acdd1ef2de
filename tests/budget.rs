//! `semrx budget`, and what `semrx run` refuses for it.

#![cfg(feature = "cli")]

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use serde_json::Value;
use std::process::{Command, Output};

const BOARDS: [&str; 9] = [
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-nano",
    "jetson-orin-nano",
    "generic-aarch64",
    "generic-armv7",
    "generic-x86-64",
];

impl Folder {
    /// A capture of three frames.
    fn capture(&self) -> String {
        let (maps, capture) = (self.path("maps"), self.path("drive.srx"));
        assert!(semrx(self, &["street", "--out", &maps, "--frames", "3"]).status.success());
        assert!(semrx(self, &["send", "--maps", &maps, "--to", &capture]).status.success());
        capture
    }
}

fn semrx(cache: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semrx"));
    command.args(arguments).env("XDG_CACHE_HOME", &cache.0).env_remove("CACHE_DIRECTORY");
    command.output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_board_has_a_budget() {
    let folder = Folder::new("budget-boards");
    for board in BOARDS {
        let budget = json(&semrx(&folder, &["budget", "--board", board, "--json"]));
        assert_eq!(budget["board"], board);
        let lines: u64 = budget["memory"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
        assert_eq!(budget["resident_bytes"], lines);
        assert_eq!((&budget["memory_fits"], &budget["validated"]), (&Value::Bool(true), &Value::Bool(false)));
        let modes = budget["modes"].as_array().unwrap();
        let names: Vec<_> = modes.iter().map(|mode| mode["mode"].as_str().unwrap()).collect();
        assert_eq!(names, ["semantic-first", "hybrid", "latent", "view"]);
        let is_known = !board.starts_with("generic");
        for mode in modes {
            assert_eq!(mode["decision_us"].is_array(), is_known, "{board} {mode}");
            if is_known {
                assert!(mode["decision_us"][0].as_u64() <= mode["decision_us"][1].as_u64());
                assert!(mode["provisional_us"][1].as_u64() <= mode["decision_us"][1].as_u64());
            }
        }
        // A frame's multiply-accumulates, as its record has them.
        assert!(modes[0]["macs"]["int8"].as_u64().unwrap() > 30_000_000);
    }
}

#[test]
fn what_is_asked_of_the_time_is_answered() {
    let folder = Folder::new("budget-time");
    let output = semrx(&folder, &["budget", "--board", "zero2w", "--mode", "hybrid", "--steps", "4", "--fps", "5"]);
    let (text, error) = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("5 frames a second, 200.0 ms each: does not fit"), "{text}");
    assert!(text.contains("--mode semantic-first") && text.contains("never validated on a cortex-a53"), "{text}");
    assert!(error.contains("hybrid does not fit raspberry-pi-zero-2-w"), "{error}");
    let fits = ["budget", "--board", "orin-nano", "--mode", "semantic-first", "--fps", "10", "--json"];
    assert_eq!(json(&semrx(&folder, &fits))["time_fits"], true);
    assert_eq!(semrx(&folder, &["budget", "--board", "pi5", "--fps", "0"]).status.code(), Some(2));
}

#[test]
fn a_board_that_is_too_small_is_refused_unless_told_otherwise() {
    let folder = Folder::new("budget-memory");
    let drive = folder.capture();
    let profile = folder.path("tiny.json");
    let text = include_str!("../boards/raspberry-pi-zero-2-w.json");
    let tiny = text.replace("\"receiver_bytes\": 167772160", "\"receiver_bytes\": 16777216");
    assert_ne!(tiny, text);
    std::fs::write(&profile, tiny).unwrap();
    let run = ["run", "--from", &drive, "--board", &profile];
    let refused = semrx(&folder, &run);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).1.contains("a receiver may take 16777216"), "{:?}", said(&refused));
    let told = semrx(&folder, &[&run[..], &["--over-budget"]].concat());
    assert!(told.status.success(), "{:?}", said(&told));
    assert!(said(&told).1.contains("over budget"), "{:?}", said(&told));
    assert_eq!(semrx(&folder, &["budget", "--board", &profile]).status.code(), Some(4));
}

#[test]
fn two_streams_share_their_weights() {
    let folder = Folder::new("budget-streams");
    let (drive, beside) = (folder.capture(), folder.path("beside.srx"));
    std::fs::copy(&drive, &beside).unwrap();
    let one =
        json(&semrx(&folder, &["budget", "--threads", "2", "--board", "generic-x86-64", "--mode", "hybrid", "--json"]));
    let shared: u64 = ["weights", "loading", "program"].iter().map(|part| one["memory"][part].as_u64().unwrap()).sum();
    let both = 2 * one["resident_bytes"].as_u64().unwrap() - shared;
    let (profile, config) = (folder.path("fits.json"), folder.path("semrx.json"));
    let streams = serde_json::json!([{"from": drive}, {"from": beside}]);
    let whole = serde_json::json!({"schema": 1, "board": profile, "threads": 2, "mode": "hybrid", "streams": streams});
    std::fs::write(&config, whole.to_string()).unwrap();
    let run = |bytes: u64| {
        let mut board: Value = serde_json::from_str(include_str!("../boards/generic-x86-64.json")).unwrap();
        board["receiver_bytes"] = bytes.into();
        std::fs::write(&profile, board.to_string()).unwrap();
        semrx(&folder, &["run", "--config", &config, "--json"])
    };
    let refused = run(both - 1);
    assert_eq!(refused.status.code(), Some(4), "{:?}", said(&refused));
    assert!(said(&refused).1.contains(&format!("takes up to {both} bytes")), "{:?}", said(&refused));
    let ran = run(both);
    assert!(ran.status.success(), "{:?}", said(&ran));
    let summary: Value = serde_json::from_str(said(&ran).0.lines().last().unwrap()).unwrap();
    assert!(summary["summary"]["peak_bytes"].as_u64().is_some_and(|peak| peak <= both), "{summary}");
}

#[test]
fn a_run_keeps_to_its_budget() {
    let folder = Folder::new("budget-peak");
    let drive = folder.capture();
    for (mode, more) in [("semantic-first", &[][..]), ("hybrid", &["--steps", "2"]), ("latent", &[]), ("view", &[])] {
        let mode = [&["--mode", mode], more].concat();
        let told = json(&semrx(&folder, &[&["budget", "--json"], &mode[..]].concat()));
        let ran = semrx(&folder, &[&["run", "--from", &drive, "--json"], &mode[..]].concat());
        let summary: Value = serde_json::from_str(said(&ran).0.lines().last().unwrap()).unwrap();
        let (peak, worst) = (summary["summary"]["peak_bytes"].as_u64(), told["resident_bytes"].as_u64());
        assert!(peak.is_some() && peak <= worst, "{mode:?}: {peak:?} of {worst:?}");
    }
}

#[test]
fn what_was_measured_here_is_held_to() {
    let folder = Folder::new("budget-measure");
    let drive = folder.capture();
    let measured = json(&semrx(&folder, &["budget", "--measure", "--mode", "hybrid", "--json"]));
    let kept = measured["kept"].as_str().unwrap();
    let most = measured["step_us"]["most"].as_u64().unwrap();
    assert!(most >= measured["step_us"]["p50"].as_u64().unwrap());
    // As if it had been a slow machine.
    let text = std::fs::read_to_string(kept).unwrap();
    let slow = text.replace(&format!("\"step_us\":{most}"), "\"step_us\":5000000");
    assert_ne!(slow, text);
    std::fs::write(kept, &slow).unwrap();
    let run = ["run", "--from", &drive, "--mode", "hybrid", "--deadline-ms", "3000"];
    let refused = semrx(&folder, &run);
    assert_eq!(refused.status.code(), Some(4), "{:?}", said(&refused));
    assert!(said(&refused).1.contains("more than the deadline of 3000 ms"), "{:?}", said(&refused));
    // Without a deadline nothing is too slow.
    assert!(semrx(&folder, &run[..5]).status.success());
    // What is torn is as if it weren't there.
    std::fs::write(kept, &slow[..slow.len() - 10]).unwrap();
    assert!(semrx(&folder, &run).status.success());
}
