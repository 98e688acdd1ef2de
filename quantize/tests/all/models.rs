//! From a float model to integers that are executed: how far, how many, and what is refused.

use crate::common::{MACS, floats, folder, inputs, model, node, normal, opened, port, write, write_x};
use prost::Message;
use semrx_quantize::{
    Bounds, Calibrated, Compared, Network, QuantizeError, Quantized, Report, Samples, TaskLoss, compare, relieved,
};
use std::fs;
use std::path::Path;
use tract_onnx::pb;

/// Bytes of the quantized model, and both beside each other.
fn quantized(model: &Path, calib: &Path, bits: u8, compensated: bool) -> Result<(Vec<u8>, Compared), QuantizeError> {
    let network = Network::read(model)?;
    let samples = Samples::open(calib)?;
    let bytes = Calibrated::new(&network, &samples, 0, || ())?.quantized(bits, compensated)?.bytes(&network);
    let compared = compare(&network, &bytes, &samples, || ())?;
    Ok((bytes, compared))
}

#[test]
fn every_product_runs_in_int8_and_the_output_stays_near() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 8));
    let (bytes, compared) = quantized(&file, &calib, 8, true).unwrap();
    assert!(compared.outputs[0].db > 33.0, "{:?}", compared.outputs);
    assert_eq!((compared.float.macs.float, compared.float.macs.int8), (MACS, 0));
    assert_eq!((compared.quantized.macs.float, compared.quantized.macs.int8), (0, MACS));
    let again = quantized(&file, &calib, 8, true).unwrap();
    assert_eq!(again.0, bytes);
}

/// The small model up to its last convolution, whose answers are which of eight channels is the largest at each place.
fn image_model() -> pb::ModelProto {
    let mut model = model();
    let graph = model.graph.as_mut().unwrap();
    graph.node.truncate(5);
    graph.output = vec![port("d", &[1, 8, 12, 10])];
    model
}

#[test]
fn errors_that_are_made_good_are_smaller() {
    let folder = folder();
    let (file, calib) = (write(&image_model(), folder.path()), inputs(folder.path(), 16));
    let db = |bits, compensated| quantized(&file, &calib, bits, compensated).unwrap().1.outputs[0].db;
    let (nearest, compensated) = (db(4, false), db(4, true));
    assert!(compensated > nearest + 1.5, "{nearest} {compensated}");
}

/// Changed on purpose? Then this is the new one.
const SHA256: [(u8, &str); 2] = [
    (8, "f9651f611ca2b24016ab292aa21305cfafb373f2006c054f1c163eac97dee6af"),
    (4, "f21fe2f7fd99c8f6cfce6e0a6f3b98fd140e5ec337c8ddae9c6b40bd655529bf"),
];

#[test]
fn the_bytes_are_the_same_on_every_machine() {
    let folder = folder();
    let (file, calib) = (write(&image_model(), folder.path()), inputs(folder.path(), 4));
    for (bits, right) in SHA256 {
        assert_eq!(semrx::bundle::sha256(&quantized(&file, &calib, bits, true).unwrap().0), right, "{bits} bits");
    }
}

#[test]
fn transposed_convolutions_run_in_integers() {
    let folder = folder();
    let mut model = image_model();
    let graph = model.graph.as_mut().unwrap();
    let attributes: &[(&str, &[i64])] = &[("strides", &[2, 2]), ("pads", &[1, 0, 0, 1])];
    graph.node.push(node("ConvTranspose", &["d", "w5"], "u", attributes));
    graph.initializer.push(floats("w5", &[8, 3, 4, 3], &normal(8, 8 * 3 * 12)));
    graph.output = vec![port("u", &[1, 3, 25, 20])];
    let (file, calib) = (write(&model, folder.path()), inputs(folder.path(), 8));
    for (bits, db) in [(8, 30.0), (4, 18.0)] {
        let (_, compared) = quantized(&file, &calib, bits, true).unwrap();
        assert_eq!(compared.quantized.macs.float, 0);
        assert!(compared.outputs[0].db > db, "{:?}", compared.outputs);
        assert!(compared.outputs[0].db > quantized(&file, &calib, bits, false).unwrap().1.outputs[0].db);
    }
}

#[test]
fn weights_of_4_bits_bring_their_operator_set() {
    let folder = folder();
    let mut model = image_model();
    let opset = |model: &pb::ModelProto| model.opset_import[0].version;
    model.opset_import[0].version = 13;
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("ReduceMean", &["d"], "m", &[("axes", &[2, 3])]));
    graph.output = vec![port("m", &[1, 8, 1, 1])];
    let (file, calib) = (write(&model, folder.path()), inputs(folder.path(), 8));
    let (bytes, compared) = quantized(&file, &calib, 4, true).unwrap();
    assert!(compared.outputs[0].db > 20.0, "{:?}", compared.outputs);
    assert_eq!(opset(&pb::ModelProto::decode(&bytes[..]).unwrap()), 21);
    let eights = quantized(&file, &calib, 8, true).unwrap().0;
    assert_eq!(opset(&pb::ModelProto::decode(&eights[..]).unwrap()), 13);
    // A normalization that has other inputs there.
    let normalized = node("GroupNormalization", &["d", "by", "add"], "m", &[]);
    model.graph.as_mut().unwrap().node[5] = normalized;
    model.opset_import[0].version = 18;
    let graph = model.graph.as_mut().unwrap();
    graph.node[5].attribute.push(pb::AttributeProto {
        name: "num_groups".into(),
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        i: 2,
        ..Default::default()
    });
    graph.initializer.extend([floats("by", &[2], &[1.0, 2.0]), floats("add", &[2], &[0.0, 1.0])]);
    graph.output = vec![port("m", &[1, 8, 12, 10])];
    let file = write(&model, folder.path());
    assert!(quantized(&file, &calib, 8, true).is_ok());
    let error = quantized(&file, &calib, 4, true).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("GroupNormalization"), "{error}");
}

#[test]
fn a_budget_gives_bits_to_what_is_sensitive() {
    let folder = folder();
    let (network, samples) = opened(&model(), folder.path(), 4);
    let calibrated = Calibrated::new(&network, &samples, 0, || ()).unwrap();
    let levels = [4, 8].map(|bits| calibrated.quantized(bits, true).unwrap());
    let of = |quantized: &Quantized<'_>| {
        compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap().outputs[0].clone()
    };
    let bytes = |quantized: &Quantized<'_>| {
        let whole: usize = quantized.layers.iter().map(|(_, rounded)| rounded.bytes()).sum();
        whole + quantized.floats.iter().map(|layer| 2 * layer.weights.values.len()).sum::<usize>()
    };
    let with = |bytes| relieved(&network, &levels, &samples, &Bounds { bytes: Some(bytes), task_loss: None }, || ());
    let least = bytes(&levels[0]);
    assert!(with(least - 1).unwrap_err().to_string().contains(&format!("{least} bytes")));
    let found = [least, 2 * least].map(|budget| (budget, with(budget).unwrap()));
    assert!(found.iter().all(|(budget, found)| bytes(found) <= *budget));
    let db = found.each_ref().map(|(_, found)| of(found).db);
    assert!(db[1] > db[0] + 10.0, "{db:?}");
    let bits = |quantized: &Quantized<'_>| quantized.layers.iter().map(|(_, rounded)| rounded.bits).collect::<Vec<_>>();
    assert_eq!(bits(&found[0].1), [4; 4]);
    assert!(bits(&found[1].1).contains(&8));
    // Above 8 bits there are floats.
    let bounds = Bounds { bytes: Some(2 * bytes(&levels[1])), task_loss: None };
    let floats = relieved(&network, &levels[1..], &samples, &bounds, || ()).unwrap();
    assert!(!floats.sensitive.is_empty() && floats.sensitive[0].reason.contains("dB"));
    assert_eq!(floats.layers.len() + floats.floats.len(), 4);
    assert!(of(&floats).db > of(&levels[1]).db + 10.0);
}

#[test]
fn a_bound_on_the_task_gives_as_many_bits_as_it_takes() {
    let folder = folder();
    let model = image_model();
    let (network, samples) = opened(&model, folder.path(), 8);
    let calibrated = Calibrated::new(&network, &samples, 0, || ()).unwrap();
    let levels = [4, 8].map(|bits| calibrated.quantized(bits, true).unwrap());
    let changed = |quantized: &Quantized<'_>| {
        compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap().outputs[0].changed
    };
    let bound = |output: &str, share, bytes| {
        let bounds = Bounds { bytes, task_loss: Some(TaskLoss { output: output.into(), share }) };
        relieved(&network, &levels, &samples, &bounds, || ())
    };
    let before = changed(&levels[0]);
    assert!(before > 0.02, "{before}");
    for share in [before / 2.0, before / 8.0, 0.0] {
        let found = bound("d", share, None).unwrap();
        assert!(changed(&found) <= share, "{share}");
    }
    assert!(bound("d", 1.0, None).unwrap().layers.iter().all(|(_, rounded)| rounded.bits == 4));
    let error = bound("d", 0.0, Some(2000)).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("within the budget"), "{error}");
    let error = bound("e", 0.1, None).unwrap_err();
    assert!(error.to_string().contains("\"e\"") && error.to_string().contains("it has d"), "{error}");
}

#[test]
fn the_report_counts_each_layer() {
    let folder = folder();
    let (network, samples) = opened(&model(), folder.path(), 4);
    let quantized = Calibrated::new(&network, &samples, 0, || ()).unwrap().quantized(8, true).unwrap();
    let compared = compare(&network, &quantized.bytes(&network), &samples, || ()).unwrap();
    let report =
        Report { network: &network, quantized: &quantized, compared: &compared, samples: 4, parts: 0, sha256: "00" };
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
    let (_, compared) = quantized(&file, &calib, 8, true).unwrap();
    assert!(compared.outputs[0].db > 30.0 && compared.quantized.macs.int8 < MACS);
}

#[test]
fn what_cannot_be_quantized_is_refused_by_name() {
    let folder = folder();
    let calib = inputs(folder.path(), 2);
    let good = write(&model(), folder.path());
    let refused = |file: &Path, calib: &Path, words: &[&str]| {
        let Err(error) = quantized(file, calib, 8, true) else { panic!("{words:?}") };
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

    let (bytes, _) = quantized(&good, &calib, 8, true).unwrap();
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
    quantized(&file, &calib, 8, true).unwrap()
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
        let Err(error) = quantized(&file, &calib, 8, true) else { panic!("{words:?}") };
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
}
