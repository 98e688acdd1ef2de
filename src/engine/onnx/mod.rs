//! The graph of an ONNX file as the lowering reads it: parsed by tract's front, checked, constants folded, shapes known.

mod facts;
mod file;
mod four;
mod half;
mod known;
mod single;

pub use file::{File, decode};
pub use half::computed;
pub use single::Single;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tract_onnx::pb;
use tract_onnx::prelude::*;

/// Most elements of one tensor: of 8 bytes each, half of what a machine of 32 bits can give at once.
const MAX_ELEMENTS: usize = if usize::BITS < 64 { 1 << 27 } else { 1 << 28 };
const DATA_LOCATION_EXTERNAL: i32 = 1;

/// A value that a node reads or writes, by its name in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
}

/// An operator whose inputs are not all constants.
#[derive(Debug, Clone)]
pub struct Node {
    pub proto: pb::NodeProto,
}

impl Node {
    /// Name and operator, for messages.
    pub fn label(&self) -> String {
        label(&self.proto)
    }

    /// Its own, or that of what it gives.
    pub fn name(&self) -> &str {
        match self.proto.name.as_str() {
            "" => self.output(),
            name => name,
        }
    }

    pub fn op(&self) -> &str {
        &self.proto.op_type
    }

    /// Name of input `index`; `None` where it is left out.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.proto.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub fn output(&self) -> &str {
        &self.proto.output[0]
    }

    fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
    }
}

/// A network whose shapes are all known. Nodes stand in an order in which they can run.
#[derive(Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub constants: HashMap<String, Arc<Tensor>>,
    /// Of everything that is not constant.
    pub facts: HashMap<String, Fact>,
    /// Inputs and outputs that are float16 to the outside, and float32 in the graph.
    pub halves: HashSet<String>,
    /// The operator sets that the file imports, and no graph.
    pub imports: pb::ModelProto,
}

/// What is known of a model's inputs beyond its file.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// Type and shape of the tensor that an input will get.
    pub facts: HashMap<String, Fact>,
    /// Inputs that are always the same.
    pub constants: HashMap<String, Arc<Tensor>>,
    /// The outputs that are asked for, all of which the model has, or else all of its outputs.
    pub outputs: Vec<String>,
}

/// Name and operator of a node; of one without a name, what it gives.
fn label(proto: &pb::NodeProto) -> String {
    match (proto.name.as_str(), proto.output.first()) {
        ("", Some(output)) => format!("node that gives {output:?} ({})", proto.op_type),
        (name, _) => format!("node {name:?} ({})", proto.op_type),
    }
}

impl Graph {
    /// Reads a decoded model. An open dimension of an input is what `bound` says, else, if it is the first, 1.
    ///
    /// # Errors
    /// What is wrong, with the name of the input, the initializer or the node.
    pub fn new(file: File, bound: &Bound) -> Result<Self, String> {
        let File { mut model, initializers, fours } = file;
        let graph = model.graph.take().ok_or("it holds no graph")?;
        let reads_fours = |node: &&pb::NodeProto| node.input.iter().any(|name| fours.contains(name));
        if let Some(node) = graph.node.iter().filter(reads_fours).find(|node| node.op_type != "DequantizeLinear") {
            return Err(format!("{}: reads values of 4 bits, which DequantizeLinear alone may here", label(node)));
        }
        let mut constants = bound.constants.clone();
        constants.extend(initializers.into_iter().map(|(name, value)| (name, Arc::new(value))));
        let (mut inputs, mut facts, mut halves) = (Vec::new(), HashMap::new(), HashSet::new());
        for input in graph.input.iter().filter(|input| !constants.contains_key(&input.name)) {
            let Fact { datum_type, shape } = declared(input, bound.facts.get(&input.name))?;
            if computed(datum_type) != datum_type {
                halves.insert(input.name.clone());
            }
            facts.insert(input.name.clone(), Fact { datum_type: computed(datum_type), shape });
            inputs.push(input.name.clone());
        }
        halves.extend(graph.output.iter().filter(|output| is_half(output)).map(|output| output.name.clone()));
        let mut outputs: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
        if !bound.outputs.is_empty() && bound.outputs.iter().all(|name| outputs.contains(name)) {
            outputs.retain(|name| bound.outputs.contains(name));
        }
        let imports =
            pb::ModelProto { ir_version: model.ir_version, opset_import: model.opset_import, ..Default::default() };
        let mut read = Graph { nodes: Vec::new(), inputs, outputs, constants, facts, halves, imports };
        for proto in in_order(&graph, &read)? {
            read.add(proto)?;
        }
        for output in &read.outputs {
            if !read.facts.contains_key(output) && !read.constants.contains_key(output) {
                return Err(format!("output {output:?} is made by no node"));
            }
        }
        read.prune();
        Ok(read)
    }

    /// Folds the node into constants if its inputs are constant, else notes what it gives.
    fn add(&mut self, proto: &pb::NodeProto) -> Result<(), String> {
        let mut node = Node { proto: proto.clone() };
        half::widen(&mut node.proto);
        let failed = |reason: String| format!("{}: {reason}", node.label());
        if proto.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(failed("graphs inside of nodes (If, Loop, Scan) are not planned".into()));
        }
        if proto.output.is_empty() {
            return Err(failed("it gives nothing".into()));
        }
        if let ("Transpose", Some(order)) = (node.op(), node.ints("perm")) {
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            if sorted.iter().enumerate().any(|(at, &axis)| axis != at as i64) {
                return Err(failed(format!("perm {order:?} is no order of axes")));
            }
        }
        self.check_zero_point(&node).map_err(failed)?;
        let constant = node.proto.input.iter().all(|name| name.is_empty() || self.constants.contains_key(name));
        let is_folded = constant && !is_weight_dequantize(&node, self);
        if let Some(value) = self.known(&node, is_folded).map_err(failed)? {
            self.constants.insert(node.output().into(), value);
            return Ok(());
        }
        let own = self.own_fact(&node);
        let fits = |name: &str, shape: &[usize]| {
            let elements = shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side));
            match elements.is_some_and(|elements| elements <= MAX_ELEMENTS) {
                true => Ok(()),
                false => Err(failed(format!("its output {name:?} would have the shape {shape:?}"))),
            }
        };
        if let Some(fact) = &own {
            fits(node.output(), &fact.shape)?;
        }
        let single = || Single::new(&node, self, &self.constants);
        if is_folded {
            for (name, value) in proto.output.iter().zip(single().fold().map_err(failed)?) {
                self.constants.insert(name.clone(), value);
            }
            return Ok(());
        }
        let facts = match own {
            Some(fact) => vec![fact],
            None => single().facts().map_err(failed)?,
        };
        for (name, fact) in proto.output.iter().zip(facts) {
            fits(name, &fact.shape)?;
            self.facts.insert(name.clone(), fact);
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        let own = |import: &&pb::OperatorSetIdProto| matches!(import.domain.as_str(), "" | "ai.onnx");
        self.imports.opset_import.iter().find(own).map_or(1, |import| import.version)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.facts
            .get(name)
            .map(|fact| fact.shape.as_slice())
            .or_else(|| self.constants.get(name).map(|value| value.shape()))
    }

    /// The nodes that read `name`.
    pub fn readers<'g, 'n>(&'g self, name: &'n str) -> impl Iterator<Item = &'g Node> + use<'g, 'n> {
        self.nodes.iter().filter(move |node| node.proto.input.iter().any(|input| input == name))
    }

    /// Drops nodes that no output hangs on.
    fn prune(&mut self) {
        let mut wanted: HashSet<&str> = self.outputs.iter().map(String::as_str).collect();
        let mut keep = vec![false; self.nodes.len()];
        for (node, keep) in self.nodes.iter().zip(&mut keep).rev() {
            *keep = node.proto.output.iter().any(|output| wanted.contains(output.as_str()));
            if *keep {
                wanted.extend(node.proto.input.iter().map(String::as_str));
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));
    }
}

/// Int8 weights stay int8: their dequantization is no constant to fold.
fn is_weight_dequantize(node: &Node, graph: &Graph) -> bool {
    let tensor = |index| node.input(index).and_then(|name: &str| graph.constants.get(name));
    node.op() == "DequantizeLinear"
        && tensor(0).is_some_and(|value| value.datum_type().size_of() == 1 && value.rank() >= 2)
}

fn constant(tensor: &pb::TensorProto) -> Result<Tensor, String> {
    let failed = |reason: String| format!("initializer {:?}: {reason}", tensor.name);
    if tensor.data_location == Some(DATA_LOCATION_EXTERNAL) {
        return Err(failed("its data lies in another file; save the model in one file".into()));
    }
    let mut sides = tensor.dims.iter().map(|&side| usize::try_from(side).ok());
    let elements = sides.try_fold(1usize, |all, side| all.checked_mul(side?)).filter(|&all| all <= MAX_ELEMENTS);
    let elements = elements.ok_or_else(|| failed(format!("shape {:?} is out of range", tensor.dims)))?;
    if four::is_four(tensor) {
        return four::tensor(tensor, elements).map_err(failed);
    }
    super::model::guarded(|| {
        tract_onnx::tensor::load_tensor(&tract_onnx::data_resolver::MmapDataResolver, tensor, None)
    })
    .map_err(failed)
}

fn is_half(declared: &pb::ValueInfoProto) -> bool {
    match declared.r#type.as_ref().and_then(|declared| declared.value.as_ref()) {
        Some(pb::type_proto::Value::TensorType(tensor)) => {
            tensor.elem_type == pb::tensor_proto::DataType::Float16 as i32
        }
        _ => false,
    }
}

fn declared(input: &pb::ValueInfoProto, bound: Option<&Fact>) -> Result<Fact, String> {
    let failed = |reason: &str| format!("input {:?}: {reason}", input.name);
    let Some(pb::type_proto::Value::TensorType(declared)) =
        input.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    else {
        return Err(failed("is no tensor"));
    };
    let datum_type =
        pb::tensor_proto::DataType::try_from(declared.elem_type).map_err(|_| failed("has an unknown type"))?;
    let datum_type = DatumType::try_from(datum_type).map_err(|_| failed("has a type that is not planned"))?;
    let dims = declared.shape.as_ref().ok_or_else(|| failed("has no shape"))?;
    let mut shape = Vec::new();
    for (axis, dim) in dims.dim.iter().enumerate() {
        let open = bound.and_then(|bound| bound.shape.get(axis).copied());
        shape.push(match &dim.value {
            Some(pb::tensor_shape_proto::dimension::Value::DimValue(side)) if *side > 0 => {
                usize::try_from(*side).unwrap_or(usize::MAX)
            }
            _ if open.is_some() => open.unwrap_or(1),
            _ if axis == 0 => 1,
            _ => return Err(failed(&format!("dimension {axis} is open: export the model with fixed shapes"))),
        });
    }
    if let Some(bound) = bound.filter(|bound| bound.shape != shape || bound.datum_type != datum_type) {
        return Err(failed(&format!(
            "is {datum_type:?}{shape:?}, the array is {:?}{:?}",
            bound.datum_type, bound.shape
        )));
    }
    match shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side)) {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(Fact { datum_type, shape }),
        _ => Err(failed(&format!("shape {shape:?} is out of range"))),
    }
}

/// The nodes in an order in which each finds its inputs made.
fn in_order<'a>(graph: &'a pb::GraphProto, read: &Graph) -> Result<Vec<&'a pb::NodeProto>, String> {
    let mut made: HashSet<&str> = read.constants.keys().chain(&read.inputs).map(String::as_str).collect();
    let maker: HashMap<&str, usize> = (graph.node.iter().enumerate())
        .flat_map(|(index, node)| {
            node.output.iter().filter(|name| !name.is_empty()).map(move |name| (name.as_str(), index))
        })
        .collect();
    let (mut order, mut state) = (Vec::new(), vec![0u8; graph.node.len()]);
    // What is made of constants alone comes where it is first read: dequantized weights then are there one after the other, not all at once.
    let is_constant = |name: &String| name.is_empty() || read.constants.contains_key(name);
    let (late, first): (Vec<usize>, Vec<usize>) =
        (0..graph.node.len()).partition(|&index| graph.node[index].input.iter().all(is_constant));
    for start in first.into_iter().chain(late) {
        let mut path = vec![start];
        while let Some(&index) = path.last() {
            let node = &graph.node[index];
            if state[index] == 2 {
                path.pop();
                continue;
            }
            state[index] = 1;
            let open = node.input.iter().find(|name| !name.is_empty() && !made.contains(name.as_str()));
            match open {
                None => {
                    state[index] = 2;
                    made.extend(node.output.iter().map(String::as_str));
                    order.push(node);
                    path.pop();
                }
                Some(name) => match maker.get(name.as_str()) {
                    Some(&other) if state[other] == 0 => path.push(other),
                    Some(_) => return Err(format!("{}: is part of a cycle", label(node))),
                    None => return Err(format!("{}: nothing makes its input {name:?}", label(node))),
                },
            }
        }
    }
    Ok(order)
}
