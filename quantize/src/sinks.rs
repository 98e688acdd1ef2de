//! Where the sums of a layer are stored: behind the Relu or Clip that alone reads them, else as they come.

use crate::network::{Layer, Network};
use tract_onnx::pb;

/// Name of the tensor that `layer` ends in, of as many elements as its output.
pub fn of<'a>(network: &'a Network, layer: &'a Layer) -> &'a str {
    let output = layer.output.as_str();
    match readers(&network.graph, output)[..] {
        [node]
            if matches!(node.op_type.as_str(), "Relu" | "Clip")
                && node.input.first().is_some_and(|input| input == output)
                && !is_output(network, output) =>
        {
            node.output.first().map_or(output, String::as_str)
        }
        _ => output,
    }
}

/// Whether `name` is an output of the model: those stay floats.
pub fn is_output(network: &Network, name: &str) -> bool {
    network.graph.output.iter().any(|output| output.name == name)
}

fn readers<'a>(graph: &'a pb::GraphProto, name: &str) -> Vec<&'a pb::NodeProto> {
    graph.node.iter().filter(|node| node.input.iter().any(|input| input == name)).collect()
}
