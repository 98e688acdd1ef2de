//! A model's graphs: the whole one, and its shallow part for cached steps.

use super::graph::{Conditions, Graph};
use crate::bundle::Contract;
use crate::engine::plan::Machine;
use crate::engine::{Arrays, EngineError};
use crate::sampler::{Branch, Depth, Network, Question};
use std::path::Path;

/// Loaded, with the deep features that the whole graph left.
#[derive(Debug)]
pub(super) struct Graphs {
    whole: Graph,
    shallow: Option<Graph>,
    /// With the condition, and without; empty without a shallow part.
    deep: [Vec<f32>; 2],
    /// Where it is kept what they are asked.
    kept: Option<Vec<Asked>>,
}

/// What a graph was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub question: Question,
    /// What its inputs held.
    pub inputs: Arrays,
}

impl Graphs {
    /// Loads the model at `whole`, and its shallow part if there is one, which have to fit together.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn load(
        whole: &Path,
        shallow: Option<&Path>,
        contract: &Contract,
        conditions: Conditions<'_>,
        machine: &Machine,
    ) -> Result<Self, EngineError> {
        let whole = Graph::load(whole, Depth::Whole, contract, conditions, machine)?;
        let Some(path) = shallow else {
            return Ok(Graphs { whole, shallow: None, deep: [Vec::new(), Vec::new()], kept: None });
        };
        let shallow = Graph::load(path, Depth::Shallow, contract, conditions, machine)?;
        let shapes =
            |graph: &Graph| [Some(graph.x_shape()), graph.deep_shape()].map(|shape| shape.map(<[usize]>::to_vec));
        let (ours, theirs) = (shapes(&whole), shapes(&shallow));
        if ours != theirs {
            let [ours, theirs] = [ours, theirs].map(|shapes| shapes.map(Option::unwrap_or_default));
            let reason = format!("its x and its deep feature are {theirs:?}, those of the whole model {ours:?}");
            return Err(EngineError::Interface { model: path.to_owned(), reason });
        }
        let len = whole.deep_shape().map_or(0, |shape| shape.iter().product());
        Ok(Graphs { whole, shallow: Some(shallow), deep: [vec![0.0; len], vec![0.0; len]], kept: None })
    }

    pub fn whole(&self) -> &Graph {
        &self.whole
    }

    /// Gives the float condition `name` other values, as many as it has; whether the whole graph takes it.
    pub fn set_condition(&mut self, name: &str, values: &[f32]) -> bool {
        if let Some(shallow) = &mut self.shallow {
            // The shallow part can do without.
            shallow.set_condition(name, values);
        }
        self.whole.set_condition(name, values)
    }

    pub fn memory_bytes(&self) -> u64 {
        let graphs = [Some(&self.whole), self.shallow.as_ref()].into_iter().flatten();
        let deep: usize = self.deep.iter().map(|deep| size_of_val(&deep[..])).sum();
        graphs.map(Graph::memory_bytes).sum::<u64>() + deep as u64
    }

    /// What they were asked since the last time, if that is `kept` from now on.
    pub fn asked(&mut self, kept: bool) -> Vec<Asked> {
        std::mem::replace(&mut self.kept, kept.then(Vec::new)).unwrap_or_default()
    }
}

impl Network for Graphs {
    type Error = EngineError;

    fn ask(&mut self, input: &[f32], question: Question, output: &mut [f32]) -> Result<(), EngineError> {
        let deep = &mut self.deep[usize::from(question.branch == Branch::Null)];
        let graph = match (&mut self.shallow, question.depth) {
            (Some(shallow), Depth::Shallow) => shallow,
            _ => &mut self.whole,
        };
        graph.put(input, question, deep);
        if let Some(kept) = &mut self.kept {
            kept.push(Asked { question, inputs: graph.inputs(question) });
        }
        let deep = if question.depth == Depth::Shallow { &mut [][..] } else { &mut deep[..] };
        graph.run(deep, output)
    }

    fn macs(&self, depth: Depth) -> u64 {
        match (&self.shallow, depth) {
            (Some(shallow), Depth::Shallow) => shallow.macs(),
            _ => self.whole.macs(),
        }
    }
}
