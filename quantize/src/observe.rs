//! Runs a model on calibration inputs, and shows what flows through it.

use crate::QuantizeError;
use crate::compare::Costs;
use crate::network::Network;
use crate::samples::Samples;
use prost::Message;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::engine::{Bound, Planned};
use std::path::{Path, PathBuf};
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// A model that gives, beside its outputs, what some of its tensors hold.
#[derive(Debug)]
pub struct Observed {
    file: PathBuf,
    planned: Planned,
    /// Of each name that was asked for: an output of the plan, or an input.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Input(usize),
    Output(usize),
}

impl Observed {
    /// Loads the model of `network` to look at `names`: float tensors that it computes or is given.
    ///
    /// # Errors
    /// [`QuantizeError::Model`]: what the engine says.
    pub fn load(network: &Network, names: &[&str]) -> Result<Self, QuantizeError> {
        let mut graph = network.graph.clone();
        let is_known = |ports: &[pb::ValueInfoProto], name: &str| ports.iter().any(|port| port.name == name);
        for name in names {
            if !is_known(&graph.output, name) && !is_known(&graph.input, name) {
                graph.output.push(float(name));
            }
        }
        let bytes = pb::ModelProto { graph: Some(graph), ..network.model.clone() }.encode_to_vec();
        Self::from_bytes(&network.file, &bytes, names)
    }

    /// Of an ONNX file in memory, which has all of `names` among its inputs and outputs.
    ///
    /// # Errors
    /// As [`Observed::load`].
    pub fn from_bytes(file: &Path, bytes: &[u8], names: &[&str]) -> Result<Self, QuantizeError> {
        // The bits are those of every other machine: see docs/engine.md.
        let machine = Machine::one_thread(Isa::best());
        let refuse = |reason: String| QuantizeError::Model { file: file.to_owned(), reason };
        let planned = Planned::from_bytes(file, bytes, &machine, &Bound::default())
            .map_err(|error| refuse(error.to_string().replacen(&format!("{}: ", file.display()), "", 1)))?;
        let plan = planned.plan();
        let place = |name: &&str| {
            let output = plan.outputs().iter().position(|port| port.name == **name).map(Place::Output);
            output.or_else(|| plan.inputs().iter().position(|port| port.name == **name).map(Place::Input))
        };
        let places = names.iter().map(|name| place(name).ok_or_else(|| refuse(format!("has no tensor {name:?}"))));
        let places = places.collect::<Result<_, _>>()?;
        Ok(Observed { file: file.to_owned(), planned, places })
    }

    /// Shape of the tensor that was asked for as number `index`.
    pub fn shape(&self, index: usize) -> &[usize] {
        match self.places[index] {
            Place::Input(input) => &self.planned.plan().inputs()[input].shape,
            Place::Output(output) => &self.planned.plan().outputs()[output].shape,
        }
    }

    /// Elements of the tensor `name`, if it is among the model's outputs or was asked for.
    pub fn elements(&self, name: &str) -> Option<u64> {
        let port = self.planned.plan().outputs().iter().find(|port| port.name == name)?;
        Some(port.shape.iter().map(|&side| side as u64).product())
    }

    /// What the model takes, which lies in a file of so many bytes.
    pub fn costs(&self, file_bytes: usize) -> Costs {
        let plan = self.planned.plan();
        Costs {
            macs: self.planned.macs(),
            arena_bytes: plan.arena_bytes(),
            weights_bytes: plan.weights_bytes(),
            file_bytes,
        }
    }

    /// Runs sample `index`, and shows `see` each tensor, with its number in the order they were asked for.
    ///
    /// # Errors
    /// [`QuantizeError::Calibration`] when the sample doesn't fit, or a tensor is not finite.
    pub fn run(
        &mut self,
        samples: &Samples,
        index: usize,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<(), QuantizeError> {
        let calibration = |reason| QuantizeError::Calibration { file: samples.file(index).to_owned(), reason };
        let arrays = samples.read(index)?;
        let inputs = self.planned.plan().inputs().iter().map(|port| arrays.bytes_for(port));
        let inputs: Vec<Vec<u8>> = inputs.collect::<Result<_, _>>().map_err(calibration)?;
        for (index, bytes) in inputs.iter().enumerate() {
            self.planned.plan_mut().input_bytes_mut(index).copy_from_slice(bytes);
        }
        self.planned
            .run()
            .map_err(|error| QuantizeError::Model { file: self.file.clone(), reason: error.to_string() })?;
        for (number, place) in self.places.iter().enumerate() {
            let copied: Vec<f32>;
            let values = match *place {
                Place::Output(output) => self.planned.plan().output(output),
                Place::Input(input) => {
                    copied =
                        inputs[input].chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect();
                    &copied
                }
            };
            if !values.iter().all(|value| value.is_finite()) {
                return Err(calibration("gives activations that are NaN or infinite".into()));
            }
            see(number, values);
        }
        Ok(())
    }
}

/// An output of floats, of any shape.
fn float(name: &str) -> pb::ValueInfoProto {
    let tensor = pb::type_proto::Tensor { elem_type: DataType::Float as i32, shape: None };
    let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() }
}
