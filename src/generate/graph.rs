//! A plan whose inputs and output are bound to a contract.

use super::embedding::embed;
use super::values::Values;
use crate::bundle::Contract;
use crate::engine::plan::{Machine, Port, Stays};
use crate::engine::{Arrays, EngineError, Planned};
use crate::sampler::{Branch, Depth, Question};
use std::path::Path;

/// What an input of the plan is.
#[derive(Debug)]
enum Feed {
    X,
    T,
    R,
    Guidance,
    /// The feature that the whole model left.
    Deep,
    /// Its bytes with the condition, and without.
    Condition([Vec<u8>; 2]),
}

/// Loaded, with what its inputs get.
#[derive(Debug)]
pub(super) struct Graph {
    planned: Planned,
    /// Of each input of the plan.
    feeds: Vec<Feed>,
    /// The output that is the deep feature.
    deep: Option<usize>,
    x_shape: Vec<usize>,
    output: usize,
    values: Values,
    /// Conditions are the same at every run, and the plan knows it.
    lasting: bool,
    has_run: bool,
}

/// What conditions hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions<'a> {
    pub arrays: &'a Arrays,
    /// Some runs go without the condition.
    pub nulls: bool,
    /// What they get in its place; zeros if there is none.
    pub null_arrays: Option<&'a Arrays>,
}

impl Graph {
    /// Loads the ONNX file at `path`, the whole model or its shallow part, and binds it to `contract`. The shallow part can do without
    /// inputs that the deep feature has made use of.
    ///
    /// # Errors
    /// [`EngineError::Interface`] names the input or output that the contract doesn't name, or that is not what it should be.
    pub fn load(
        path: &Path,
        depth: Depth,
        contract: &Contract,
        conditions: Conditions<'_>,
        machine: &Machine,
    ) -> Result<Self, EngineError> {
        let fail = |reason: String| EngineError::Interface { model: path.to_owned(), reason };
        let given: Vec<&str> = contract.condition.iter().chain(&contract.mask).map(|name| &name[..]).collect();
        let lasting = if conditions.nulls { &[][..] } else { &given };
        let planned = Planned::load_staying(path, machine, Stays { lasting, timestep: None }, &[])?;
        let plan = planned.plan();
        let find = |kind: &str, ports: &[Port], name: &str| {
            ports.iter().position(|port| port.name == name).ok_or_else(|| {
                let has: Vec<_> = ports.iter().map(Port::to_string).collect();
                fail(format!("has no {kind} {name:?}, which its contract names; it has {}", has.join(", ")))
            })
        };
        let x_shape = plan.inputs()[find("input", plan.inputs(), &contract.x)?].shape.clone();
        let also = [Some(&contract.t), contract.r.as_ref(), contract.guidance.as_ref()].into_iter().flatten();
        let needed: Vec<&str> = match depth {
            Depth::Whole => also.map(|name| &name[..]).chain(given).collect(),
            Depth::Shallow => contract.deep.as_deref().into_iter().collect(),
        };
        needed.iter().try_for_each(|name| find("input", plan.inputs(), name).map(|_| ()))?;
        let feed = |port: &Port| feed(port, depth, contract, conditions).map_err(fail);
        let feeds = plan.inputs().iter().map(feed).collect::<Result<Vec<_>, _>>()?;
        let find_output = |name: &str| {
            let output = find("output", plan.outputs(), name)?;
            let port = &plan.outputs()[output];
            if port.is_float() { Ok(output) } else { Err(fail(format!("output {port}: should be F32"))) }
        };
        let output = find_output(&contract.output)?;
        let deep = contract.deep.as_deref().filter(|_| depth == Depth::Whole).map(find_output).transpose()?;
        let values = Values::new(contract, &x_shape, &plan.outputs()[output].shape).map_err(fail)?;
        let lasting = !conditions.nulls;
        Ok(Graph { planned, feeds, deep, x_shape, output, values, lasting, has_run: false })
    }

    /// Shape of the deep feature: what the whole model gives, or its shallow part takes.
    pub fn deep_shape(&self) -> Option<&[usize]> {
        let plan = self.planned.plan();
        let taken = self.feeds.iter().position(|feed| matches!(feed, Feed::Deep)).map(|index| &plan.inputs()[index]);
        self.deep.map(|index| &plan.outputs()[index]).or(taken).map(|port| &port.shape[..])
    }

    pub fn x_shape(&self) -> &[usize] {
        &self.x_shape
    }

    /// How many values [`Graph::run`] fills.
    pub fn outputs(&self) -> usize {
        self.values.count(self.x_shape.iter().product(), self.planned.plan().output(self.output).len())
    }

    /// Whether times have to be whole numbers.
    pub fn takes_whole_times(&self) -> bool {
        let is_time = |feed: &Feed| matches!(feed, Feed::T | Feed::R);
        let mut ports = self.feeds.iter().zip(self.planned.plan().inputs());
        ports.any(|(feed, port)| is_time(feed) && !port.is_float())
    }

    pub fn planned(&self) -> &Planned {
        &self.planned
    }

    /// Multiply-accumulates of a run.
    pub fn macs(&self) -> u64 {
        self.planned.macs().total()
    }

    /// Gives the float condition `name` other values, as many as it has; whether there is such a one.
    pub fn set_condition(&mut self, name: &str, values: &[f32]) -> bool {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        for (port, feed) in self.planned.plan().inputs().iter().zip(&mut self.feeds) {
            if let Feed::Condition([with, _]) = feed
                && port.name == name
                && port.is_float()
                && with.len() == bytes.len()
            {
                with.copy_from_slice(bytes);
                self.has_run = false;
                return true;
            }
        }
        false
    }

    /// Bytes of its weights, and of its arena.
    pub fn memory_bytes(&self) -> u64 {
        (self.planned.plan().weights_bytes() + self.planned.plan().arena_bytes()) as u64
    }

    /// Of a run that finds the conditions as the last one had them.
    pub fn macs_again(&self) -> u64 {
        if self.lasting { self.macs().saturating_sub(self.planned.plan().once_macs()) } else { self.macs() }
    }

    /// Puts `input`, and what else belongs to `question`, where the plan reads it. The shallow part takes its feature from `deep`.
    pub fn put(&mut self, input: &[f32], question: Question, deep: &[f32]) {
        let again = self.lasting && self.has_run;
        for (index, feed) in self.feeds.iter().enumerate() {
            match feed {
                Feed::X => self.planned.plan_mut().input_mut(index).copy_from_slice(input),
                Feed::T => write_time(&mut self.planned, index, question.times.t),
                Feed::R => write_time(&mut self.planned, index, question.times.r),
                Feed::Guidance => embed(question.scale, self.planned.plan_mut().input_mut(index)),
                Feed::Deep => self.planned.plan_mut().input_mut(index).copy_from_slice(deep),
                Feed::Condition(_) if again => {}
                Feed::Condition([with, without]) => {
                    let bytes = if question.branch == Branch::Null { without } else { with };
                    self.planned.plan_mut().input_bytes_mut(index).copy_from_slice(bytes);
                }
            }
        }
    }

    /// The inputs, as [`Graph::put`] left them.
    pub fn inputs(&self, question: Question) -> Arrays {
        let mut inputs = Arrays::default();
        for ((port, feed), index) in self.planned.plan().inputs().iter().zip(&self.feeds).zip(0..) {
            match feed {
                // What stays is not always there any more.
                Feed::Condition(of) => inputs.insert_bytes(port, &of[usize::from(question.branch == Branch::Null)]),
                _ => inputs.insert_bytes(port, self.planned.plan().input_bytes(index)),
            };
        }
        inputs
    }

    /// Runs it on what was [put](Graph::put) there, and fills `values` with what a sampler takes. The whole model leaves its feature in `deep`; where
    /// there is none, `deep` is empty.
    pub fn run(&mut self, deep: &mut [f32], values: &mut [f32]) -> Result<(), EngineError> {
        let again = self.lasting && self.has_run;
        if again {
            self.planned.run_again()?;
        } else {
            self.planned.run()?;
        }
        self.has_run = true;
        if let Some(output) = self.deep.filter(|_| !deep.is_empty()) {
            deep.copy_from_slice(self.planned.plan().output(output));
        }
        self.values.read(self.planned.plan().output(self.output), values);
        Ok(())
    }
}

/// What `port` is by the contract, or what it lacks.
fn feed(port: &Port, depth: Depth, contract: &Contract, conditions: Conditions<'_>) -> Result<Feed, String> {
    let name = port.name.as_str();
    let is = |known: &str| known == name;
    let is_some = |known: Option<&str>| known == Some(name);
    let float = |feed| if port.is_float() { Ok(feed) } else { Err(format!("input {port}: should be F32")) };
    if is(&contract.x) {
        return float(Feed::X);
    }
    if is(&contract.t) || is_some(contract.r.as_deref()) {
        let (is_one, is_number) =
            (port.shape.iter().all(|&side| side == 1), port.is_float() || port.datum_type == "I64");
        return match is_one && is_number {
            true => Ok(if is(&contract.t) { Feed::T } else { Feed::R }),
            false => Err(format!("input {port}: a time should be one F32 or I64")),
        };
    }
    if is_some(contract.guidance.as_deref()) {
        return float(Feed::Guidance);
    }
    if depth == Depth::Shallow && is_some(contract.deep.as_deref()) {
        return float(Feed::Deep);
    }
    let is_mask = is_some(contract.mask.as_deref());
    if !is_mask && !contract.condition.iter().any(|known| is(known)) {
        return Err(format!("wants an input {port}, which its contract doesn't name"));
    }
    let with = conditions.arrays.bytes_for(port)?;
    let without = match conditions.null_arrays {
        _ if is_mask || !conditions.nulls => with.clone(),
        Some(arrays) => arrays.bytes_for(port)?,
        None if port.is_float() => vec![0; with.len()],
        None => return Err(format!("input {port}: zeros mean something here: guidance needs the role null_condition")),
    };
    Ok(Feed::Condition([with, without]))
}

fn write_time(planned: &mut Planned, index: usize, time: f32) {
    let bytes = planned.plan_mut().input_bytes_mut(index);
    match bytes.len() {
        4 => bytes.copy_from_slice(&time.to_ne_bytes()),
        _ => bytes.copy_from_slice(&(time as i64).to_ne_bytes()),
    }
}
