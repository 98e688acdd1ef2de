//! Weights as an exporter leaves them: initializers and Constant nodes, perhaps behind Cast, Identity or Transpose.

use std::collections::HashMap;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// Nodes that a weight may lie behind, at most.
const MAX_NODES: usize = 8;

/// A constant in floats, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
    /// Handed on in float16.
    pub is_half: bool,
}

/// Weights with a row for each output.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub columns: usize,
    pub values: Vec<f32>,
}

impl Matrix {
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns)
    }
}

/// What is constant in a graph, by name.
#[derive(Debug)]
pub struct Constants<'a> {
    initializers: HashMap<&'a str, &'a pb::TensorProto>,
    nodes: HashMap<&'a str, &'a pb::NodeProto>,
}

impl<'a> Constants<'a> {
    pub fn of(graph: &'a pb::GraphProto) -> Self {
        let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let outputs = |node: &'a pb::NodeProto| node.output.iter().map(move |output| (output.as_str(), node));
        Constants { initializers, nodes: graph.node.iter().flat_map(outputs).collect() }
    }

    /// The floats that `name` always has. `None` where it is computed from an input, or is something else than floats.
    pub fn floats(&self, name: &str) -> Option<Constant> {
        self.behind(name, MAX_NODES)
    }

    fn behind(&self, name: &str, nodes: usize) -> Option<Constant> {
        if let Some(tensor) = self.initializers.get(name) {
            return floats(tensor);
        }
        let node = self.nodes.get(name).filter(|_| nodes > 0)?;
        let input = || self.behind(node.input.first()?, nodes - 1);
        match node.op_type.as_str() {
            "Constant" => floats(node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_ref()?),
            "Identity" => input(),
            "Cast" => {
                let to = node.attribute.iter().find(|attribute| attribute.name == "to")?.i;
                let is_half = to == DataType::Float16 as i64;
                (is_half || to == DataType::Float as i64).then(|| Some(Constant { is_half, ..input()? }))?
            }
            "Transpose" => {
                let constant = input()?;
                let order = node.attribute.iter().find(|attribute| attribute.name == "perm");
                let is_turned = order.is_none_or(|order| order.ints == [1, 0]);
                (constant.shape.len() == 2 && is_turned).then(|| constant.transposed())
            }
            _ => None,
        }
    }
}

impl Constant {
    /// Of a matrix.
    pub fn transposed(&self) -> Constant {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let values =
            (0..columns).flat_map(|column| (0..rows).map(move |row| self.values[row * columns + column])).collect();
        Constant { shape: vec![columns, rows], values, is_half: self.is_half }
    }
}

/// Of float16 and float32 tensors that are as long as their shape says.
fn floats(tensor: &pb::TensorProto) -> Option<Constant> {
    let shape = tensor.dims.iter().map(|&side| usize::try_from(side).ok()).collect::<Option<Vec<_>>>()?;
    let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side))?;
    let raw = &tensor.raw_data;
    let kind = DataType::try_from(tensor.data_type).ok()?;
    let values: Vec<f32> = match kind {
        DataType::Float if raw.is_empty() => tensor.float_data.clone(),
        DataType::Float => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        DataType::Float16 if raw.is_empty() => {
            tensor.int32_data.iter().map(|&bits| half::f16::from_bits(bits as u16).to_f32()).collect()
        }
        DataType::Float16 => raw.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => return None,
    };
    (values.len() == count).then_some(Constant { shape, values, is_half: kind == DataType::Float16 })
}
