//! The quantized model as standard QDQ ONNX, as onnxruntime reads it: each quantized layer between DequantizeLinear nodes, weights in int8 by output,
//! biases in int32.

use crate::QuantizeError;
use crate::network::{BLOCK, Layer, Left, Network};
use crate::range::Scale;
use crate::rounding::Rounded;
use crate::{opset, sinks};
use half::f16;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// Bits beyond which a bias is not written: sums have to fit beside it.
const BIAS_LIMIT: f64 = (1u32 << 30) as f64;

/// Of ONNX, which the crate for its files doesn't name.
const UINT4: i32 = 21;
const INT4: i32 = 22;

/// Everything that the float model becomes.
#[derive(Debug, Clone)]
pub struct Quantized<'a> {
    pub layers: Vec<(&'a Layer, Rounded)>,
    /// Of each tensor that is stored in 8 bits, by name.
    pub scales: BTreeMap<String, Scale>,
    /// Tensors among them that every reader gets in 8 bits, not the quantized layers alone: outputs of layers.
    pub stored: BTreeSet<String>,
    /// Layers that could be quantized, and are not: their weights are stored in float16.
    pub floats: Vec<&'a Layer>,
    /// The same, with the reason.
    pub sensitive: Vec<Left>,
    /// Of each result of a layer, by name.
    pub elements: BTreeMap<String, u64>,
    /// What stands in the file's metadata.
    pub provenance: Vec<(String, String)>,
}

impl<'a> Quantized<'a> {
    /// The same with the layers that `keep` says by their number; the others in float.
    pub fn only(&self, network: &Network, keep: impl Fn(usize) -> bool) -> Quantized<'a> {
        let layers: Vec<_> =
            self.layers.iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, layer)| layer.clone()).collect();
        let sinks: HashSet<&str> = layers.iter().map(|(layer, _)| sinks::of(network, layer)).collect();
        let inputs: HashSet<&str> = layers.iter().map(|(layer, _)| layer.input.as_str()).collect();
        let stored = self.stored.iter().filter(|name| sinks.contains(name.as_str())).cloned().collect();
        let is_used = |name: &str| sinks.contains(name) || inputs.contains(name);
        let scales = self.scales.iter().filter(|(name, _)| is_used(name));
        Quantized {
            layers,
            scales: scales.map(|(name, scale)| (name.clone(), *scale)).collect(),
            stored,
            floats: self.floats.clone(),
            sensitive: self.sensitive.clone(),
            elements: self.elements.clone(),
            provenance: self.provenance.clone(),
        }
    }

    /// Nothing but the result `name` of a layer, in 8 bits.
    pub(crate) fn storing_alone(&self, name: &str) -> Quantized<'a> {
        let scales = self.scales.iter().filter(|(other, _)| *other == name);
        Quantized {
            layers: Vec::new(),
            scales: scales.map(|(name, scale)| (name.clone(), *scale)).collect(),
            stored: BTreeSet::from([name.to_owned()]),
            ..self.clone()
        }
    }

    /// The same with some results of layers in float32.
    pub fn leaving(&self, names: &[String]) -> Quantized<'a> {
        let mut other = self.clone();
        other.stored.retain(|name| !names.contains(name));
        let is_read = |name: &String| self.layers.iter().any(|(layer, _)| layer.input == *name);
        other.scales.retain(|name, _| !names.contains(name) || is_read(name));
        other
    }

    /// The model file.
    pub fn bytes(&self, network: &Network) -> Vec<u8> {
        let mut graph = network.graph.clone();
        let names = Names::beside(&graph);
        let mut nodes = std::mem::take(&mut graph.node);
        for (layer, rounded) in &self.layers {
            self.put_layer(&names, &mut graph, &mut nodes[layer.node], layer, rounded);
        }
        for layer in &self.floats {
            put_halves(&names, &mut graph, &mut nodes[layer.node], layer);
        }
        // Tensors that are stored in 8 bits get another name where they are made.
        for node in &mut nodes {
            for output in node.output.iter_mut().filter(|output| self.stored.contains(*output)) {
                *output = names.of(output, "float");
            }
        }
        for (name, scale) in &self.scales {
            let is_stored = self.stored.contains(name);
            let (from, to) = match is_stored {
                true => (names.of(name, "float"), name.clone()),
                false => (name.clone(), names.of(name, "dequantized")),
            };
            let (of, zero) = (names.of(name, "scale"), names.of(name, "zero_point"));
            graph.initializer.push(floats(&of, &[], &[scale.scale]));
            graph.initializer.push(bytes(&zero, DataType::Uint8 as i32, &[], vec![scale.zero_point]));
            let cells = names.of(name, "quantized");
            nodes.push(node("QuantizeLinear", &[&from, &of, &zero], &cells, &[]));
            nodes.push(node("DequantizeLinear", &[&cells, &of, &zero], &to, &[]));
        }
        graph.node = sorted(nodes, &graph);
        drop_unread(&mut graph);
        // An exporter may have named a node as what it gives: names of what is added are their own.
        for node in graph.node.iter_mut().filter(|node| node.name.is_empty()) {
            node.name = names.of(&node.output[0], "node");
        }
        // Weights that older models list among their inputs too.
        let was_weight = |name: &str| network.graph.initializer.iter().any(|tensor| tensor.name == name);
        let is_weight: HashSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        graph.input.retain(|input| is_weight.contains(&input.name) || !was_weight(&input.name));
        let mut model = pb::ModelProto { graph: Some(graph), ..network.model.clone() };
        if self.has_fours() {
            opset::raise(&mut model, |name| names.of(name, "axes"));
        }
        model.metadata_props.extend(
            self.provenance
                .iter()
                .map(|(key, value)| pb::StringStringEntryProto { key: key.clone(), value: value.clone() }),
        );
        model.encode_to_vec()
    }

    /// Whether some weights have 4 bits.
    fn has_fours(&self) -> bool {
        self.layers.iter().any(|(_, rounded)| rounded.bits == 4)
    }

    fn put_layer(
        &self,
        names: &Names,
        graph: &mut pb::GraphProto,
        node: &mut pb::NodeProto,
        layer: &Layer,
        rounded: &Rounded,
    ) {
        let weights = match rounded.bits {
            4 => put_fours(names, graph, layer, rounded),
            _ => put_bytes(names, graph, layer, rounded),
        };
        node.input.resize(2, String::new());
        node.input[1] = weights;
        if !self.stored.contains(&layer.input) {
            node.input[0] = names.of(&layer.input, "dequantized");
        }
        if let Some(bias) = self.put_bias(names, graph, layer, rounded) {
            node.input.push(bias);
        }
    }

    /// The bias in whole sums of the layer. MatMul has none: what would be added there is left away.
    fn put_bias(&self, names: &Names, graph: &mut pb::GraphProto, layer: &Layer, rounded: &Rounded) -> Option<String> {
        let input = self.scales.get(&layer.input).filter(|_| layer.operator != "MatMul")?;
        let values: Vec<f32> = match &layer.bias {
            Some(bias) => bias.iter().zip(&rounded.bias).map(|(bias, more)| bias + more).collect(),
            None => rounded.bias.clone(),
        };
        let name = names.of(&layer.output, "bias");
        let scales: Vec<f32> = rounded.scales.iter().map(|scale| scale * input.scale).collect();
        let sums = values.iter().zip(&scales).map(|(&value, &scale)| {
            (value as f64 / scale as f64).round_ties_even().clamp(-BIAS_LIMIT, BIAS_LIMIT) as i32
        });
        let raw: Vec<u8> = sums.flat_map(i32::to_le_bytes).collect();
        let (scale, zero, outputs) = (names.of(&name, "scale"), names.of(&name, "zero_point"), scales.len());
        graph.initializer.push(bytes(&name, DataType::Int32 as i32, &[outputs as i64], raw));
        graph.initializer.push(floats(&scale, &[outputs as i64], &scales));
        graph.initializer.push(bytes(&zero, DataType::Int32 as i32, &[outputs as i64], vec![0; 4 * outputs]));
        let bias = names.of(&name, "dequantized");
        graph.node.push(node("DequantizeLinear", &[&name, &scale, &zero], &bias, &[("axis", 0)]));
        Some(bias)
    }
}

/// The weights in bytes, dequantized with a scale for each output: the name of what comes out.
fn put_bytes(names: &Names, graph: &mut pb::GraphProto, layer: &Layer, rounded: &Rounded) -> String {
    let name = names.of(&layer.output, "weights");
    let (cells, axis) = layer.in_file(&rounded.cells);
    let outputs = rounded.scales.len();
    let (scale, zero) = (names.of(&name, "scale"), names.of(&name, "zero_point"));
    let cells = cells.iter().map(|&cell| cell as u8).collect();
    graph.initializer.push(bytes(&name, DataType::Int8 as i32, &sides(&layer.shape), cells));
    graph.initializer.push(floats(&scale, &[outputs as i64], &rounded.scales));
    graph.initializer.push(bytes(&zero, DataType::Int8 as i32, &[outputs as i64], vec![0; outputs]));
    let weights = names.of(&name, "dequantized");
    graph.node.push(node("DequantizeLinear", &[&name, &scale, &zero], &weights, &[("axis", axis)]));
    weights
}

/// The weights in 4 bits, dequantized by block, with scales that are factors of 4 bits, dequantized with a scale for each output.
fn put_fours(names: &Names, graph: &mut pb::GraphProto, layer: &Layer, rounded: &Rounded) -> String {
    let name = names.of(&layer.output, "weights");
    let (scale, factor) = (names.of(&name, "scale"), names.of(&name, "factor"));
    let (cells, axis) = layer.in_file(&rounded.cells);
    let (factors, _) = layer.in_file(&rounded.factors);
    let along = 1 - axis;
    let mut blocks = sides(&layer.shape);
    blocks[along as usize] = (blocks[along as usize] as usize).div_ceil(BLOCK) as i64;
    graph.initializer.push(bytes(&name, INT4, &sides(&layer.shape), in_pairs(cells.iter().map(|&cell| cell as u8))));
    graph.initializer.push(bytes(&factor, UINT4, &blocks, in_pairs(factors.into_iter())));
    graph.initializer.push(floats(&scale, &[rounded.scales.len() as i64], &rounded.scales));
    let (scales, weights) = (names.of(&factor, "dequantized"), names.of(&name, "dequantized"));
    graph.node.push(node("DequantizeLinear", &[&factor, &scale], &scales, &[("axis", axis)]));
    let attributes = [("axis", along), ("block_size", BLOCK as i64)];
    graph.node.push(node("DequantizeLinear", &[&name, &scales], &weights, &attributes));
    weights
}

/// The weights in float16, widened where they are read; as they are where they don't fit.
fn put_halves(names: &Names, graph: &mut pb::GraphProto, to: &mut pb::NodeProto, layer: &Layer) {
    if layer.weights.values.iter().any(|weight| weight.abs() > f16::MAX.to_f32()) {
        return;
    }
    let (values, _) = layer.in_file(&layer.weights.values);
    let halves = values.iter().flat_map(|&weight| f16::from_f32(weight).to_le_bytes()).collect();
    let (name, weights) = (names.of(&layer.output, "half"), names.of(&layer.output, "weights"));
    graph.initializer.push(bytes(&name, DataType::Float16 as i32, &sides(&layer.shape), halves));
    graph.node.push(node("Cast", &[&name], &weights, &[("to", DataType::Float as i64)]));
    to.input[1] = weights;
}

pub(crate) fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| side as i64).collect()
}

/// Two numbers of 4 bits to a byte, the first in the low bits.
fn in_pairs(numbers: impl Iterator<Item = u8>) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.map(|number| number & 0xf).collect();
    numbers.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)).collect()
}

/// Names of what is added to a graph: none that it has.
pub(crate) struct Names {
    /// Between a name and what is made of it.
    mark: String,
}

impl Names {
    pub(crate) fn beside(graph: &pb::GraphProto) -> Self {
        let nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output).chain([&node.name]));
        let ports = graph.input.iter().chain(&graph.output).map(|port| &port.name);
        let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
        let taken: Vec<&String> = nodes.chain(ports).chain(tensors).collect();
        let ends = [
            "float",
            "dequantized",
            "quantized",
            "scale",
            "zero_point",
            "weights",
            "bias",
            "factor",
            "axes",
            "part",
            "parts",
            "split",
            "half",
        ];
        let mut mark = String::from("_");
        while taken.iter().any(|name| ends.iter().any(|end| name.ends_with(&format!("{mark}{end}")))) {
            mark.push('q');
        }
        Names { mark }
    }

    pub(crate) fn of(&self, name: &str, what: &str) -> String {
        format!("{name}{}{what}", self.mark)
    }
}

pub(crate) fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> pb::NodeProto {
    let attribute = attributes.iter().map(|&(name, i)| pb::AttributeProto {
        name: name.into(),
        i,
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        ..Default::default()
    });
    pb::NodeProto {
        op_type: operator.into(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attribute.collect(),
        ..Default::default()
    }
}

fn bytes(name: &str, data_type: i32, shape: &[i64], raw_data: Vec<u8>) -> pb::TensorProto {
    pb::TensorProto { name: name.to_owned(), data_type, dims: shape.to_vec(), raw_data, ..Default::default() }
}

pub(crate) fn floats(name: &str, shape: &[i64], values: &[f32]) -> pb::TensorProto {
    bytes(name, DataType::Float as i32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// ONNX wants each node behind those that it reads: `nodes`, and those that already stand in `graph`.
fn sorted(mut nodes: Vec<pb::NodeProto>, graph: &pb::GraphProto) -> Vec<pb::NodeProto> {
    let mut all = graph.node.clone();
    all.append(&mut nodes);
    let maker: HashMap<&str, usize> = all
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let (mut order, mut seen, mut stack) = (Vec::with_capacity(all.len()), vec![false; all.len()], Vec::new());
    for root in 0..all.len() {
        stack.push((root, false));
        while let Some((index, is_done)) = stack.pop() {
            if is_done {
                order.push(index);
            } else if !std::mem::replace(&mut seen[index], true) {
                stack.push((index, true));
                stack.extend(
                    all[index].input.iter().filter_map(|name| maker.get(name.as_str())).map(|&made| (made, false)),
                );
            }
        }
    }
    order.into_iter().map(|index| all[index].clone()).collect()
}

/// Float weights that no node reads any more, and nodes that only made them.
fn drop_unread(graph: &mut pb::GraphProto) {
    loop {
        let read: HashSet<&str> = graph
            .node
            .iter()
            .flat_map(|node| &node.input)
            .chain(graph.output.iter().map(|output| &output.name))
            .map(String::as_str)
            .collect();
        let is_read = |name: &String| read.contains(name.as_str());
        let nodes: Vec<bool> = graph.node.iter().map(|node| node.output.iter().any(is_read)).collect();
        let tensors: Vec<bool> = graph.initializer.iter().map(|tensor| is_read(&tensor.name)).collect();
        let is_done = nodes.iter().chain(&tensors).all(|kept| *kept);
        let (mut nodes, mut tensors) = (nodes.into_iter(), tensors.into_iter());
        graph.node.retain(|_| nodes.next().unwrap_or(true));
        graph.initializer.retain(|_| tensors.next().unwrap_or(true));
        if is_done {
            graph.value_info.clear();
            return;
        }
    }
}

/// Whether `file` can be made, or made anew: in a folder that is there and can be written to, and nothing but a regular file in its place.
///
/// # Errors
/// [`QuantizeError::Write`].
pub fn writable(file: &Path) -> Result<(), QuantizeError> {
    let refuse =
        |kind, what: &str| QuantizeError::Write { file: file.to_owned(), error: io::Error::new(kind, what.to_owned()) };
    if !folder(file).is_dir() {
        return Err(refuse(io::ErrorKind::NotFound, "its folder is not there: make it first"));
    }
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => Err(refuse(io::ErrorKind::InvalidInput, "is not a regular file")),
        _ => tempfile::tempfile_in(folder(file))
            .map(|_| ())
            .map_err(|error| QuantizeError::Write { file: file.to_owned(), error }),
    }
}

/// Writes `bytes` to `file`, or to what it links to, whole or not at all. A file that was there keeps its permissions.
///
/// # Errors
/// [`QuantizeError::Write`].
pub fn whole(file: &Path, bytes: &[u8]) -> Result<(), QuantizeError> {
    writable(file)?;
    let failed = |error: io::Error| {
        // Without the name of the part, which is of no use to anybody.
        let error = error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error);
        QuantizeError::Write { file: file.to_owned(), error }
    };
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let before = fs::metadata(&target).ok().map(|found| found.permissions());
    let mut builder = tempfile::Builder::new();
    builder.permissions(before.clone().unwrap_or_else(usual));
    let mut part = builder.tempfile_in(folder(&target)).map_err(failed)?;
    part.write_all(bytes).map_err(failed)?;
    if let Some(before) = before {
        // The umask has had its say on the part.
        part.as_file().set_permissions(before).map_err(failed)?;
    }
    part.as_file().sync_all().map_err(failed)?;
    part.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Of new files, less what the umask takes.
fn usual() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}
