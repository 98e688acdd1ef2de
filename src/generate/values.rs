//! From a model's output to the values that a sampler takes.

use crate::bundle::{Contract, Kind, Layout};

/// Where the channels of a tensor with batch 1 stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planes {
    channels: usize,
    places: usize,
    layout: Layout,
}

impl Planes {
    /// `None` unless the batch is 1 and there is a channel.
    pub fn of(shape: &[usize], layout: Layout) -> Option<Self> {
        let (&batch, rest) = shape.split_first()?;
        let channels = match layout {
            Layout::Nchw => *rest.first()?,
            Layout::Nhwc => *rest.last()?,
        };
        let all: usize = rest.iter().product();
        (batch == 1 && all > 0).then(|| Planes { channels, places: all / channels, layout })
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub fn at(&self, channel: usize, place: usize) -> usize {
        match self.layout {
            Layout::Nchw => channel * self.places + place,
            Layout::Nhwc => place * self.channels + channel,
        }
    }
}

/// How the output of a model becomes a sampler's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// As it is: with x's shape, or with a variance behind it.
    Same,
    /// A variance stands beside each channel's values, not behind them all.
    Interleaved { channels: usize },
    /// Logits of classes that x has in bits.
    Logits { x: Planes, classes: Planes },
}

impl Values {
    /// For a model with these shapes of x and of the output.
    ///
    /// # Errors
    /// Which of the contract's terms they don't keep.
    pub fn new(contract: &Contract, x: &[usize], output: &[usize]) -> Result<Self, String> {
        let planes = |shape: &[usize], name: &str| {
            Planes::of(shape, contract.layout)
                .ok_or_else(|| format!("{name:?} is {shape:?}: should have batch 1, channels and no empty side"))
        };
        let (x_planes, planes) = (planes(x, &contract.x)?, planes(output, &contract.output)?);
        let name = &contract.output;
        if contract.kind == Some(Kind::Logits) {
            let (bits, classes) = (x_planes.channels, planes.channels);
            if x_planes.places != planes.places || bits > 8 || classes < 2 || classes.next_power_of_two() != 1 << bits {
                return Err(format!(
                    "output {name:?} is {output:?}: should be logits of classes that the {bits} bits of {:?} {x:?} tell apart",
                    contract.x
                ));
            }
            return Ok(Values::Logits { x: x_planes, classes: planes });
        }
        let times = if contract.learned_variance { 2 } else { 1 };
        let mut expected = x.to_vec();
        let axis = if contract.layout == Layout::Nchw { 1 } else { x.len() - 1 };
        expected[axis] *= times;
        if output != expected {
            let hint = if planes.channels == 2 * x_planes.channels {
                "; with learned_variance its second half is a variance"
            } else {
                ""
            };
            return Err(format!("output {name:?} is {output:?}: by its contract it should be {expected:?}{hint}"));
        }
        Ok(match (contract.layout, times) {
            (Layout::Nhwc, 2) => Values::Interleaved { channels: x_planes.channels },
            _ => Values::Same,
        })
    }

    /// How many values the sampler gets of a model whose x has `len`, and output `outputs`.
    pub fn count(self, len: usize, outputs: usize) -> usize {
        match self {
            Values::Logits { .. } => len,
            _ => outputs,
        }
    }

    /// Fills `values` from the model's `output`.
    pub fn read(self, output: &[f32], values: &mut [f32]) {
        match self {
            Values::Same => values.copy_from_slice(output),
            Values::Interleaved { channels } => {
                let (mean, variance) = values.split_at_mut(output.len() / 2);
                let places = output.chunks_exact(2 * channels);
                for ((from, mean), variance) in
                    places.zip(mean.chunks_exact_mut(channels)).zip(variance.chunks_exact_mut(channels))
                {
                    mean.copy_from_slice(&from[..channels]);
                    variance.copy_from_slice(&from[channels..]);
                }
            }
            Values::Logits { x, classes } => {
                for place in 0..x.places {
                    mean_bits(place, classes, output, x, values);
                }
            }
        }
    }
}

/// The mean of the class bits under the softmax of a place's logits.
fn mean_bits(place: usize, classes: Planes, logits: &[f32], x: Planes, bits: &mut [f32]) {
    let logit = |class: usize| logits[classes.at(class, place)];
    let highest = (0..classes.channels).map(logit).fold(f32::MIN, f32::max);
    let weight = |class: usize| libm::expf(logit(class) - highest);
    let sum: f32 = (0..classes.channels).map(weight).sum();
    for bit in 0..x.channels {
        let sign = |class: usize| if class >> (x.channels - 1 - bit) & 1 == 1 { 1.0 } else { -1.0 };
        let mean: f32 = (0..classes.channels).map(|class| sign(class) * weight(class)).sum();
        bits[x.at(bit, place)] = mean / sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(contract: &Contract, x: &[usize], shape: &[usize], output: &[f32]) -> Vec<f32> {
        let kept = Values::new(contract, x, shape).unwrap();
        let mut values = vec![f32::NAN; kept.count(x.iter().product(), output.len())];
        kept.read(output, &mut values);
        values
    }

    #[test]
    fn variances_come_behind_the_values_in_either_layout() {
        let contract = Contract { learned_variance: true, ..Contract::default() };
        assert_eq!(read(&contract, &[1, 1, 2], &[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
        let contract = Contract { layout: Layout::Nhwc, ..contract };
        assert_eq!(read(&contract, &[1, 2, 1], &[1, 2, 2], &[1.0, 3.0, 2.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn logits_become_mean_bits() {
        let contract = Contract { kind: Some(Kind::Logits), ..Contract::default() };
        // Three classes in two bits, two places: the first surely class 2, the second even between 0 and 1.
        let logits = [0.0, 5.0, 0.0, 5.0, 40.0, -40.0];
        let bits = read(&contract, &[1, 2, 2], &[1, 3, 2], &logits);
        for (bit, expected) in bits.iter().zip([1.0, -1.0, -1.0, 0.0]) {
            assert!((bit - expected).abs() < 1e-6, "{bits:?}");
        }
    }

    #[test]
    fn shapes_that_break_the_contract_are_said() {
        let contract = Contract::default();
        let error = |contract: &Contract, x: &[usize], output: &[usize]| Values::new(contract, x, output).unwrap_err();
        assert!(error(&contract, &[1, 3, 8, 8], &[1, 6, 8, 8]).contains("learned_variance"));
        assert!(error(&contract, &[1, 3, 8, 8], &[1, 3, 8, 4]).contains("should be [1, 3, 8, 8]"));
        assert!(error(&contract, &[2, 3, 8, 8], &[2, 3, 8, 8]).contains("batch 1"));
        assert!(error(&contract, &[1], &[1]).contains("batch 1"));
        let logits = Contract { kind: Some(Kind::Logits), ..contract };
        assert!(error(&logits, &[1, 3, 8, 8], &[1, 12, 8, 8]).contains("3 bits"));
        assert!(error(&logits, &[1, 4, 8, 8], &[1, 12, 8, 4]).contains("logits"));
    }
}
