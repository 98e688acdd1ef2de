//! Which layers pay for their precision: each is quantized alone, and what that does to the outputs is weighed against its bytes.

use crate::{Left, Network, QuantizeError, Quantized, Samples, compare};

/// Samples that layers are judged on, at most.
const MOST: usize = 16;

/// The share of the noise that it is worth to be rid of.
const ENOUGH: f64 = 0.99;

/// What quantizing one layer alone costs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    /// Power of the error over that of the output, summed over the outputs.
    noise: f64,
    /// Bytes of its weights that quantizing saves.
    saved_bytes: usize,
}

/// `quantized` with the layers in float whose quantization costs the outputs most for what their floats take, as far as all weights stay within `budget` bytes.
/// `tick` is called after each run of a model, [`runs`] times in all.
///
/// # Errors
/// [`QuantizeError`], also where the weights take more with every layer in int8.
pub fn relieved<'a>(
    network: &Network,
    quantized: &Quantized<'a>,
    samples: &Samples,
    budget: usize,
    mut tick: impl FnMut(),
) -> Result<Quantized<'a>, QuantizeError> {
    let smallest: usize = quantized.layers.iter().map(|(_, rounded)| rounded.bytes()).sum();
    if smallest > budget {
        let reason =
            format!("has weights of {smallest} bytes with every layer in int8: the budget of {budget} bytes is less");
        return Err(QuantizeError::Model { file: network.file.clone(), reason });
    }
    let few = samples.spread(MOST);
    let mut costs = Vec::new();
    for (index, (layer, rounded)) in quantized.layers.iter().enumerate() {
        let bytes = quantized.only(network, |other| other == index).bytes(network);
        let outputs = compare(network, &bytes, &few, &mut tick)?.outputs;
        let noise = outputs.iter().map(|output| 10f64.powf(-output.db / 10.0)).sum();
        costs.push(Cost { noise, saved_bytes: 4 * layer.weights.values.len() - rounded.bytes() });
    }
    let kept = kept(&costs, budget - smallest);
    let mut relieved = quantized.only(network, |index| !kept.contains(&index));
    relieved.sensitive.extend(kept.iter().map(|&index| {
        let (layer, db) = (quantized.layers[index].0, -10.0 * costs[index].noise.log10());
        let reason = format!("alone in int8 it leaves the outputs at {db:.1} dB");
        Left { name: layer.name.clone(), operator: layer.operator.clone(), reason }
    }));
    Ok(relieved)
}

/// Times that [`relieved`] runs the model.
pub fn runs(layers: usize, samples: &Samples) -> usize {
    layers * samples.len().min(MOST)
}

/// The layers that stay in float, if their weights may take `left` bytes more than in int8.
fn kept(costs: &[Cost], mut left: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    let worth = |index: usize| costs[index].noise / costs[index].saved_bytes.max(1) as f64;
    order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)).then(a.cmp(&b)));
    let all: f64 = costs.iter().map(|cost| cost.noise).sum();
    let (mut kept, mut gone) = (Vec::new(), 0.0);
    for index in order {
        if gone < ENOUGH * all && costs[index].saved_bytes <= left {
            left -= costs[index].saved_bytes;
            gone += costs[index].noise;
            kept.push(index);
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_most_for_its_bytes_stays() {
        let cost = |noise, saved_bytes| Cost { noise, saved_bytes };
        let costs = [cost(1e-3, 300), cost(1e-3, 30), cost(2e-3, 3000), cost(1e-9, 3)];
        for (left, right) in [(0, vec![]), (40, vec![1, 3]), (330, vec![0, 1]), (1 << 20, vec![0, 1, 2])] {
            assert_eq!(kept(&costs, left), right, "{left}");
        }
    }
}
