//! The modes latent and view on the shipped bundle, and photographs as a transmitter's eyes.
#![cfg(feature = "cli")]

#[path = "common/drive.rs"]
mod drive;
#[path = "common/folder.rs"]
mod folder;

use drive::drive;
use folder::Folder;
use image::{Rgb, RgbImage};
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::receiver::{Config, Mode, Perceiver};
use semrx::report::record::Outcome;
use semrx::scene::Reception;
use semrx::sender::Settings;
use semrx::station::{Published, Station};
use std::path::Path;
use std::process::Command;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/street");

/// What the records of a short drive say that matters here.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    mode: String,
    gate: String,
    steps: u16,
    macs: u64,
    known_permille: u16,
    /// Whether the decision is the provisional one.
    stands: bool,
    hazard_permille: Vec<u16>,
    /// Whether a map was made, and of how many cells.
    refined: Option<usize>,
}

fn told(mode: Mode, steps: Option<u16>, channel: &str) -> Vec<Told> {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let mut station = Station::open(&bundle, Config { mode, steps, ..Config::default() }, true, &engine).unwrap();
    let settings = Settings { channel: channel.parse().unwrap(), seed: 4, ..Settings::default() };
    let mut told = Vec::new();
    for packet in drive(3, 200_000, settings) {
        let erased = |tile: usize| packet.info.erased.contains(tile as u8);
        let mut publish = |published: Published<'_>| {
            let Published::Record { record, refined, .. } = published else { return };
            assert_eq!(record.outcome, Outcome::Decided);
            told.push(Told {
                mode: record.mode.into(),
                gate: record.gate.into(),
                steps: record.steps,
                macs: record.macs,
                known_permille: record.known_permille,
                stands: record.decision == record.provisional,
                hazard_permille: record.decision.as_ref().unwrap().hazard_permille.to_vec(),
                refined: refined.map(|refined| refined.cells.len()),
            });
        };
        station.push(&packet.bytes, Reception::default(), erased, &mut publish).unwrap();
    }
    told
}

#[test]
fn nothing_is_generated_while_it_may_not() {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let config = Config { mode: Mode::Hybrid, steps: Some(1), ..Config::default() };
    let mut station = Station::open(&bundle, config, true, &engine).unwrap();
    let settings = Settings { channel: "tile-loss=0.5".parse().unwrap(), seed: 4, ..Settings::default() };
    let mut told = Vec::new();
    for (frame, packet) in drive(3, 200_000, settings).iter().enumerate() {
        station.receiver().set_generating(frame != 1);
        let erased = |tile: usize| packet.info.erased.contains(tile as u8);
        let mut publish = |published: Published<'_>| {
            if let Published::Record { record, .. } = published {
                told.push((record.mode.to_owned(), record.gate.to_owned(), record.steps, record.risk_permille));
            }
        };
        station.push(&packet.bytes, Reception::default(), erased, &mut publish).unwrap();
    }
    assert_eq!(told[1], ("semantic_first".into(), "off".into(), 0, None));
    assert!([&told[0], &told[2]].iter().all(|(mode, _, steps, _)| mode == "hybrid" && *steps == 1), "{told:?}");
}

#[test]
fn latent_decides_where_something_is_unknown_and_makes_no_map() {
    let lossy = told(Mode::Latent, None, "tile-loss=0.5");
    assert_eq!(lossy, told(Mode::Latent, None, "tile-loss=0.5"));
    let alone = told(Mode::SemanticFirst, None, "tile-loss=0.5");
    let hybrid = told(Mode::Hybrid, Some(1), "tile-loss=0.5");
    for ((latent, alone), hybrid) in lossy.iter().zip(&alone).zip(&hybrid) {
        assert!(latent.known_permille < 1000);
        assert_eq!((latent.mode.as_str(), latent.steps, latent.refined), ("latent", 1, None));
        assert!(!latent.stands && latent.hazard_permille != alone.hazard_permille);
        // The restore network's coarse part costs less than all of it.
        assert!(alone.macs < latent.macs && latent.macs < hybrid.macs, "{latent:?} {hybrid:?}");
    }
    let clear = told(Mode::Latent, None, "none");
    assert!(clear.iter().all(|told| told.mode == "semantic_first" && told.gate == "clear"), "{clear:?}");
}

#[test]
fn view_regenerates_every_frame_and_counts_what_it_takes() {
    let (two, four) = (told(Mode::View, Some(2), "none"), told(Mode::View, Some(4), "none"));
    for (two, four) in two.iter().zip(&four) {
        assert_eq!((two.mode.as_str(), two.gate.as_str(), two.refined), ("view", "forced", Some(128 * 96)));
        assert_eq!((two.steps, four.steps), (2, 4));
    }
    // What hangs on the map alone is computed once: two further steps cost less than the first two, the perceiver and the head left away.
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let perceiver = Perceiver::open(&bundle, &engine).unwrap().macs();
    let first = two[0].macs - perceiver - 2 * told(Mode::SemanticFirst, None, "none")[0].macs;
    let further = four[0].macs - two[0].macs;
    assert!(further < first && further > first / 4, "{first} {further}");
    assert_eq!(two, told(Mode::View, Some(2), "none"));
}

#[test]
fn a_perceiver_takes_photographs_of_any_size() {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let mut perceiver = Perceiver::open(&bundle, &Engine::Plan(Machine::one_thread(Isa::best()))).unwrap();
    let photograph = |width: u32, height: u32| {
        RgbImage::from_fn(width, height, |x, y| {
            let shade = if 2 * y < height { 200 } else { 80 };
            Rgb([shade, shade, (shade + 255 * x / width / 8).min(255)].map(|value| value as u8))
        })
    };
    let mut maps = Vec::new();
    for (width, height) in [(640, 480), (256, 192), (1, 1), (37, 501)] {
        perceiver.look(&photograph(width, height)).unwrap();
        let sums =
            (0..128 * 96).map(|cell| (0..12).map(|class| perceiver.posterior()[class * 128 * 96 + cell]).sum::<f32>());
        assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-3));
        maps.push(perceiver.map());
    }
    let alike = maps[0].cells.iter().zip(&maps[1].cells).filter(|(a, b)| a == b).count();
    assert!(alike > 128 * 96 * 9 / 10, "{alike}");
}

#[test]
fn another_head_is_promised_nothing() {
    let bundle = Bundle::open(Path::new(BUNDLE)).unwrap();
    let engine = Engine::Plan(Machine::one_thread(Isa::best()));
    let mut risks = Vec::new();
    for head in [None, Some("cautious")] {
        let mut station = Station::open_with_head(&bundle, head, Config::default(), true, &engine).unwrap();
        for packet in drive(1, 200_000, Settings::default()) {
            let publish = &mut |published: Published<'_>| {
                let Published::Record { record, .. } = published else { return };
                risks.push((record.risk_permille, record.tasks.is_some()));
            };
            station.push(&packet.bytes, Reception::default(), |_| false, publish).unwrap();
        }
    }
    assert_eq!(risks, [(Some(100), false), (None, true)]);
}

fn semrx(arguments: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_semrx")).args(arguments).output().unwrap();
    let text = [&done.stdout[..], &done.stderr].concat();
    (done.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn photographs_become_frames_and_damaged_ones_are_named() {
    let folder = Folder::new("photographs");
    std::fs::create_dir_all(folder.0.join("images")).unwrap();
    for (name, blue) in [("b.png", 10), ("a.png", 200)] {
        RgbImage::from_pixel(60, 40, Rgb([90, 90, blue])).save(folder.0.join("images").join(name)).unwrap();
    }
    let (images, capture, maps) = (folder.path("images"), folder.path("drive.srx"), folder.path("maps"));
    let send = ["send", "--images", &images, "--to", &capture, "--bundle", BUNDLE, "--save-maps", &maps];
    let (code, text) = semrx(&send);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sent 2 frames"), "{text}");
    let (code, text) = semrx(&["run", "--from", &capture, "--bundle", BUNDLE, "--mode", "semantic-first"]);
    assert_eq!(code, Some(0), "{text}");
    // What it saw is what a sender of maps would send.
    let again = folder.path("again.srx");
    semrx(&["send", "--maps", &maps, "--to", &again]);
    assert_eq!(std::fs::read(&capture).unwrap(), std::fs::read(&again).unwrap());
    std::fs::write(folder.0.join("images/c.jpg"), b"no photograph").unwrap();
    let (code, text) = semrx(&send);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("c.jpg") && text.contains("is no JPEG"), "{text}");
    // The older capture is as it was.
    assert_eq!(std::fs::read(&capture).unwrap(), std::fs::read(&again).unwrap());
}
