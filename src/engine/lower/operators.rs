//! The operator cases of the ONNX project, one node each, with the outputs that it stores beside them.

use super::super::{Arrays, infer_planned};
use crate::engine::kernel::Isa;
use crate::engine::plan::Machine;
use std::path::{Path, PathBuf};
use tract_onnx::pb::{ModelProto, TensorProto};
use tract_onnx::prelude::*;

/// How a case ended.
#[derive(Debug)]
enum End {
    Right,
    Wrong(String),
    Refused(String),
}

fn tensor(file: &Path) -> Option<Tensor> {
    let proto: TensorProto = prost::Message::decode(&std::fs::read(file).ok()?[..]).ok()?;
    tract_onnx::tensor::load_tensor(&tract_onnx::data_resolver::MmapDataResolver, &proto, None).ok()
}

fn run(folder: &Path) -> End {
    let (model, data) = (folder.join("model.onnx"), folder.join("test_data_set_0"));
    let proto: ModelProto = prost::Message::decode(&std::fs::read(&model).unwrap()[..]).unwrap();
    let graph = proto.graph.unwrap();
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let mut arrays = Arrays::default();
    for (index, input) in graph.input.iter().filter(|input| !constant(&input.name)).enumerate() {
        match tensor(&data.join(format!("input_{index}.pb"))) {
            Some(tensor) => arrays.insert(&input.name, tensor),
            None => return End::Refused("an input is no plain tensor".into()),
        }
    }
    let machine = Machine::one_thread(Isa::best());
    let outputs = match infer_planned(&model, &arrays, &machine) {
        Ok(outputs) => outputs,
        Err(error) => {
            return End::Refused(error.to_string().split_once(": ").map_or(String::new(), |(_, why)| why.into()));
        }
    };
    for (index, output) in graph.output.iter().enumerate() {
        let Some(expected) = tensor(&data.join(format!("output_{index}.pb"))) else { continue };
        let Some(found) = outputs.get(&output.name) else { return End::Wrong(format!("no output {}", output.name)) };
        if let Some(why) = difference(found, &expected) {
            return End::Wrong(why);
        }
    }
    End::Right
}

/// What is wrong, if it is more than a quantization step in one of a thousand cells, or 1e-4 of the largest float.
fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    if (found.shape(), found.datum_type()) != (expected.shape(), expected.datum_type()) {
        return Some(format!(
            "{:?}{:?} for {:?}{:?}",
            found.datum_type(),
            found.shape(),
            expected.datum_type(),
            expected.shape()
        ));
    }
    let floats = |tensor: &Tensor| {
        let cast = tensor.cast_to::<f32>().unwrap().into_owned();
        cast.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    };
    let (found, right) = (floats(found), floats(expected));
    let largest = right.iter().filter(|value| value.is_finite()).fold(0f32, |largest, value| largest.max(value.abs()));
    let quantized = expected.datum_type().size_of() == 1;
    let limit = if quantized { 1.0 } else { 1e-4 * largest.max(1.0) };
    let limit = if expected.datum_type() == f16::datum_type() { 1e-2 * largest } else { limit };
    let apart = |(a, b): (&f32, &f32)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
    let most = found
        .iter()
        .zip(&right)
        .map(apart)
        .fold(0.0, |most: f32, apart| if apart > most || apart.is_nan() { apart } else { most });
    let same = found.iter().zip(&right).filter(|&(a, b)| a == b).count();
    if most.is_nan() || most > limit || (quantized && same * 1000 < found.len() * 999) {
        return Some(format!("{most} apart, of {largest}; {same} of {} the same", found.len()));
    }
    None
}

fn is_quantized(name: &str) -> bool {
    ["quantizelinear", "qlinear", "integer"].iter().any(|part| name.contains(part))
}

#[test]
fn operator_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/onnx/node");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let (mut right, mut bad) = (0, Vec::new());
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match run(case) {
            End::Right => {
                right += 1;
                println!("right    {name}");
            }
            End::Wrong(why) => {
                println!("WRONG    {name}: {why}");
                bad.push(name);
            }
            End::Refused(why) => {
                println!("refused  {name}: {why}");
                if is_quantized(&name) {
                    bad.push(name);
                }
            }
        }
    }
    println!("{right} of {} are right", cases.len());
    assert_eq!(bad, Vec::<String>::new());
}
