//! Bundles and models in words.

use super::Done;
use super::exit::Failure;
use super::output::print;
use clap::Args;
use semrx::bundle::{Bundle, Content};
use semrx::engine::kernel::Isa;
use semrx::engine::plan::{Machine, Port, Stays};
use semrx::engine::{Fallback, Source};
use serde_json::{Value, json};

/// How what is inspected is shown.
#[derive(Debug, Args)]
pub struct Shown {
    /// Of a model, list every step of its plan
    #[arg(long)]
    pub plan: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Shown {
    pub fn print(&self, described: &Value) -> Done {
        print(&match self.json {
            true => format!("{described}\n"),
            false => words(described, 0),
        })
    }
}

/// Nested JSON as indented lines.
fn words(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.replace('_', " ") + ":", value)).collect(),
        Value::Array(items) => items.iter().map(|item| ("-".to_owned(), item)).collect(),
        _ => return String::new(),
    };
    let entries = entries.into_iter().map(|(key, value)| match value {
        Value::Null => String::new(),
        Value::Object(_) | Value::Array(_) => format!("{indent}{key}\n{}", words(value, depth + 1)),
        Value::String(text) => format!("{indent}{key} {text}\n"),
        other => format!("{indent}{key} {other}\n"),
    });
    entries.collect()
}

/// What a model is on its plan; every step of it if `whole`.
pub fn model_words(model: &Source, whole: bool) -> Result<Value, Failure> {
    let model = model.plan(&Machine::one_thread(Isa::best()), Stays::default(), &[])?;
    let (plan, macs) = (model.plan(), model.macs());
    let ports = |ports: &[Port]| ports.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
    plan.steps().iter().for_each(|step| *kinds.entry(step.name()).or_default() += 1);
    let mut words = json!({
        "inputs": ports(plan.inputs()),
        "outputs": ports(plan.outputs()),
        "macs": {"float": macs.float, "int8": macs.int8, "complete": !macs.incomplete},
        "weights_bytes": plan.weights_bytes(),
        "arena_bytes": plan.arena_bytes(),
        "instruction_set": plan.machine().isa.name(),
        "steps": kinds,
    });
    let fallback = |fallback: &Fallback| format!("{} {:?}: {}", fallback.op, fallback.node, fallback.reason);
    if !model.fallbacks().is_empty() {
        words["through_tract"] = model.fallbacks().iter().map(fallback).collect();
    }
    if whole {
        words["plan"] = plan.describe().collect();
    }
    Ok(words)
}

/// What a bundle is, and the models in it.
pub fn bundle_words(bundle: &Bundle, whole: bool) -> Result<Value, Failure> {
    let mut roles = serde_json::Map::new();
    for listed in bundle.files() {
        let file = &listed.path;
        let mut words = json!({"file": file.display().to_string()});
        match (&listed.content, bundle.plan_file()) {
            (Content::LeftOut, _) => words["left_out"] = "of the plan file".into(),
            (Content::Network(_), _) => words["compiled_from_sha256"] = listed.sha256.as_str().into(),
            (Content::Whole, None) => {
                words["bytes"] = std::fs::metadata(file)
                    .map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?
                    .len()
                    .into();
            }
            (Content::Whole, Some(_)) => {}
        }
        let is_model = file.extension().is_some_and(|extension| extension == "onnx");
        if is_model && listed.content != Content::LeftOut {
            words["model"] = model_words(&listed.source()?, whole)?;
        }
        if listed.vector > 0 {
            words["vector"] = listed.vector.into();
        }
        if !listed.tasks.is_empty() {
            words["tasks"] = listed.tasks.join(", ").into();
        }
        let role = match listed.name.as_str() {
            "" => listed.role.clone(),
            name => format!("{} {name:?}", listed.role),
        };
        roles.insert(role, words);
    }
    let labels = bundle.labels();
    let classes: Vec<_> = labels.classes.iter().map(|class| class.name).collect();
    let karras = bundle.scheduler().karras();
    let calibrated = bundle.calibrated_gate.as_ref().map(|gate| {
        json!({"alpha_permille": gate.alpha_permille, "delta_permille": gate.delta_permille, "data": gate.data, "bins": gate.bins.len()})
    });
    let (where_it_is, hashes) = match bundle.plan_file() {
        None => ("folder", "every file has the sha256 of the manifest".into()),
        Some(plan) => ("plan_file", format!("the plan file has the sha256 that it gives, {}", plan.sha256())),
    };
    Ok(json!({
        "bundle": bundle.name(),
        where_it_is: bundle.path().display().to_string(),
        "hashes": hashes,
        "label_set": labels.name,
        "classes": classes,
        "grid": bundle.grid().to_string(),
        "sampler": {"steps": bundle.steps, "sigma_min": karras.sigma_min, "sigma_max": karras.sigma_max, "rho": karras.rho},
        "gate": {
            "calibrated": calibrated,
            "unknown_permille": bundle.gate.unknown_permille,
            "snr_cdb": bundle.gate.snr_cdb,
            "confidence_permille": bundle.gate.confidence_permille,
        },
        "fusion": {"unknown_permille": bundle.fusion.unknown_permille, "noise_permille": bundle.fusion.noise_permille},
        "roles": roles,
    }))
}
