//! `semrx front` as its users see it: what it decides is what the rule reads of the maps that were sent, and what it can't decide is said.

#![cfg(feature = "cli")]

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use semrx::maps;
use semrx::scene::{CAMVID12, Rule};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn semrx(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_semrx"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn done(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn lines(text: &[u8]) -> Vec<Value> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Maps of a short drive, and the capture that `send` makes of them with `options`.
fn sent(folder: &Folder, options: &[&str]) -> (String, String) {
    let (maps, capture) = (folder.path("maps"), folder.path("drive.srx"));
    done(semrx(&["street", "--out", &maps, "--frames", "12"]));
    done(semrx(&[&["send", "--maps", &maps, "--to", &capture], options].concat()));
    (maps, capture)
}

#[test]
fn a_clean_drive_is_decided_as_its_maps_read() {
    let folder = Folder::new("front-clean");
    let (drive, capture) = sent(&folder, &[]);
    let file = folder.path("records.jsonl");
    let output = done(semrx(&["front", "--from", &capture, "--record", &file, "--json"]));
    let records = lines(&std::fs::read(&file).unwrap());
    let printed = lines(&output.stdout);
    assert_eq!(printed[..12], records[..]);
    assert_eq!(printed[12]["summary"]["end_marker"], true);
    let files = maps::list(drive.as_ref()).unwrap();
    assert_eq!(records.len(), files.len());
    for (record, file) in records.iter().zip(files) {
        let map = maps::read(&file, &CAMVID12).unwrap();
        let reading = Rule::new(map.grid, &CAMVID12).read_all(&map.cells);
        assert_eq!(record["mode"], "layout_only");
        assert_eq!(record["decision"]["free_permille"], Value::from(reading.free_permille(map.grid).to_vec()));
        assert_eq!(record["decision"]["hazards"].as_array().unwrap().len(), reading.hazards.iter().count());
    }
}

#[test]
fn what_a_front_has_no_memory_for_is_refused_in_records() {
    let folder = Folder::new("front-soft");
    let (_, capture) = sent(&folder, &["--payload", "soft4", "--packet", "tile", "--tiles", "16x16"]);
    let output = semrx(&["front", "--from", &capture, "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = lines(&output.stdout);
    let refused = printed.iter().filter(|line| line["outcome"] == "refused").count();
    assert_eq!(refused, 12);
    assert!(printed[0]["reason"].as_str().unwrap().contains("soft"), "{}", printed[0]);
}
