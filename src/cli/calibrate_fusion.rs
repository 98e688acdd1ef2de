//! `semrx eval --calibrate-fusion`: temperatures of log-odds under which a bundle's probabilities come true as often as they say.

use super::Done;
use super::exit::Failure;
use super::output::print;
use super::progress::progress;
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::evaluation::{Case, FusionFinding, Recording, calibrate_fusion, fusion_odds};

pub fn run(bundle: &Bundle, recordings: &[Recording<'_>], cases: &[Case], seed: u64, engine: &Engine) -> Done {
    let maps: usize = recordings.iter().map(|recording| recording.maps.len()).sum();
    let progress = progress(maps * cases.len(), "frames");
    let odds = fusion_odds(bundle, recordings, cases, seed, engine, &mut || progress.inc(1))?;
    progress.finish_and_clear();
    let findings = calibrate_fusion(&odds);
    if findings.iter().all(Option::is_none) {
        return Err(Failure::failed("nothing was unknown or noisy on these channels: there is nothing to fuse"));
    }
    let mut text = format!(
        "{} recordings, {maps} maps, {} channels; probabilities of hazards, as the bundle has them and with the weight found\n\
         {:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        recordings.len(),
        cases.len(),
        "frames with",
        "hazards",
        "weight",
        "NLL",
        "found",
        "ECE",
        "found",
    );
    let mut entries = Vec::new();
    for (kind, finding) in ["unknown", "noise"].into_iter().zip(&findings) {
        let Some(FusionFinding { weights, before, after, hazards }) = finding else {
            continue;
        };
        for (at, which) in ["", ", refined"].into_iter().enumerate() {
            text += &format!(
                "{:<16}{hazards:>10}{:>10.3}{:>10.4}{:>10.4}{:>10.4}{:>10.4}\n",
                format!("{kind}{which}"),
                weights[at],
                before[at].nll,
                after[at].nll,
                before[at].ece,
                after[at].ece
            );
        }
        let permille = weights.map(|weight| format!("{:.0}", 1000.0 * weight));
        entries.push(format!("\"{kind}_permille\": [{}]", permille.join(", ")));
    }
    text += "weight: what log-odds are multiplied with, the head's where nothing is refined, both decisions' pool where something is\n";
    if entries.len() == 2 {
        text += &format!("in bundle.json: \"fusion\": {{\"calibrated\": {{{}}}}}\n", entries.join(", "));
    } else {
        text += "for bundle.json, give channels of both kinds: with unknown cells, and noisy ones\n";
    }
    print(&text)
}
