//! What went wrong in published code for quantized diffusion (Q-GESCO's), each as a test that would catch it here.

use crate::common::{MACS, floats, folder, model, node, normal, opened, port};
use crate::scenes::{bundle, street};
use prost::Message;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::engine::{Arrays, Bound, Planned};
use semrx_quantize::{Calibrated, Draw, Network, Report, Samples, Store, compare, split};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tract_onnx::pb;

/// The small model with weights of so many bits.
fn quantized(bits: u8) -> Vec<u8> {
    let folder = folder();
    let (network, samples) = opened(&model(), folder.path(), 4);
    Calibrated::new(&network, &samples, 0, || ()).unwrap().quantized(bits, true).unwrap().bytes(&network)
}

#[test]
fn activations_are_not_left_in_float() {
    for bits in [8, 4] {
        let graph = pb::ModelProto::decode(&quantized(bits)[..]).unwrap().graph.unwrap();
        let maker: HashMap<&str, &pb::NodeProto> =
            graph.node.iter().map(|node| (node.output[0].as_str(), node)).collect();
        let products = graph.node.iter().filter(|node| matches!(node.op_type.as_str(), "Conv" | "Gemm"));
        let mut count = 0;
        for product in products {
            let activations = maker[product.input[0].as_str()];
            assert_eq!(activations.op_type, "DequantizeLinear", "{}", product.name);
            assert_eq!(maker[activations.input[0].as_str()].op_type, "QuantizeLinear", "{}", product.name);
            assert_eq!(maker[product.input[1].as_str()].op_type, "DequantizeLinear", "{}", product.name);
            count += 1;
        }
        assert_eq!(count, 4);
    }
}

/// One image by a convolution of a concatenation of it and of itself a thousand times as large.
fn shortcut() -> pb::ModelProto {
    let mut model = model();
    let weights: Vec<f32> =
        normal(9, 16 * 12).iter().enumerate().map(|(at, w)| if at % 12 < 6 { *w } else { w / 1000.0 }).collect();
    let graph = model.graph.as_mut().unwrap();
    graph.node = vec![
        node("Mul", &["x", "thousand"], "large", &[]),
        node("Relu", &["large"], "positive", &[]),
        pb::NodeProto {
            attribute: vec![pb::AttributeProto {
                name: "axis".into(),
                r#type: pb::attribute_proto::AttributeType::Int as i32,
                i: 1,
                ..Default::default()
            }],
            ..node("Concat", &["x", "positive"], "both", &[])
        },
        node("Conv", &["both", "w"], "y", &[]),
    ];
    graph.initializer = vec![floats("thousand", &[], &[1000.0]), floats("w", &[16, 12, 1, 1], &weights)];
    graph.output = vec![port("y", &[1, 16, 12, 10])];
    model
}

#[test]
fn the_shortcut_split_is_applied_and_exact() {
    let folder = folder();
    let (network, samples) = opened(&shortcut(), folder.path(), 8);
    let (apart, parts) = split(&network, &samples, || ()).unwrap();
    assert_eq!(parts, 1);
    // The floats are the same to the last bit.
    let same = compare(&network, &apart.bytes(), &samples, || ()).unwrap();
    assert_eq!(same.outputs[0].db, f64::INFINITY);
    let db = |own: &Network| {
        let bytes = Calibrated::new(own, &samples, 0, || ()).unwrap().quantized(8, true).unwrap().bytes(own);
        compare(&network, &bytes, &samples, || ()).unwrap().outputs[0].db
    };
    let (without, with) = (db(&network), db(&apart));
    assert!(with > without + 20.0 && with > 35.0, "{without} {with}");
}

/// What the restore network of the float bundle is given: of each sample sigma, and the mean square of x.
fn restored() -> &'static [(f32, f32)] {
    static GIVEN: OnceLock<Vec<(f32, f32)>> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let folder = folder();
        let maps = street(folder.path(), 8);
        let network = Network::read(&bundle().join("restore.onnx")).unwrap();
        let draw = Draw { samples: 32, seed: 3, ..Draw::default() };
        let samples = Samples::of_bundle(&network, &bundle(), &maps, draw, &Store::none(), || ()).unwrap();
        let of = |index: usize| {
            let given = samples.read(index).unwrap();
            let x = given.floats("x").unwrap();
            (given.floats("sigma").unwrap()[0], x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32)
        };
        (0..32).map(of).collect()
    })
}

#[test]
fn timesteps_are_labelled_with_their_own_noise() {
    for (sigma, power) in restored() {
        assert!(*power < 1.3 * sigma * sigma + 1.1 && *power > 0.5 * sigma * sigma, "{power} {sigma}");
    }
}

#[test]
fn timesteps_have_the_range_of_the_schedule() {
    let mut sigmas: Vec<f32> = restored().iter().map(|(sigma, _)| *sigma).collect();
    sigmas.sort_by(f32::total_cmp);
    assert!(sigmas[31] == 80.0 && sigmas[0] < 20.0, "{sigmas:?}");
    // Of a model of a thousand timesteps.
    let mut times: Vec<f32> = view().iter().map(|(_, t)| *t).collect();
    times.sort_by(f32::total_cmp);
    assert!(times.len() == 16 && times[0] <= 100.0 && times[15] >= 900.0, "{times:?}");
    let thirds = [0.0, 333.0, 667.0].map(|from| times.iter().filter(|&&t| t >= from && t < from + 334.0).count());
    assert!(thirds.iter().all(|&third| third >= 3), "{times:?}");
}

/// A folder with one condition of the shipped view bundle.
pub fn conditions(folder: &Path) -> PathBuf {
    let network = Network::read(&bundle().with_file_name("street-view").join("model.onnx")).unwrap();
    let shape = network.input_shape("map").unwrap();
    let mut condition = Arrays::default();
    condition.insert_floats("map", &shape, &vec![1.0; shape.iter().product()]);
    let conditions = folder.join("conditions");
    std::fs::create_dir_all(&conditions).unwrap();
    condition.write(&conditions.join("one.npz")).unwrap();
    conditions
}

/// What the model of the shipped view bundle is asked, for one condition of ones: of each sample a value of the condition, and the timestep.
fn view() -> &'static [(f32, f32)] {
    static ASKED: OnceLock<Vec<(f32, f32)>> = OnceLock::new();
    ASKED.get_or_init(|| {
        let folder = folder();
        let view = bundle().with_file_name("street-view");
        let network = Network::read(&view.join("model.onnx")).unwrap();
        let draw = Draw { samples: 16, ..Draw::default() };
        let conditions = conditions(folder.path());
        let samples = Samples::of_bundle(&network, &view, &conditions, draw, &Store::none(), || ()).unwrap();
        let first = |index: usize, name: &str| samples.read(index).unwrap().floats(name).unwrap()[0];
        (0..samples.len()).map(|index| (first(index, "map"), first(index, "t"))).collect()
    })
}

#[test]
fn the_unconditional_branch_is_calibrated() {
    for branch in [0.0, 1.0] {
        let own: Vec<f32> = view().iter().filter(|(map, _)| *map == branch).map(|(_, t)| *t).collect();
        let early = own.iter().filter(|&&t| t > 500.0).count();
        assert!(own.len() >= 6 && early >= 2 && own.len() - early >= 2, "{branch}: {own:?}");
    }
}

#[test]
fn bit_operations_are_counted_by_layer() {
    let folder = folder();
    let (network, samples) = opened(&model(), folder.path(), 4);
    let calibrated = Calibrated::new(&network, &samples, 0, || ()).unwrap();
    let bops = |quantized: &semrx_quantize::Quantized<'_>| {
        let compared = compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap();
        let report = Report { network: &network, quantized, compared: &compared, samples: 4, parts: 0, sha256: "" };
        report.json()["totals"]["BOPs"].clone()
    };
    let [eights, fours] = [8, 4].map(|bits| calibrated.quantized(bits, true).unwrap());
    assert_eq!(bops(&eights), serde_json::json!([MACS * 32 * 32, MACS * 8 * 8]));
    assert_eq!(bops(&fours), serde_json::json!([MACS * 32 * 32, MACS * 4 * 8]));
    // The first layer in 8 bits, the second in 4, the others in float.
    let mut mixed = fours.only(&network, |index| index == 1);
    mixed.layers.push(eights.layers[0].clone());
    mixed
        .scales
        .extend(eights.scales.iter().filter(|(name, _)| *name == "x").map(|(name, scale)| (name.clone(), *scale)));
    let (first, second) = (120 * 16 * 54, 120 * 16 * 144);
    let others = MACS - first - second;
    assert_eq!(bops(&mixed)[1], serde_json::json!(first * 8 * 8 + second * 4 * 8 + others * 32 * 32));
}

#[test]
fn quantization_is_executed_and_not_simulated() {
    for bits in [8, 4] {
        let bytes = quantized(bits);
        let machine = Machine::one_thread(Isa::Scalar);
        let planned = Planned::from_bytes("small.onnx".as_ref(), &bytes, &machine, &Bound::default()).unwrap();
        assert!(planned.fallbacks().is_empty());
        assert_eq!((planned.macs().float, planned.macs().int8), (0, MACS));
        // The weights of the products are in memory as integers: beside them are biases and scales.
        let (weights, others) = (864 + 2304 + 128 + 40, 1200);
        let most = if bits == 8 { 4 * weights / 4 + weights } else { 2 * weights };
        assert!(planned.plan().weights_bytes() < most + others, "{}", planned.plan().weights_bytes());
    }
}
