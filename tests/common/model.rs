use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};

/// Writes an ONNX file node by node.
#[derive(Default)]
pub struct Model(pb::GraphProto);

impl Model {
    fn port(name: &str, kind: DataType, shape: &[i64]) -> pb::ValueInfoProto {
        let dim = |&side: &i64| Dimension { value: Some(dimension::Value::DimValue(side)), ..Default::default() };
        let shape = pb::TensorShapeProto { dim: shape.iter().map(dim).collect() };
        let tensor = pb::type_proto::Tensor { elem_type: kind as i32, shape: Some(shape) };
        let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
        pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    }

    pub fn input(mut self, name: &str, kind: DataType, shape: &[i64]) -> Self {
        self.0.input.push(Self::port(name, kind, shape));
        self
    }

    pub fn output(mut self, name: &str, shape: &[i64]) -> Self {
        self.0.output.push(Self::port(name, DataType::Float, shape));
        self
    }

    pub fn constant(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (data_type, dims) = (DataType::Float as i32, shape.to_vec());
        self.0.initializer.push(pb::TensorProto { name: name.into(), data_type, dims, raw_data, ..Default::default() });
        self
    }

    pub fn node(mut self, op: &str, inputs: &[&str], output: &str) -> Self {
        let mut attribute = Vec::new();
        if op == "Cast" {
            let kind = pb::attribute_proto::AttributeType::Int as i32;
            let i = DataType::Float as i64;
            attribute.push(pb::AttributeProto { name: "to".into(), r#type: kind, i, ..Default::default() });
        }
        if op == "Concat" {
            let kind = pb::attribute_proto::AttributeType::Int as i32;
            attribute.push(pb::AttributeProto { name: "axis".into(), r#type: kind, i: 1, ..Default::default() });
        }
        self.0.node.push(pb::NodeProto {
            name: output.into(),
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
        self
    }

    pub fn file(self) -> Vec<u8> {
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        pb::ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(self.0), ..Default::default() }
            .encode_to_vec()
    }
}
