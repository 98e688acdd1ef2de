//! Bytes from anybody: what they say is checked as that of an ONNX file is, and shapes are found anew.

use super::{FLOAT, INT, INTS, LEFT_OUT, MAX_RANK, MAX_VALUES, MOST_ELEMENTS, NAMELESS, TEXT, is_name};
use crate::engine::graph::{Attribute, DatumType, Fact, Graph, Node, Tensor, computed, fits};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Graph {
    /// Reads a graph.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut from = Reader { left: bytes };
        let mut read = Reading { graph: Graph::empty(i64::from(from.byte()?)), names: Vec::new(), elements: 0 };
        for _ in 0..from.count()? {
            let (name, shape) = (from.port_name()?, from.shape()?);
            read.takes(&name, &shape)?;
            if shape.contains(&0) {
                return Err(format!("input {name:?}: shape {shape:?} is of nothing"));
            }
            read.graph.facts.insert(name.clone(), Fact { datum_type: DatumType::F32, shape });
            read.graph.inputs.push(name.clone());
            read.add(name)?;
        }
        for _ in 0..from.count()? {
            let name = read.nameless();
            let value = from.constant().map_err(|reason| format!("constant {name}: {reason}"))?;
            read.takes(&name, value.shape())?;
            read.graph.constants.insert(name.clone(), Arc::new(value));
            read.add(name)?;
        }
        let nodes = from.count()?;
        for _ in 0..nodes {
            let node = from.node(&read)?;
            read.graph.check(&node).map_err(|reason| format!("{}: {reason}", node.label()))?;
            read.give(node)?;
        }
        let mut named = HashMap::new();
        for _ in 0..from.count()? {
            let (number, name) = (from.number()?, from.port_name()?);
            let of = read.named(number)?.to_owned();
            if read.graph.datum_type(&of) != Some(DatumType::F32) {
                return Err(format!("output {name:?} is not float32"));
            }
            let is_taken = read.graph.inputs.contains(&name) || read.graph.inputs.contains(&of);
            if is_taken || read.graph.outputs.contains(&name) || named.insert(of, name.clone()).is_some() {
                return Err(format!("output {name:?}: is there twice, or is an input"));
            }
            read.graph.outputs.push(name);
        }
        if !from.left.is_empty() {
            return Err(format!("{} bytes follow its end", from.left.len()));
        }
        Ok(read.graph.renamed(&named))
    }

    fn empty(opset: i64) -> Self {
        Graph {
            opset,
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            constants: HashMap::new(),
            facts: HashMap::new(),
            halves: HashSet::new(),
        }
    }

    /// Values by other names.
    fn renamed(mut self, names: &HashMap<String, String>) -> Self {
        let renamed = |name: String| names.get(&name).cloned().unwrap_or(name);
        for node in &mut self.nodes {
            for name in node.inputs.iter_mut().chain(&mut node.outputs) {
                *name = renamed(std::mem::take(name));
            }
        }
        self.facts = self.facts.into_iter().map(|(name, fact)| (renamed(name), fact)).collect();
        self.constants = self.constants.into_iter().map(|(name, value)| (renamed(name), value)).collect();
        self
    }
}

/// A graph as far as it is read.
struct Reading {
    graph: Graph,
    /// Of all values, by number.
    names: Vec<String>,
    /// Of all values together.
    elements: usize,
}

impl Reading {
    fn nameless(&self) -> String {
        format!("{NAMELESS}{}", self.names.len())
    }

    fn add(&mut self, name: String) -> Result<(), String> {
        if self.names.len() >= MAX_VALUES as usize {
            return Err(format!("it has more than {MAX_VALUES} values, which are the most that are read"));
        }
        self.names.push(name);
        Ok(())
    }

    fn named(&self, number: u32) -> Result<&str, String> {
        let name = self.names.get(number as usize);
        name.map(String::as_str).ok_or_else(|| format!("value {number} is read before it is there"))
    }

    /// Counts the elements of one more value.
    fn takes(&mut self, name: &str, shape: &[usize]) -> Result<(), String> {
        fits(name, shape)?;
        self.elements += shape.iter().product::<usize>();
        match self.elements <= MOST_ELEMENTS {
            true => Ok(()),
            false => Err(format!("{name}: all values together have more than {MOST_ELEMENTS} elements")),
        }
    }

    /// Finds what a node gives.
    fn give(&mut self, node: Node) -> Result<(), String> {
        let label = node.label();
        if self.graph.folds(&node) {
            return Err(format!("{label}: reads constants alone, and should be one"));
        }
        let fact = self.graph.own_fact(&node);
        let fact = fact.filter(|fact| !fact.shape.contains(&0));
        let fact = fact.ok_or_else(|| format!("{label}: what it gives can't be told from what it reads"))?;
        if fact.datum_type != computed(fact.datum_type) {
            return Err(format!("{label}: gives {:?}, in which nothing is computed", fact.datum_type));
        }
        self.takes(node.output(), &fact.shape).map_err(|reason| format!("{label}: {reason}"))?;
        self.graph.facts.insert(node.output().to_owned(), fact);
        let output = node.output().to_owned();
        self.graph.nodes.push(node);
        self.add(output)
    }
}

struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let Some((taken, left)) = self.left.split_at_checked(len) else {
            return Err(format!("it ends {} bytes too early", len - self.left.len()));
        };
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn count(&mut self) -> Result<u32, String> {
        let count = self.number()?;
        match count <= MAX_VALUES {
            true => Ok(count),
            false => Err(format!("{count} values, {MAX_VALUES} are the most")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let len = self.byte()?.into();
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8")?;
        Ok(text.to_owned())
    }

    fn port_name(&mut self) -> Result<String, String> {
        let name = self.text()?;
        if is_name(&name) { Ok(name) } else { Err(format!("{name:?} is no name of an input or an output")) }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let rank = self.byte()?.into();
        if rank > MAX_RANK {
            return Err(format!("a shape has {rank} axes, {MAX_RANK} are the most"));
        }
        (0..rank).map(|_| self.number().map(|side| side as usize)).collect()
    }

    fn constant(&mut self) -> Result<Tensor, String> {
        let number = self.byte()?.into();
        let datum_type = DatumType::from_number(number).ok_or_else(|| format!("{number} is the number of no type"))?;
        let shape = self.shape()?;
        fits("", &shape).map_err(|_| format!("shape {shape:?} is out of range"))?;
        let bytes = self.take(shape.iter().product::<usize>() * datum_type.size_of())?;
        Tensor::from_bytes(datum_type, &shape, bytes).ok_or_else(|| "its bytes are not its shape's".into())
    }

    fn node(&mut self, read: &Reading) -> Result<Node, String> {
        let mut node = Node { op: self.text()?, outputs: vec![read.nameless()], ..Node::default() };
        for _ in 0..self.byte()? {
            node.inputs.push(match self.number()? {
                LEFT_OUT => String::new(),
                number => read.named(number).map_err(|reason| format!("{}: {reason}", node.label()))?.to_owned(),
            });
        }
        for _ in 0..self.byte()? {
            let mut attribute = Attribute { name: self.text()?, ..Attribute::default() };
            match self.byte()? {
                INT => attribute.int = i64::from_le_bytes(self.array()?),
                FLOAT => attribute.float = f32::from_bits(self.number()?),
                INTS => {
                    for _ in 0..self.byte()? {
                        attribute.ints.push(i64::from_le_bytes(self.array()?));
                    }
                }
                TEXT => attribute.text = self.text()?,
                kind => return Err(format!("{}: {:?} is of the unknown kind {kind}", node.label(), attribute.name)),
            }
            node.attributes.push(attribute);
        }
        Ok(node)
    }
}
