//! Where a sampler's noise comes from.

use crate::noise::Noise;

/// Standard normal values by draw and place. Draw 0 is what pure noise begins with, draw `k + 1` is added by step `k`, also where a
/// sample begins at a later step.
pub trait Normals {
    fn normal(&self, draw: usize, index: usize) -> f32;
}

/// Draw `k` is substream `k`.
impl Normals for Noise {
    fn normal(&self, draw: usize, index: usize) -> f32 {
        self.substream(draw as u64).normal_at(index as u64) as f32
    }
}

/// Values from elsewhere, such as the noise of a PyTorch run: `[draws, values]`, row-major. Beyond their end NaN, so that a record that
/// is too short shows.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    values: &'a [f32],
    len: usize,
}

impl<'a> Recorded<'a> {
    /// `len` values a draw.
    pub fn new(values: &'a [f32], len: usize) -> Self {
        Recorded { values, len }
    }
}

impl Normals for Recorded<'_> {
    fn normal(&self, draw: usize, index: usize) -> f32 {
        let draw = self.values.chunks(self.len.max(1)).nth(draw);
        draw.and_then(|draw| draw.get(index)).copied().unwrap_or(f32::NAN)
    }
}
