//! The program as its users and their scripts see it: exit codes, one-line errors, records, pipes, sockets, signals.

// Signals, /dev/full and /proc/net/udp are Linux's.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "common/folder.rs"]
mod folder;
#[path = "common/hash.rs"]
mod hash;

use folder::Folder;
use hash::sha256;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::UdpSocket;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/street");
/// Nothing that is waited for takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

impl Folder {
    /// Maps of a short drive, and the capture that `send` makes of them with `options`.
    fn capture(&self, frames: u32, options: &[&str]) -> String {
        let (maps, capture) = (self.path("maps"), self.path("drive.srx"));
        done(semrx(&["street", "--out", &maps, "--frames", &frames.to_string()]));
        done(semrx(&[&["send", "--maps", &maps, "--to", &capture], options].concat()));
        capture
    }

    /// A copy of the shipped bundle, to be spoilt.
    fn bundle(&self) -> PathBuf {
        let dir = self.0.join("bundle");
        fs::create_dir_all(&dir).unwrap();
        for entry in fs::read_dir(BUNDLE).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
        }
        dir
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semrx"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("SEMRX_BUNDLES").stdin(Stdio::null());
    command
}

fn semrx(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn done(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

/// The command failed with `code`, and one line that holds all of `words`.
fn failed(output: &Output, code: i32, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("semrx: ") && text.lines().count() == 1, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

/// Every line of it, which ends in a newline, is JSON; `timing` apart, which no two runs share.
fn json_lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let mut values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for value in &mut values {
        value.as_object_mut().unwrap().remove("timing");
    }
    values
}

fn records(file: &str) -> Vec<Value> {
    json_lines(&fs::read(file).unwrap())
}

/// The frames that the records stand for, in order, as often as they are named.
fn frames(records: &[Value]) -> Vec<u64> {
    let number = |record: &Value, field: &str| record[field].as_u64().unwrap();
    let stretch = |record: &Value| -> Range<u64> {
        let first = number(record, "sequence");
        first..first + number(record, "frames")
    };
    let mut frames: Vec<u64> = records.iter().flat_map(stretch).collect();
    frames.sort_unstable();
    frames
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the program if the test ends before it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let folder = Folder::new("magic");
    let file = folder.path("drive.srx");
    fs::write(&file, b"GIF89a, and more than four bytes").unwrap();
    failed(&semrx(&["run", "--from", &file]), 3, &[&file, "byte 0", "magic", "is it a .srx capture?"]);
    let missing = folder.path("no.srx");
    failed(&semrx(&["run", "--from", &missing]), 1, &[&missing, "cannot open", "check the path"]);
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes() {
    let folder = Folder::new("truncated");
    let (capture, out) = (folder.capture(10, &[]), folder.path("out.jsonl"));
    let bytes = fs::read(&capture).unwrap();
    fs::write(&capture, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let output = semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--record", &out]);
    failed(&output, 3, &[&capture, "byte ", "packets were read before it"]);
    let records = records(&out);
    assert!((4..=7).contains(&records.len()), "{} records", records.len());
    assert_eq!(frames(&records), (0..records.len() as u64).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record["outcome"] == "decided"));
}

#[test]
fn a_missing_bundle_is_named_with_where_it_was_looked_for() {
    let folder = Folder::new("bundle");
    let capture = folder.capture(1, &[]);
    let output = semrx(&["run", "--from", &capture, "--bundle", "no/such"]);
    failed(&output, 1, &["no/such", "bundle.json", "--bundle", "SEMRX_BUNDLES"]);
}

#[test]
fn a_spoilt_bundle_is_refused_before_anything_runs() {
    let folder = Folder::new("spoilt");
    let (capture, out) = (folder.capture(1, &[]), folder.path("out.jsonl"));
    let bundle = folder.bundle();
    let run = || semrx(&["run", "--from", &capture, "--bundle", bundle.to_str().unwrap(), "--record", &out]);

    let prior = bundle.join("prior.png");
    let good = fs::read(&prior).unwrap();
    fs::write(&prior, [&good[..], b"x"].concat()).unwrap();
    failed(&run(), 3, &["prior.png", "sha256 differs", "bundle.json"]);
    fs::write(&prior, good).unwrap();

    let restore = bundle.join("restore.onnx");
    let good = fs::read(&restore).unwrap();
    fs::remove_file(&restore).unwrap();
    failed(&run(), 1, &["restore.onnx", "has to be there"]);
    fs::write(&restore, good).unwrap();

    let (head, manifest) = (bundle.join("head.onnx"), bundle.join("bundle.json"));
    let (old, new) = (fs::read(&head).unwrap(), b"these are no weights");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&head, new).unwrap();
    fs::write(&manifest, text.replace(&sha256(&old), &sha256(new))).unwrap();
    failed(&run(), 3, &["head.onnx", "not an ONNX model"]);
    fs::write(&head, old).unwrap();

    for (from, to, words) in [
        ("\"restore_shallow\"", "\"another\"", "turns have an S, and no file has the role restore_shallow"),
        ("\"W---", "\"----", "the first of them W"),
        ("\"weights\": [", "\"weights\": [[1.0], ", "weights are not one list for each S and -"),
        ("\"threshold\": 0", "\"threshold\": -0", "threshold is not a number above 0"),
    ] {
        fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        failed(&run(), 3, &["bundle.json", "cache", words]);
    }
    fs::write(&manifest, &text).unwrap();
    let turns = ["run", "--from", &capture, "--bundle", bundle.to_str().unwrap(), "--cache", "turns", "--steps", "4"];
    failed(&semrx(&turns), 2, &["turns are for 20 steps", "--steps 20"]);

    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    failed(&run(), 3, &["bundle.json", "not the JSON"]);
    // A parser that descends has no stack for this.
    fs::write(&manifest, format!("{{\"x\":{}", "[".repeat(1 << 20))).unwrap();
    failed(&run(), 3, &["bundle.json", "bytes"]);
    assert!(!Path::new(&out).exists());
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = Folder::new("onnx");
    let file = folder.path("model.onnx");
    fs::write(&file, b"\x7fELF and so on").unwrap();
    failed(&semrx(&["inspect", &file]), 3, &[&file, "not an ONNX model"]);
}

#[test]
fn a_model_is_timed_on_its_plan() {
    let head = format!("{BUNDLE}/head.onnx");
    let bench = done(semrx(&["bench", &head, "--isa", "scalar", "--runs", "1", "--json"]));
    let figures = json_lines(&bench.stdout).remove(0);
    assert_eq!((&figures["isa"], figures["runs"].as_u64()), (&Value::from("scalar"), Some(1)));
    assert!(figures["arena_bytes"].as_u64() > Some(100_000) && figures["milliseconds"]["p50"].as_f64() > Some(0.0));
    let output = semrx(&["bench", &head, "--isa", "z80"]);
    failed(&output, 2, &["--isa z80", "this machine has", "scalar"]);
}

#[test]
fn pictures_that_are_no_maps_are_refused() {
    let folder = Folder::new("png");
    let write = |name: &str, color: png::ColorType, data: &[u8]| {
        let file = folder.path(name);
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(&file).unwrap()), 4, 2);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    };
    let send = || semrx(&["send", "--maps", &folder.path(""), "--to", &folder.path("drive.srx")]);
    failed(&send(), 3, &["holds no .png file"]);
    let file = write("1.png", png::ColorType::Grayscale, &[0, 1, 2, 3, 4, 5, 99, 7]);
    failed(&send(), 3, &[&file, "value 99", "column 2, row 1", "--labels"]);
    let file = write("1.png", png::ColorType::Rgb, &[0; 24]);
    failed(&send(), 3, &[&file, "not an index map"]);
    // Another size is no fault: maps are resampled.
    write("1.png", png::ColorType::Grayscale, &[0, 1, 2, 3, 4, 5, 6, 7]);
    done(send());
}

#[test]
fn usage_errors_say_what_would_be_right() {
    for (arguments, words) in [
        (
            ["send", "--maps", ".", "--to", "x.srx", "--channel", "wobble=1"],
            "no key \"wobble\"; the keys are tile-loss",
        ),
        (["send", "--maps", ".", "--to", "x.srx", "--channel", "tile-loss=2"], "between 0 and 1"),
        (["send", "--maps", ".", "--to", "x.srx", "--labels", "wobble"], "camvid12, cityscapes20"),
        (["send", "--maps", ".", "--to", "udp://x", "--grid", "8x8"], "the port is missing"),
        (["run", "--from", "x.srx", "--bundle", "b", "--mode", "wobble"], "semantic-first"),
    ] {
        let output = semrx(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
}

#[test]
fn a_board_that_is_too_slow_is_over_budget() {
    let folder = Folder::new("budget");
    let capture = folder.capture(1, &[]);
    let output = semrx(&["run", "--from", &capture, "--board", "raspberry-pi-4", "--deadline-ms", "1"]);
    failed(&output, 4, &["raspberry-pi-4", "deadline of 1 ms"]);
}

#[test]
fn pins_are_opened_before_anything_runs() {
    let folder = Folder::new("pins");
    let capture = folder.capture(2, &[]);
    let run = |pins: &str| {
        let file = folder.path("pins.json");
        fs::write(&file, pins).unwrap();
        semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--pins", &file])
    };
    failed(&run(r#"{"hazard": {"line": 17, "actve": "low"}}"#), 3, &["pins.json: hazard: \"actve\""]);
    // It is a device, and no chip.
    let words = if cfg!(feature = "gpio") { "gpiocdev: /dev/null" } else { "--features gpio" };
    failed(&run(r#"{"chip": "/dev/null", "hazard": {"line": 17}}"#), 1, &[words]);
    done(run(r#"{"backend": "none", "hazard": {"line": 17}}"#));
    failed(&semrx(&["run", "--from", &capture, "--pins", "no.json"]), 1, &["no.json"]);
}

#[test]
fn a_pin_of_the_header_is_a_line_of_the_board() {
    let folder = Folder::new("header");
    let (file, levels) = (folder.path("pins.json"), folder.path("levels"));
    fs::create_dir(&levels).unwrap();
    let text =
        format!(r#"{{"backend": "files", "chip": "{levels}", "hazard": {{"pin": 11}}, "fault": {{"pin": 13}}}}"#);
    fs::write(&file, text).unwrap();
    let pins = |board: &str| semrx(&["pins", "--pins", &file, "--board", board]);
    failed(&pins("generic-x86-64"), 3, &["pins.json: hazard: pin: ", "header of generic-x86-64", "--board"]);
    done(pins("jetson-nano"));
    let mut lines: Vec<_> = fs::read_dir(&levels).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    lines.sort();
    assert_eq!(lines, ["14", "50"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", taken.local_addr().unwrap());
    failed(&semrx(&["run", "--from", &address]), 1, &[&address, "choose another port"]);
}

#[test]
fn a_full_disk_is_named() {
    let folder = Folder::new("full");
    let capture = folder.capture(2, &[]);
    let run = semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--record", "/dev/full"]);
    failed(&run, 1, &["/dev/full", "after 0 records", "No space left"]);
    let send = semrx(&["send", "--maps", &folder.path("maps"), "--to", "/dev/full"]);
    failed(&send, 1, &["/dev/full", "No space left"]);
}

#[test]
fn records_never_overwrite_the_capture() {
    let folder = Folder::new("same");
    let capture = folder.capture(2, &[]);
    let before = fs::read(&capture).unwrap();
    let linked = folder.path("linked.srx");
    std::os::unix::fs::symlink(&capture, &linked).unwrap();
    failed(&semrx(&["run", "--from", &capture, "--record", &linked]), 2, &["is the capture that is read"]);
    assert_eq!(fs::read(&capture).unwrap(), before);
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let folder = Folder::new("closed");
    let (capture, out) = (folder.capture(6, &[]), folder.path("out.jsonl"));
    let arguments = ["run", "--from", &capture, "--mode", "semantic-first", "--json", "--record", &out];
    let mut run = Running(command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    drop(run.0.stdout.take());
    assert_eq!(run.0.wait().unwrap().code(), Some(0));
    assert_eq!(frames(&records(&out)), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_missing_stretch_is_one_record() {
    let folder = Folder::new("stretch");
    let (capture, out) =
        (folder.capture(12, &["--channel", "frame-loss=0.5", "--seed", "3"]), folder.path("out.jsonl"));
    done(semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--record", &out]));
    let records = records(&out);
    let lost: Vec<&Value> = records.iter().filter(|record| record["outcome"] == "lost").collect();
    assert!(!lost.is_empty() && lost.iter().any(|record| record["frames"].as_u64() > Some(1)), "{lost:?}");
    assert_eq!(frames(&records), (0..12).collect::<Vec<_>>());
}

#[test]
fn an_interrupt_leaves_whole_records() {
    let folder = Folder::new("interrupt");
    let (capture, out) = (folder.capture(8, &[]), folder.path("out.jsonl"));
    let arguments = ["run", "--from", "-", "--mode", "semantic-first", "--record", &out];
    let mut run = command(&arguments);
    run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = Running(run.spawn().unwrap());
    // Half a drive; then the radio is silent, and stays connected.
    let mut radio = run.0.stdin.take().unwrap();
    let bytes = fs::read(capture).unwrap();
    radio.write_all(&bytes[..bytes.len() / 2]).unwrap();
    eventually("three records", || {
        fs::read(&out).is_ok_and(|text| text.iter().filter(|byte| **byte == b'\n').count() >= 3)
    });

    let signalled = Command::new("kill").args(["-INT", &run.0.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let mut status = None;
    eventually("the end", || {
        status = run.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(130));
    drop(radio);
    let records = records(&out);
    assert!(records.len() < 8);
    assert_eq!(frames(&records), (0..records.len() as u64).collect::<Vec<_>>());
}

#[test]
fn json_is_json() {
    let folder = Folder::new("json");
    let (maps, capture) = (folder.path("maps"), folder.capture(3, &["--channel", "tile-loss=0.3"]));
    let sent = done(semrx(&["send", "--maps", &maps, "--to", &folder.path("again.srx"), "--json"]));
    // Standard output may be the link.
    assert_eq!(json_lines(&sent.stderr)[0]["frames"], 3);
    let run = json_lines(&done(semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--json"])).stdout);
    assert_eq!(run.len(), 4);
    assert_eq!(run[3]["summary"]["modes"]["semantic_first"]["frames"], 3);
    let parsed = |what: &str| -> Value { json_lines(&done(semrx(&["inspect", what, "--json"])).stdout).remove(0) };
    assert_eq!(parsed(&capture)["frame_packets"], 3);
    assert_eq!(parsed(BUNDLE)["label_set"], "camvid12");
    assert!(parsed(&format!("{BUNDLE}/head.onnx"))["contents"]["macs"]["float"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn frames_that_the_bundle_cannot_take_are_refused_each_in_a_record() {
    let folder = Folder::new("refused");
    for (option, value, reason) in
        [("--labels", "cityscapes20", "label set 2"), ("--grid", "64x48", "grid 64x48 is not the bundle's 128x96")]
    {
        let (capture, out) = (folder.capture(4, &[option, value]), folder.path("out.jsonl"));
        semrx(&["run", "--from", &capture, "--record", &out]);
        let records = records(&out);
        assert_eq!(frames(&records), [0, 1, 2, 3]);
        for record in records {
            assert_eq!(record["outcome"], "refused");
            assert!(record["reason"].as_str().unwrap().contains(reason), "{record}");
            assert_eq!(record["decision"], Value::Null);
        }
    }
}

#[test]
fn every_frame_ends_in_exactly_one_record() {
    let folder = Folder::new("once");
    let channel = "tile-loss=0.4,burst=2,frame-loss=0.2,reorder=0.3,duplicate=0.3,delay-ms=20,jitter-ms=10,snr=7";
    for packet in ["frame", "tile"] {
        let capture = folder.capture(40, &["--channel", channel, "--packet", packet, "--seed", "3"]);
        let out = folder.path("out.jsonl");
        done(semrx(&["run", "--from", &capture, "--mode", "semantic-first", "--record", &out]));
        let records = records(&out);
        assert_eq!(frames(&records), (0..40).collect::<Vec<_>>(), "--packet {packet}");
        let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
        assert!(count("decided") >= 10, "--packet {packet}");
        assert!(packet == "tile" || count("lost") >= 1 && count("decided_late") >= 1);
    }
}

#[test]
fn tiles_cross_a_socket() {
    let folder = Folder::new("udp");
    let maps = folder.path("maps");
    done(semrx(&["street", "--out", &maps, "--frames", "12"]));
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (address, out) = (format!("udp://127.0.0.1:{port}"), folder.path("out.jsonl"));
    let arguments = ["run", "--from", &address, "--mode", "semantic-first", "--record", &out, "--idle-ms", "60000"];
    let mut run = Running(command(&arguments).stdout(Stdio::null()).spawn().unwrap());
    let listens = format!("0100007F:{port:04X} ");
    eventually("a listener", || fs::read_to_string("/proc/net/udp").unwrap().contains(&listens));
    done(semrx(&["send", "--maps", &maps, "--to", &address, "--packet", "tile", "--fps", "40"]));
    // The end marker ends it, not its patience.
    let mut status = None;
    eventually("the end", || {
        status = run.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    let records = records(&out);
    assert_eq!(frames(&records), (0..12).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record["known_permille"] == 1000));
    // On a busy machine a frame may be overtaken.
    let outcomes: Vec<_> = records.iter().map(|record| &record["outcome"]).collect();
    assert!(outcomes.iter().all(|outcome| **outcome == "decided" || **outcome == "stale"), "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| **outcome == "decided"));
}

#[test]
fn a_pipe_gives_the_records_of_a_file() {
    let folder = Folder::new("pipe");
    let channel = ["--channel", "tile-loss=0.3", "--seed", "5"];
    let (capture, out) = (folder.capture(4, &channel), folder.path("out.jsonl"));
    done(semrx(&["run", "--from", &capture, "--record", &out]));

    let mut send = command(&[&["send", "--maps", &folder.path("maps"), "--to", "-"], &channel[..]].concat());
    let mut send = Running(send.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let link = send.0.stdout.take().unwrap();
    let run = done(command(&["run", "--from", "-", "--json"]).stdin(link).output().unwrap());
    assert!(send.0.wait().unwrap().success());
    let piped = json_lines(&run.stdout);
    assert_eq!(piped[..4], records(&out));
    assert!(piped[4]["summary"]["end_marker"].as_bool().unwrap());
}

#[test]
fn a_compiled_bundle_decides_as_its_folder_does() {
    let folder = Folder::new("plan");
    let capture = folder.capture(3, &["--channel", "tile-loss=0.4"]);
    let (plan, own, compiled) = (folder.path("street.plan"), folder.path("own.jsonl"), folder.path("compiled.jsonl"));
    let told = done(semrx(&["plan", "--bundle", BUNDLE, "--to", &plan, "--json"]));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["sha256"].as_str(), Some(&sha256(&fs::read(&plan).unwrap())[..]));
    for (bundle, record) in [(BUNDLE, &own), (&plan[..], &compiled)] {
        done(semrx(&["run", "--from", &capture, "--bundle", bundle, "--record", record, "--mode", "hybrid"]));
    }
    assert_eq!(records(&own), records(&compiled));
    let inspected = done(semrx(&["inspect", &plan, "--json"]));
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let head = sha256(&fs::read(Path::new(BUNDLE).join("head.onnx")).unwrap());
    assert_eq!(inspected["roles"]["head"]["compiled_from_sha256"].as_str(), Some(&head[..]));
    assert!(inspected["roles"]["view"]["left_out"].is_string());
    failed(
        &semrx(&["run", "--from", &capture, "--bundle", &plan, "--mode", "view"]),
        3,
        &[&plan, "\"view\"", "folder"],
    );
    failed(&semrx(&["plan", "--bundle", &plan, "--to", &own]), 3, &[&plan, "compiled already"]);
    fs::write(&plan, &fs::read(&plan).unwrap()[..1000]).unwrap();
    failed(&semrx(&["run", "--from", &capture, "--bundle", &plan]), 3, &[&plan, "ends too early", "semrx plan"]);
}
