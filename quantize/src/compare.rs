//! How far a quantized model is from the float one.

use crate::QuantizeError;
use crate::network::Network;
use crate::observe::Observed;
use crate::samples::Samples;

/// Signal to quantization noise of an output: `10 log10(sum y^2 / sum (y - y')^2)`, over all samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Sqnr {
    pub output: String,
    pub db: f64,
}

/// Runs `network` and the `quantized` file, both on the planned engine, on every sample. `tick` is called after each.
///
/// # Errors
/// [`QuantizeError`].
pub fn compare(
    network: &Network,
    quantized: &[u8],
    samples: &Samples,
    mut tick: impl FnMut(),
) -> Result<Vec<Sqnr>, QuantizeError> {
    let names: Vec<&str> = network.graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut float = Observed::load(network, &names)?;
    let mut int8 = Observed::from_bytes(&network.file, quantized, &names)?;
    let mut sums = vec![(0.0f64, 0.0f64); names.len()];
    let mut expected: Vec<Vec<f32>> = vec![Vec::new(); names.len()];
    for sample in 0..samples.len() {
        float.run(samples, sample, |output, values| expected[output] = values.to_vec())?;
        int8.run(samples, sample, |output, values| {
            for (value, expected) in values.iter().zip(&expected[output]) {
                sums[output].0 += f64::from(*expected).powi(2);
                sums[output].1 += f64::from(value - expected).powi(2);
            }
        })?;
        tick();
    }
    let db = |(signal, noise): &(f64, f64)| 10.0 * (signal.max(f64::MIN_POSITIVE) / noise.max(f64::MIN_POSITIVE)).log10();
    Ok(names.iter().zip(&sums).map(|(name, sums)| Sqnr { output: name.to_string(), db: db(sums) }).collect())
}
