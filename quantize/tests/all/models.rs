//! From a float model to integers that are executed: how far, how many, and what is refused.

use crate::common::{MACS, folder, inputs, model, normal, write, write_x};
use prost::Message;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::engine::{Bound, Planned};
use semrx_quantize::{Compared, Network, QuantizeError, Quantized, Report, Samples, Settings, compare, quantize};
use std::fs;
use std::path::Path;
use tract_onnx::pb;

/// Bytes of the quantized model, and both beside each other.
fn quantized(model: &Path, calib: &Path, settings: Settings) -> Result<(Vec<u8>, Compared), QuantizeError> {
    let network = Network::read(model)?;
    let samples = Samples::open(calib)?;
    let bytes = quantize(&network, &samples, settings, || ())?.bytes(&network);
    let compared = compare(&network, &bytes, &samples, || ())?;
    Ok((bytes, compared))
}

#[test]
fn every_product_runs_in_int8_and_the_output_stays_near() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 8));
    let (bytes, compared) = quantized(&file, &calib, Settings::default()).unwrap();
    assert!(compared.outputs[0].db > 33.0, "{:?}", compared.outputs);
    assert_eq!((compared.float.macs.float, compared.float.macs.int8), (MACS, 0));
    assert_eq!((compared.quantized.macs.float, compared.quantized.macs.int8), (0, MACS));
    assert_eq!(compared.quantized.bops(8) * 16, compared.float.bops(8));
    assert_eq!(compared.quantized.bops(4) * 2, compared.quantized.bops(8));
    // Nothing is only simulated: no step quantizes a product's inputs to floats.
    let machine = Machine::one_thread(Isa::Scalar);
    let planned = Planned::from_bytes(&file, &bytes, &machine, &Bound::default()).unwrap();
    assert!(planned.fallbacks().is_empty());
    let again = quantized(&file, &calib, Settings::default()).unwrap();
    assert_eq!(again.0, bytes);
}

#[test]
fn errors_that_are_made_good_are_smaller() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 16));
    let db =
        |bits, compensated| quantized(&file, &calib, Settings { bits, compensated, seed: 0 }).unwrap().1.outputs[0].db;
    let (nearest, compensated) = (db(4, false), db(4, true));
    assert!(compensated > nearest + 1.5, "{nearest} {compensated}");
}

#[test]
fn a_budget_keeps_what_is_sensitive_in_float() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 4));
    let network = Network::read(&file).unwrap();
    let samples = Samples::open(&calib).unwrap();
    let all = quantize(&network, &samples, Settings { bits: 4, compensated: true, seed: 0 }, || ()).unwrap();
    let db = |quantized: &Quantized<'_>| {
        compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap().outputs[0].db
    };
    let weights = 864 + 2304 + 128 + 40;
    let relieved = |budget| semrx_quantize::relieved(&network, &all, &samples, budget, || ());
    assert!(relieved(weights - 1).unwrap_err().to_string().contains("3336 bytes"));
    let (none, some) = (relieved(weights).unwrap(), relieved(weights + 3 * 900).unwrap());
    assert!(none.sensitive.is_empty() && !some.sensitive.is_empty());
    assert_eq!(some.layers.len() + some.sensitive.len(), 4);
    assert!(some.sensitive[0].reason.contains("dB") && db(&some) > db(&none));
}

#[test]
fn the_report_counts_each_layer() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 4));
    let network = Network::read(&file).unwrap();
    let samples = Samples::open(&calib).unwrap();
    let quantized = quantize(&network, &samples, Settings::default(), || ()).unwrap();
    let compared = compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap();
    let report =
        Report { network: &network, quantized: &quantized, compared: &compared, samples: 4, bits: 8, sha256: "00" };
    let json = report.json();
    let macs: Vec<u64> =
        json["layers"].as_array().unwrap().iter().map(|layer| layer["macs"].as_u64().unwrap()).collect();
    assert_eq!(macs, [120 * 16 * 54, 120 * 16 * 144, 120 * 8 * 16, 8 * 5]);
    assert_eq!(json["int8_share_of_macs"], 1.0);
    assert!(report.text().contains("BOPs") && report.html().contains("node_a"));
}

#[test]
fn what_stays_in_float_is_listed() {
    let folder = folder();
    let mut model = model();
    let graph = model.graph.as_mut().unwrap();
    // Weights that are computed.
    graph.node[2].input[1] = "computed".into();
    let double = pb::NodeProto {
        name: "twice".into(),
        op_type: "Add".into(),
        input: vec!["w2".into(), "w2".into()],
        output: vec!["computed".into()],
        ..Default::default()
    };
    graph.node.insert(0, double);
    let (file, calib) = (write(&model, folder.path()), inputs(folder.path(), 4));
    let network = Network::read(&file).unwrap();
    assert_eq!(network.layers.len(), 3);
    assert_eq!((network.left[0].name.as_str(), network.left[0].operator.as_str()), ("node_c", "Conv"));
    assert!(network.left[0].reason.contains("computed"), "{}", network.left[0].reason);
    let (_, compared) = quantized(&file, &calib, Settings::default()).unwrap();
    assert!(compared.outputs[0].db > 30.0 && compared.quantized.macs.int8 < MACS);
}

#[test]
fn what_cannot_be_quantized_is_refused_by_name() {
    let folder = folder();
    let calib = inputs(folder.path(), 2);
    let good = write(&model(), folder.path());
    let refused = |file: &Path, calib: &Path, words: &[&str]| {
        let Err(error) = quantized(file, calib, Settings::default()) else { panic!("{words:?}") };
        let text = error.to_string();
        assert!(error.is_refusal() && words.iter().all(|word| text.contains(word)), "{text}");
    };
    let with = |change: &dyn Fn(&mut pb::ModelProto)| {
        let mut changed = model();
        change(&mut changed);
        let file = folder.path().join("changed.onnx");
        fs::write(&file, changed.encode_to_vec()).unwrap();
        file
    };
    refused(&with(&|model| model.opset_import[0].version = 12), &calib, &["changed.onnx", "operator set 12", "13"]);
    let external = |model: &mut pb::ModelProto| {
        let entry = pb::StringStringEntryProto { key: "location".into(), value: "../weights".into() };
        model.graph.as_mut().unwrap().initializer[0].external_data.push(entry);
    };
    refused(&with(&external), &calib, &["w1", "another file"]);
    refused(&with(&|model| model.graph = None), &calib, &["no graph"]);
    fs::write(folder.path().join("cut.onnx"), &model().encode_to_vec()[..200]).unwrap();
    refused(&folder.path().join("cut.onnx"), &calib, &["cut.onnx"]);

    let (bytes, _) = quantized(&good, &calib, Settings::default()).unwrap();
    let done = folder.path().join("done.onnx");
    fs::write(&done, bytes).unwrap();
    refused(&done, &calib, &["done.onnx", "quantized already"]);

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(&good, &empty, &["empty", "no .npz"]);
    write_x(&empty.join("zeros.npz"), &[0.0; 720]);
    let silent = with(&|model| {
        let graph = model.graph.as_mut().unwrap();
        graph
            .initializer
            .iter_mut()
            .filter(|tensor| tensor.name.starts_with('b'))
            .for_each(|bias| bias.raw_data.fill(0));
    });
    refused(&silent, &empty, &["empty", "nothing but zeros"]);
    let mut broken = normal(1, 720);
    broken[17] = f32::NAN;
    write_x(&empty.join("zeros.npz"), &broken);
    refused(&good, &empty, &["zeros.npz", "NaN"]);
    let mut other = semrx::engine::Arrays::default();
    other.insert_floats("x", &[1, 6, 12, 11], &normal(1, 792));
    other.write(&empty.join("zeros.npz")).unwrap();
    refused(&good, &empty, &["zeros.npz", "[1, 6, 12, 11]"]);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = folder();
    let file = folder.path().join("model.onnx");
    semrx_quantize::whole(&file, b"first").unwrap();
    let missing = folder.path().join("missing/model.onnx");
    let error = semrx_quantize::whole(&missing, b"second").unwrap_err();
    assert!(error.to_string().contains("missing/model.onnx"));
    assert_eq!(fs::read(&file).unwrap(), b"first");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The model with a change, quantized; what onnxruntime says of names and types holds for semrx's parser too.
fn changed(change: impl Fn(&mut pb::GraphProto)) -> (Vec<u8>, Compared) {
    let folder = folder();
    let mut changed = model();
    change(changed.graph.as_mut().unwrap());
    let (file, calib) = (write(&changed, folder.path()), inputs(folder.path(), 16));
    quantized(&file, &calib, Settings::default()).unwrap()
}

#[test]
fn a_bias_that_is_large_for_its_weights_keeps_its_value() {
    // A channel that is nearly dead, as folding a normalization leaves it.
    let (_, compared) = changed(|graph| {
        let tensor = |name: &str| graph.initializer.iter().position(|tensor| tensor.name == name).unwrap();
        let (weights, bias) = (tensor("w1"), tensor("b1"));
        let scaled = |bytes: &[u8]| {
            let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]) * 1e-8);
            floats.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
        };
        let dead = scaled(&graph.initializer[weights].raw_data[..4 * 54]);
        graph.initializer[weights].raw_data[..4 * 54].copy_from_slice(&dead);
        graph.initializer[bias].raw_data[..4].copy_from_slice(&2f32.to_le_bytes());
    });
    assert!(compared.outputs[0].db > 33.0, "{:?}", compared.outputs);
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let plain = changed(|_| ()).1.outputs[0].db;
    for taken in ["x_scale", "x_dequantized", "r_float", "d_quantized", "c_weights", "d_bias_scale"] {
        let (bytes, compared) = changed(|graph| {
            graph.initializer.iter_mut().for_each(|tensor| {
                if tensor.name == "b1" {
                    tensor.name = taken.into();
                }
            });
            graph.node[0].input[2] = taken.into();
        });
        assert_eq!(compared.outputs[0].db, plain, "{taken}");
        let graph = pb::ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
        let mut names: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        names.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{taken}");
    }
}

#[test]
fn outputs_that_are_no_floats_are_not_compared() {
    let (_, compared) = changed(|graph| {
        let best = pb::NodeProto {
            name: "best".into(),
            op_type: "ArgMax".into(),
            input: vec!["y".into()],
            output: vec!["class".into()],
            ..Default::default()
        };
        graph.node.push(best);
        let tensor = pb::type_proto::Tensor { elem_type: pb::tensor_proto::DataType::Int64 as i32, shape: None };
        let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
        graph.output.push(pb::ValueInfoProto { name: "class".into(), r#type: Some(kind), ..Default::default() });
    });
    assert!(compared.outputs.len() == 1 && compared.outputs[0].db > 33.0);
}

#[test]
fn what_is_broken_or_half_is_refused() {
    let folder = folder();
    let calib = inputs(folder.path(), 2);
    let refused = |words: &[&str], change: &dyn Fn(&mut pb::GraphProto)| {
        let mut changed = model();
        change(changed.graph.as_mut().unwrap());
        let file = write(&changed, folder.path());
        let Err(error) = quantized(&file, &calib, Settings::default()) else { panic!("{words:?}") };
        let text = error.to_string();
        assert!(error.is_refusal() && words.iter().all(|word| text.contains(word)), "{text}");
    };
    for name in ["w2", "b1"] {
        refused(&["not finite", if name == "w2" { "node_c" } else { "node_a" }], &|graph| {
            let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
            tensor.raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        });
    }
    refused(&["float16", "float32"], &|graph| {
        for tensor in &mut graph.initializer {
            let halves = tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            tensor.raw_data = halves.flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect();
            tensor.data_type = pb::tensor_proto::DataType::Float16 as i32;
        }
    });
}

#[test]
fn links_devices_and_permissions_stay_what_they_are() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let (file, link) = (folder.path().join("model.onnx"), folder.path().join("link.onnx"));
    fs::write(&file, b"first").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    semrx_quantize::whole(&link, b"second").unwrap();
    assert!(link.is_symlink());
    assert_eq!(
        (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().permissions().mode() & 0o777),
        (b"second".to_vec(), 0o640)
    );
    let new = folder.path().join("new.onnx");
    semrx_quantize::whole(&new, b"third").unwrap();
    assert_ne!(fs::metadata(&new).unwrap().permissions().mode() & 0o077, 0);
    for special in ["/dev/null", "/"] {
        let error = semrx_quantize::whole(Path::new(special), b"fourth").unwrap_err();
        assert!(!error.is_refusal() && error.to_string().contains("not a regular file"), "{error}");
    }
    let samples = Samples::open(&inputs(folder.path(), 2)).unwrap();
    let error = samples.write(folder.path()).unwrap_err();
    assert!(error.to_string().contains("empty folder"), "{error}");
}
