//! A network as the lowering reads it: nodes in an order in which they can run, constants, and all shapes known.

mod binary;
mod facts;
mod tensor;

pub use tensor::{Datum, DatumType, Tensor, elements};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most elements of one tensor.
pub const MAX_ELEMENTS: usize = if usize::BITS < 64 { 1 << 27 } else { 1 << 28 };

/// Type and shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
}

/// What a node says by name. One of the four is told, the others are 0 or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attribute {
    pub name: String,
    pub int: i64,
    pub float: f32,
    pub ints: Vec<i64>,
    pub text: String,
}

/// An operator of ONNX, and what it reads and gives, by name; an empty name is one that is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    pub name: String,
    pub op: String,
    /// Empty for ONNX's own.
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<Attribute>,
}

impl Node {
    /// Name and operator, for messages; of a node without a name, what it gives.
    pub fn label(&self) -> String {
        match (self.name.as_str(), self.outputs.first()) {
            ("", Some(output)) => format!("node that gives {output:?} ({})", self.op),
            (name, _) => format!("node {name:?} ({})", self.op),
        }
    }

    /// Its own, or that of what it gives.
    pub fn name(&self) -> &str {
        match self.name.as_str() {
            "" => self.output(),
            name => name,
        }
    }

    pub fn op(&self) -> &str {
        &self.op
    }

    /// Name of input `index`; `None` where it is left out.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The first: every node of a graph has one.
    pub fn output(&self) -> &str {
        &self.outputs[0]
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.int)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.float)
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).map(|attribute| attribute.text.as_str())
    }
}

/// A network whose shapes are all known. Nodes stand in an order in which they can run.
#[derive(Debug)]
pub struct Graph {
    /// Version of ONNX's own operators.
    pub opset: i64,
    pub nodes: Vec<Node>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub constants: HashMap<String, Arc<Tensor>>,
    /// Of everything that is not constant.
    pub facts: HashMap<String, Fact>,
    /// Inputs and outputs that are float16 to the outside, and float32 in the graph.
    pub halves: HashSet<String>,
}

/// In what a graph computes what is `datum_type` to the outside: what is of 16 bits is constant, or an input or an output.
pub fn computed(datum_type: DatumType) -> DatumType {
    if datum_type == DatumType::F16 { DatumType::F32 } else { datum_type }
}

impl Graph {
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.facts
            .get(name)
            .map(|fact| fact.shape.as_slice())
            .or_else(|| self.constants.get(name).map(|value| value.shape()))
    }

    pub fn datum_type(&self, name: &str) -> Option<DatumType> {
        let constant = || self.constants.get(name).map(|value| value.datum_type());
        self.facts.get(name).map(|fact| fact.datum_type).or_else(constant)
    }

    /// The nodes that read `name`.
    pub fn readers<'g, 'n>(&'g self, name: &'n str) -> impl Iterator<Item = &'g Node> + use<'g, 'n> {
        self.nodes.iter().filter(move |node| node.inputs.iter().any(|input| input == name))
    }

    /// What is wrong with what a node says, whatever it reads.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, node: &Node) -> Result<(), String> {
        if node.outputs.is_empty() {
            return Err("it gives nothing".into());
        }
        if let ("Transpose", Some(order)) = (node.op(), node.ints("perm")) {
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            if sorted.iter().enumerate().any(|(at, &axis)| axis != at as i64) {
                return Err(format!("perm {order:?} is no order of axes"));
            }
        }
        self.check_zero_point(node)
    }

    /// Whether the node is to be known before the graph runs: all that it reads is constant. Int8 weights stay int8: their dequantization is no
    /// constant to fold.
    pub fn folds(&self, node: &Node) -> bool {
        let tensor = |index| node.input(index).and_then(|name: &str| self.constants.get(name));
        let is_weight_dequantize = || {
            node.op() == "DequantizeLinear"
                && tensor(0).is_some_and(|value| value.datum_type().size_of() == 1 && value.rank() >= 2)
        };
        node.inputs.iter().all(|name| name.is_empty() || self.constants.contains_key(name)) && !is_weight_dequantize()
    }

    /// Keeps the outputs that `asked` names, if it names some, and only such as there are; and drops nodes that no output hangs on.
    pub fn keep(&mut self, asked: &[String]) {
        if !asked.is_empty() && asked.iter().all(|name| self.outputs.contains(name)) {
            self.outputs.retain(|name| asked.contains(name));
        }
        let mut wanted: HashSet<&str> = self.outputs.iter().map(String::as_str).collect();
        let mut keep = vec![false; self.nodes.len()];
        for (node, keep) in self.nodes.iter().zip(&mut keep).rev() {
            *keep = node.outputs.iter().any(|output| wanted.contains(output.as_str()));
            if *keep {
                wanted.extend(node.inputs.iter().map(String::as_str));
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));
    }
}

/// Whether a tensor of this shape is not too large.
///
/// # Errors
/// Why the output `name` of a node is.
pub fn fits(name: &str, shape: &[usize]) -> Result<(), String> {
    match elements(shape).is_some_and(|elements| elements <= MAX_ELEMENTS) {
        true => Ok(()),
        false => Err(format!("its output {name:?} would have the shape {shape:?}")),
    }
}
