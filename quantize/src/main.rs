//! `semrx-quantize`: the command line.

mod arguments;

use arguments::Arguments;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use semrx::bundle::MANIFEST;
use semrx_quantize::{
    Draw, Manifest, Network, Outcome, QuantizeError, Samples, Settings, Store, page, quantize, whole, writable,
};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// That are drawn where nobody says how many.
const SAMPLES: u16 = 96;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.check();
    let is_bundle = arguments.model.join(MANIFEST).is_file();
    let is_new = !arguments.output.exists();
    match if is_bundle { bundle(&arguments) } else { model(&arguments) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if is_bundle && is_new {
                // Made for the bundle, and still empty: else it stays.
                let _ = std::fs::remove_dir(&arguments.output);
            }
            eprintln!("semrx-quantize: {error}");
            ExitCode::from(if error.is_refusal() { 3 } else { 1 })
        }
    }
}

/// One model.
fn model(arguments: &Arguments) -> Result<(), QuantizeError> {
    for file in [Some(&arguments.output), arguments.report.as_ref()].into_iter().flatten() {
        writable(file)?;
    }
    let mut excluded = Vec::new();
    let network = network(arguments, &arguments.model, &mut excluded)?;
    check_excluded(arguments, &excluded, &[&network])?;
    let outcome = quantized(arguments, &network, arguments.bundle.as_deref(), "")?;
    report(arguments, &[("", &outcome)])?;
    whole(&arguments.output, &outcome.bytes)?;
    say(arguments, &[("", &outcome)])
}

/// All networks of a bundle.
fn bundle(arguments: &Arguments) -> Result<(), QuantizeError> {
    let manifest = Manifest::read(&arguments.model)?;
    arguments.report.iter().try_for_each(|file| writable(file))?;
    manifest.prepare(&arguments.output)?;
    let (mut networks, mut excluded, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    let roles: Vec<String> = manifest.networks().into_iter().map(|(role, _)| role).collect();
    if let Some(unknown) =
        arguments.budget_kib.iter().flat_map(|budget| &budget.role).find(|role| !roles.contains(role))
    {
        let reason =
            format!("has no network in the role {unknown:?} that --budget-kib names: it has {}", roles.join(", "));
        return Err(QuantizeError::Model { file: arguments.model.clone(), reason });
    }
    for (role, file) in manifest.networks() {
        networks.push((role, network(arguments, &file, &mut excluded)?));
    }
    check_excluded(arguments, &excluded, &networks.iter().map(|(_, network)| network).collect::<Vec<_>>())?;
    for (role, network) in networks {
        eprintln!("{role}: {}", network.file.display());
        let outcome = quantized(arguments, &network, Some(&arguments.model), &role)?;
        outcomes.push((role, outcome));
    }
    let outcomes: Vec<(&str, &Outcome)> = outcomes.iter().map(|(role, outcome)| (role.as_str(), outcome)).collect();
    report(arguments, &outcomes)?;
    let files = outcomes.iter().map(|&(role, outcome)| (role, &outcome.bytes[..]));
    manifest.write(&arguments.output, &files.collect::<Vec<_>>())?;
    say(arguments, &outcomes)
}

/// The model in `file`, with those of the `--exclude` left in float that it has: they are added to `excluded`.
fn network(arguments: &Arguments, file: &Path, excluded: &mut Vec<String>) -> Result<Network, QuantizeError> {
    let mut network = Network::read(file)?;
    excluded.extend(arguments.exclude.iter().filter(|name| network.exclude(name)).cloned());
    Ok(network)
}

/// Refuses names of nodes that nothing had, and networks of which everything is excluded.
fn check_excluded(arguments: &Arguments, excluded: &[String], networks: &[&Network]) -> Result<(), QuantizeError> {
    if let Some(name) = arguments.exclude.iter().find(|name| !excluded.contains(name)) {
        let reason =
            format!("has no node {name:?} that could be quantized: --exclude takes names as the report lists them");
        return Err(QuantizeError::Model { file: arguments.model.clone(), reason });
    }
    networks.iter().find(|network| network.layers.is_empty()).map_or(Ok(()), |network| {
        let reason = "every layer that could be quantized is excluded".into();
        Err(QuantizeError::Model { file: network.file.clone(), reason })
    })
}

/// The network on what `--calib` and the bundle say.
fn quantized(
    arguments: &Arguments,
    network: &Network,
    bundle: Option<&Path>,
    role: &str,
) -> Result<Outcome, QuantizeError> {
    let samples = match bundle {
        None => Samples::open(&arguments.calib)?,
        Some(bundle) => {
            let draw = Draw {
                samples: arguments.samples.unwrap_or(SAMPLES).into(),
                seed: arguments.seed,
                only: &arguments.only,
                fps: arguments.fps,
            };
            let store = match &arguments.save_samples {
                Some(folder) => Store::open(folder, network, bundle, &arguments.calib, draw)?,
                None => Store::none(),
            };
            let progress = progress("samples", draw.samples);
            let samples = Samples::of_bundle(network, bundle, &arguments.calib, draw, &store, || progress.inc(1))?;
            progress.finish_and_clear();
            samples
        }
    };
    let settings = Settings {
        bits: arguments.weights,
        compensated: !arguments.nearest,
        seed: arguments.seed,
        bounds: arguments.bounds(role),
    };
    let progress = progress("runs", 0);
    let outcome = quantize(network, &samples, &settings, |more| progress.inc_length(more as u64), || progress.inc(1));
    progress.finish_and_clear();
    outcome
}

fn report(arguments: &Arguments, outcomes: &[(&str, &Outcome)]) -> Result<(), QuantizeError> {
    let sections: Vec<&str> = outcomes.iter().map(|(_, outcome)| &outcome.html[..]).collect();
    arguments.report.iter().try_for_each(|file| whole(file, page(&arguments.model, &sections).as_bytes()))
}

/// Prints what there is to say: of a bundle by role.
fn say(arguments: &Arguments, outcomes: &[(&str, &Outcome)]) -> Result<(), QuantizeError> {
    let title = |role: &str| if role.is_empty() { String::new() } else { format!("{role}: ") };
    for (role, outcome) in outcomes {
        for warning in &outcome.warnings {
            eprintln!("semrx-quantize: warning: {}{warning}", title(role));
        }
    }
    let text = match outcomes {
        [("", outcome)] if arguments.json => format!("{:#}\n", outcome.json),
        [("", outcome)] => outcome.text.clone(),
        _ if arguments.json => {
            let all = outcomes.iter().map(|(role, outcome)| ((*role).to_owned(), outcome.json.clone()));
            format!("{:#}\n", all.collect::<serde_json::Map<_, _>>().into_iter().collect::<serde_json::Value>())
        }
        _ => outcomes.iter().map(|(role, outcome)| format!("{role}\n{}\n", outcome.text)).collect(),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who reads has had enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(QuantizeError::Write { file: "standard output".into(), error }),
        Ok(()) => Ok(()),
    }
}

fn progress(what: &str, count: usize) -> ProgressBar {
    let progress = ProgressBar::new(count as u64);
    let style = ProgressStyle::with_template(&format!("{{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left"));
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}
