//! Second moments of what a layer's weights multiply: how the error of one weight can be made good by the others.

use crate::network::{Layer, Product, Window};
use semrx::noise::Noise;

/// Places of a tensor that one sample adds.
const PLACES: usize = 64;
/// Largest number of inputs of an output whose moments are kept whole; of more the diagonal is.
const MOST: usize = 4096;

/// Sums over places of the vectors that the weights of one group multiply.
#[derive(Debug, Clone)]
pub struct Moments {
    pub columns: usize,
    pub places: u64,
    pub sum: Vec<f64>,
    /// Of squares.
    pub diagonal: Vec<f64>,
    /// Of products, a row a column; the lower triangle counts. Empty beyond [`MOST`] columns.
    pub products: Vec<f32>,
}

impl Moments {
    fn new(columns: usize) -> Self {
        let products = if columns <= MOST { columns * columns } else { 0 };
        Moments {
            columns,
            places: 0,
            sum: vec![0.0; columns],
            diagonal: vec![0.0; columns],
            products: vec![0.0; products],
        }
    }

    /// One for each group of `layer`.
    pub fn of(layer: &Layer) -> Vec<Self> {
        let groups = if let Product::Patches(window) = layer.product { window.groups } else { 1 };
        vec![Moments::new(layer.weights.columns); groups]
    }

    fn see(&mut self, vector: &[f32]) {
        self.places += 1;
        for ((sum, diagonal), &value) in self.sum.iter_mut().zip(&mut self.diagonal).zip(vector) {
            *sum += value as f64;
            let square = value * value;
            *diagonal += if square.is_finite() { square as f64 } else { f64::from(value).powi(2) };
        }
        if self.products.is_empty() {
            return;
        }
        // No fused products: the same bits on every CPU.
        for (row, products) in self.products.chunks_exact_mut(self.columns).enumerate() {
            let value = vector[row];
            if value != 0.0 {
                products[..=row].iter_mut().zip(vector).for_each(|(product, other)| *product += value * other);
            }
        }
    }

    /// Sum of the squares of what `weights` give.
    pub fn power(&self, weights: &[f64]) -> f64 {
        if self.products.is_empty() {
            return weights.iter().zip(&self.diagonal).map(|(weight, diagonal)| weight * weight * diagonal).sum();
        }
        let mut power = 0.0;
        for (row, products) in
            self.products.chunks_exact(self.columns).enumerate().filter(|(row, _)| weights[*row] != 0.0)
        {
            let below: f64 =
                products[..row].iter().zip(weights).map(|(&product, weight)| product as f64 * weight).sum();
            power += weights[row] * (2.0 * below + weights[row] * products[row] as f64);
        }
        power.max(0.0)
    }

    /// Mean of what each weight multiplies.
    pub fn mean(&self, column: usize) -> f64 {
        self.sum[column] / self.places.max(1) as f64
    }
}

/// Adds places of `values`, the input of `layer`, drawn by `noise`.
pub fn see(moments: &mut [Moments], layer: &Layer, values: &[f32], shape: &[usize], noise: Noise) {
    match layer.product {
        Product::Rows { .. } => {
            let columns = layer.weights.columns;
            let rows = values.len() / columns;
            for place in places(rows, noise) {
                moments[0].see(&values[place * columns..][..columns]);
            }
        }
        Product::Patches(window) => patches(moments, window, values, shape, noise),
        Product::Spread(window) => spread(&mut moments[0], window, values, shape, noise),
    }
}

fn places(of: usize, noise: Noise) -> impl Iterator<Item = usize> {
    let take = of.min(PLACES);
    (0..take).map(move |draw| if of <= PLACES { draw } else { noise.below_at(draw as u64, of as u64) as usize })
}

/// Of a transposed convolution: input (y, x) under tap k belongs to the output y · stride + k · dilation − pad, and x alike.
fn spread(moments: &mut Moments, window: Window, values: &[f32], shape: &[usize], noise: Noise) {
    let &[_, channels, height, width] = shape else { return };
    let sides = [height, width];
    let [rows, columns]: [usize; 2] = std::array::from_fn(|axis| {
        let reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        ((sides[axis].max(1) - 1) * window.stride[axis] + reach)
            .saturating_sub(window.before[axis] + window.after[axis])
    });
    let mut vector = Vec::with_capacity(moments.columns);
    for place in places(rows * columns, noise) {
        let place = [place / columns, place % columns];
        let at = |axis: usize, tap: usize| {
            let from = (place[axis] + window.before[axis]).checked_sub(tap * window.dilation[axis])?;
            let at = from / window.stride[axis];
            (from % window.stride[axis] == 0 && at < sides[axis]).then_some(at)
        };
        vector.clear();
        for channel in 0..channels {
            for (row, column) in
                (0..window.kernel[0]).flat_map(|row| (0..window.kernel[1]).map(move |column| (row, column)))
            {
                vector.push(match (at(0, row), at(1, column)) {
                    (Some(y), Some(x)) => values[(channel * height + y) * width + x],
                    _ => 0.0,
                });
            }
        }
        moments.see(&vector);
    }
}

fn patches(moments: &mut [Moments], window: Window, values: &[f32], shape: &[usize], noise: Noise) {
    let &[_, channels, height, width] = shape else { return };
    let sides = [height, width];
    let outputs: [usize; 2] = std::array::from_fn(|axis| {
        let reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        (sides[axis] + window.before[axis] + window.after[axis]).saturating_sub(reach) / window.stride[axis] + 1
    });
    let inputs = channels / window.groups;
    let mut vector = vec![0.0; inputs * window.kernel[0] * window.kernel[1]];
    for place in places(outputs[0] * outputs[1], noise) {
        let corner: [usize; 2] = [place / outputs[1], place % outputs[1]];
        for (group, moments) in moments.iter_mut().enumerate() {
            let mut index = 0;
            for channel in group * inputs..(group + 1) * inputs {
                for row in 0..window.kernel[0] {
                    for column in 0..window.kernel[1] {
                        let at = |axis: usize, tap: usize| {
                            let at = corner[axis] * window.stride[axis] + tap * window.dilation[axis];
                            at.checked_sub(window.before[axis]).filter(|at| *at < sides[axis])
                        };
                        vector[index] = match (at(0, row), at(1, column)) {
                            (Some(y), Some(x)) => values[(channel * height + y) * width + x],
                            _ => 0.0,
                        };
                        index += 1;
                    }
                }
            }
            moments.see(&vector);
        }
    }
}
