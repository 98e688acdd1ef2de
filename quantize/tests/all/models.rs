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
    // A device that is full.
    if Path::new("/dev/full").exists() {
        assert!(semrx_quantize::whole(Path::new("/dev/full/model.onnx"), b"third").is_err());
    }
}
