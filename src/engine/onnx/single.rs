//! One node as a model of its own, for tract: to fold it, to learn its shapes, or to run it where the plan has no step for it.

use super::half;
use super::values::{own, own_type, their_type};
use crate::engine::graph::{DatumType, Fact, Graph, Node, Tensor};
use crate::engine::lower::computed_inputs;
use crate::engine::model::guarded;
use crate::engine::plan::foreign::Operator;
use std::collections::HashMap;
use std::sync::Arc;
use tract_onnx::pb;
use tract_onnx::prelude::{self as tract, InferenceModelExt, IntoRunnable, IntoTValue, TVec, TractResult, tvec};
use tract_onnx::tract_hir::internal::TractErrorContext;

/// A node with the constants that it reads inside, and everything else as inputs.
pub struct Single {
    model: pb::ModelProto,
    /// What is known of the inputs that are not constant.
    inputs: Vec<Option<Fact>>,
}

impl Single {
    /// `proto` is the node in its file, which imports the operator sets `imports`; `constants` are the graph's, or what is left of them.
    pub fn new(
        node: &Node,
        proto: &pb::NodeProto,
        graph: &Graph,
        constants: &HashMap<String, Arc<Tensor>>,
        imports: &pb::ModelProto,
    ) -> Self {
        let folds = node.inputs.iter().all(|name| name.is_empty() || constants.contains_key(name));
        // A node may have the name of one of its inputs: tract would take them for the same.
        let nameless = pb::NodeProto { name: String::new(), ..proto.clone() };
        let mut inner = pb::GraphProto { node: vec![nameless], ..Default::default() };
        for (name, value) in node.inputs.iter().filter_map(|name| Some((name, constants.get(name)?))) {
            if inner.initializer.iter().all(|tensor| tensor.name != *name) {
                let widens = value.datum_type() == DatumType::F16 && !(folds && half::moves(proto));
                let wide = widens.then(|| Tensor::from_values(value.shape(), &value.to_floats())).flatten();
                inner.initializer.push(initializer(name, wide.as_ref().unwrap_or(value)));
            }
        }
        let mut inputs = Vec::new();
        for name in computed_inputs(node, constants) {
            let fact = graph.facts.get(name);
            inner.input.push(declaration(name, fact));
            inputs.push(fact.cloned());
        }
        let outputs = node.outputs.iter().filter(|name| !name.is_empty());
        inner.output = outputs.map(|name| pb::ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
        Single { model: pb::ModelProto { graph: Some(inner), ..imports.clone() }, inputs }
    }

    fn parse(&self) -> TractResult<tract::InferenceModel> {
        Ok(tract_onnx::onnx().parse(&self.model, None)?.model)
    }

    /// What the node gives.
    pub fn facts(&self) -> Result<Vec<Fact>, String> {
        let facts = guarded(|| {
            let typed = self.parse()?.into_typed()?;
            let fact = |fact: &tract::TypedFact| {
                let shape = fact.shape.as_concrete().context("the shape of its output depends on the input")?;
                Ok((fact.datum_type, shape.to_vec()))
            };
            let outlets = typed.output_outlets()?.iter();
            outlets.map(|&outlet| fact(typed.outlet_fact(outlet)?)).collect::<TractResult<Vec<_>>>()
        })?;
        facts.into_iter().map(|(datum_type, shape)| Ok(Fact { datum_type: own_type(datum_type)?, shape })).collect()
    }

    /// Its outputs, where all inputs are constant.
    pub fn fold(&self) -> Result<Vec<Arc<Tensor>>, String> {
        let outputs = guarded(|| self.parse()?.into_typed()?.into_runnable()?.run(tvec!()))?;
        outputs.iter().map(|value| own(value).map(Arc::new)).collect()
    }

    /// Ready to run on its inputs, in their order.
    pub fn operator(&self) -> Result<Arc<Operator>, String> {
        let runnable = guarded(|| self.parse()?.into_optimized()?.into_runnable())?;
        let inputs: Option<Vec<Fact>> = self.inputs.iter().cloned().collect();
        let inputs = inputs.ok_or("nothing is known of one of its inputs")?;
        Ok(Arc::new(move |given: &[&[u8]], result: usize, to: &mut [u8]| {
            let run = || -> TractResult<TVec<tract::TValue>> {
                let mut values = tvec!();
                for (fact, bytes) in inputs.iter().zip(given) {
                    let mut value = tract::Tensor::zero_dt(their_type(fact.datum_type), &fact.shape)?;
                    value.try_as_plain_ram_mut()?.as_bytes_mut().copy_from_slice(bytes);
                    values.push(value.into_tvalue());
                }
                runnable.run(values)
            };
            let results = guarded(run)?;
            let found = own(results.get(result).ok_or("tract gives fewer outputs")?)?;
            match found.as_bytes().len() == to.len() {
                true => to.copy_from_slice(found.as_bytes()),
                false => {
                    return Err(format!(
                        "tract gives {:?}{:?}, {} bytes are due",
                        found.datum_type(),
                        found.shape(),
                        to.len()
                    ));
                }
            }
            Ok(())
        }))
    }
}

fn initializer(name: &str, value: &Tensor) -> pb::TensorProto {
    pb::TensorProto {
        name: name.to_owned(),
        dims: value.shape().iter().map(|&side| side as i64).collect(),
        data_type: value.datum_type().number() as i32,
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
        let tensor = pb::type_proto::Tensor { elem_type: fact.datum_type.number() as i32, shape: Some(shape) };
        pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() }
    });
    pb::ValueInfoProto { name: name.to_owned(), r#type: declared, ..Default::default() }
}
