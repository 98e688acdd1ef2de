//! Which layers pay for their precision: each is quantized alone, and what that does to the outputs is weighed against its bytes.

use crate::{Compared, Layer, Left, Network, QuantizeError, Quantized, Rounded, Samples, compare};

/// Samples that layers are judged on, at most.
pub const MOST: usize = 16;

/// The share of the noise that it is worth to be rid of.
const ENOUGH: f64 = 0.99;

/// How far layers are relieved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// Most bytes of the weights of all layers that can be quantized.
    pub bytes: Option<usize>,
    pub task_loss: Option<TaskLoss>,
}

/// The largest share of an output's answers that may change: see [`Sqnr`](crate::Sqnr).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskLoss {
    pub output: String,
    pub share: f64,
}

/// What a layer costs in one of its precisions.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    /// Power of the error over that of the output, summed over the outputs, with all other layers in float.
    noise: f64,
    /// Of its weights.
    bytes: usize,
}

/// One layer gets another precision.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Relief {
    layer: usize,
    /// A number of `levels`, or as many as there are: float.
    level: usize,
}

/// The network in the first of `levels`, which are from coarse to fine, with those layers in a finer one, or in float, whose error costs the outputs
/// most for the bytes that they take then, as far as `bounds` ask for and allow it. `tick` is called after each run of a model, at most
/// [`runs`] times in all.
///
/// # Errors
/// [`QuantizeError`], also where the weights take more in the first level, or no precision keeps the answers.
pub fn relieved<'a>(
    network: &Network,
    levels: &[Quantized<'a>],
    samples: &Samples,
    bounds: &Bounds,
    mut tick: impl FnMut(),
) -> Result<Quantized<'a>, QuantizeError> {
    let refuse = |reason: String| QuantizeError::Model { file: network.file.clone(), reason };
    let coarse = &levels[0];
    let smallest: usize = coarse.layers.iter().map(|(_, rounded)| rounded.bytes()).sum();
    if let Some(bytes) = bounds.bytes.filter(|&bytes| bytes < smallest) {
        return Err(refuse(format!(
            "has weights of {smallest} bytes with every layer in integers: the budget of {bytes} bytes is less"
        )));
    }
    if let Some(TaskLoss { output, .. }) = &bounds.task_loss
        && !network.float_outputs().contains(&output.as_str())
    {
        let outputs = network.float_outputs().join(", ");
        return Err(refuse(format!(
            "has no output {output:?} of floats, of which answers could change: it has {outputs}"
        )));
    }
    let few = samples.spread(MOST);
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); coarse.layers.len()];
    for (index, costs) in costs.iter_mut().enumerate() {
        for level in levels {
            let (layer, rounded) = &level.layers[index];
            let alone = level.only(network, |other| other == index);
            let noise = compare(network, &alone.bytes(network), &few, &mut tick)?.noise();
            costs.push(Cost { noise, bytes: rounded.bytes() });
            if costs.len() == levels.len() {
                costs.push(Cost { noise: 0.0, bytes: 2 * layer.weights.values.len() });
            }
        }
    }
    let left = bounds.bytes.map_or(usize::MAX, |bytes| bytes - smallest);
    let enough = if bounds.task_loss.is_some() { 1.0 } else { ENOUGH };
    let reliefs = reliefs(&costs, left, enough);
    let with = |count: usize| mixed(network, levels, &costs, &reliefs[..count]);
    let Some(TaskLoss { output, share }) = &bounds.task_loss else { return Ok(with(reliefs.len())) };
    // The fewest that keep the answers, if more of them keep more.
    let mut keeps = |count: usize| {
        let Compared { outputs, .. } = compare(network, &with(count).bytes(network), samples, &mut tick)?;
        Ok(outputs.iter().all(|of| of.output != *output || of.changed <= *share))
    };
    let (mut least, mut most) = (0, reliefs.len());
    while least < most {
        let middle = usize::midpoint(least, most);
        match keeps(middle)? {
            true => most = middle,
            false => least = middle + 1,
        }
    }
    if least == reliefs.len() && !keeps(least)? {
        let limit = if bounds.bytes.is_some() { "within the budget " } else { "" };
        return Err(refuse(format!("{limit}more than {:.3} % of the answers of {output:?} change", 100.0 * share)));
    }
    Ok(with(least))
}

/// Times that [`relieved`] runs the model at most.
pub fn runs(layers: usize, levels: usize, samples: &Samples, bounds: &Bounds) -> usize {
    let tries = if bounds.task_loss.is_some() { (layers * levels + 1).ilog2() as usize + 2 } else { 0 };
    layers * levels * samples.len().min(MOST) + tries * samples.len()
}

/// Precisions for layers, those first that are worth most for their bytes, while they take `left` bytes more at most, until a share `enough` of
/// the noise is gone.
fn reliefs(costs: &[Vec<Cost>], mut left: usize, enough: f64) -> Vec<Relief> {
    let mut levels = vec![0; costs.len()];
    let all: f64 = costs.iter().map(|costs| costs[0].noise).sum();
    let (mut reliefs, mut gone) = (Vec::new(), 0.0);
    while gone < enough * all {
        let mut best: Option<(f64, Relief)> = None;
        for (layer, costs) in costs.iter().enumerate() {
            let own = costs[levels[layer]];
            for (level, finer) in costs.iter().enumerate().skip(levels[layer] + 1) {
                let more = finer.bytes.saturating_sub(own.bytes);
                let worth = (own.noise - finer.noise) / more.max(1) as f64;
                if worth > 0.0 && more <= left && best.is_none_or(|(best, _)| worth > best) {
                    best = Some((worth, Relief { layer, level }));
                }
            }
        }
        let Some((_, relief)) = best else { break };
        let costs = &costs[relief.layer];
        let (before, after) = (costs[levels[relief.layer]], costs[relief.level]);
        left -= after.bytes.saturating_sub(before.bytes);
        gone += before.noise - after.noise;
        levels[relief.layer] = relief.level;
        reliefs.push(relief);
    }
    reliefs
}

/// The first level with some layers in another precision.
fn mixed<'a>(network: &Network, levels: &[Quantized<'a>], costs: &[Vec<Cost>], reliefs: &[Relief]) -> Quantized<'a> {
    let mut of = vec![0; levels[0].layers.len()];
    reliefs.iter().for_each(|relief| of[relief.layer] = relief.level);
    let mut mixed = levels[0].clone();
    for (index, layer) in mixed.layers.iter_mut().enumerate().filter(|(index, _)| of[*index] < levels.len()) {
        *layer = levels[of[index]].layers[index].clone();
    }
    let all = mixed.layers.clone();
    let mut mixed = mixed.only(network, |index| of[index] < levels.len());
    let in_float = all.iter().enumerate().filter(|(index, _)| of[*index] == levels.len());
    for (index, (layer, _)) in in_float {
        mixed.floats.push(layer);
        mixed.sensitive.push(left(layer, &levels[levels.len() - 1].layers[index].1, costs[index][levels.len() - 1]));
    }
    mixed
}

fn left(layer: &Layer, rounded: &Rounded, cost: Cost) -> Left {
    let (bits, db) = (rounded.bits, -10.0 * cost.noise.log10());
    let reason = format!("alone in int{bits} it leaves the outputs at {db:.1} dB; float16 weights");
    Left { name: layer.name.clone(), operator: layer.operator.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_most_for_its_bytes_comes_first() {
        // In integers, and in float.
        let cost = |noise, bytes: usize| vec![Cost { noise, bytes }, Cost { noise: 0.0, bytes: 2 * bytes }];
        let costs = [cost(1e-3, 300), cost(1e-3, 30), cost(2e-3, 3000), cost(1e-9, 3)];
        for (left, right) in [(0, vec![]), (40, vec![1, 3]), (330, vec![1, 0]), (1 << 20, vec![1, 0, 2])] {
            let found: Vec<usize> = reliefs(&costs, left, ENOUGH).iter().map(|relief| relief.layer).collect();
            assert_eq!(found, right, "{left}");
        }
    }

    #[test]
    fn a_layer_goes_as_far_as_it_has_to() {
        let cost = |noise, bytes| Cost { noise, bytes };
        // In 4 bits, in 8, in float: one layer is good in 8, of the other the activations are what costs.
        let costs = [
            vec![cost(1e-2, 100), cost(1e-6, 200), cost(0.0, 400)],
            vec![cost(1e-2, 100), cost(0.9e-2, 200), cost(0.0, 400)],
        ];
        let expected = [Relief { layer: 0, level: 1 }, Relief { layer: 1, level: 2 }];
        assert_eq!(reliefs(&costs, usize::MAX, ENOUGH), expected);
        assert_eq!(reliefs(&costs, usize::MAX, 1.0).len(), 3);
    }
}
