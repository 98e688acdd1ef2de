//! How far a quantized model is from the float one, and what both take.

use crate::QuantizeError;
use crate::network::Network;
use crate::observe::Observed;
use crate::samples::Samples;
use semrx::engine::Macs;

/// Signal to quantization noise of an output: `10 log10(sum y^2 / sum (y - y')^2)`, over all samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Sqnr {
    pub output: String,
    /// Infinite where the outputs are the same.
    pub db: f64,
}

/// What a model takes on the planned engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Of a run.
    pub macs: Macs,
    pub arena_bytes: usize,
    pub file_bytes: usize,
}

/// Both models beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub outputs: Vec<Sqnr>,
    pub float: Costs,
    pub quantized: Costs,
}

impl Costs {
    /// Bit operations of a run: multiply-accumulates times the bits of their weights and of their activations. `bits` are those of integer weights.
    pub fn bops(&self, bits: u8) -> u64 {
        self.macs.float * 32 * 32 + self.macs.int8 * u64::from(bits) * 8
    }
}

/// Runs `network` and the `quantized` file, both on the planned engine, on every sample; outputs that are no float32 are not compared. `tick` is called after each.
///
/// # Errors
/// [`QuantizeError`].
pub fn compare(
    network: &Network,
    quantized: &[u8],
    samples: &Samples,
    mut tick: impl FnMut(),
) -> Result<Compared, QuantizeError> {
    let names = network.float_outputs();
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
    let db = |(signal, noise): &(f64, f64)| 10.0 * (signal.max(f64::MIN_POSITIVE) / noise).log10();
    let outputs = names.iter().zip(&sums).map(|(name, sums)| Sqnr { output: name.to_string(), db: db(sums) }).collect();
    let costs = |observed: &Observed, file_bytes| {
        let (macs, arena_bytes) = observed.costs();
        Costs { macs, arena_bytes, file_bytes }
    };
    Ok(Compared { outputs, float: costs(&float, network.bytes().len()), quantized: costs(&int8, quantized.len()) })
}
