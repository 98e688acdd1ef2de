//! tract, in floats, bound to an interface: the reference.

use super::model::innermost;
use super::session::{Has, Order};
use super::{EngineError, Interface, Macs, Model, Port};
use std::path::Path;
use tract_onnx::prelude::*;

/// A model that tract runs.
#[derive(Debug)]
pub struct Reference {
    model: Model,
    state: TypedSimpleState,
    /// Of its inputs.
    shapes: Vec<Vec<usize>>,
    order: Order,
}

impl Reference {
    /// Loads the ONNX file at `path`, and binds it to an interface.
    ///
    /// # Errors
    /// As [`Session::load`](super::Session::load).
    pub fn load(path: &Path, interface: &Interface<'_>) -> Result<Self, EngineError> {
        let fail = |reason: String| EngineError::Interface { model: path.to_owned(), reason };
        let wanted: Vec<&str> = interface.outputs.iter().map(|(name, _)| *name).collect();
        let model = Model::load_asked(path, &wanted)?;
        let has = |ports: &[Port]| ports.iter().map(has).collect::<Vec<_>>();
        let (inputs, outputs) = (has(model.inputs()), has(model.outputs()));
        let shapes = inputs.iter().map(|input| input.shape.clone().unwrap_or_default()).collect();
        let state = model.plan.spawn().map_err(|error| fail(innermost(&error)))?;
        let order = Order::find(interface, &inputs, &outputs).map_err(fail)?;
        Ok(Reference { model, state, shapes, order })
    }

    pub fn macs(&self) -> Macs {
        self.model.macs()
    }

    /// Of its weights.
    pub fn memory_bytes(&self) -> u64 {
        self.model.weights_bytes()
    }

    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        let Reference { model, state, shapes, order } = self;
        let run = || -> TractResult<()> {
            let mut values = tvec!();
            for (place, shape) in order.inputs.iter().zip(shapes) {
                values.push(Tensor::from_shape(shape, inputs[*place])?.into());
            }
            let results = state.run(values)?;
            for (index, out) in order.outputs.iter().zip(outputs) {
                out.copy_from_slice(results[*index].try_as_plain_ram()?.as_slice::<f32>()?);
            }
            Ok(())
        };
        run().map_err(|error| EngineError::Run { model: model.path().to_owned(), reason: innermost(&error) })
    }
}

fn has(port: &Port) -> Has {
    let is_float = port.datum_type == "float32";
    Has { name: port.name.clone(), is_float, shape: port.shape.clone(), words: port.to_string() }
}
