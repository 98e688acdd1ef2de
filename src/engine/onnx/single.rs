//! One node as a model of its own, for tract: to fold it, to learn its shapes, or to run it where the plan has no step for it.

use super::{Fact, Graph, Node, half};
use crate::engine::model::guarded;
use std::collections::HashMap;
use std::sync::Arc;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::TractErrorContext;

/// A node with the constants that it reads inside, and everything else as inputs.
pub struct Single {
    model: pb::ModelProto,
    /// The inputs that are not constant, each once.
    inputs: Vec<String>,
}

impl Single {
    /// `constants` are the graph's, or what is left of them.
    pub fn new(node: &Node, graph: &Graph, constants: &HashMap<String, Arc<Tensor>>) -> Self {
        let mut inputs: Vec<String> = Vec::new();
        let folds = node.proto.input.iter().all(|name| name.is_empty() || constants.contains_key(name));
        // A node may have the name of one of its inputs: tract would take them for the same.
        let proto = pb::NodeProto { name: String::new(), ..node.proto.clone() };
        let mut inner = pb::GraphProto { node: vec![proto], ..Default::default() };
        for name in node.proto.input.iter().filter(|name| !name.is_empty()) {
            if let Some(value) = constants.get(name) {
                let value = match value.datum_type() {
                    DatumType::F16 if !(folds && half::moves(&node.proto)) => {
                        &value.cast_to::<f32>().map_or(value.clone(), |of| of.into_owned().into_arc_tensor())
                    }
                    _ => value,
                };
                if inner.initializer.iter().all(|tensor| tensor.name != *name) {
                    inner.initializer.push(initializer(name, value));
                }
            } else if !inputs.contains(name) {
                inner.input.push(declaration(name, graph.facts.get(name)));
                inputs.push(name.clone());
            }
        }
        let outputs = node.proto.output.iter().filter(|name| !name.is_empty());
        inner.output = outputs.map(|name| pb::ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
        Single { model: pb::ModelProto { graph: Some(inner), ..graph.imports.clone() }, inputs }
    }

    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn parse(&self) -> TractResult<InferenceModel> {
        Ok(tract_onnx::onnx().parse(&self.model, None)?.model)
    }

    /// What the node gives.
    pub fn facts(&self) -> Result<Vec<Fact>, String> {
        guarded(|| {
            let typed = self.parse()?.into_typed()?;
            let fact = |fact: &TypedFact| {
                let shape = fact.shape.as_concrete().context("the shape of its output depends on the input")?;
                // Sizes are a type of their own to tract.
                let datum_type =
                    if fact.datum_type == TDim::datum_type() { i64::datum_type() } else { fact.datum_type };
                Ok(Fact { datum_type, shape: shape.to_vec() })
            };
            typed.output_outlets()?.iter().map(|&outlet| fact(typed.outlet_fact(outlet)?)).collect()
        })
    }

    /// Its outputs, where all inputs are constant.
    pub fn fold(&self) -> Result<Vec<Arc<Tensor>>, String> {
        guarded(|| {
            let outputs = self.parse()?.into_typed()?.into_runnable()?.run(tvec!())?;
            let plain = |value: TValue| match value.datum_type() {
                DatumType::TDim => value.cast_to::<i64>().map(|value| value.into_owned().into_arc_tensor()),
                _ => Ok(value.into_arc_tensor()),
            };
            outputs.into_iter().map(plain).collect()
        })
    }

    /// Ready to run on its inputs, in their order.
    pub fn runnable(&self) -> Result<Arc<TypedRunnableModel>, String> {
        guarded(|| self.parse()?.into_optimized()?.into_runnable())
    }
}

fn type_number(datum_type: DatumType) -> i32 {
    let known = match datum_type {
        DatumType::F32 => DataType::Float,
        DatumType::F16 => DataType::Float16,
        DatumType::F64 => DataType::Double,
        DatumType::U8 => DataType::Uint8,
        DatumType::I8 => DataType::Int8,
        DatumType::U16 => DataType::Uint16,
        DatumType::I16 => DataType::Int16,
        DatumType::U32 => DataType::Uint32,
        DatumType::I32 => DataType::Int32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I64 => DataType::Int64,
        DatumType::Bool => DataType::Bool,
        _ => DataType::Undefined,
    };
    known as i32
}

fn initializer(name: &str, value: &Tensor) -> pb::TensorProto {
    pb::TensorProto {
        name: name.to_owned(),
        dims: value.shape().iter().map(|&side| side as i64).collect(),
        data_type: type_number(value.datum_type()),
        raw_data: value.as_bytes().to_vec(),
        ..Default::default()
    }
}

fn declaration(name: &str, fact: Option<&Fact>) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension};
    let declared = fact.map(|fact| {
        let dim =
            |&side: &usize| Dimension { value: Some(dimension::Value::DimValue(side as i64)), ..Default::default() };
        let shape = pb::TensorShapeProto { dim: fact.shape.iter().map(dim).collect() };
        let tensor = pb::type_proto::Tensor { elem_type: type_number(fact.datum_type), shape: Some(shape) };
        pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() }
    });
    pb::ValueInfoProto { name: name.to_owned(), r#type: declared, ..Default::default() }
}
