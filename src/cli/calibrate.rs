//! `semrx eval --calibrate-cache`: what a bundle says for `--cache bounded`.

use super::Done;
use super::exit::Failure;
use super::output::print;
use super::progress::progress;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::evaluation::{Calibrated, Case, Recording, calibrate, calibration_samples, receive, search_turns};
use semrx::receiver::{Config, SamplerKind};
use semrx::scene::Scene;

pub struct Wanted {
    /// Search turns that save so much, in the place of a threshold.
    pub saving: Option<f64>,
    pub tries: usize,
    pub agreement: f64,
    pub steps: u16,
    pub sampler: SamplerKind,
    pub seed: u64,
}

pub fn run(bundle: &Bundle, recording: Recording<'_>, cases: &[Case], wanted: &Wanted, engine: &Engine) -> Done {
    let mut scenes: Vec<Scene> = Vec::new();
    for case in cases {
        receive(bundle.labels(), recording, case, wanted.seed, |scene, _, _| {
            if scene.known().contains(&false) {
                scenes.push(scene.clone());
            }
            Ok(())
        })?;
    }
    if scenes.is_empty() {
        return Err(Failure::refused("no frame has lost cells: give a --channel that loses tiles"));
    }
    let samples = match wanted.saving {
        Some(_) => scenes.len() * (2 + wanted.tries),
        None => calibration_samples(scenes.len(), wanted.steps),
    };
    let progress = progress(samples, "samples");
    let config = Config { steps: Some(wanted.steps), sampler: wanted.sampler, seed: wanted.seed, ..Config::default() };
    if let Some(saving) = wanted.saving {
        let found = search_turns(bundle, &scenes, config, saving, wanted.tries, engine, &mut || progress.inc(1))?;
        progress.finish_and_clear();
        let Some((turns, cached)) = found else {
            return Err(Failure::failed(format!("no turns save {saving} x in {} steps: ask for less", wanted.steps)));
        };
        let weights: Vec<String> = turns.weights().map(|of| format!("{of:?}")).collect();
        let weights = weights.join(", ");
        return print(&format!(
            "{} frames with lost cells, {} steps, {} tries\n{:.2} % of the lost cells agree with no cache from the same noise; {:.2} x fewer MACs\n\
             in bundle.json: \"cache\": {{\"turns\": \"{turns}\", \"weights\": [{weights}]}}\n",
            scenes.len(),
            wanted.steps,
            wanted.tries,
            100.0 * cached.agreement(),
            cached.saving(),
        ));
    }
    let found = calibrate(bundle, &scenes, config, wanted.agreement, engine, &mut || progress.inc(1))?;
    progress.finish_and_clear();
    let share = 100.0 * wanted.agreement;
    let Some(Calibrated { profile, threshold, cached }) = found else {
        return Err(Failure::failed(format!(
            "no threshold keeps {share} % of the lost cells: the model changes too fast"
        )));
    };
    let steps = wanted.steps;
    let levels: Vec<String> = profile.levels().iter().map(|[sigma, sum]| format!("[{sigma:.6}, {sum:.6}]")).collect();
    print(&format!(
        "{} frames with lost cells, {steps} steps, at least {share} % agreement with no cache from the same noise\n\
         {:.2} % of the lost cells agree; {:.1} of {steps} steps ask the restore network: {:.2} x fewer MACs\n\
         in bundle.json: \"cache\": {{\"threshold\": {threshold:.6}, \"profile\": [{}]}}\n",
        scenes.len(),
        100.0 * cached.agreement(),
        steps as f64 / cached.saving(),
        cached.saving(),
        levels.join(", "),
    ))
}
