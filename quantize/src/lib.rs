//! Quantization after training: a float ONNX model and calibration inputs in, QDQ ONNX in int8 out.
//!
//! [`Network`] is the model, [`Samples`] the inputs, [`quantize`] the way between, [`compare`] how far the result is from the model.

mod compare;
mod error;
mod moments;
mod network;
mod observe;
mod opset;
mod range;
mod report;
mod rounding;
mod samples;
mod scenes;
mod sensitive;
mod sinks;
mod write;

pub use compare::{Compared, Costs, Sqnr, compare};
pub use error::QuantizeError;
pub use network::{Layer, Left, Network};
pub use range::Scale;
pub use report::Report;
pub use rounding::Rounded;
pub use samples::Samples;
pub use scenes::Draw;
pub use sensitive::{relieved, runs as relief_runs};
pub use write::{Quantized, whole, writable};

use moments::Moments;
use observe::Observed;
use range::{Histogram, Range};
use semrx::noise::Noise;
use std::collections::{BTreeMap, HashSet};

/// Stream of [`Noise`] that draws the places at which moments are taken.
const STREAM: u64 = 0x6d6f_6d65_6e74;

/// How to quantize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Of weights: 8, or 4 in blocks of 32.
    pub bits: u8,
    /// Rounding that makes good its errors; to nearest without.
    pub compensated: bool,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { bits: 8, compensated: true, seed: 0 }
    }
}

/// Quantizes `network` by what flows through it on `samples`. `tick` is called after each run of the model, [`runs`] times in all.
///
/// # Errors
/// [`QuantizeError`]: calibration that doesn't fit, or in which nothing flows; a model that can't have weights of 4 bits.
pub fn quantize<'a>(
    network: &'a Network,
    samples: &Samples,
    settings: Settings,
    mut tick: impl FnMut(),
) -> Result<Quantized<'a>, QuantizeError> {
    if let Some(reason) = opset::obstacle(&network.graph, network.opset()).filter(|_| settings.bits == 4) {
        return Err(QuantizeError::Model { file: network.file.clone(), reason });
    }
    let sinks = network.layers.iter().map(|layer| sinks::of(network, layer));
    let stored: Vec<&str> = sinks.filter(|sink| !sinks::is_output(network, sink)).collect();
    let mut names: Vec<&str> = network.layers.iter().map(|layer| layer.input.as_str()).collect();
    names.extend(&stored);
    names.sort_unstable();
    names.dedup();
    let mut observed = Observed::load(network, &names)?;

    let mut ranges = vec![Range::default(); names.len()];
    for sample in 0..samples.len() {
        observed.run(samples, sample, |tensor, values| ranges[tensor].see(values))?;
        tick();
    }
    let dead: Vec<&str> =
        names.iter().zip(&ranges).filter(|(_, range)| range.is_empty()).map(|(name, _)| *name).collect();
    if dead.len() == names.len() {
        let reason = "nothing but zeros flows through the model on these inputs".into();
        return Err(QuantizeError::Calibration { file: samples.source().to_owned(), reason });
    }
    // What is always 0 is exact with any scale.
    let mut histograms: Vec<Histogram> = ranges
        .iter()
        .map(|range| Histogram::new(if range.is_empty() { Range { low: 0.0, high: 1.0 } } else { *range }))
        .collect();
    let mut moments: Vec<Vec<Moments>> = network.layers.iter().map(Moments::of).collect();
    let number = |name: &str| names.binary_search(&name).unwrap_or(0);
    let inputs: Vec<usize> = network.layers.iter().map(|layer| number(&layer.input)).collect();
    let shapes: Vec<Vec<usize>> = (0..names.len()).map(|tensor| observed.shape(tensor).to_vec()).collect();
    for sample in 0..samples.len() {
        let noise = Noise::new(settings.seed, STREAM).substream(sample as u64);
        observed.run(samples, sample, |tensor, values| {
            histograms[tensor].see(values);
            for (index, layer) in network.layers.iter().enumerate().filter(|(index, _)| inputs[*index] == tensor) {
                moments::see(&mut moments[index], layer, values, &shapes[tensor], noise.substream(index as u64));
            }
        })?;
        tick();
    }
    let scales: BTreeMap<String, Scale> =
        names.iter().zip(&histograms).map(|(name, histogram)| (name.to_string(), histogram.scale())).collect();
    let layers = network.layers.iter().zip(&moments).map(|(layer, moments)| {
        let input = scales.get(&layer.input).map_or(1.0, |scale| scale.scale);
        (layer, rounding::round(layer, moments, input, settings.bits, settings.compensated))
    });
    let provenance = vec![
        ("semrx-quantize".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("calibration".to_owned(), format!("{} samples", samples.len())),
        ("weights".to_owned(), format!("{} bits", settings.bits)),
    ];
    let layers = layers.collect();
    let stored: HashSet<String> = stored.into_iter().map(str::to_owned).collect();
    let place = |layer: &Layer| {
        let elements = observed.elements(sinks::of(network, layer))?;
        Some((layer.output.clone(), elements / layer.outputs() as u64))
    };
    let places = network.layers.iter().filter_map(place).collect();
    Ok(Quantized { layers, scales, stored, sensitive: Vec::new(), places, provenance })
}

/// Times that [`quantize`] runs the model.
pub fn runs(samples: &Samples) -> usize {
    2 * samples.len()
}
