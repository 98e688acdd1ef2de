//! The command line.

use crate::common::{folder, inputs, model, write};
use crate::slips::conditions;
use prost::Message;
use semrx::bundle::Generative;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tract_onnx::pb;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_semrx-quantize")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_bundle_is_quantized_whole() {
    let folder = folder();
    let view = crate::scenes::bundle().with_file_name("street-view");
    let (calib, out, page) = (conditions(folder.path()), folder.path().join("mine"), folder.path().join("page.html"));
    let arguments =
        [text(&view), "-o", text(&out), "--calib", text(&calib), "--samples", "4", "--report", text(&page), "--json"];
    let done = run(&arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["generate"]["int8_share_of_macs"], 1.0);
    // It opens: every hash is that of its file.
    let opened = Generative::open(&out).unwrap();
    assert!(fs::read(&opened.model).unwrap().len() < fs::read(view.join("model.onnx")).unwrap().len());
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(out.join("bundle.json")).unwrap()).unwrap();
    assert_eq!((manifest["name"].as_str(), manifest["generate"]["t"].as_str()), (Some("mine"), Some("t")));
    let page = fs::read_to_string(&page).unwrap();
    assert_eq!(page.matches("<h2>").count(), 2);
    // A card of one's own stays.
    fs::write(out.join("MODEL_CARD.md"), "mine").unwrap();
    assert!(run(&arguments).status.success());
    assert_eq!(fs::read_to_string(out.join("MODEL_CARD.md")).unwrap(), "mine");
    assert!(Generative::open(&out).is_ok());
}

#[test]
fn nodes_can_be_excluded_by_name() {
    let folder = folder();
    // A node that has the name of what it gives.
    let mut model = model();
    model.graph.as_mut().unwrap().node[1].name = "r".into();
    let (file, calib) = (write(&model, folder.path()), inputs(folder.path(), 2));
    let out = folder.path().join("out.onnx");
    let with = |name: &str| run(&[text(&file), "-o", text(&out), "--calib", text(&calib), "--exclude", name]);
    let done = with("node_c");
    assert!(done.status.success());
    assert!(String::from_utf8_lossy(&done.stdout).contains("left in float: excluded"));
    // Names of nodes are their own, as onnxruntime wants them.
    let graph = pb::ModelProto::decode(&fs::read(&out).unwrap()[..]).unwrap().graph.unwrap();
    let names: HashSet<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
    assert!(names.len() == graph.node.len() && !names.contains(""));
    fs::remove_file(&out).unwrap();
    let refused = with("node_x");
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"node_x\"") && !out.exists());
}

#[test]
fn options_of_bundles_are_refused_without_one() {
    let folder = folder();
    let (file, calib) = (write(&model(), folder.path()), inputs(folder.path(), 2));
    let out = folder.path().join("out.onnx");
    // Nor does the output take the place of a sample.
    let sample = calib.join("000.npz");
    let refused = run(&[text(&file), "-o", text(&sample), "--calib", text(&calib)]);
    assert!(
        refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("calibration folder")
    );
    for more in [
        &["--only", "0001"][..],
        &["--samples", "5"],
        &["--save-samples", "kept"],
        &["--task-loss", "y"],
        &["--task-loss", "y=100"],
    ] {
        let refused = run(&[&[text(&file), "-o", text(&out), "--calib", text(&calib)], more].concat());
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
    }
}

#[test]
fn a_budget_may_be_for_one_network_of_a_bundle() {
    let folder = folder();
    let view = crate::scenes::bundle().with_file_name("street-view");
    let (calib, out) = (conditions(folder.path()), folder.path().join("mine"));
    let of_bundle = [text(&view), "-o", text(&out), "--calib", text(&calib), "--samples", "1"];
    let single = view.join("model.onnx");
    let of_model = [text(&single), "-o", text(&out), "--calib", text(&calib)];
    for (arguments, budgets, code, told) in [
        (&of_model[..], &["generate=900"][..], 2, "a role with a whole bundle alone"),
        (&of_bundle[..], &["generate=900", "generate=800"], 2, "once for a role"),
        (&of_bundle[..], &["generate=many"], 2, "a number of kilobytes"),
        (&of_bundle[..], &["nose=900"], 3, "no network in the role \"nose\" that --budget-kib names: it has generate"),
        // Its own goes before one for all.
        (&of_bundle[..], &["100000", "generate=1"], 3, "the budget of 1024 bytes is less"),
    ] {
        let budgets = budgets.iter().flat_map(|budget| ["--budget-kib", budget]);
        let done = run(&arguments.iter().copied().chain(budgets).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!out.exists(), "nothing is left of {budgets:?}", budgets = arguments);
    }
}
