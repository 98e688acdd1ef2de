//! `semrx eval --calibrate-gate`: the thresholds of a bundle's gate, with the risk that they keep.

use super::Done;
use super::exit::Failure;
use super::output::print;
use super::progress::progress;
use semrx::bundle::{Bundle, GateChannel, sha256};
use semrx::engine::Engine;
use semrx::evaluation::{BINS, Case, GateFinding, Recording, calibrate_gate, gate_splits, gate_trials};

/// Splits of the blocks in two halves, one of which says the thresholds that the other tries.
const SPLITS: u64 = 100;

pub struct Wanted {
    /// Most frames that may be decided worse for what isn't generated, as a share.
    pub alpha: f64,
    /// How often that may fail to hold.
    pub delta: f64,
    pub seed: u64,
}

pub fn run(bundle: &Bundle, recordings: &[Recording<'_>], cases: &[Case], wanted: &Wanted, engine: &Engine) -> Done {
    let maps: usize = recordings.iter().map(|recording| recording.maps.len()).sum();
    let progress = progress(maps * cases.len(), "frames");
    let trials = gate_trials(bundle, recordings, cases, wanted.seed, engine, &mut || progress.inc(1))?;
    progress.finish_and_clear();
    let Wanted { alpha, delta, .. } = *wanted;
    let findings = calibrate_gate(&trials, alpha, delta);
    if findings.iter().all(|finding| finding.doubt_permille.is_none()) {
        return Err(Failure::failed(format!(
            "no threshold keeps the risk of {alpha} at confidence {}: give more --maps, or a larger --alpha",
            1.0 - delta
        )));
    }
    let kept = gate_splits(&trials, alpha, delta, SPLITS);
    let cells: Vec<u8> =
        recordings.iter().flat_map(|recording| recording.maps).flat_map(|map| &map.cells).copied().collect();
    let mut text = format!(
        "{} recordings, {maps} maps, {} channels; a risk of {alpha} at most, at confidence {}\n{:<24}{:>8}{:>10}{:>10}{:>10}{:>10}{:>18}\n",
        recordings.len(),
        cases.len(),
        1.0 - delta,
        "bin",
        "blocks",
        "doubt",
        "risk",
        "skipped",
        "spared",
        "splits within",
    );
    let mut bins = Vec::new();
    for ((&(channel, from, below), finding), kept) in BINS.iter().zip(&findings).zip(kept) {
        let GateFinding { doubt_permille, risk, skipped, spared, blocks } = *finding;
        let name = match channel {
            GateChannel::Map => format!("unknown {} to {} %", from / 10, below / 10),
            GateChannel::Soft => "soft payloads".into(),
        };
        let doubt = doubt_permille.map_or("-".into(), |doubt| format!("{:.2}", doubt as f64 / 1000.0));
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        text += &format!(
            "{name:<24}{blocks:>8}{doubt:>10}{:>10}{:>10}{:>10}{:>18}\n",
            percent(risk),
            percent(skipped),
            percent(spared),
            format!("{kept} of {SPLITS}"),
        );
        if let Some(doubt) = doubt_permille {
            let channel = if channel == GateChannel::Map { "map" } else { "soft" };
            bins.push(format!(
                r#"{{"channel": "{channel}", "from": {from}, "below": {below}, "doubt_permille": {doubt}}}"#
            ));
        }
    }
    text += "doubt: hazards that the head expects to call wrongly, up to which nothing is generated; skipped: of all frames; spared: of those that could be refined\n";
    text += &format!(
        "in bundle.json: \"gate\": {{\"calibrated\": {{\"alpha_permille\": {:.0}, \"delta_permille\": {:.0}, \"data\": \"{}\", \"bins\": [{}]}}}}\n",
        1000.0 * alpha,
        1000.0 * delta,
        sha256(&cells),
        bins.join(", "),
    );
    print(&text)
}
