//! How far a quantized model is from the float one, and what both take.

use crate::QuantizeError;
use crate::network::Network;
use crate::observe::Observed;
use crate::samples::Samples;
use semrx::engine::Macs;

/// How far an output is from the float one, over all samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Sqnr {
    pub output: String,
    /// Signal to quantization noise, `10 log10(sum y^2 / sum (y - y')^2)`: infinite where the outputs are the same.
    pub db: f64,
    /// Share of the answers that changed: of an image [1, C, H, W] with several channels, the channel with the largest value at each place; of
    /// others, whether each value is above 0.
    pub changed: f64,
}

/// What a model takes on the planned engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Of a run.
    pub macs: Macs,
    pub arena_bytes: usize,
    /// Weights and other constants, as they lie in memory.
    pub weights_bytes: usize,
    pub file_bytes: usize,
}

/// Both models beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub outputs: Vec<Sqnr>,
    pub float: Costs,
    pub quantized: Costs,
}

impl Compared {
    /// Power of the error over that of the output, summed over the outputs.
    pub(crate) fn noise(&self) -> f64 {
        self.outputs.iter().map(|output| 10f64.powf(-output.db / 10.0)).sum()
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
    let mut answers = vec![(0u64, 0u64); names.len()];
    let shapes: Vec<Vec<usize>> = (0..names.len()).map(|output| float.shape(output).to_vec()).collect();
    let mut expected: Vec<Vec<f32>> = vec![Vec::new(); names.len()];
    for sample in 0..samples.len() {
        float.run(samples, sample, |output, values| expected[output] = values.to_vec())?;
        int8.run(samples, sample, |output, values| {
            for (value, expected) in values.iter().zip(&expected[output]) {
                sums[output].0 += f64::from(*expected).powi(2);
                sums[output].1 += f64::from(value - expected).powi(2);
            }
            let (before, after) =
                (self::answers(&expected[output], &shapes[output]), self::answers(values, &shapes[output]));
            answers[output].0 += before.len() as u64;
            answers[output].1 += before.iter().zip(&after).filter(|(before, after)| before != after).count() as u64;
        })?;
        tick();
    }
    let db = |(signal, noise): &(f64, f64)| 10.0 * (signal.max(f64::MIN_POSITIVE) / noise).log10();
    let outputs = names.iter().zip(sums.iter().zip(&answers)).map(|(name, (sums, &(all, changed)))| Sqnr {
        output: name.to_string(),
        db: db(sums),
        changed: changed as f64 / all.max(1) as f64,
    });
    let outputs = outputs.collect();
    Ok(Compared { outputs, float: float.costs(network.bytes().len()), quantized: int8.costs(quantized.len()) })
}

/// What an output of that shape decides.
fn answers(values: &[f32], shape: &[usize]) -> Vec<usize> {
    let (channels, places) = match *shape {
        [1, channels, height, width] if channels > 1 => (channels, height * width),
        _ => return values.iter().map(|&value| usize::from(value > 0.0)).collect(),
    };
    let largest = |place: usize| {
        (1..channels).fold(0, |best, channel| {
            if values[channel * places + place] > values[best * places + place] { channel } else { best }
        })
    };
    (0..places).map(largest).collect()
}
