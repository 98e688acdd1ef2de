//! A float ONNX model, and the layers in it that can run in int8.

mod constant;
mod layer;

pub use layer::{BLOCK, Blocks, Layer, Product, Window};

use crate::QuantizeError;
use constant::Constants;
use prost::Message;
use semrx::files;
use std::path::{Path, PathBuf};
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// Oldest operator set with scales by axis in DequantizeLinear.
const OLDEST_OPSET: i64 = 13;
/// Largest model that is read.
const MAX_BYTES: u64 = 1 << 30;
/// Operators of a model that is quantized already.
const QUANTIZED: [&str; 8] = [
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QLinearAdd",
];

/// A layer that stays in float, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub name: String,
    pub operator: String,
    pub reason: String,
}

/// A model with its layers.
#[derive(Debug, Clone)]
pub struct Network {
    pub file: PathBuf,
    /// Without its graph.
    pub model: pb::ModelProto,
    pub graph: pb::GraphProto,
    pub layers: Vec<Layer>,
    pub left: Vec<Left>,
    /// Names of nodes that [`exclude`](Self::exclude) left in float.
    pub excluded: Vec<String>,
}

impl Network {
    /// Reads the float model in `file`.
    ///
    /// # Errors
    /// [`QuantizeError`]: no ONNX file, quantized already, an operator set before 13, weights in other files, no layer to quantize.
    pub fn read(file: &Path) -> Result<Self, QuantizeError> {
        let refuse = |reason: String| QuantizeError::Model { file: file.to_owned(), reason };
        let bytes =
            files::read(file, MAX_BYTES).map_err(|error| QuantizeError::File { file: file.to_owned(), error })?;
        let mut model =
            pb::ModelProto::decode(&bytes[..]).map_err(|error| refuse(format!("is no ONNX file: {error}")))?;
        let graph = model.graph.take().ok_or_else(|| refuse("holds no graph".into()))?;
        Self::of(file, model, graph)
    }

    /// The network of a `model` without its graph, and its `graph`; `file` names it in errors.
    ///
    /// # Errors
    /// As [`Network::read`].
    pub(crate) fn of(file: &Path, model: pb::ModelProto, graph: pb::GraphProto) -> Result<Self, QuantizeError> {
        let refuse = |reason: String| QuantizeError::Model { file: file.to_owned(), reason };
        let opset = opset(&model);
        if opset < OLDEST_OPSET {
            return Err(refuse(format!("has operator set {opset}: export it with {OLDEST_OPSET} or later")));
        }
        if let Some(node) = graph.node.iter().find(|node| QUANTIZED.contains(&node.op_type.as_str())) {
            let (name, operator) = (&node.name, &node.op_type);
            return Err(refuse(format!("node {name:?} is {operator}: the model is quantized already")));
        }
        if let Some(tensor) = graph.initializer.iter().find(|tensor| !tensor.external_data.is_empty()) {
            let name = &tensor.name;
            return Err(refuse(format!("initializer {name:?} lies in another file: save the model as one file")));
        }
        let (mut layers, mut left) = (Vec::new(), Vec::new());
        let constants = Constants::of(&graph);
        for (index, node) in graph.node.iter().enumerate() {
            match Layer::read(node, index, &constants) {
                None => {}
                Some(Ok(layer)) => layers.push(layer),
                Some(Err(reason)) => {
                    left.push(Left { name: node.name.clone(), operator: node.op_type.clone(), reason });
                }
            }
        }
        if let Some(left) = left.iter().find(|left| left.reason == layer::NOT_FINITE) {
            return Err(refuse(format!("node {:?} has {}", left.name, left.reason)));
        }
        if layers.is_empty() {
            let why = left.first().map_or("it has no Conv, Gemm or MatMul".to_owned(), |left| left.reason.clone());
            return Err(refuse(format!("has no layer that can be quantized: {why}")));
        }
        Ok(Network { file: file.to_owned(), model, graph, layers, left, excluded: Vec::new() })
    }

    /// Leaves the layer of the node `name` in float; `false` where there is none.
    pub fn exclude(&mut self, name: &str) -> bool {
        let Some(index) = self.layers.iter().position(|layer| layer.name == name) else { return false };
        let layer = self.layers.remove(index);
        self.left.push(Left { name: layer.name, operator: layer.operator, reason: "excluded".into() });
        self.excluded.push(name.to_owned());
        true
    }

    /// Shape of the input `name`, if the file says it whole.
    pub fn input_shape(&self, name: &str) -> Option<Vec<usize>> {
        use pb::tensor_shape_proto::dimension::Value;
        let input = self.graph.input.iter().find(|input| input.name == name)?;
        let Some(pb::type_proto::Value::TensorType(tensor)) = &input.r#type.as_ref()?.value else { return None };
        let side = |side: &pb::tensor_shape_proto::Dimension| match side.value {
            Some(Value::DimValue(side)) => usize::try_from(side).ok(),
            _ => None,
        };
        tensor.shape.as_ref()?.dim.iter().map(side).collect()
    }

    /// Version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        opset(&self.model)
    }

    /// Outputs that are float32.
    pub fn float_outputs(&self) -> Vec<&str> {
        let is_float = |output: &&pb::ValueInfoProto| element(output) == Some(DataType::Float);
        self.graph.output.iter().filter(is_float).map(|output| output.name.as_str()).collect()
    }

    /// The whole model, as a file holds it.
    pub fn bytes(&self) -> Vec<u8> {
        pb::ModelProto { graph: Some(self.graph.clone()), ..self.model.clone() }.encode_to_vec()
    }
}

fn opset(model: &pb::ModelProto) -> i64 {
    let own = |set: &&pb::OperatorSetIdProto| set.domain.is_empty() || set.domain == "ai.onnx";
    model.opset_import.iter().find(own).map_or(0, |set| set.version)
}

fn element(port: &pb::ValueInfoProto) -> Option<DataType> {
    match &port.r#type.as_ref()?.value {
        Some(pb::type_proto::Value::TensorType(tensor)) => DataType::try_from(tensor.elem_type).ok(),
        _ => None,
    }
}
