//! What flows through a network on calibration inputs, and the quantized models that follow from it.

use crate::moments::{self, Moments};
use crate::network::{Layer, Network};
use crate::observe::Observed;
use crate::range::{Histogram, Range, Scale};
use crate::{QuantizeError, Quantized, Samples, opset, rounding, sinks};
use semrx::noise::Noise;
use std::collections::{BTreeMap, BTreeSet};

/// Stream of [`Noise`] that draws the places at which moments are taken.
const STREAM: u64 = 0x6d6f_6d65_6e74;

/// A network, the scales of its tensors, and the moments of what its layers multiply.
#[derive(Debug)]
pub struct Calibrated<'a> {
    network: &'a Network,
    samples: usize,
    scales: BTreeMap<String, Scale>,
    /// Of each layer, by group.
    moments: Vec<Vec<Moments>>,
    stored: BTreeSet<String>,
    elements: BTreeMap<String, u64>,
}

impl<'a> Calibrated<'a> {
    /// Runs `network` on `samples`, [`runs`](Self::runs) times in all, and calls `tick` after each. `seed` draws the places that are looked at.
    ///
    /// # Errors
    /// [`QuantizeError`]: calibration that doesn't fit, or in which nothing flows.
    pub fn new(
        network: &'a Network,
        samples: &Samples,
        seed: u64,
        mut tick: impl FnMut(),
    ) -> Result<Self, QuantizeError> {
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
        if ranges.iter().all(Range::is_empty) {
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
            let noise = Noise::new(seed, STREAM).substream(sample as u64);
            observed.run(samples, sample, |tensor, values| {
                histograms[tensor].see(values);
                for (index, layer) in network.layers.iter().enumerate().filter(|(index, _)| inputs[*index] == tensor) {
                    moments::see(&mut moments[index], layer, values, &shapes[tensor], noise.substream(index as u64));
                }
            })?;
            tick();
        }
        let scales = names.iter().zip(&histograms).map(|(name, histogram)| (name.to_string(), histogram.scale()));
        let elements = |layer: &Layer| {
            let sink = sinks::of(network, layer);
            Some((sink.to_owned(), observed.elements(sink)?))
        };
        Ok(Calibrated {
            network,
            samples: samples.len(),
            scales: scales.collect(),
            moments,
            stored: stored.into_iter().map(str::to_owned).collect(),
            elements: network.layers.iter().filter_map(elements).collect(),
        })
    }

    /// Times that [`new`](Self::new) runs the model.
    pub fn runs(samples: &Samples) -> usize {
        2 * samples.len()
    }

    /// All layers with weights of `bits` bits: 8, or 4 in blocks. `compensated` is rounding that makes good its errors; to nearest without.
    ///
    /// # Errors
    /// [`QuantizeError::Model`] where the network can't have weights of 4 bits.
    pub fn quantized(&self, bits: u8, compensated: bool) -> Result<Quantized<'a>, QuantizeError> {
        let network = self.network;
        if let Some(reason) = opset::obstacle(&network.graph, network.opset()).filter(|_| bits == 4) {
            return Err(QuantizeError::Model { file: network.file.clone(), reason });
        }
        let layers = network.layers.iter().zip(&self.moments).map(|(layer, moments)| {
            let input = self.scales.get(&layer.input).map_or(1.0, |scale| scale.scale);
            (layer, rounding::round(layer, moments, input, bits, compensated))
        });
        let provenance = vec![
            ("semrx-quantize".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("calibration".to_owned(), format!("{} samples", self.samples)),
            ("weights".to_owned(), format!("{bits} bits")),
        ];
        Ok(Quantized {
            layers: layers.collect(),
            scales: self.scales.clone(),
            stored: self.stored.clone(),
            floats: Vec::new(),
            sensitive: Vec::new(),
            elements: self.elements.clone(),
            provenance,
        })
    }
}
