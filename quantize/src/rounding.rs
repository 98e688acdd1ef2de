//! Weights to whole numbers: a scale for each output, in 4 bits with a factor for each block of it, and rounding in which the weights to come make good the error of the last (Frantar et al. 2023,
//! GPTQ; after Optimal Brain Surgeon).

use crate::moments::Moments;
use crate::network::{Blocks, Layer};
use nalgebra::{Cholesky, DMatrix};

/// Share of the mean moment that is added to each, so that inputs that move together don't trade large weights.
const DAMPING: f64 = 0.01;
/// Whole sums that a bias takes at most.
const MOST_BIAS: f32 = (1 << 28) as f32;
/// Shares of the largest weight that are tried for the clip.
const SHARES: usize = 24;

/// Largest factor of a block: what it multiplies stays within 8 bits.
const MOST_FACTOR: u8 = 15;

/// Weights of a layer in whole numbers: `scale[output] * factor[output, block] * cell`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    pub bits: u8,
    pub columns: usize,
    pub cells: Vec<i8>,
    pub scales: Vec<f32>,
    /// Of each output's blocks, 1 to 15; empty where weights have 8 bits, and the factors are 1.
    pub factors: Vec<u8>,
    /// What is added to the bias of each output, so that its mean stays what it was.
    pub bias: Vec<f32>,
    /// Power of the layer's sums over that of their error, in dB: of the weights alone.
    pub sqnr_db: f64,
}

/// Largest cell of `bits` bits, the same either way.
fn most(bits: u8) -> f32 {
    ((1 << (bits - 1)) - 1) as f32
}

impl Rounded {
    /// Of weights and factors, as they are stored.
    pub fn bytes(&self) -> usize {
        match self.bits {
            4 => self.cells.len().div_ceil(2) + self.factors.len().div_ceil(2),
            _ => self.cells.len(),
        }
    }
}

/// Rounds the weights of `layer` to `bits` bits, 8, or 4 with a factor for each of its blocks, by the moments of each group. `compensated` false is
/// rounding to nearest.
///
/// Scales are at least so large that the bias, in whole sums of the layer, fits beside them: `input` is the scale of its activations.
pub fn round(layer: &Layer, moments: &[Moments], input: f32, bits: u8, compensated: bool) -> Rounded {
    let columns = layer.weights.columns;
    let outputs = layer.outputs();
    let blocks = if bits == 4 { layer.blocks() } else { Blocks::one(columns) };
    let mut rounded = Rounded {
        bits,
        columns,
        cells: vec![0; outputs * columns],
        scales: vec![1.0; outputs],
        factors: Vec::new(),
        bias: vec![0.0; outputs],
        sqnr_db: 0.0,
    };
    let (mut power, mut error) = (0.0, 0.0);
    let per_group = outputs / moments.len();
    for (group, moments) in moments.iter().enumerate() {
        let order = if compensated { Order::of(moments) } else { None };
        for output in group * per_group..(group + 1) * per_group {
            let row = &layer.weights.values[output * columns..][..columns];
            let bias = layer.bias.as_ref().map_or(0.0, |bias| bias[output].abs());
            let clips = clips(row, moments, bits, &blocks);
            let largest = clips.iter().fold(0.0f32, |largest, &clip| largest.max(clip));
            let most_factor = if bits == 4 { f32::from(MOST_FACTOR) } else { 1.0 };
            let scale = if largest == 0.0 { 1.0 } else { largest / most_factor }.max(bias / input / MOST_BIAS);
            let factors: Vec<f32> =
                clips.iter().map(|clip| (clip / scale).round_ties_even().clamp(1.0, most_factor)).collect();
            let own: Vec<f32> = blocks.of.iter().map(|&block| scale * factors[block]).collect();
            let cells = &mut rounded.cells[output * columns..][..columns];
            match &order {
                Some(order) => order.round(row, &own, bits, cells),
                None => {
                    let weights = row.iter().zip(&own);
                    cells
                        .iter_mut()
                        .zip(weights)
                        .for_each(|(cell, (&weight, &own))| *cell = nearest(weight, own, bits));
                }
            }
            rounded.scales[output] = scale;
            if bits == 4 {
                rounded.factors.extend(factors.iter().map(|&factor| factor as u8));
            }
            let weights = row.iter().zip(&own).zip(cells.iter());
            let off: Vec<f64> = weights.map(|((&weight, &own), &cell)| (weight - own * cell as f32) as f64).collect();
            rounded.bias[output] =
                off.iter().enumerate().map(|(column, off)| off * moments.mean(column)).sum::<f64>() as f32;
            let row: Vec<f64> = row.iter().map(|&weight| weight as f64).collect();
            power += moments.power(&row);
            error += moments.power(&off);
        }
    }
    rounded.sqnr_db = 10.0 * (power.max(f64::MIN_POSITIVE) / error.max(f64::MIN_POSITIVE)).log10();
    rounded
}

fn nearest(weight: f32, scale: f32, bits: u8) -> i8 {
    (weight / scale).round_ties_even().clamp(-most(bits), most(bits)) as i8
}

/// For each block of a row the scale whose rounding, to nearest, moves the layer's sums the least; 0 where all weights are.
fn clips(row: &[f32], moments: &Moments, bits: u8, blocks: &Blocks) -> Vec<f32> {
    // What meets nothing but zeros has no say, where something else does.
    let largest = |is_live: &dyn Fn(f64) -> bool| {
        let mut largest = vec![0.0f32; blocks.count];
        for ((weight, &diagonal), &block) in row.iter().zip(&moments.diagonal).zip(&blocks.of) {
            if is_live(diagonal) {
                largest[block] = largest[block].max(weight.abs());
            }
        }
        largest
    };
    let (live, all) = (largest(&|diagonal| diagonal > 0.0), largest(&|_| true));
    let largest: Vec<f32> = live.iter().zip(&all).map(|(&live, &all)| if live > 0.0 { live } else { all }).collect();
    let mut best: Vec<(f64, f32)> = vec![(f64::INFINITY, 0.0); blocks.count];
    for step in 0..SHARES {
        let scale = |block: usize| largest[block] * (1.0 - step as f32 * 0.5 / SHARES as f32) / most(bits);
        let mut errors = vec![0.0; blocks.count];
        for ((&weight, &diagonal), &block) in row.iter().zip(&moments.diagonal).zip(&blocks.of) {
            if largest[block] > 0.0 && (diagonal > 0.0 || live[block] == 0.0) {
                let scale = scale(block);
                let off = (weight - scale * nearest(weight, scale, bits) as f32) as f64;
                errors[block] += off.powi(2) * diagonal.max(1e-12);
            }
        }
        for (block, (best, error)) in best.iter_mut().zip(errors).enumerate() {
            if error < best.0 {
                *best = (error, scale(block));
            }
        }
    }
    best.into_iter().map(|(_, scale)| scale).collect()
}

/// In which order weights are rounded, and how far each moves those behind it.
struct Order {
    /// Columns, the ones with the largest moments first.
    columns: Vec<usize>,
    /// Lower triangle, by rank: the Cholesky factor of the inverse moments. A column says how a weight moves those behind it.
    factor: DMatrix<f64>,
}

impl Order {
    /// `None` where the moments are not known whole, or have no inverse.
    fn of(moments: &Moments) -> Option<Self> {
        let count = moments.columns;
        if moments.products.is_empty() || moments.places == 0 || !moments.products.iter().all(|of| of.is_finite()) {
            return None;
        }
        let mut columns: Vec<usize> = (0..count).collect();
        columns.sort_by(|&a, &b| moments.diagonal[b].total_cmp(&moments.diagonal[a]).then(a.cmp(&b)));
        let mean = moments.diagonal.iter().sum::<f64>() / count as f64;
        let whole = DMatrix::from_fn(count, count, |row, column| {
            let (a, b) = (columns[row], columns[column]);
            let product = moments.products[a.max(b) * count + a.min(b)] as f64;
            if row == column { product + DAMPING * mean + f64::MIN_POSITIVE } else { product }
        });
        let inverse = Cholesky::new(whole)?.inverse();
        let factor = Cholesky::new(inverse)?.unpack();
        Some(Order { columns, factor })
    }

    fn round(&self, row: &[f32], scales: &[f32], bits: u8, cells: &mut [i8]) {
        let mut left: Vec<f64> = self.columns.iter().map(|&column| row[column] as f64).collect();
        for rank in 0..left.len() {
            let scale = scales[self.columns[rank]];
            let cell = nearest(left[rank] as f32, scale, bits);
            cells[self.columns[rank]] = cell;
            let column = &self.factor.column(rank).data.into_slice()[rank..];
            let error = (left[rank] - (scale * cell as f32) as f64) / column[0];
            left[rank..].iter_mut().zip(column).for_each(|(left, share)| *left -= error * share);
        }
    }
}
