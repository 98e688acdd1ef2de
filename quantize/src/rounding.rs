//! Weights to whole numbers: a scale for each output, and rounding in which the weights to come make good the error of the last (Frantar et al. 2023,
//! GPTQ; after Optimal Brain Surgeon).

use crate::moments::Moments;
use crate::network::Layer;
use nalgebra::{Cholesky, DMatrix};

/// Share of the mean moment that is added to each, so that inputs that move together don't trade large weights.
const DAMPING: f64 = 0.01;
/// Whole sums that a bias takes at most.
const MOST_BIAS: f32 = (1 << 28) as f32;
/// Shares of the largest weight that are tried for the clip.
const SHARES: usize = 24;

/// Weights of a layer in whole numbers: `scale[output] * cell`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    pub columns: usize,
    pub cells: Vec<i8>,
    pub scales: Vec<f32>,
    /// What is added to the bias of each output, so that its mean stays what it was.
    pub bias: Vec<f32>,
    /// Power of the layer's sums over that of their error, in dB: of the weights alone.
    pub sqnr_db: f64,
}

/// Largest cell of `bits` bits, the same either way.
fn most(bits: u8) -> f32 {
    ((1 << (bits - 1)) - 1) as f32
}

/// Rounds the weights of `layer` to `bits` bits, 2 to 8, by the moments of each group. `compensated` false is rounding to nearest.
///
/// Scales are at least so large that the bias, in whole sums of the layer, fits beside them: `input` is the scale of its activations.
pub fn round(layer: &Layer, moments: &[Moments], input: f32, bits: u8, compensated: bool) -> Rounded {
    let columns = layer.weights.columns;
    let outputs = layer.outputs();
    let mut rounded = Rounded {
        columns,
        cells: vec![0; outputs * columns],
        scales: vec![1.0; outputs],
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
            let scale = clip(row, moments, bits).max(bias / input / MOST_BIAS);
            let cells = &mut rounded.cells[output * columns..][..columns];
            match &order {
                Some(order) => order.round(row, scale, bits, cells),
                None => cells.iter_mut().zip(row).for_each(|(cell, &weight)| *cell = nearest(weight, scale, bits)),
            }
            rounded.scales[output] = scale;
            let off: Vec<f64> =
                row.iter().zip(cells.iter()).map(|(&weight, &cell)| (weight - scale * cell as f32) as f64).collect();
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

/// The scale of a row whose rounding, to nearest, moves the layer's sums the least.
fn clip(row: &[f32], moments: &Moments, bits: u8) -> f32 {
    let largest = row.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    let scale = |step: usize| largest * (1.0 - step as f32 * 0.5 / SHARES as f32) / most(bits);
    let error = |scale: f32| -> f64 {
        let off = |weight: f32| (weight - scale * nearest(weight, scale, bits) as f32) as f64;
        row.iter().zip(&moments.diagonal).map(|(&weight, diagonal)| off(weight).powi(2) * diagonal.max(1e-12)).sum()
    };
    let scales = (0..SHARES).map(|step| (error(scale(step)), scale(step)));
    scales.reduce(|best, next| if next.0 < best.0 { next } else { best }).map_or(1.0, |(_, scale)| scale)
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
        if moments.products.is_empty() || moments.places == 0 {
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

    fn round(&self, row: &[f32], scale: f32, bits: u8, cells: &mut [i8]) {
        let mut left: Vec<f64> = self.columns.iter().map(|&column| row[column] as f64).collect();
        for rank in 0..left.len() {
            let cell = nearest(left[rank] as f32, scale, bits);
            cells[self.columns[rank]] = cell;
            let column = &self.factor.column(rank).data.into_slice()[rank..];
            let error = (left[rank] - (scale * cell as f32) as f64) / column[0];
            left[rank..].iter_mut().zip(column).for_each(|(left, share)| *left -= error * share);
        }
    }
}
