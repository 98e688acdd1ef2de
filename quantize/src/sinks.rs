//! Where the sums of a layer are stored: behind the Relu or Clip that alone reads them, else as they come.

use crate::network::Network;
use tract_onnx::pb;

/// Names of the tensors that quantized layers end in, without outputs of the model, which stay floats.
pub fn of(network: &Network) -> Vec<String> {
    let graph = &network.graph;
    let is_output = |name: &str| graph.output.iter().any(|output| output.name == name);
    let mut sinks: Vec<String> = Vec::new();
    for layer in &network.layers {
        let mut sink = layer.output.as_str();
        if let [node] = readers(graph, sink)[..]
            && matches!(node.op_type.as_str(), "Relu" | "Clip")
            && node.input.first().is_some_and(|input| input == sink)
            && !is_output(sink)
        {
            sink = node.output.first().map_or(sink, String::as_str);
        }
        if !is_output(sink) {
            sinks.push(sink.to_owned());
        }
    }
    sinks
}

fn readers<'a>(graph: &'a pb::GraphProto, name: &str) -> Vec<&'a pb::NodeProto> {
    graph.node.iter().filter(|node| node.input.iter().any(|input| input == name)).collect()
}
