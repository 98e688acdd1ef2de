//! An ONNX file, parsed by tract's front and checked, as a graph: constants folded, shapes known.

mod file;
mod four;
mod half;
mod known;
mod planned;
mod single;
mod values;

pub use file::{File, decode};
pub use planned::{graph, plan};
pub use values::{own, own_type};

use super::graph::{Attribute, DatumType, Fact, Graph, MAX_ELEMENTS, Node, Tensor, computed, elements, fits};
use super::lower::Elsewhere;
use super::plan::foreign::Operator;
use single::Single;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tract_onnx::pb;

const DATA_LOCATION_EXTERNAL: i32 = 1;

/// What tract needs to run a node of a graph by itself.
#[derive(Debug)]
pub struct Front {
    /// The operator sets that the file imports, and no graph.
    imports: pb::ModelProto,
    /// The nodes as the file has them, by what they give.
    protos: HashMap<Vec<String>, pb::NodeProto>,
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

/// Reads a decoded model. An open dimension of an input is what `bound` says, else, if it is the first, 1.
///
/// # Errors
/// What is wrong, with the name of the input, the initializer or the node.
pub fn read(file: File, bound: &Bound) -> Result<(Graph, Front), String> {
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
    let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
    let imports =
        pb::ModelProto { ir_version: model.ir_version, opset_import: model.opset_import, ..Default::default() };
    let own = |import: &&pb::OperatorSetIdProto| matches!(import.domain.as_str(), "" | "ai.onnx");
    let opset = imports.opset_import.iter().find(own).map_or(1, |import| import.version);
    let mut read = Graph { opset, nodes: Vec::new(), inputs, outputs, constants, facts, halves };
    let mut front = Front { imports, protos: HashMap::new() };
    for proto in in_order(&graph, &read)? {
        front.add(&mut read, proto)?;
    }
    read.keep(&bound.outputs);
    for output in &read.outputs {
        if !read.facts.contains_key(output) && !read.constants.contains_key(output) {
            return Err(format!("output {output:?} is made by no node"));
        }
    }
    Ok((read, front))
}

impl Front {
    /// Folds the node into the graph's constants if its inputs are constant, else notes what it gives.
    fn add(&mut self, graph: &mut Graph, proto: &pb::NodeProto) -> Result<(), String> {
        let mut proto = proto.clone();
        half::widen(&mut proto);
        let node = plain(&proto);
        let failed = |reason: String| format!("{}: {reason}", node.label());
        if proto.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(failed("graphs inside of nodes (If, Loop, Scan) are not planned".into()));
        }
        graph.check(&node).map_err(failed)?;
        let is_folded = graph.folds(&node);
        if let Some(value) = known::known(graph, &node, &proto, is_folded).map_err(failed)? {
            graph.constants.insert(node.output().into(), value);
            return Ok(());
        }
        let own = graph.own_fact(&node).or_else(|| known::constant_of_shape(graph, &node, &proto));
        if let Some(fact) = &own {
            fits(node.output(), &fact.shape).map_err(failed)?;
        }
        let single = || Single::new(&node, &proto, graph, &graph.constants, &self.imports);
        if is_folded {
            let folded = single().fold().map_err(failed)?;
            graph.constants.extend(node.outputs.iter().cloned().zip(folded));
            return Ok(());
        }
        let facts = match own {
            Some(fact) => vec![fact],
            None => single().facts().map_err(failed)?,
        };
        for (name, fact) in node.outputs.iter().zip(facts) {
            fits(name, &fact.shape).map_err(failed)?;
            graph.facts.insert(name.clone(), fact);
        }
        self.protos.insert(node.outputs.clone(), proto);
        graph.nodes.push(node);
        Ok(())
    }
}

impl Elsewhere for Front {
    fn operator(
        &self,
        node: &Node,
        graph: &Graph,
        constants: &HashMap<String, Arc<Tensor>>,
    ) -> Result<Arc<Operator>, String> {
        let proto = self.protos.get(&node.outputs).ok_or("is not the file's")?;
        Single::new(node, proto, graph, constants, &self.imports).operator()
    }
}

/// A node without what the lowering doesn't read.
fn plain(proto: &pb::NodeProto) -> Node {
    let attribute = |attribute: &pb::AttributeProto| Attribute {
        name: attribute.name.clone(),
        int: attribute.i,
        float: attribute.f,
        ints: attribute.ints.clone(),
        text: String::from_utf8(attribute.s.clone()).unwrap_or_default(),
    };
    Node {
        name: proto.name.clone(),
        op: proto.op_type.clone(),
        domain: proto.domain.clone(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        attributes: proto.attribute.iter().map(attribute).collect(),
    }
}

/// Name and operator of a node, for messages.
fn label(proto: &pb::NodeProto) -> String {
    plain(proto).label()
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
    let loaded = super::model::guarded(|| {
        tract_onnx::tensor::load_tensor(&tract_onnx::data_resolver::MmapDataResolver, tensor, None)
    });
    loaded.and_then(|tensor| values::own(&tensor)).map_err(failed)
}

fn is_half(declared: &pb::ValueInfoProto) -> bool {
    match declared.r#type.as_ref().and_then(|declared| declared.value.as_ref()) {
        Some(pb::type_proto::Value::TensorType(tensor)) => {
            DatumType::from_number(tensor.elem_type.into()) == Some(DatumType::F16)
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
        DatumType::from_number(declared.elem_type.into()).ok_or_else(|| failed("has a type that is not planned"))?;
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
    match elements(&shape) {
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

#[cfg(test)]
mod tests;
