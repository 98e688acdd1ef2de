//! Results of layers that pay for 8 bits: those that others are added to, above all, whose error is in everything behind them.

use crate::observe::Observed;
use crate::sensitive::MOST;
use crate::{Network, QuantizeError, Quantized, Samples, compare};

/// The share of their noise that it is worth to be rid of.
const ENOUGH: f64 = 0.8;
/// The share of all elements that may stay in float: they take four times the room, and the time of it.
const FEW: f64 = 0.2;
/// How much larger the arena may become, as a share of what it is with all of them in 8 bits.
const LARGER: f64 = 0.05;

/// Results of layers of `quantized` that had better stay in float32 until their readers quantize them: those that cost the outputs most, until most of
/// the noise is gone, as long as they are few and the arena hardly grows by them. `tick` is called after each run, [`runs`] times in all.
///
/// # Errors
/// [`QuantizeError`].
pub fn costly(
    network: &Network,
    quantized: &Quantized<'_>,
    samples: &Samples,
    mut tick: impl FnMut(),
) -> Result<Vec<String>, QuantizeError> {
    let few = samples.spread(MOST);
    let mut costs = Vec::new();
    for name in &quantized.stored {
        let bytes = quantized.storing_alone(name).bytes(network);
        costs.push((compare(network, &bytes, &few, &mut tick)?.noise(), name));
    }
    // Who writes and reads a large one takes longer by it.
    let size = |name: &str| quantized.elements.get(name).copied().unwrap_or(1).max(1) as f64;
    costs.sort_by(|a, b| (b.0 / size(b.1)).total_cmp(&(a.0 / size(a.1))).then_with(|| a.1.cmp(b.1)));
    let all: f64 = costs.iter().map(|(noise, _)| noise).sum();
    let most = (arena(network, quantized)? as f64 * (1.0 + LARGER)) as usize;
    let mut elements = FEW * quantized.stored.iter().map(|name| size(name)).sum::<f64>();
    let (mut found, mut gone) = (Vec::new(), 0.0);
    for (noise, name) in costs {
        if gone >= ENOUGH * all {
            break;
        }
        if size(name) > elements {
            continue;
        }
        found.push(name.clone());
        match arena(network, &quantized.leaving(&found))? <= most {
            true => (gone, elements) = (gone + noise, elements - size(name)),
            false => drop(found.pop()),
        }
    }
    Ok(found)
}

/// Times that [`costly`] runs a model.
pub fn runs(quantized: &Quantized<'_>, samples: &Samples) -> usize {
    quantized.stored.len() * samples.len().min(MOST)
}

fn arena(network: &Network, quantized: &Quantized<'_>) -> Result<usize, QuantizeError> {
    let bytes = quantized.bytes(network);
    Ok(Observed::from_bytes(&network.file, &bytes, &network.float_outputs())?.costs(bytes.len()).arena_bytes)
}
