//! A model with a fixed interface: named float inputs and outputs of known sizes, checked when it is opened.

use super::model::innermost;
use super::{EngineError, Macs, Model};
use tract_onnx::prelude::*;

/// Runs one model over and over, with the inputs and outputs in the order that was asked for.
#[derive(Debug)]
pub struct Session {
    model: Model,
    state: TypedSimpleState,
    /// For each input of the model, its place in the caller's order.
    order: Vec<usize>,
    shapes: Vec<Vec<usize>>,
    outputs: Vec<usize>,
}

impl Session {
    /// Binds the model to `inputs` and `outputs`, each a name and a shape, all `float32`.
    ///
    /// # Errors
    /// [`EngineError::Interface`] names what the model lacks or has otherwise.
    pub fn open(model: Model, inputs: &[(&str, &[usize])], outputs: &[(&str, &[usize])]) -> Result<Self, EngineError> {
        let fail = |reason: String| EngineError::Interface { model: model.path().to_owned(), reason };
        let find = |ports: &[super::Port], kind: &str, name: &str, shape: &[usize]| {
            let index = ports.iter().position(|port| port.name == name);
            let index = index.ok_or_else(|| {
                let has: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
                fail(format!("has no {kind} {name:?}, it has {}", has.join(", ")))
            })?;
            let port = &ports[index];
            if port.datum_type != "float32" || port.shape.as_deref() != Some(shape) {
                return Err(fail(format!("{kind} {port} should be float32{shape:?}")));
            }
            Ok(index)
        };
        let mut order = vec![usize::MAX; model.inputs().len()];
        for (place, (name, shape)) in inputs.iter().enumerate() {
            order[find(model.inputs(), "input", name, shape)?] = place;
        }
        if let Some(spare) = order.iter().position(|&place| place == usize::MAX) {
            return Err(fail(format!("wants an input {} that this role doesn't give", model.inputs()[spare])));
        }
        let bound = outputs.iter().map(|(name, shape)| find(model.outputs(), "output", name, shape));
        let outputs = bound.collect::<Result<Vec<_>, _>>()?;
        let shapes = model.inputs().iter().map(|port| port.shape.clone().unwrap_or_default()).collect();
        let state = model.plan.spawn().map_err(|error| fail(innermost(&error)))?;
        Ok(Session { model, state, order, shapes, outputs })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> Macs {
        self.model.macs()
    }

    /// Runs the model on `inputs`, in the order of [`Session::open`], into `outputs`; each slice as long as its shape's product.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        let run = |session: &mut Self| -> TractResult<()> {
            let mut values = tvec!();
            for (place, shape) in session.order.iter().zip(&session.shapes) {
                values.push(Tensor::from_shape(shape, inputs[*place])?.into());
            }
            let results = session.state.run(values)?;
            for (index, out) in session.outputs.iter().zip(outputs) {
                out.copy_from_slice(results[*index].try_as_plain_ram()?.as_slice::<f32>()?);
            }
            Ok(())
        };
        run(self).map_err(|error| EngineError::Run { model: self.model.path().to_owned(), reason: innermost(&error) })
    }
}
