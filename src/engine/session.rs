//! A model with a fixed interface: named float inputs and outputs of known sizes, checked when it is opened.

use super::model::innermost;
use super::plan::{Machine, Stays};
use super::{EngineError, Macs, Model, Planned};
use std::path::Path;
use tract_onnx::prelude::*;

/// What runs a model.
#[derive(Debug, Clone)]
pub enum Engine {
    /// A plan of our own.
    Plan(Machine),
    /// tract, in floats: the reference.
    Tract,
}

/// Names and shapes of all inputs and outputs, all `float32`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interface<'a> {
    pub inputs: &'a [(&'a str, &'a [usize])],
    /// The inputs from this number on stay the same over several runs: see [`Session::run_again`].
    pub lasting: usize,
    /// The input of one number that says which step of a schedule it is, and the values that it is going to have: what hangs on it alone is computed
    /// when the model is loaded. With another value it is computed in the run.
    pub timestep: Option<(&'a str, &'a [f32])>,
    /// Those that are computed; what else the model could give isn't.
    pub outputs: &'a [(&'a str, &'a [usize])],
}

/// Runs one model over and over, with the inputs and outputs in the order that was asked for.
#[derive(Debug)]
pub struct Session {
    runner: Runner,
    /// For each input of the model, its place in the caller's order.
    order: Vec<usize>,
    /// The places from here on are lasting.
    lasting: usize,
    outputs: Vec<usize>,
}

#[derive(Debug)]
enum Runner {
    Plan(Planned),
    Tract { model: Model, state: TypedSimpleState, shapes: Vec<Vec<usize>> },
}

/// What an engine says of an input or an output.
struct Has {
    name: String,
    is_float: bool,
    shape: Option<Vec<usize>>,
    words: String,
}

impl Session {
    /// Loads the ONNX file at `path`, and binds it to an interface.
    ///
    /// # Errors
    /// [`EngineError::Read`], [`EngineError::Load`], and [`EngineError::Interface`] that names what the model lacks or has otherwise.
    pub fn load(path: &Path, engine: &Engine, interface: &Interface<'_>) -> Result<Self, EngineError> {
        let &Interface { inputs, lasting, timestep, outputs } = interface;
        let fail = |reason: String| EngineError::Interface { model: path.to_owned(), reason };
        let wanted: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
        let (runner, has_inputs, has_outputs) = match engine {
            Engine::Plan(machine) => {
                let names: Vec<&str> = inputs.iter().skip(lasting).map(|(name, _)| *name).collect();
                let stays = Stays { lasting: &names, timestep: timestep.map(|(name, _)| name) };
                let planned = Planned::load_staying(path, machine, stays, &wanted)?;
                let has = |ports: &[super::plan::Port]| ports.iter().map(Has::planned).collect::<Vec<_>>();
                let (inputs, outputs) = (has(planned.plan().inputs()), has(planned.plan().outputs()));
                (Runner::Plan(planned), inputs, outputs)
            }
            Engine::Tract => {
                let model = Model::load_asked(path, &wanted)?;
                let has = |ports: &[super::Port]| ports.iter().map(Has::loaded).collect::<Vec<_>>();
                let (inputs, outputs) = (has(model.inputs()), has(model.outputs()));
                let shapes = inputs.iter().map(|input| input.shape.clone().unwrap_or_default()).collect();
                let state = model.plan.spawn().map_err(|error| fail(innermost(&error)))?;
                (Runner::Tract { model, state, shapes }, inputs, outputs)
            }
        };
        let find = |ports: &[Has], kind: &str, name: &str, shape: &[usize]| {
            let index = ports.iter().position(|port| port.name == name).ok_or_else(|| {
                let has: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
                fail(format!("has no {kind} {name:?}, it has {}", has.join(", ")))
            })?;
            match ports[index].is_float && ports[index].shape.as_deref() == Some(shape) {
                true => Ok(index),
                false => Err(fail(format!("{kind} {} should be float32{shape:?}", ports[index].words))),
            }
        };
        let mut order = vec![usize::MAX; has_inputs.len()];
        for (place, (name, shape)) in inputs.iter().enumerate() {
            order[find(&has_inputs, "input", name, shape)?] = place;
        }
        if let Some(spare) = order.iter().position(|&place| place == usize::MAX) {
            return Err(fail(format!("wants an input {} that this role doesn't give", has_inputs[spare].words)));
        }
        let bound = outputs.iter().map(|(name, shape)| find(&has_outputs, "output", name, shape));
        let outputs = bound.collect::<Result<Vec<_>, _>>()?;
        let mut session = Session { runner, order, lasting, outputs };
        if let (Runner::Plan(planned), Some((_, values))) = (&mut session.runner, timestep) {
            values.iter().try_for_each(|&value| planned.fold_timestep(&[value]))?;
        }
        Ok(session)
    }

    /// Its plan; `None` where tract runs it.
    pub fn planned(&self) -> Option<&Planned> {
        match &self.runner {
            Runner::Plan(planned) => Some(planned),
            Runner::Tract { .. } => None,
        }
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> Macs {
        match &self.runner {
            Runner::Plan(planned) => planned.macs(),
            Runner::Tract { model, .. } => model.macs(),
        }
    }

    /// Bytes of the weights in memory, and of the plan's arena. What tract allocates while it runs is not counted.
    pub fn memory_bytes(&self) -> u64 {
        match &self.runner {
            Runner::Plan(planned) => (planned.plan().weights_bytes() + planned.plan().arena_bytes()) as u64,
            Runner::Tract { model, .. } => model.weights_bytes(),
        }
    }

    /// Runs the model on `inputs`, in the order of [`Session::load`], into `outputs`; each slice as long as its shape's product.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        self.run_with(inputs, true, outputs)
    }

    /// [`Session::run`] once more, with the same lasting inputs: a plan doesn't compute again what hangs on them alone.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run_again(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        self.run_with(inputs, false, outputs)
    }

    fn run_with(&mut self, inputs: &[&[f32]], first: bool, outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        match &mut self.runner {
            Runner::Plan(planned) => {
                for (index, &place) in
                    self.order.iter().enumerate().filter(|&(_, &place)| first || place < self.lasting)
                {
                    planned.plan_mut().input_mut(index).copy_from_slice(inputs[place]);
                }
                if first {
                    planned.run()?;
                } else {
                    planned.run_again()?;
                }
                for (&index, out) in self.outputs.iter().zip(outputs) {
                    out.copy_from_slice(planned.plan().output(index));
                }
                Ok(())
            }
            Runner::Tract { model, state, shapes } => {
                let run = || -> TractResult<()> {
                    let mut values = tvec!();
                    for (place, shape) in self.order.iter().zip(shapes) {
                        values.push(Tensor::from_shape(shape, inputs[*place])?.into());
                    }
                    let results = state.run(values)?;
                    for (index, out) in self.outputs.iter().zip(outputs) {
                        out.copy_from_slice(results[*index].try_as_plain_ram()?.as_slice::<f32>()?);
                    }
                    Ok(())
                };
                run().map_err(|error| EngineError::Run { model: model.path().to_owned(), reason: innermost(&error) })
            }
        }
    }
}

impl Has {
    fn planned(port: &super::plan::Port) -> Self {
        let (is_float, words) = (port.is_float(), port.to_string());
        Has { name: port.name.clone(), is_float, shape: Some(port.shape.clone()), words }
    }

    fn loaded(port: &super::Port) -> Self {
        let is_float = port.datum_type == "float32";
        Has { name: port.name.clone(), is_float, shape: port.shape.clone(), words: port.to_string() }
    }
}
