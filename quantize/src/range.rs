//! Scale and zero point of activations: the pair whose cells are nearest to what was seen, in the mean of squares.

/// Bins of a histogram.
const BINS: usize = 2048;
/// Shares of the seen range that are tried for each end.
const SHARES: usize = 32;

/// How an 8-bit cell stands for a number: `scale (cell - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub scale: f32,
    /// Of unsigned cells, 0 to 255.
    pub zero_point: u8,
}

/// The range of what a tensor held, with 0 in it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range {
    pub low: f32,
    pub high: f32,
}

/// Counts of what a tensor held.
#[derive(Debug, Clone)]
pub struct Histogram {
    range: Range,
    counts: Vec<u64>,
}

impl Range {
    pub fn see(&mut self, values: &[f32]) {
        for &value in values {
            (self.low, self.high) = (self.low.min(value), self.high.max(value));
        }
    }

    /// Whether nothing but 0 was seen.
    pub fn is_empty(&self) -> bool {
        self.low >= self.high
    }
}

impl Histogram {
    /// Over a range that is not empty.
    pub fn new(range: Range) -> Self {
        Histogram { range, counts: vec![0; BINS] }
    }

    pub fn see(&mut self, values: &[f32]) {
        let per_value = BINS as f32 / (self.range.high - self.range.low);
        for value in values {
            let bin = ((value - self.range.low) * per_value) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The scale with the least mean square error, over both ends of the range drawn in step by step.
    pub fn scale(&self) -> Scale {
        let width = (self.range.high - self.range.low) as f64 / BINS as f64;
        let values: Vec<(f64, f64)> = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bin, &count)| (self.range.low as f64 + (bin as f64 + 0.5) * width, count as f64))
            .collect();
        let share = |step: usize| 1.0 - step as f32 / SHARES as f32 * 0.95;
        let mut best = (f64::INFINITY, Scale::over(self.range));
        for low in 0..if self.range.low < 0.0 { SHARES } else { 1 } {
            for high in 0..if self.range.high > 0.0 { SHARES } else { 1 } {
                let scale =
                    Scale::over(Range { low: self.range.low * share(low), high: self.range.high * share(high) });
                let mut error = 0.0;
                for (value, count) in &values {
                    error += count * scale.error(*value).powi(2);
                    if error >= best.0 {
                        break;
                    }
                }
                if error < best.0 {
                    best = (error, scale);
                }
            }
        }
        best.1
    }
}

impl Scale {
    /// That reaches over `range`.
    pub fn over(range: Range) -> Self {
        let scale = ((range.high - range.low) / 255.0).max(f32::MIN_POSITIVE);
        Scale { scale, zero_point: (-range.low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }

    fn error(self, value: f64) -> f64 {
        let (scale, zero_point) = (self.scale as f64, self.zero_point as f64);
        let cell = ((value / scale).round_ties_even() + zero_point).clamp(0.0, 255.0);
        scale * (cell - zero_point) - value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_value_is_clipped_when_that_pays() {
        let mut values = vec![0.0f32; 0];
        values.extend((0..1_000_000).map(|index| index as f32 / 1_000_000.0 - 0.25));
        let mut range = Range::default();
        range.see(&values);
        assert_eq!(range.low, -0.25);
        let scale = |values: &[f32], range| {
            let mut histogram = Histogram::new(range);
            histogram.see(values);
            histogram.scale()
        };
        let even = scale(&values, range);
        assert!((even.scale - 1.0 / 255.0).abs() < 1e-4 && (even.zero_point as i32 - 64).abs() <= 2, "{even:?}");
        // One value of 3: reaching it would double the error of all others.
        values.push(3.0);
        range.see(&values);
        let clipped = scale(&values, range);
        assert!(clipped.scale < 2.0 / 255.0, "{clipped:?}");
        assert!(Range::default().is_empty());
    }

    #[test]
    fn zero_is_a_cell() {
        for (low, high) in [(-0.3, 5.0), (0.0, 1.0), (-7.0, 0.0), (-1e-30, 1e-30)] {
            let scale = Scale::over(Range { low, high });
            assert_eq!(scale.error(0.0), 0.0);
            assert!(scale.error(high as f64).abs() <= scale.scale as f64);
        }
    }
}
