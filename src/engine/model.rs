//! An ONNX model, loaded and counted.

use super::{EngineError, Macs};
use crate::files;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Cost;

/// An input or an output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// As ONNX names it: `float32`, `int64`, ...
    pub datum_type: String,
    /// `None` where the model leaves a size open.
    pub shape: Option<Vec<usize>>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.shape {
            Some(shape) => write!(f, "{} {}{shape:?}", self.name, self.datum_type),
            None => write!(f, "{} {}[shape depends on the input]", self.name, self.datum_type),
        }
    }
}

/// A model that is ready to run.
#[derive(Debug, Clone)]
pub struct Model {
    path: PathBuf,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    macs: Macs,
    weights_bytes: u64,
    operators: Vec<(String, usize)>,
    pub(super) plan: Arc<TypedRunnableModel>,
}

impl Model {
    /// Loads the ONNX file at `path`. Weights that lie in other files are refused.
    ///
    /// # Errors
    /// [`EngineError::Read`] and [`EngineError::Load`].
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        Self::load_asked(path, &[])
    }

    /// [`Model::load`] with the outputs that `outputs` names alone; with all, if it names none, or one that the model doesn't have.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_asked(path: &Path, outputs: &[&str]) -> Result<Self, EngineError> {
        Self::asked(path, &read(path)?, outputs)
    }

    /// Loads an ONNX model from memory; `path` names it in errors.
    ///
    /// # Errors
    /// [`EngineError::Load`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, EngineError> {
        Self::asked(path, bytes, &[])
    }

    fn asked(path: &Path, bytes: &[u8], outputs: &[&str]) -> Result<Self, EngineError> {
        let load = |reason: String| EngineError::Load { model: path.to_owned(), reason };
        if bytes.is_empty() {
            return Err(load("the file is empty".into()));
        }
        let parsed = guarded(|| Self::parse(bytes, outputs)).map_err(load)?;
        Ok(Model { path: path.to_owned(), ..parsed })
    }

    fn parse(mut bytes: &[u8], outputs: &[&str]) -> TractResult<Self> {
        let mut model = tract_onnx::onnx().model_for_read(&mut bytes)?;
        let outlets = model.output_outlets()?.to_vec();
        let named = names(&model, &outlets).into_iter().zip(outlets);
        let asked: Vec<OutletId> =
            named.filter(|(name, _)| outputs.contains(&name.as_str())).map(|(_, outlet)| outlet).collect();
        if !asked.is_empty() && asked.len() == outputs.len() {
            model.select_output_outlets(&asked)?;
        }
        let input_names: Vec<String> = names(&model, model.input_outlets()?);
        let output_names: Vec<String> = names(&model, model.output_outlets()?);
        let typed = model.into_typed()?.into_decluttered()?;
        let port = |name: &String, fact: &TypedFact| Port {
            name: name.clone(),
            datum_type: type_name(fact.datum_type),
            shape: fact.shape.as_concrete().map(<[usize]>::to_vec),
        };
        let input_facts = typed.input_outlets()?.iter().map(|&outlet| typed.outlet_fact(outlet));
        let input_facts = input_facts.collect::<TractResult<Vec<_>>>()?;
        let output_facts = typed.output_outlets()?.iter().map(|&outlet| typed.outlet_fact(outlet));
        let output_facts = output_facts.collect::<TractResult<Vec<_>>>()?;
        let inputs = input_names.iter().zip(&input_facts).map(|(name, fact)| port(name, fact)).collect();
        let outputs = output_names.iter().zip(&output_facts).map(|(name, fact)| port(name, fact)).collect();
        let (macs, weights_bytes) = count(&typed)?;
        let operators = operators(&typed);
        let plan = typed.into_optimized()?.into_runnable()?;
        Ok(Model { path: PathBuf::new(), inputs, outputs, macs, weights_bytes, operators, plan })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    pub fn macs(&self) -> Macs {
        self.macs
    }

    /// Constants of the loaded graph in memory, in bytes.
    pub fn weights_bytes(&self) -> u64 {
        self.weights_bytes
    }

    /// Operators of the loaded graph with how often each occurs, most frequent first.
    pub fn operators(&self) -> &[(String, usize)] {
        &self.operators
    }
}

/// The bytes of a model's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    files::read(path, files::MAX_MODEL).map_err(|error| EngineError::Read { model: path.to_owned(), error })
}

fn names(model: &InferenceModel, outlets: &[OutletId]) -> Vec<String> {
    let name = |outlet: &OutletId| {
        let label = model.outlet_label(*outlet).unwrap_or(&model.nodes[outlet.node].name);
        label.to_owned()
    };
    outlets.iter().map(name).collect()
}

fn type_name(datum_type: DatumType) -> String {
    match datum_type {
        DatumType::F16 => "float16".into(),
        DatumType::F32 => "float32".into(),
        DatumType::F64 => "float64".into(),
        other => format!("{other:?}").replace('I', "int").replace('U', "uint").to_lowercase(),
    }
}

fn count(model: &TypedModel) -> TractResult<(Macs, u64)> {
    let mut macs = Macs::default();
    let mut weights = 0;
    for node in &model.nodes {
        for output in &node.outputs {
            weights += output.fact.konst.as_ref().map_or(0, |tensor| tensor.as_bytes().len() as u64);
        }
        for (cost, count) in node.op.cost(&model.node_input_facts(node.id)?)? {
            let Cost::FMA(datum_type) = cost else { continue };
            match count.to_i64() {
                Ok(count) if datum_type.is_float() => macs.float += count as u64,
                Ok(count) => macs.int8 += count as u64,
                Err(_) => macs.incomplete = true,
            }
        }
    }
    Ok((macs, weights))
}

fn operators(model: &TypedModel) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for node in &model.nodes {
        *counts.entry(node.op.name().into_owned()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|(name, _)| name != "Const" && name != "Source").collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    counts
}

/// Runs a step of tract. Models come from elsewhere: a panic in the parser, the optimizer or an operator is one more error.
pub(super) fn guarded<T>(step: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    static QUIET: Once = Once::new();
    thread_local! { static GUARDED: Cell<bool> = const { Cell::new(false) } }
    // The panic is reported as an error: its own message would only come twice.
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    GUARDED.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
    GUARDED.set(false);
    match result {
        Ok(result) => result.map_err(|error| innermost(&error)),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no reason it told");
            Err(format!("tract gave up on it: {message}"))
        }
    }
}

/// tract's outermost context says where, the innermost what: both, on one line.
pub(super) fn innermost(error: &TractError) -> String {
    let first = error.to_string();
    let root = error.root_cause().to_string();
    let reason = if first == root { first } else { format!("{first}: {root}") };
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_refused_by_name() {
        for bytes in [&b""[..], b"not a model at all", &[0xff; 64]] {
            let error = Model::from_bytes(Path::new("some.onnx"), bytes).unwrap_err();
            assert!(error.to_string().starts_with("some.onnx: not an ONNX model"), "{error}");
        }
        let error = Model::load(Path::new("no/such.onnx")).unwrap_err();
        assert!(matches!(error, EngineError::Read { .. }));
    }
}
