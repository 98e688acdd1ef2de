//! Plan files: records are those of the bundle they were compiled of, and any change of their bytes ends in an error that names the file.

#![cfg(feature = "onnx")]

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use proptest::prelude::*;
use semrx::bundle::{Bundle, BundleError, EntryKind, Keeps, PlanFile, compile};
use semrx::engine::Engine;
use semrx::engine::plan::Machine;
use semrx::receiver::{Config, Mode};
use semrx::report::record::MAX_LEN;
use semrx::scene::{CAMVID12, Reception, Street};
use semrx::sender::{Sender, Settings};
use semrx::station::{Published, Station};
use std::fs;
use std::path::Path;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/street");

fn bundle() -> Bundle {
    Bundle::open(BUNDLE.as_ref()).unwrap()
}

fn written(folder: &Folder, keeps: Keeps) -> String {
    let file = folder.path("street.plan");
    fs::write(&file, compile(&bundle(), keeps).unwrap()).unwrap();
    file
}

/// The records of a short drive through a bad radio, as they are written, but for their times.
fn records(bundle: &Bundle, config: Config) -> Vec<String> {
    let engine = Engine::Plan(Machine::new(2).unwrap());
    let mut station = Station::open(bundle, config, true, &engine).unwrap();
    let channel = "tile-loss=0.5,burst=2".parse().unwrap();
    let mut sender = Sender::new(Settings { channel, ..Settings::default() }, &CAMVID12);
    let (street, mut packets, mut lines) = (Street::new(7, bundle.grid()), Vec::new(), Vec::new());
    for frame in 0..4 {
        sender.send(&street.frame(frame), u64::from(frame) * 100_000, &mut packets).unwrap();
    }
    let mut publish = |published: Published<'_>| {
        if let Published::Record { record, .. } = published {
            let mut buffer = [0; MAX_LEN];
            let len = record.emit(&mut buffer).unwrap();
            let mut line: serde_json::Value = serde_json::from_slice(&buffer[..len]).unwrap();
            line.as_object_mut().unwrap().remove("timing");
            lines.push(line.to_string());
        }
    };
    for packet in packets {
        let told = Reception { snr_cdb: packet.info.snr_cdb, ..Reception::default() };
        station.push(&packet.bytes, told, |tile| packet.info.erased.contains(tile as u8), &mut publish).unwrap();
    }
    station.end(&mut publish).unwrap();
    lines
}

#[test]
fn records_are_those_of_the_bundle() {
    let folder = Folder::new("plan-records");
    let plan = Bundle::open(written(&folder, Keeps::All).as_ref()).unwrap();
    for (mode, generated) in
        [(Mode::SemanticFirst, "semantic_first"), (Mode::Hybrid, "hybrid"), (Mode::Latent, "latent")]
    {
        let config = Config { mode, ..Config::default() };
        let (own, compiled) = (records(&bundle(), config), records(&plan, config));
        assert!(own.len() >= 4 && own.iter().any(|line| line.contains(generated)), "{own:?}");
        assert_eq!(own, compiled, "{mode:?}");
    }
}

#[test]
fn the_same_bundle_gives_the_same_bytes() {
    assert_eq!(compile(&bundle(), Keeps::Heads).unwrap(), compile(&bundle(), Keeps::Heads).unwrap());
}

fn refused(file: &str, words: &[&str]) {
    let error = Bundle::open(file.as_ref()).unwrap_err().to_string();
    assert!(error.starts_with(file) && words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_mode_whose_networks_were_left_out_is_refused_by_role() {
    let folder = Folder::new("plan-left-out");
    let plan = Bundle::open(written(&folder, Keeps::Heads).as_ref()).unwrap();
    let engine = Engine::Plan(Machine::new(1).unwrap());
    let open = |mode| Station::open(&plan, Config { mode, ..Config::default() }, true, &engine).map(|_| ());
    open(Mode::SemanticFirst).unwrap();
    for (mode, role) in [(Mode::Auto, "restore"), (Mode::Latent, "restore"), (Mode::View, "view")] {
        let error = open(mode).unwrap_err();
        assert!(matches!(&error, BundleError::LeftOut { role: of, .. } if of == role), "{mode:?}: {error}");
    }
    let error = Station::open(&plan, Config::default(), true, &Engine::Tract).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("--engine tract"), "{error}");
}

#[test]
fn damage_is_told_by_kind() {
    let folder = Folder::new("plan-damage");
    let file = written(&folder, Keeps::Heads);
    let whole = fs::read(&file).unwrap();
    let spoilt = |words: &[&str], spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        spoil(&mut bytes);
        fs::write(&file, bytes).unwrap();
        refused(&file, words);
    };
    spoilt(&["does not begin as one"], &|bytes| bytes[0] = b'S');
    spoilt(&["version is '9'"], &|bytes| bytes[7] = b'9');
    for byte in [8, 39, 40, 41, 60, whole.len() / 2, whole.len() - 1] {
        spoilt(&["plan file"], &|bytes| bytes[byte] ^= 1);
    }
    spoilt(&["sha256"], &|bytes| *bytes.last_mut().unwrap() ^= 0x80);
    spoilt(&["something follows"], &|bytes| bytes.push(0));
    for len in [0, 5, 8, 20, 40, 41, 45, 500, whole.len() - 1] {
        spoilt(&["ends too early"], &|bytes| bytes.truncate(len));
    }
    // With the hash made right again.
    let sealed = |words: &[&str], spoil: &dyn Fn(&mut Vec<u8>)| {
        spoilt(words, &|bytes| {
            spoil(bytes);
            seal(bytes);
        });
    };
    sealed(&["entries"], &|bytes| bytes[40] = 0);
    sealed(&["ends too early"], &|bytes| bytes[40] += 1);
    sealed(&["unknown kind 7"], &|bytes| bytes[41] = 7);
    sealed(&["first entry"], &|bytes| bytes[41] = 1);
    sealed(&["first entry", "cundle.json"], &|bytes| bytes[43] = b'c');
    // What the manifest has a hash of.
    let scheduler = PlanFile::open(written(&folder, Keeps::Heads).as_ref()).unwrap();
    let scheduler = scheduler.entry("scheduler_config.json").unwrap().at as usize;
    let mut bytes = whole.clone();
    bytes[scheduler + 3] ^= 1;
    seal(&mut bytes);
    fs::write(&file, bytes).unwrap();
    let error = Bundle::open(file.as_ref()).unwrap_err();
    assert!(matches!(error, BundleError::Hash { .. }), "{error}");
}

/// Puts the hash right, as a hostile sender would.
fn seal(bytes: &mut [u8]) {
    let hash = semrx::bundle::sha256(&bytes[40..]);
    for (at, byte) in bytes[8..40].iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
    }
}

/// Opens a plan file and decides on what arrived of a frame.
fn decide(file: &Path) -> Result<(), String> {
    let plan = Bundle::open(file).map_err(|error| error.to_string())?;
    let engine = Engine::Plan(Machine::new(1).unwrap());
    let config = Config { mode: Mode::SemanticFirst, ..Config::default() };
    let mut station = Station::open(&plan, config, true, &engine).map_err(|error| error.to_string())?;
    let mut packets = Vec::new();
    Sender::new(Settings::default(), &CAMVID12).send(&Street::new(1, plan.grid()).frame(0), 0, &mut packets).unwrap();
    for packet in packets {
        let pushed = station.push(&packet.bytes, Reception::default(), |_| false, &mut |_| ());
        pushed.map_err(|error| error.to_string())?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A byte of a network's inputs, constants' shapes, nodes or outputs is changed, and the hash made right: it is decided with what came of it, or
    /// refused by name.
    #[test]
    fn a_changed_network_is_refused_or_runs(place in 0.0f64..1.0, front: bool, value: u8) {
        thread_local! {
            static WHOLE: Vec<u8> = compile(&bundle(), Keeps::Heads).unwrap();
        }
        let folder = Folder::new("plan-changed");
        let file = folder.path("changed.plan");
        let mut bytes = WHOLE.with(Clone::clone);
        fs::write(&file, &bytes).unwrap();
        let plan = PlanFile::open(file.as_ref()).unwrap();
        let network = plan.entries().iter().find(|entry| entry.kind == EntryKind::Network).unwrap();
        // Ahead of the weights stand the inputs, behind them the nodes.
        let (at, len) = (network.at as usize, network.bytes as usize);
        let span = if front { at..at + 256 } else { at + len - 8192..at + len };
        let byte = span.start + (place * span.len() as f64) as usize;
        bytes[byte] = value;
        seal(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        if let Err(error) = decide(file.as_ref()) {
            prop_assert!(error.starts_with(&file), "byte {}: {}", byte - at, error);
        }
    }
}
