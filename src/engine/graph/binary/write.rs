//! A graph becomes bytes.

use super::{FLOAT, INT, INTS, LEFT_OUT, MAX_RANK, NAMELESS, TEXT, is_name};
use crate::engine::graph::{Attribute, DatumType, Graph, Node, Tensor};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

impl Graph {
    /// The graph as bytes that [`Graph::from_bytes`] reads.
    ///
    /// # Errors
    /// What can't be written of it, with the name of the node, the input or the output.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut to = Writer::default();
        to.byte(u8::try_from(self.opset).map_err(|_| format!("operator set {} is out of range", self.opset))?);
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut number = |name| {
            let next = numbers.len() as u32;
            match numbers.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(next);
                    true
                }
                Entry::Occupied(_) => false,
            }
        };
        to.count(self.inputs.len());
        for name in &self.inputs {
            let fact = self.facts.get(name).ok_or_else(|| format!("nothing is known of input {name:?}"))?;
            self.float_port("input", name)?;
            to.name(name)?;
            to.shape(&fact.shape)?;
            number(name);
        }
        let outputs = self.outputs.iter();
        let read = self.nodes.iter().flat_map(|node| &node.inputs).chain(outputs.clone());
        let mut constants: Vec<(&str, &Tensor)> = Vec::new();
        for name in read {
            if let Some(value) = self.constants.get(name)
                && number(name)
            {
                constants.push((name, value));
            }
        }
        to.count(constants.len());
        for (name, value) in constants {
            to.byte(value.datum_type().number() as u8);
            to.shape(value.shape()).map_err(|reason| format!("constant {name:?}: {reason}"))?;
            to.bytes.extend_from_slice(value.as_bytes());
        }
        for node in &self.nodes {
            let [output] = &node.outputs[..] else {
                return Err(format!("{}: gives more than one value, which a plan file doesn't hold", node.label()));
            };
            if !number(output) {
                return Err(format!("{}: something else gives {output:?} too", node.label()));
            }
        }
        to.count(self.nodes.len());
        for node in &self.nodes {
            to.node(node, &numbers).map_err(|reason| format!("{}: {reason}", node.label()))?;
        }
        to.count(self.outputs.len());
        for name in outputs {
            self.float_port("output", name)?;
            to.number(numbers.get(name.as_str()).copied().ok_or_else(|| format!("nothing gives output {name:?}"))?);
            to.name(name)?;
        }
        Ok(to.bytes)
    }

    fn float_port(&self, kind: &str, name: &str) -> Result<(), String> {
        match self.datum_type(name) == Some(DatumType::F32) && !self.halves.contains(name) {
            true => Ok(()),
            false => Err(format!("{kind} {name:?} is not float32")),
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    fn number(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u32);
    }

    fn short(&mut self, count: usize, what: &str) -> Result<(), String> {
        self.byte(u8::try_from(count).map_err(|_| format!("{count} {what}, 255 are the most"))?);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        self.short(text.len(), "bytes of a text")?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Of an input or an output.
    fn name(&mut self, name: &str) -> Result<(), String> {
        match is_name(name) {
            true => self.text(name),
            false => Err(format!("{name:?} is no name: 1 to 255 bytes, of which the first is not {NAMELESS}")),
        }
    }

    fn shape(&mut self, shape: &[usize]) -> Result<(), String> {
        if shape.len() > MAX_RANK {
            return Err(format!("shape {shape:?} has more than {MAX_RANK} axes"));
        }
        self.byte(shape.len() as u8);
        for &side in shape {
            self.number(u32::try_from(side).map_err(|_| format!("shape {shape:?} is out of range"))?);
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, numbers: &HashMap<&str, u32>) -> Result<(), String> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(format!("is of the domain {:?}, which a plan file doesn't hold", node.domain));
        }
        self.text(&node.op)?;
        self.short(node.inputs.len(), "inputs")?;
        for name in &node.inputs {
            self.number(match name.as_str() {
                "" => LEFT_OUT,
                name => *numbers.get(name).ok_or_else(|| format!("nothing gives its input {name:?}"))?,
            });
        }
        self.short(node.attributes.len(), "attributes")?;
        for Attribute { name, int, float, ints, text } in &node.attributes {
            self.text(name)?;
            match (float.to_bits(), &ints[..], text.as_str()) {
                (0, [], "") => {
                    self.byte(INT);
                    self.bytes.extend(int.to_le_bytes());
                }
                (bits, [], "") => {
                    self.byte(FLOAT);
                    self.number(bits);
                }
                (_, [], text) => {
                    self.byte(TEXT);
                    self.text(text)?;
                }
                (_, ints, _) => {
                    self.byte(INTS);
                    self.short(ints.len(), "numbers of an attribute")?;
                    ints.iter().for_each(|int| self.bytes.extend(int.to_le_bytes()));
                }
            }
        }
        Ok(())
    }
}
