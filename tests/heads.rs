//! Heads that a stream asks for by name: tasks of their own, and a feature vector that came as a token.
#![cfg(feature = "cli")]

#[path = "common/folder.rs"]
mod folder;
#[path = "common/hash.rs"]
mod hash;
#[path = "common/model.rs"]
mod model;

use folder::Folder;
use hash::sha256;
use model::Model;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::receiver::{Config, Mode};
use semrx::scene::Reception;
use semrx::station::{Published, Station};
use semrx::wire::tokens::{FOR_HEAD, Token, Values};
use semrx::wire::{ClassSet, Cut, Grid, Header, Params, Payload, Tiling, buffer_len, emit_coded};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tract_onnx::pb::tensor_proto::DataType;

/// The shipped head beside one that hands the vector on as its tasks.
fn named(test: &str, tasks: &str) -> Folder {
    let folder = Folder::new(test);
    let head = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/street/head.onnx")).unwrap();
    let told = handing_on();
    let text = format!(
        r#"{{"schema": 1, "name": "named", "label_set": "camvid12", "grid": [128, 96], "steps": 1,
        "files": [{{"role": "head", "file": "head.onnx", "sha256": "{}"}},
            {{"role": "head", "name": "told", "file": "told.onnx", "sha256": "{}", "vector": 2, "tasks": {tasks}}}],
        "gate": {{"unknown_permille": 50, "snr_cdb": 1046, "confidence_permille": 700}},
        "fusion": {{"unknown_permille": 300, "noise_permille": 700}}}}"#,
        sha256(&head),
        sha256(&told)
    );
    fs::write(folder.path("head.onnx"), head).unwrap();
    fs::write(folder.path("told.onnx"), told).unwrap();
    fs::write(folder.path("bundle.json"), text).unwrap();
    folder
}

/// `task = vector`; free space and hazards are sums over `present`, with weights of 0.
fn handing_on() -> Vec<u8> {
    let plane = |planes| [1, planes, 96, 128];
    Model::default()
        .input("cond", DataType::Float, &plane(12))
        .input("mask", DataType::Float, &plane(1))
        .input("held", DataType::Float, &plane(4))
        .input("age", DataType::Float, &plane(1))
        .input("present", DataType::Float, &[1, 12])
        .input("vector", DataType::Float, &[1, 2])
        .constant("to_free", &[12, 16], &[0.0; 12 * 16])
        .constant("to_hazard", &[12, 27], &[0.0; 12 * 27])
        .node("MatMul", &["present", "to_free"], "free")
        .node("MatMul", &["present", "to_hazard"], "hazard")
        .node("Add", &["vector", "vector"], "twice")
        .node("Sub", &["twice", "vector"], "task")
        .output("free", &[1, 16])
        .output("hazard", &[1, 27])
        .output("task", &[1, 2])
        .file()
}

/// A frame whose second tile holds a vector of these values, where there are any, and a car.
fn frame(sequence: u32, values: &[f32]) -> Vec<u8> {
    let header = Header {
        stream: 1,
        sequence,
        capture_us: u64::from(sequence) * 100_000,
        key: true,
        reference: None,
        params: Params {
            grid: Grid::new(128, 96),
            tiling: Tiling { rows: 1, cols: 2 },
            cut: Cut::Blocks,
            parity: 0,
            payload: Payload::Tokens,
            label_set: 1,
            classes: 12,
        },
        present: ClassSet(1 << 8 | 1 << 3),
    };
    let halves: Vec<u8> = values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
    let mut tokens = vec![Token::Box { class: 8, confidence: 250, x: 60, y: 80, width: 12, height: 16 }];
    if !halves.is_empty() {
        tokens.push(Token::Vector { meaning: FOR_HEAD, values: Values::new(&halves).unwrap() });
    }
    let mut tile = vec![0; tokens.iter().map(Token::wire_len).sum()];
    let mut at = 0;
    for token in &tokens {
        at += token.emit(&mut tile[at..]).unwrap();
    }
    let mut bytes = vec![0; buffer_len(&header)];
    let len = emit_coded(&header, |index| Some(if index == 1 { &tile } else { &[] }), &mut bytes).unwrap();
    bytes[..len].to_vec()
}

#[test]
fn a_vector_reaches_the_head_that_asks_for_one() {
    let folder = named("vector", r#"["left", "right.2"]"#);
    let bundle = Bundle::open(&folder.0).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let config = Config { mode: Mode::SemanticFirst, ..Config::default() };
    let records = |head| {
        let mut station = Station::open_with_head(&bundle, head, config, true, &engine).unwrap();
        let mut records: Vec<Value> = Vec::new();
        for (sequence, values) in [(0, &[2.0, -1.0][..]), (1, &[]), (2, &[-3.0])] {
            let publish = &mut |published: Published<'_>| {
                if let Published::Record { record, scene, .. } = published {
                    let mut text = [0; 4096];
                    let len = record.emit(&mut text).unwrap();
                    records.push(serde_json::from_slice(&text[..len]).unwrap());
                    // The car, and nothing else.
                    assert_eq!(scene.unwrap().known().iter().filter(|known| **known).count(), 12 * 16);
                }
            };
            station.push(&frame(sequence, values), Reception::default(), |_| false, publish).unwrap();
        }
        records
    };
    let told: Vec<[u64; 2]> = records(Some("told"))
        .iter()
        .map(|record| ["left", "right.2"].map(|task| record["tasks"][task].as_u64().unwrap()))
        .collect();
    // sigmoid(2), sigmoid(-1); no vector is one of zeros; a short one is filled up with them.
    assert_eq!(told, [[881, 269], [500, 500], [47, 500]]);
    let plain = records(None);
    assert!(plain.iter().all(|record| record["tasks"].is_null()), "{plain:?}");
    let hazards = &plain[0]["decision"]["hazards"];
    assert!(hazards.as_array().unwrap().contains(&"near_centre.vehicle".into()), "{hazards}");
}

#[test]
fn heads_that_are_not_there_and_tasks_without_names_are_refused() {
    let folder = named("refused", r#"["left", "right"]"#);
    let run = |head: &str| {
        let capture = folder.0.join("one.srx");
        fs::write(&capture, b"SRX1").unwrap();
        let bundle = folder.0.to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_semrx"))
            .args([
                "run",
                "--from",
                capture.to_str().unwrap(),
                "--bundle",
                bundle,
                "--mode",
                "semantic-first",
                "--head",
                head,
            ])
            .output()
            .unwrap()
    };
    let done = run("other");
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{text}");
    assert!(text.contains("no head \"other\"") && text.contains("told"), "{text}");
    drop(folder);
    let folder = named("names", r#"["Left!", "right"]"#);
    let error = Bundle::open(&folder.0).unwrap_err().to_string();
    assert!(error.contains("files: \"told.onnx\": the task \"Left!\""), "{error}");
    drop(folder);
    let folder = named("twice", r#"["left", "left"]"#);
    let error = Bundle::open(&folder.0).unwrap_err().to_string();
    assert!(error.contains("the task \"left\" is there twice"), "{error}");
}
