//! A restore network that breaks in the middle of a refinement: the decision on what arrived stands, and the record says why.

#![cfg(feature = "cli")]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/folder.rs"]
mod folder;
#[path = "common/hash.rs"]
mod hash;
#[path = "common/model.rs"]
mod model;

use drive::drive;
use folder::Folder;
use hash::sha256;
use model::Model;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::receiver::{Config, Depth};
use semrx::sampler::Cache;
use semrx::scene::Reception;
use semrx::sender::Settings;
use semrx::station::{Published, Station};
use std::fs;
use std::path::Path;
use std::process::Command;
use tract_onnx::pb::tensor_proto::DataType;

/// The shipped bundle with another restore network: its logits are `cond`, and NaN below noise level `sigma`.
fn broken_below(sigma: f32, test: &str) -> Folder {
    let folder = Folder::new(test);
    let street = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/street");
    let mut files = Vec::new();
    for (role, file) in [("head", "head.onnx"), ("restore", "restore.onnx"), ("scheduler", "scheduler_config.json")] {
        let bytes = if role == "restore" { network(sigma) } else { fs::read(street.join(file)).unwrap() };
        files.push(format!(r#"{{"role": "{role}", "file": "{file}", "sha256": "{}"}}"#, sha256(&bytes)));
        fs::write(folder.path(file), bytes).unwrap();
    }
    let text = format!(
        r#"{{"schema": 1, "name": "broken", "label_set": "camvid12", "grid": [128, 96], "files": [{}], "steps": 4,
        "gate": {{"unknown_permille": 50, "snr_cdb": 1046, "confidence_permille": 700}},
        "fusion": {{"unknown_permille": 300, "noise_permille": 700}}}}"#,
        files.join(", ")
    );
    fs::write(folder.path("bundle.json"), text).unwrap();
    folder
}

/// `logits = cond + 0 sqrt(sigma - below)`, with all inputs of a restore network.
fn network(below: f32) -> Vec<u8> {
    let plane = |planes| [1, planes, 96, 128];
    Model::default()
        .input("x", DataType::Float, &plane(4))
        .input("sigma", DataType::Float, &[1])
        .input("cond", DataType::Float, &plane(12))
        .input("mask", DataType::Float, &plane(1))
        .input("held", DataType::Float, &plane(4))
        .input("age", DataType::Float, &plane(1))
        .input("present", DataType::Float, &[1, 12])
        .constant("below", &[], &[below])
        .constant("zero", &[], &[0.0])
        .node("Sub", &["sigma", "below"], "left")
        .node("Sqrt", &["left"], "root")
        .node("Mul", &["root", "zero"], "nothing")
        .node("Add", &["cond", "nothing"], "logits")
        .output("logits", &plane(12))
        .file()
}

/// What the records say that matters here, of frames that lost tiles.
#[derive(Debug, PartialEq)]
struct Told {
    mode: String,
    gate: String,
    reason: String,
    steps: u16,
    heads: u64,
    is_provisional: bool,
}

fn told(bundle: &Bundle, config: Config) -> Vec<Told> {
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let mut station = Station::open(bundle, config, true, &engine).unwrap();
    let (head, step) = station.receiver().macs();
    let settings = Settings { channel: "tile-loss=0.6".parse().unwrap(), seed: 2, ..Settings::default() };
    let mut told = Vec::new();
    for packet in drive(4, 200_000, settings) {
        let erased = |tile: usize| packet.info.erased.contains(tile as u8);
        let mut publish = |published: Published<'_>| {
            let Published::Record { record, refined, .. } = published else { return };
            assert_eq!(refined.is_some(), record.mode == "hybrid");
            told.push(Told {
                mode: record.mode.into(),
                gate: record.gate.into(),
                reason: record.reason.into(),
                steps: record.steps,
                heads: (record.macs - u64::from(record.steps) * step) / head,
                is_provisional: record.decision == record.provisional,
            });
        };
        station.push(&packet.bytes, Reception::default(), erased, &mut publish).unwrap();
    }
    told
}

#[test]
fn not_a_number_leaves_the_decision_on_what_arrived() {
    let broken = broken_below(20.0, "nan");
    let bundle = Bundle::open(&broken.0).unwrap();
    let told_of = |depth, cache| told(&bundle, Config { depth, cache, ..Config::default() });
    for told in [told_of(Depth::Fixed, None), told_of(Depth::Fixed, Some(Cache::Taylor { interval: 2 }))] {
        assert_eq!(told.len(), 4);
        for told in told {
            let expected = Told {
                mode: "semantic_first".into(),
                gate: "failed".into(),
                // Noise levels of four steps: 80, 17.5, 2.5, 0.17.
                reason: "refinement: step 2 of 4: the model's output is not finite".into(),
                steps: 2,
                heads: 1,
                is_provisional: true,
            };
            assert_eq!(told, expected);
        }
    }
    for told in told_of(Depth::Adaptive, None).iter().filter(|told| told.gate == "failed") {
        assert_eq!((told.heads, told.is_provisional), (2, true), "{told:?}");
    }
}

#[test]
fn a_network_that_holds_refines() {
    let whole = broken_below(0.0, "whole");
    let told = told(&Bundle::open(&whole.0).unwrap(), Config::default());
    assert!(told.iter().all(|told| told.mode == "hybrid" && told.steps == 4 && told.reason.is_empty()), "{told:?}");
}

#[test]
fn a_run_counts_its_failed_refinements() {
    let broken = broken_below(20.0, "run");
    let drive = broken.0.join("drive.srx");
    let semrx = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_semrx")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (maps, drive, bundle) = (path(&broken.0.join("maps")), path(&drive), path(&broken.0));
    semrx(&["street", "--out", &maps, "--frames", "3"]);
    semrx(&["send", "--maps", &maps, "--to", &drive, "--channel", "tile-loss=0.6"]);
    let text = semrx(&["run", "--from", &drive, "--bundle", &bundle]);
    assert!(text.contains("[failed: refinement: step 2 of 4: the model's output is not finite]"), "{text}");
    assert!(text.contains("3 refinements failed: those frames were decided on what arrived"), "{text}");
    let json = semrx(&["run", "--from", &drive, "--bundle", &bundle, "--json"]);
    assert!(json.contains(r#""failed":3"#), "{json}");
}
