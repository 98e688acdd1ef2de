//! Small models, and inputs for them.

use prost::Message;
use semrx::engine::Arrays;
use semrx::noise::Noise;
use semrx_quantize::{Network, Samples};
use std::path::{Path, PathBuf};
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// A folder of its own, removed at the end.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub fn normal(seed: u64, count: usize) -> Vec<f32> {
    let noise = Noise::new(seed, 1);
    (0..count as u64).map(|index| noise.normal_at(index) as f32).collect()
}

pub fn port(name: &str, shape: &[usize]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let side = |&side: &usize| Dimension { value: Some(Value::DimValue(side as i64)), ..Default::default() };
    let shape = pb::TensorShapeProto { dim: shape.iter().map(side).collect() };
    let tensor = pb::type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

pub fn floats(name: &str, shape: &[usize], values: &[f32]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        data_type: DataType::Float as i32,
        dims: shape.iter().map(|&side| side as i64).collect(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..Default::default()
    }
}

pub fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> pb::NodeProto {
    let attribute = |(name, ints): &(&str, &[i64])| pb::AttributeProto {
        name: name.to_string(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..Default::default()
    };
    pb::NodeProto {
        name: format!("node_{output}"),
        op_type: operator.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        attribute: attributes.iter().map(attribute).collect(),
        ..Default::default()
    }
}

/// x [1, 6, 12, 10] through 3 x 3 convolutions, Relu, a shortcut, and a matrix: y [1, 5].
pub fn model() -> pb::ModelProto {
    let weights = |seed, shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let fan = (count / shape[0]) as f32;
        normal(seed, count).iter().map(|value| value / fan.sqrt()).collect::<Vec<f32>>()
    };
    let pads: &[(&str, &[i64])] = &[("pads", &[1, 1, 1, 1])];
    let graph = pb::GraphProto {
        name: "small".into(),
        node: vec![
            node("Conv", &["x", "w1", "b1"], "a", pads),
            node("Relu", &["a"], "r", &[]),
            node("Conv", &["r", "w2"], "c", pads),
            node("Add", &["r", "c"], "s", &[]),
            node("Conv", &["s", "w3", "b3"], "d", &[]),
            node("GlobalAveragePool", &["d"], "g", &[]),
            node("Flatten", &["g"], "t", &[]),
            node("Gemm", &["t", "w4"], "y", &[]),
        ],
        input: vec![port("x", &[1, 6, 12, 10])],
        output: vec![port("y", &[1, 5])],
        initializer: vec![
            floats("w1", &[16, 6, 3, 3], &weights(2, &[16, 6, 3, 3])),
            floats("b1", &[16], &normal(3, 16)),
            floats("w2", &[16, 16, 3, 3], &weights(4, &[16, 16, 3, 3])),
            floats("w3", &[8, 16, 1, 1], &weights(5, &[8, 16, 1, 1])),
            floats("b3", &[8], &normal(6, 8)),
            floats("w4", &[8, 5], &weights(7, &[5, 8])),
        ],
        ..Default::default()
    };
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { version: 17, ..Default::default() }],
        graph: Some(graph),
        ..Default::default()
    }
}

/// Multiply-accumulates of [`model`].
pub const MACS: u64 = 120 * (16 * 54 + 16 * 144 + 8 * 16) + 8 * 5;

pub fn write(model: &pb::ModelProto, folder: &Path) -> PathBuf {
    let file = folder.join("model.onnx");
    std::fs::write(&file, model.encode_to_vec()).unwrap();
    file
}

/// Neighbouring channels of x move together, as those of a trained network do.
pub fn inputs(folder: &Path, count: u64) -> PathBuf {
    let calib = folder.join("calib");
    std::fs::create_dir_all(&calib).unwrap();
    for sample in 0..count {
        let (own, shared) = (normal(100 + sample, 720), normal(200 + sample, 120));
        let x: Vec<f32> = own.iter().enumerate().map(|(at, own)| 0.3 * own + shared[at % 120]).collect();
        write_x(&calib.join(format!("{sample:03}.npz")), &x);
    }
    calib
}

/// `model` in `folder`, with `count` inputs for it.
pub fn opened(model: &pb::ModelProto, folder: &Path, count: u64) -> (Network, Samples) {
    let (file, calib) = (write(model, folder), inputs(folder, count));
    (Network::read(&file).unwrap(), Samples::open(&calib).unwrap())
}

pub fn write_x(file: &Path, x: &[f32]) {
    let mut arrays = Arrays::default();
    arrays.insert_floats("x", &[1, 6, 12, 10], x);
    arrays.write(file).unwrap();
}
