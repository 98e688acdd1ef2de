//! Facts and constants that are known without tract, beside what tract says.

use super::*;
use crate::engine::lower::computed_inputs;
use std::path::{Path, PathBuf};

/// The shipped models, and the third-party networks and operator cases where they are there.
fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> =
        ["head", "restore"].map(|name| root.join(format!("models/street-float/{name}.onnx"))).to_vec();
    for kind in ["net", "node"] {
        let Ok(folders) = std::fs::read_dir(root.join("../shared/data/onnx").join(kind)) else { continue };
        let files = folders.filter_map(|folder| std::fs::read_dir(folder.ok()?.path()).ok()).flatten();
        found.extend(
            files
                .filter_map(|file| Some(file.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|of| of == "onnx")),
        );
    }
    found
}

#[test]
fn what_is_known_without_tract_is_what_tract_says() {
    let (mut facts, mut constants) = (0, 0);
    for path in models() {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(file) = decode(&bytes[..], bytes.len() as u64) else { continue };
        let Ok((graph, front)) = read(file.clone(), &Bound::default()) else { continue };
        for proto in file.model.graph.unwrap().node {
            let node = plain(&proto);
            let single = Single::new(&node, &proto, &graph, &graph.constants, &front.imports);
            let is_constant = computed_inputs(&node, &graph.constants).is_empty();
            let known = known::known(&graph, &node, &proto, true);
            if let (true, Ok(Some(own)), Ok(theirs)) = (is_constant, known, single.fold()) {
                constants += 1;
                assert_eq!(own, theirs[0], "{}: {}", path.display(), node.label());
            } else if let (Some(own), Ok(theirs)) = (graph.own_fact(&node), single.facts()) {
                facts += 1;
                assert_eq!(own, theirs[0], "{}: {}", path.display(), node.label());
            }
        }
    }
    println!("{facts} facts and {constants} constants");
    assert!(facts > 200, "{facts}");
}
