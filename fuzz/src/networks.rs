//! Where the fuzzer starts from: small networks as a plan file holds them, written by `docs/plan.md` and not by `semrx`.

use semrx::engine::Planned;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::{Machine, Stays};
use std::fs::{create_dir_all, write};
use std::path::Path;

/// ONNX's numbers of types.
const F32: u8 = 1;
const I8: u8 = 3;
const I64: u8 = 7;

/// Writes the networks into the folder that `SEMRX_SEEDS` names, and ends the program. Does nothing where it isn't set.
pub fn write_where_asked() {
    let Some(folder) = std::env::var_os("SEMRX_SEEDS") else { return };
    create_dir_all(&folder).expect("the folder of SEMRX_SEEDS can be made");
    let seeds = [("convolution", convolution()), ("quantized", quantized()), ("tensors", tensors())];
    for (name, network) in &seeds {
        // A seed that is refused would reach nothing.
        let machine = Machine::one_thread(Isa::Scalar);
        let planned = Planned::from_compiled(Path::new(name), network, &machine, Stays::default(), &[]);
        planned.expect("a seed is a network").run().expect("a seed runs");
        write(Path::new(&folder).join(name), network).expect("the seed can be written");
    }
    eprintln!("wrote {} networks to {}", seeds.len(), folder.display());
    std::process::exit(0);
}

/// A float convolution with a bound, and its mean.
fn convolution() -> Vec<u8> {
    let mut network = Network::new(&[1, 3, 6, 5]);
    let weights = network.floats(&[4, 3, 3, 3]);
    let sums = network.node("Conv", &[0, weights], &[("pads", &[1, 1, 1, 1]), ("strides", &[2, 1])]);
    let bounded = network.node("Relu", &[sums], &[]);
    let mean = network.node("GlobalAveragePool", &[bounded], &[]);
    network.end(&[bounded, mean])
}

/// An int8 convolution between quantizations.
fn quantized() -> Vec<u8> {
    let mut network = Network::new(&[1, 4, 5, 5]);
    let (scale, zero) = (network.constant(F32, &[], &0.05f32.to_le_bytes()), network.constant(I8, &[], &[3]));
    let none = network.constant(I8, &[], &[0]);
    let values: Vec<u8> = (0..5 * 4 * 9).map(|at| (at * 29) as u8).collect();
    let weights = network.constant(I8, &[5, 4, 3, 3], &values);
    let cells = network.node("QuantizeLinear", &[0, scale, zero], &[]);
    let input = network.node("DequantizeLinear", &[cells, scale, zero], &[]);
    let weights = network.node("DequantizeLinear", &[weights, scale, none], &[]);
    let sums = network.node("Conv", &[input, weights], &[("pads", &[1, 1, 1, 1])]);
    let cells = network.node("QuantizeLinear", &[sums, scale, zero], &[]);
    let output = network.node("DequantizeLinear", &[cells, scale, zero], &[]);
    network.end(&[output])
}

/// Views, products, formulas and a fold.
fn tensors() -> Vec<u8> {
    let mut network = Network::new(&[2, 3, 4]);
    let shape = network.constant(I64, &[2], &[6i64.to_le_bytes(), 4i64.to_le_bytes()].concat());
    let axes = network.constant(I64, &[1], &1i64.to_le_bytes());
    let matrix = network.floats(&[4, 5]);
    let turned = network.node("Transpose", &[0], &[("perm", &[1, 0, 2])]);
    let rows = network.node("Reshape", &[turned, shape], &[]);
    let product = network.node("MatMul", &[rows, matrix], &[]);
    let sigmoid = network.node("Sigmoid", &[product], &[]);
    let sum = network.node("Add", &[product, sigmoid], &[]);
    let softmax = network.node("Softmax", &[sum], &[("axis", &[1])]);
    let fold = network.node("ReduceMean", &[softmax, axes], &[("keepdims", &[0])]);
    network.end(&[softmax, fold])
}

/// Constants and nodes, in the order in which they are asked for: constants come before nodes.
struct Network {
    input: Vec<u8>,
    constants: Vec<u8>,
    nodes: Vec<u8>,
    /// Of constants and nodes.
    counts: [u32; 2],
}

impl Network {
    fn new(shape: &[u32]) -> Self {
        Network { input: shape_bytes(shape), constants: Vec::new(), nodes: Vec::new(), counts: [0, 0] }
    }

    fn constant(&mut self, datum_type: u8, shape: &[u32], elements: &[u8]) -> u32 {
        assert_eq!(self.counts[1], 0);
        self.constants.push(datum_type);
        self.constants.extend(shape_bytes(shape));
        self.constants.extend(elements);
        self.counts[0] += 1;
        self.counts[0]
    }

    fn floats(&mut self, shape: &[u32]) -> u32 {
        let value = |at: u32| (at * 31 % 17) as f32 / 8.0 - 1.0;
        let elements: Vec<u8> = (0..shape.iter().product()).flat_map(|at| value(at).to_le_bytes()).collect();
        self.constant(F32, shape, &elements)
    }

    /// One whole number is an attribute of that kind.
    fn node(&mut self, op: &str, inputs: &[u32], attributes: &[(&str, &[i64])]) -> u32 {
        self.nodes.extend(text(op));
        self.nodes.push(inputs.len() as u8);
        inputs.iter().for_each(|input| self.nodes.extend(input.to_le_bytes()));
        self.nodes.push(attributes.len() as u8);
        for (name, values) in attributes {
            self.nodes.extend(text(name));
            match values {
                [value] => {
                    self.nodes.push(1);
                    self.nodes.extend(value.to_le_bytes());
                }
                values => {
                    self.nodes.extend([3, values.len() as u8]);
                    values.iter().for_each(|value| self.nodes.extend(value.to_le_bytes()));
                }
            }
        }
        self.counts[1] += 1;
        self.counts[0] + self.counts[1]
    }

    fn end(self, outputs: &[u32]) -> Vec<u8> {
        const OPERATOR_SET: u8 = 18;
        let [constants, nodes] = self.counts.map(u32::to_le_bytes);
        let mut bytes = vec![OPERATOR_SET];
        bytes.extend(1u32.to_le_bytes());
        bytes.extend([&text("x"), &self.input[..], &constants, &self.constants, &nodes, &self.nodes].concat());
        bytes.extend((outputs.len() as u32).to_le_bytes());
        for (at, output) in outputs.iter().enumerate() {
            bytes.extend(output.to_le_bytes());
            bytes.extend(text(&format!("y{at}")));
        }
        bytes
    }
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn shape_bytes(shape: &[u32]) -> Vec<u8> {
    let mut bytes = vec![shape.len() as u8];
    shape.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
    bytes
}
