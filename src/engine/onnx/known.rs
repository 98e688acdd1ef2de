//! Constants that need no operator of tract to be known: shapes, and what passes through or is only read otherwise.

use super::{DATA_LOCATION_EXTERNAL, constant};
use crate::engine::graph::{DatumType, Fact, Graph, Node, Tensor, computed};
use std::sync::Arc;
use tract_onnx::pb;

/// The value of a node's one output; `is_constant` says that all its inputs are constant. `None` where tract has to compute it.
///
/// # Errors
/// What is wrong with a tensor that the node holds.
pub fn known(
    graph: &Graph,
    node: &Node,
    proto: &pb::NodeProto,
    is_constant: bool,
) -> Result<Option<Arc<Tensor>>, String> {
    let value = proto.attribute.iter().find(|attribute| attribute.name == "value");
    match (node.op(), value.and_then(|value| value.t.as_ref())) {
        ("Constant", Some(value)) if value.data_location == Some(DATA_LOCATION_EXTERNAL) => {
            Err("its data lies in another file; save the model in one file".into())
        }
        ("Constant", Some(value)) => Ok(Some(Arc::new(constant(value)?))),
        _ => Ok(graph.passed_through(node, is_constant)),
    }
}

/// What ConstantOfShape gives, as far as it is known: its value is a tensor, which a graph doesn't keep.
pub fn constant_of_shape(graph: &Graph, node: &Node, proto: &pb::NodeProto) -> Option<Fact> {
    let value = proto.attribute.iter().find(|attribute| attribute.name == "value").and_then(|value| value.t.as_ref());
    let datum_type = value.map_or(Some(DatumType::F32), |value| DatumType::from_number(value.data_type.into()))?;
    let shape = graph.constant_sizes(node.input(0)?)?;
    (node.op() == "ConstantOfShape").then_some(Fact { datum_type: computed(datum_type), shape })
}

impl Graph {
    fn passed_through(&self, node: &Node, is_constant: bool) -> Option<Arc<Tensor>> {
        let input = node.input(0)?;
        match node.op() {
            "Identity" => self.constants.get(input).cloned(),
            "Shape" if node.int("start", 0) == 0 && node.attribute("end").is_none() => {
                let shape = self.shape(input)?;
                let dims: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
                Tensor::from_values(&[dims.len()], &dims).map(Arc::new)
            }
            "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" if is_constant => {
                let shape = self.own_fact(node)?.shape;
                let value = self.constants.get(input)?;
                value.as_ref().clone().with_shape(&shape).map(Arc::new)
            }
            "DequantizeLinear" if is_constant => self.dequantized(node),
            _ => None,
        }
    }

    /// (x − zero point) · scale, as a bias in whole sums is stored, with one scale or one for each.
    fn dequantized(&self, node: &Node) -> Option<Arc<Tensor>> {
        let constant = |index: usize| node.input(index).map(|name| self.constants.get(name));
        let (x, scales) = (constant(0)??, constant(1)??);
        let zero = match constant(2) {
            None => None,
            Some(zero) => Some(zero?),
        };
        let is_plain = |value: &Tensor| value.datum_type() == DatumType::I32 && value.rank() <= 1;
        let scales = scales.as_slice::<f32>()?;
        let fits = is_plain(x)
            && (scales.len() == 1 || scales.len() == x.len())
            && node.attribute("block_size").is_none()
            && node.attribute("output_dtype").is_none();
        let no_zero = match zero {
            None => true,
            Some(zero) => is_plain(zero) && zero.as_bytes().iter().all(|&byte| byte == 0),
        };
        if !fits || !no_zero {
            return None;
        }
        let x = x.as_slice::<i32>()?;
        let floats: Vec<f32> =
            x.iter().zip(scales.iter().cycle()).map(|(&whole, &scale)| whole as f32 * scale).collect();
        Tensor::from_values(self.constants.get(node.input(0)?)?.shape(), &floats).map(Arc::new)
    }
}
