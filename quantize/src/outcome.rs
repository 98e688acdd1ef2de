//! From samples to a quantized model, and what there is to say of it.

use crate::{
    Bounds, Calibrated, Network, QuantizeError, Report, Samples, activations, compare, relieved, sensitive, shortcuts,
};
use semrx::bundle::sha256;
use serde_json::Value;

/// How to quantize.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Of weights: 8, or 4 in blocks of 32 input channels.
    pub bits: u8,
    /// Rounding that makes good its errors; to nearest without.
    pub compensated: bool,
    pub seed: u64,
    pub bounds: Bounds,
}

/// A quantized model.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The file.
    pub bytes: Vec<u8>,
    pub text: String,
    pub json: Value,
    /// For [`page`](crate::page).
    pub html: String,
    /// A line each.
    pub warnings: Vec<String>,
}

/// Quantizes `original` by what flows through it on `samples`. `more` is told how many runs of a model are to come, `tick` is called after each.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize(
    original: &Network,
    samples: &Samples,
    settings: &Settings,
    mut more: impl FnMut(usize),
    mut tick: impl FnMut(),
) -> Result<Outcome, QuantizeError> {
    let &Settings { bits, compensated, seed, ref bounds } = settings;
    let is_relieved = *bounds != Bounds::default();
    let looks = if shortcuts::shortcuts(original) > 0 { samples.len() } else { 0 };
    more(looks + Calibrated::runs(samples) + samples.len());
    let (network, parts) = shortcuts::split(original, samples, &mut tick)?;
    let calibrated = Calibrated::new(&network, samples, seed, &mut tick)?;
    let bits: &[u8] = if bits == 4 && is_relieved { &[4, 8] } else { &[bits] };
    let levels = bits.iter().map(|&bits| calibrated.quantized(bits, compensated));
    let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
    more(activations::runs(&levels[0], samples));
    let costly = activations::costly(&network, &levels[0], samples, &mut tick)?;
    levels.iter_mut().for_each(|level| *level = level.leaving(&costly));
    let quantized = match is_relieved {
        true => {
            more(sensitive::runs(network.layers.len(), levels.len(), samples, bounds));
            relieved(&network, &levels, samples, bounds, &mut tick)?
        }
        false => levels.swap_remove(0),
    };
    let bytes = quantized.bytes(&network);
    let compared = compare(original, &bytes, samples, tick)?;
    let report = Report {
        network: &network,
        quantized: &quantized,
        compared: &compared,
        samples: samples.len(),
        parts,
        sha256: &sha256(&bytes),
    };
    let (text, json, html, warnings) = (report.text(), report.json(), report.html(), report.warnings());
    Ok(Outcome { text, json, html, warnings, bytes })
}
