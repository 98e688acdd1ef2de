//! The operator set of a model, raised to the one that has weights of 4 bits.

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// The first with INT4, UINT4 and blocks in DequantizeLinear, and the file format that has them.
const FOURS: i64 = 21;
const FORMAT: i64 = 10;

/// Operators that say the same otherwise since 18: axes that are an input.
const REDUCING: [&str; 9] = [
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
];

/// Why `graph`, of the operator set `from`, can't be one of weights of 4 bits.
pub fn obstacle(graph: &pb::GraphProto, from: i64) -> Option<String> {
    let changed = |node: &&pb::NodeProto| node.op_type == "GroupNormalization" || node.op_type == "Upsample";
    let node = graph.node.iter().find(changed).filter(|_| from < FOURS)?;
    Some(format!(
        "node {:?} is {}, which operator set {FOURS} has otherwise: weights of 4 bits need a model that is exported with it",
        node.name, node.op_type
    ))
}

/// Has `model` say with operator set 21 what it says with an older one. `named` gives the name of the axes of what has the name that it gets.
pub fn raise(model: &mut pb::ModelProto, named: impl Fn(&str) -> String) {
    let Some(graph) = &mut model.graph else { return };
    let Some(set) = model.opset_import.iter_mut().find(|set| set.domain.is_empty() || set.domain == "ai.onnx") else {
        return;
    };
    if set.version < 18 {
        let mut axes = Vec::new();
        for node in &mut graph.node {
            match node.op_type.as_str() {
                reducing if REDUCING.contains(&reducing) => axes.extend(axes_to_input(node, &named)),
                "Split" if node.input.len() < 2 => node.attribute.push(number("num_outputs", node.output.len() as i64)),
                _ => {}
            }
        }
        graph.initializer.extend(axes);
    }
    set.version = set.version.max(FOURS);
    model.ir_version = model.ir_version.max(FORMAT);
}

/// Moves the axes of a reduction to an input: the tensor that it is to read.
fn axes_to_input(node: &mut pb::NodeProto, named: impl Fn(&str) -> String) -> Option<pb::TensorProto> {
    let at = node.attribute.iter().position(|attribute| attribute.name == "axes")?;
    let axes = node.attribute.remove(at).ints;
    let name = named(node.output.first()?);
    node.input.push(name.clone());
    Some(pb::TensorProto {
        name,
        data_type: DataType::Int64 as i32,
        dims: vec![axes.len() as i64],
        raw_data: axes.iter().flat_map(|axis| axis.to_le_bytes()).collect(),
        ..Default::default()
    })
}

fn number(name: &str, i: i64) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::Int as i32;
    pb::AttributeProto { name: name.into(), i, r#type, ..Default::default() }
}
