//! A model with a fixed interface: named float inputs and outputs of known sizes, checked when it is opened.

use super::front::Reference;
use super::kernel::Isa;
use super::plan::{Machine, Port, Stays};
use super::{EngineError, Macs, Planned, Source};

/// What runs a model.
#[derive(Debug, Clone)]
pub enum Engine {
    /// A plan of our own.
    Plan(Machine),
    /// tract, in floats: the reference.
    Tract,
}

impl Engine {
    /// Of the kernels that work beside the models.
    pub fn isa(&self) -> Isa {
        match self {
            Engine::Plan(machine) => machine.isa,
            Engine::Tract => Isa::best(),
        }
    }
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
pub struct Session(Runner);

#[derive(Debug)]
enum Runner {
    Plan(Box<Bound>),
    Reference(Box<Reference>),
}

/// A plan with the places of an interface's inputs and outputs.
#[derive(Debug)]
struct Bound {
    planned: Planned,
    order: Order,
    /// The places from here on are lasting.
    lasting: usize,
}

/// How a model's inputs and outputs stand to those of an interface.
#[derive(Debug)]
pub(super) struct Order {
    /// For each input of the model, its place in the interface.
    pub inputs: Vec<usize>,
    /// For each output of the interface, its place in the model.
    pub outputs: Vec<usize>,
}

/// What an engine says of an input or an output.
pub(super) struct Has {
    pub name: String,
    pub is_float: bool,
    pub shape: Option<Vec<usize>>,
    pub words: String,
}

impl Order {
    /// # Errors
    /// What the model lacks or has otherwise.
    pub fn find(interface: &Interface<'_>, has_inputs: &[Has], has_outputs: &[Has]) -> Result<Self, String> {
        let find = |ports: &[Has], kind: &str, name: &str, shape: &[usize]| {
            let index = ports.iter().position(|port| port.name == name).ok_or_else(|| {
                let has: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
                format!("has no {kind} {name:?}, it has {}", has.join(", "))
            })?;
            match ports[index].is_float && ports[index].shape.as_deref() == Some(shape) {
                true => Ok(index),
                false => Err(format!("{kind} {} should be float32{shape:?}", ports[index].words)),
            }
        };
        let mut inputs = vec![usize::MAX; has_inputs.len()];
        for (place, (name, shape)) in interface.inputs.iter().enumerate() {
            inputs[find(has_inputs, "input", name, shape)?] = place;
        }
        if let Some(spare) = inputs.iter().position(|&place| place == usize::MAX) {
            return Err(format!("wants an input {} that this role doesn't give", has_inputs[spare].words));
        }
        let bound = interface.outputs.iter().map(|(name, shape)| find(has_outputs, "output", name, shape));
        Ok(Order { inputs, outputs: bound.collect::<Result<Vec<_>, String>>()? })
    }
}

impl Session {
    /// Loads the model at `source`, and binds it to an interface.
    ///
    /// # Errors
    /// [`EngineError::Read`], [`EngineError::Load`], and [`EngineError::Interface`] that names what the model lacks or has otherwise.
    pub fn load(source: &Source, engine: &Engine, interface: &Interface<'_>) -> Result<Self, EngineError> {
        match engine {
            Engine::Plan(machine) => {
                Bound::load(source, machine, interface).map(|bound| Session(Runner::Plan(Box::new(bound))))
            }
            Engine::Tract => match source {
                Source::Onnx(path) => {
                    Reference::load(path, interface).map(|reference| Session(Runner::Reference(Box::new(reference))))
                }
                Source::Compiled { name, .. } => {
                    let reason = "is compiled ahead, and runs on plans alone: leave --engine tract away".into();
                    Err(EngineError::Interface { model: name.clone(), reason })
                }
            },
        }
    }

    /// Its plan; `None` where tract runs it.
    pub fn planned(&self) -> Option<&Planned> {
        match &self.0 {
            Runner::Plan(bound) => Some(&bound.planned),
            Runner::Reference(_) => None,
        }
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> Macs {
        match &self.0 {
            Runner::Plan(bound) => bound.planned.macs(),
            Runner::Reference(reference) => reference.macs(),
        }
    }

    /// Bytes of the weights in memory, and of the plan's arena. What tract allocates while it runs is not counted.
    pub fn memory_bytes(&self) -> u64 {
        match &self.0 {
            Runner::Plan(bound) => {
                let plan = bound.planned.plan();
                (plan.weights_bytes() + plan.arena_bytes()) as u64
            }
            Runner::Reference(reference) => reference.memory_bytes(),
        }
    }

    /// Runs the model on `inputs`, in the order of [`Session::load`], into `outputs`; each slice as long as its shape's product.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        match &mut self.0 {
            Runner::Plan(bound) => bound.run(inputs, true, outputs),
            Runner::Reference(reference) => reference.run(inputs, outputs),
        }
    }

    /// [`Session::run`] once more, with the same lasting inputs: a plan doesn't compute again what hangs on them alone.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run_again(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        match &mut self.0 {
            Runner::Plan(bound) => bound.run(inputs, false, outputs),
            Runner::Reference(reference) => reference.run(inputs, outputs),
        }
    }
}

impl Bound {
    fn load(source: &Source, machine: &Machine, interface: &Interface<'_>) -> Result<Self, EngineError> {
        let &Interface { inputs, lasting, timestep, outputs } = interface;
        let wanted: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
        let names: Vec<&str> = inputs.iter().skip(lasting).map(|(name, _)| *name).collect();
        let stays = Stays { lasting: &names, timestep: timestep.map(|(name, _)| name) };
        let mut planned = source.plan(machine, stays, &wanted)?;
        let has = |ports: &[Port]| ports.iter().map(Has::planned).collect::<Vec<_>>();
        let order = Order::find(interface, &has(planned.plan().inputs()), &has(planned.plan().outputs()))
            .map_err(|reason| EngineError::Interface { model: source.name().to_owned(), reason })?;
        if let Some((_, values)) = timestep {
            values.iter().try_for_each(|&value| planned.fold_timestep(&[value]))?;
        }
        Ok(Bound { planned, order, lasting })
    }

    fn run(&mut self, inputs: &[&[f32]], first: bool, outputs: &mut [&mut [f32]]) -> Result<(), EngineError> {
        let Bound { planned, order, lasting } = self;
        for (index, &place) in order.inputs.iter().enumerate().filter(|&(_, &place)| first || place < *lasting) {
            planned.plan_mut().input_mut(index).copy_from_slice(inputs[place]);
        }
        if first {
            planned.run()?;
        } else {
            planned.run_again()?;
        }
        for (&index, out) in order.outputs.iter().zip(outputs) {
            out.copy_from_slice(planned.plan().output(index));
        }
        Ok(())
    }
}

impl Has {
    fn planned(port: &Port) -> Self {
        let (is_float, words) = (port.is_float(), port.to_string());
        Has { name: port.name.clone(), is_float, shape: Some(port.shape.clone()), words }
    }
}
