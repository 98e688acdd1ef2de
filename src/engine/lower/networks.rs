//! Third-party networks with the outputs that their makers stored beside them.

use super::super::Planned;
use crate::engine::kernel::Isa;
use crate::engine::plan::{Machine, Stays};
use crate::engine::{Arrays, EngineError};
use std::path::{Path, PathBuf};
use tract_onnx::pb::TensorProto;

/// The folder of a network; `None`, and a line that says so, where there is none.
fn network(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/onnx/net").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

fn run(model: &Path, input: &[f32]) -> Result<(Planned, Vec<f32>), EngineError> {
    let mut planned = Planned::load(model, &Machine::one_thread(Isa::best()))?;
    planned.plan_mut().input_mut(0).copy_from_slice(input);
    planned.run()?;
    let output = planned.plan().output(0).to_vec();
    Ok((planned, output))
}

fn floats(tensor: &tract_onnx::prelude::Tensor) -> Vec<f32> {
    tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

fn stored(file: &Path) -> Vec<f32> {
    let proto: TensorProto = prost::Message::decode(&std::fs::read(file).unwrap()[..]).unwrap();
    let resolver = tract_onnx::data_resolver::MmapDataResolver;
    floats(&tract_onnx::tensor::load_tensor(&resolver, &proto, None).unwrap())
}

#[test]
fn a_float_unet() {
    let Some(folder) = network("sedgen_unet") else { return };
    let arrays = Arrays::read(&folder.join("unet.ortref.npz")).unwrap();
    let input = floats(arrays.input("input").unwrap());
    let expected = floats(arrays.input("out:output").unwrap());
    let (_, output) = run(&folder.join("unet.onnx"), &input).unwrap();
    let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    assert_eq!(output.len(), expected.len());
    for (a, b) in output.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-4 * largest, "{a} and {b}, of {largest}");
    }
}

#[test]
fn a_quantized_classifier() {
    let Some(folder) = network("ort_mobilenet_v3_qdq") else { return };
    let data = folder.join("test_data_set_0");
    let (planned, output) = run(&folder.join("model.onnx"), &stored(&data.join("input_0.pb"))).unwrap();
    let expected = stored(&data.join("output_0.pb"));
    assert!(planned.macs().int8 > 300_000_000);
    let largest = |values: &[f32]| values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
    assert_eq!(largest(&output), largest(&expected));
    let scale = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let squares: f32 = output.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b)).sum();
    let rms = (squares / expected.len() as f32).sqrt();
    assert!(output.len() == expected.len() && rms < 0.01 * scale, "{rms} of {scale}");
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

/// Bytes that a run writes to. Changed on purpose? Then these are the new ones.
const ARENAS: [(&str, usize); 4] = [
    ("street-float/head.onnx", 3_073_920),
    ("street-float/restore.onnx", 5_062_720),
    ("street/head.onnx", 2_042_432),
    ("street/restore.onnx", 2_599_232),
];

#[test]
fn the_arenas_of_the_shipped_models_do_not_grow() {
    for (name, bytes) in ARENAS {
        let planned = Planned::load(&shipped(name), &Machine::one_thread(Isa::Scalar)).unwrap();
        assert_eq!(planned.fallbacks(), [], "{name} is planned whole");
        let now = planned.plan().arena_bytes();
        assert!(now * 100 <= bytes * 103, "{name}: {now} bytes, {bytes} before");
    }
}

/// Inputs that a network can be asked about: shares of 0 to 1.
fn fill(planned: &mut Planned) {
    use crate::engine::kernel::testing::Random;
    for index in 0..planned.plan().inputs().len() {
        let mut random = Random::new(index as u64 + 1);
        planned.plan_mut().input_mut(index).iter_mut().for_each(|value| *value = random.unit());
    }
}

#[test]
fn networks_give_the_same_bits_on_every_machine_and_number_of_threads() {
    let quantized = network("ort_mobilenet_v3_qdq").map(|folder| folder.join("model.onnx"));
    for model in ARENAS.map(|(name, _)| shipped(name)).into_iter().chain(quantized) {
        let bits = |machine: &Machine| {
            let mut planned = Planned::load(&model, machine).unwrap();
            fill(&mut planned);
            planned.run().unwrap();
            let outputs = 0..planned.plan().outputs().len();
            outputs.flat_map(|index| planned.plan().output(index).to_vec()).map(f32::to_bits).collect::<Vec<_>>()
        };
        let first = bits(&Machine::one_thread(Isa::best()));
        assert!(first.iter().any(|&bits| f32::from_bits(bits) != 0.0));
        for threads in [2, 3] {
            assert_eq!(bits(&Machine::new(threads).unwrap()), first, "{}, {threads} threads", model.display());
        }
        for isa in Isa::available() {
            assert_eq!(bits(&Machine::one_thread(isa)), first, "{} on {isa}", model.display());
        }
    }
}

#[test]
fn what_lasts_is_computed_once() {
    let machine = Machine::one_thread(Isa::best());
    let lasting = ["cond", "mask", "held", "age", "present"];
    let model = shipped("street-float/restore.onnx");
    let stays = Stays { lasting: &lasting, timestep: Some("sigma") };
    let mut planned = Planned::load_staying(&model, &machine, stays, &[]).unwrap();
    let mut afresh = Planned::load(&model, &machine).unwrap();
    let steps = planned.plan().steps().len();
    let mut done = Vec::new();
    fill(&mut planned);
    planned.run_watched(&mut |step| done.push(step)).unwrap();
    assert!(done.into_iter().eq(0..steps));
    assert!(planned.plan().once() > 5, "{} steps of {steps}", planned.plan().once());
    // What x is scaled by; the embedding hangs on the classes that are present as well.
    assert_eq!(planned.plan().timed(), 1);
    planned.fold_timestep(&[0.3]).unwrap();
    fill(&mut planned);
    planned.run().unwrap();
    for value in [0.3, 7.0, 0.3] {
        // As a sampler goes on: another x, another sigma, the same scene.
        fill(&mut afresh);
        for index in 0..planned.plan().inputs().len() {
            if lasting.contains(&planned.plan().inputs()[index].name.as_str()) {
                continue;
            }
            for plan in [planned.plan_mut(), afresh.plan_mut()] {
                plan.input_mut(index).fill(value);
            }
        }
        planned.run_again().unwrap();
        afresh.run().unwrap();
        assert_eq!(planned.plan().output(0), afresh.plan().output(0));
    }
}

#[test]
fn plans_of_one_machine_have_their_weights_in_common() {
    let machine = Machine::one_thread(Isa::best());
    let model = shipped("street-float/restore.onnx");
    let mut planned = Planned::load(&model, &machine).unwrap();
    let count = [machine.shelves.conv32.in_use(), machine.shelves.floats.in_use()];
    assert!(count[0] > 10 && count[1] > 5, "{count:?}");
    let mut again = Planned::load(&model, &machine).unwrap();
    assert_eq!([machine.shelves.conv32.in_use(), machine.shelves.floats.in_use()], count);
    for planned in [&mut planned, &mut again] {
        fill(planned);
        planned.run().unwrap();
    }
    assert_eq!(planned.plan().output(0), again.plan().output(0));
    drop((planned, again));
    assert_eq!(machine.shelves.conv32.in_use(), 0);
}
