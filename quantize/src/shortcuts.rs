//! The shortcut split (Q-Diffusion, Li et al. 2023): what a concatenation joins may have ranges far apart, and one scale for all of it leaves few
//! steps to the small ones. Each part is multiplied by a power of two that brings it near the largest, and the weights that meet it are divided by
//! the same: every part has its own scale, and the floats stay exactly what they were.
//!
//! Channels one by one, and images that no concatenation makes, gain less than 0.4 dB by it and take a tenth more time: they are left alone.

use crate::network::{Layer, Network, Product};
use crate::observe::Observed;
use crate::range::Range;
use crate::write::{Names, floats, node, sides};
use crate::{QuantizeError, Samples};
use tract_onnx::pb;

/// Largest factor: weights that are divided by more might leave what floats hold.
const MOST: f32 = 1048576.0;

/// A concatenation of channels that convolutions read.
#[derive(Debug)]
struct Shortcut<'a> {
    name: &'a str,
    parts: Vec<&'a str>,
}

/// How many concatenations of `network` [`split`] looks at: it runs the model once a sample where there are some.
pub fn shortcuts(network: &Network) -> usize {
    all(network).len()
}

/// `network` with its concatenations split, and the number of parts that were multiplied; `tick` is called after each run.
///
/// # Errors
/// [`QuantizeError`]: samples that don't fit.
pub fn split(network: &Network, samples: &Samples, mut tick: impl FnMut()) -> Result<(Network, usize), QuantizeError> {
    let shortcuts = all(network);
    if shortcuts.is_empty() {
        return Ok((network.clone(), 0));
    }
    let names: Vec<&str> = shortcuts.iter().flat_map(|shortcut| shortcut.parts.iter().copied()).collect();
    let mut observed = Observed::load(network, &names)?;
    let mut ranges = vec![Range::default(); names.len()];
    for sample in 0..samples.len() {
        observed.run(samples, sample, |part, values| ranges[part].see(values))?;
        tick();
    }
    let (mut graph, mut count, mut first) = (network.graph.clone(), 0, 0);
    let marks = Names::beside(&graph);
    for shortcut in &shortcuts {
        let own = first..first + shortcut.parts.len();
        first = own.end;
        let channels = |part: usize| if let [1, channels, _, _] = *observed.shape(part) { channels } else { 0 };
        let channels: Vec<usize> = own.clone().map(channels).collect();
        let factors = factors(&ranges[own]);
        let multiplied = factors.iter().filter(|&&factor| factor != 1.0).count();
        if multiplied > 0 && !channels.contains(&0) {
            put(network, &mut graph, &marks, shortcut, &factors, &channels);
            count += multiplied;
        }
    }
    let mut split = Network::of(&network.file, network.model.clone(), graph)?;
    network.excluded.iter().for_each(|name| {
        split.exclude(name);
    });
    Ok((split, count))
}

/// Those over channels whose parts are all computed or given, and whose readers are convolutions without groups, or no layers.
fn all(network: &Network) -> Vec<Shortcut<'_>> {
    let graph = &network.graph;
    let over_channels = |node: &&pb::NodeProto| {
        let axis = node.attribute.iter().find(|attribute| attribute.name == "axis");
        node.op_type == "Concat" && axis.is_some_and(|axis| axis.i == 1 || axis.i == -3)
    };
    let made = |name: &String| graph.node.iter().find(|node| node.output.contains(name));
    let is_given = |name: &String| graph.input.iter().any(|input| input.name == *name);
    let is_computed = |name: &String| is_given(name) || made(name).is_some_and(|node| node.op_type != "Constant");
    let is_plain = |layer: &Layer| match layer.product {
        Product::Patches(window) => window.groups == 1,
        Product::Spread(_) => true,
        Product::Rows { .. } => false,
    };
    let is_read = |node: &&pb::NodeProto| {
        let mut readers = network.layers.iter().filter(|layer| node.output.contains(&layer.input)).peekable();
        readers.peek().is_some() && readers.all(is_plain)
    };
    let nodes = graph.node.iter().filter(over_channels).filter(|node| node.input.iter().all(is_computed));
    nodes
        .filter(is_read)
        .map(|node| Shortcut { name: &node.output[0], parts: node.input.iter().map(String::as_str).collect() })
        .collect()
}

/// Powers of two that bring each range near the largest.
fn factors(ranges: &[Range]) -> Vec<f32> {
    let most = |range: &Range| range.high.max(-range.low);
    let largest = ranges.iter().map(most).fold(0.0f32, f32::max);
    let factor = |range: &Range| (largest / most(range)).log2().floor().exp2().min(MOST);
    ranges.iter().map(|range| if range.is_empty() { 1.0 } else { factor(range) }).collect()
}

/// Has the layers that read a concatenation read one of multiplied parts.
fn put(
    network: &Network,
    graph: &mut pb::GraphProto,
    names: &Names,
    shortcut: &Shortcut<'_>,
    factors: &[f32],
    channels: &[usize],
) {
    let mut parts = Vec::new();
    for (number, (part, &factor)) in shortcut.parts.iter().zip(factors).enumerate() {
        if factor == 1.0 {
            parts.push((*part).to_owned());
            continue;
        }
        let multiplied = names.of(&format!("{}_{number}", shortcut.name), "multiplied");
        let by = names.of(&multiplied, "factor");
        graph.initializer.push(floats(&by, &[], &[factor]));
        graph.node.push(node("Mul", &[part, &by], &multiplied, &[]));
        parts.push(multiplied);
    }
    let whole = names.of(shortcut.name, "split");
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    graph.node.push(node("Concat", &parts, &whole, &[("axis", 1)]));
    let by_channel = factors.iter().zip(channels).flat_map(|(&factor, &count)| std::iter::repeat_n(factor, count));
    let by_channel: Vec<f32> = by_channel.collect();
    for layer in network.layers.iter().filter(|layer| layer.input == shortcut.name) {
        let taps = layer.weights.columns / by_channel.len();
        let weights = layer.weights.rows().flat_map(|row| {
            row.chunks_exact(taps).zip(&by_channel).flat_map(|(taps, by)| taps.iter().map(move |weight| weight / by))
        });
        let (weights, _) = layer.in_file(&weights.collect::<Vec<f32>>());
        let own = names.of(&layer.output, "divided");
        graph.initializer.push(floats(&own, &sides(&layer.shape), &weights));
        graph.node[layer.node].input[0] = whole.clone();
        graph.node[layer.node].input[1] = own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_near_the_largest() {
        let range = |low, high| Range { low, high };
        let found = factors(&[range(-35.0, 2.0), range(0.0, 1.0), range(-9.0, 20.0), Range::default()]);
        assert_eq!(found, [1.0, 32.0, 1.0, 1.0]);
    }
}
