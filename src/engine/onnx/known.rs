//! Constants that need no operator of tract to be known: shapes, and what passes through or is only read otherwise.

use super::{DATA_LOCATION_EXTERNAL, Graph, Node, constant};
use std::sync::Arc;
use tract_onnx::prelude::*;

impl Graph {
    /// The value of a node's one output; `is_constant` says that all its inputs are constant. `None` where tract has to compute it.
    ///
    /// # Errors
    /// What is wrong with a tensor that the node holds.
    pub(super) fn known(&self, node: &Node, is_constant: bool) -> Result<Option<Arc<Tensor>>, String> {
        match (node.op(), node.attribute("value").and_then(|value| value.t.as_ref())) {
            ("Constant", Some(value)) if value.data_location == Some(DATA_LOCATION_EXTERNAL) => {
                Err("its data lies in another file; save the model in one file".into())
            }
            ("Constant", Some(value)) => Ok(Some(Arc::new(constant(value)?))),
            _ => Ok(self.passed_through(node, is_constant)),
        }
    }

    fn passed_through(&self, node: &Node, is_constant: bool) -> Option<Arc<Tensor>> {
        let input = node.input(0)?;
        match node.op() {
            "Identity" => self.constants.get(input).cloned(),
            "Shape" if node.int("start", 0) == 0 && node.attribute("end").is_none() => {
                let shape = self.shape(input)?;
                let dims: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
                Some(Arc::new(tensor1(&dims)))
            }
            "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" if is_constant => {
                let shape = self.own_fact(node)?.shape;
                let value = self.constants.get(input)?;
                value.as_ref().clone().into_shape(&shape).ok().map(Arc::new)
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
        let is_plain = |value: &Tensor| value.datum_type() == i32::datum_type() && value.rank() <= 1;
        let scales = scales.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?;
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
        let x = x.try_as_plain_ram().ok()?.as_slice::<i32>().ok()?;
        let floats: Vec<f32> =
            x.iter().zip(scales.iter().cycle()).map(|(&whole, &scale)| whole as f32 * scale).collect();
        Tensor::from_shape(self.constants.get(node.input(0)?)?.shape(), &floats).ok().map(Arc::new)
    }
}
