//! Calibration on what a receiver gives the networks of the shipped bundle.

use crate::common::folder;
use semrx::maps;
use semrx::scene::{CAMVID12, Street};
use semrx::wire::Grid;
use semrx_quantize::{Draw, Network, Samples, Store};
use std::path::{Path, PathBuf};

pub fn street(folder: &Path, frames: u32) -> PathBuf {
    let street = Street::new(1, Grid::new(128, 96));
    let out = folder.join("maps");
    std::fs::create_dir(&out).unwrap();
    for frame in 0..frames {
        maps::write(&out.join(format!("{frame:04}.png")), &street.frame(frame), &CAMVID12).unwrap();
    }
    out
}

pub fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/street-float")
}

#[test]
fn noise_levels_and_channels_have_their_share() {
    let folder = folder();
    let maps = street(folder.path(), 8);
    let network = Network::read(&bundle().join("restore.onnx")).unwrap();
    let mut ticks = 0;
    let draw = Draw { samples: 32, seed: 3, ..Draw::default() };
    let samples = Samples::of_scenes(&network, &bundle(), &maps, draw, &Store::none(), || ticks += 1).unwrap();
    assert_eq!((samples.len(), ticks), (32, 32));
    let of = |index: usize, name: &str| samples.read(index).unwrap().floats(name).unwrap().to_vec();
    let mut sigmas: Vec<f32> = (0..32).map(|index| of(index, "sigma")[0]).collect();
    sigmas.sort_by(f32::total_cmp);
    assert!(sigmas.iter().filter(|&&sigma| sigma < 70.0).count() >= 8, "{sigmas:?}");
    // Lost tiles and noisy cells.
    let shares: Vec<f32> = (0..32).map(|index| of(index, "mask").iter().sum::<f32>() / (128.0 * 96.0)).collect();
    assert!(shares.contains(&1.0) && shares.iter().any(|share| *share < 0.6), "{shares:?}");
    let again = Samples::of_scenes(&network, &bundle(), &maps, draw, &Store::none(), || ()).unwrap();
    assert!((0..32).all(|index| again.read(index).unwrap().floats("x") == samples.read(index).unwrap().floats("x")));
}

#[test]
fn the_head_sees_received_and_refined_scenes() {
    let folder = folder();
    let maps = street(folder.path(), 8);
    let network = Network::read(&bundle().join("head.onnx")).unwrap();
    let samples =
        Samples::of_scenes(&network, &bundle(), &maps, Draw { samples: 16, ..Draw::default() }, &Store::none(), || ())
            .unwrap();
    let masks: Vec<f32> = (0..16)
        .map(|index| samples.read(index).unwrap().floats("mask").unwrap().iter().sum::<f32>() / 12288.0)
        .collect();
    assert!(masks.contains(&1.0) && masks.iter().any(|share| *share < 1.0), "{masks:?}");
    let shallow = Network::read(&bundle().join("restore_shallow.onnx")).unwrap();
    let samples =
        Samples::of_scenes(&shallow, &bundle(), &maps, Draw { samples: 2, ..Draw::default() }, &Store::none(), || ())
            .unwrap();
    assert_eq!(samples.read(1).unwrap().floats("deep").unwrap().len(), 192 * 12 * 16);
}

#[test]
fn what_is_no_part_of_the_bundle_is_refused() {
    let folder = folder();
    let file = crate::common::write(&crate::common::model(), folder.path());
    let network = Network::read(&file).unwrap();
    let maps = street(folder.path(), 2);
    let draw = Draw { samples: 2, ..Draw::default() };
    let error = Samples::of_bundle(&network, &bundle(), &maps, draw, &Store::none(), || ()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("inputs cond and mask"), "{error}");
    let head = Network::read(&bundle().join("head.onnx")).unwrap();
    let error = Samples::of_scenes(&head, folder.path(), &maps, draw, &Store::none(), || ()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("bundle.json"), "{error}");
    let others = Draw { only: "9", ..draw };
    let error = Samples::of_scenes(&head, &bundle(), &maps, others, &Store::none(), || ()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("no PNG begins with \"9\""), "{error}");
    let error = Samples::of_scenes(&head, &bundle(), folder.path(), draw, &Store::none(), || ()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("no .png"), "{error}");
}

#[test]
fn a_draw_that_was_cut_off_goes_on_where_it_was() {
    let folder = folder();
    let maps = street(folder.path(), 8);
    let network = Network::read(&bundle().join("restore.onnx")).unwrap();
    let draw = Draw { samples: 12, ..Draw::default() };
    let kept = folder.path().join("kept");
    let store = || Store::open(&kept, &network, &bundle(), &maps, draw);
    let drawn = |store: &Store| {
        let samples = Samples::of_bundle(&network, &bundle(), &maps, draw, store, || ()).unwrap();
        let floats = |index| samples.read(index).unwrap().floats("x").unwrap().to_vec();
        (0..samples.len()).map(floats).collect::<Vec<_>>()
    };
    let whole = drawn(&Store::none());
    assert_eq!(drawn(&store().unwrap()), whole);
    let untouched = std::fs::metadata(kept.join("0003.npz")).unwrap().modified().unwrap();
    for number in ["0000", "0005", "0011"] {
        std::fs::remove_file(kept.join(format!("{number}.npz"))).unwrap();
    }
    assert_eq!(drawn(&store().unwrap()), whole);
    assert_eq!(std::fs::metadata(kept.join("0003.npz")).unwrap().modified().unwrap(), untouched);
    let others = Draw { seed: 1, ..draw };
    let error = Store::open(&kept, &network, &bundle(), &maps, others).unwrap_err();
    assert!(error.to_string().contains("another draw"), "{error}");
    let error = Store::open(&maps, &network, &bundle(), &maps, draw).unwrap_err();
    assert!(error.to_string().contains("empty folder"), "{error}");
}
