//! What is given of a sample before it is taken.

use super::GenerateError;

/// What a sample begins with, and what it has to agree with. `Default` is pure noise, and nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    pub beginning: Option<Beginning<'a>>,
    pub known: Option<Known<'a>>,
}

/// What a sample begins with in the place of pure noise.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    pub sample: &'a [f32],
    /// The signal-to-noise ratio that it has, a power ratio; infinity for a clean one.
    pub snr: f32,
}

/// What is known of x0, in x's layout. After every estimate `x0 <- w sample + (1 - w) x0`: with weights 0 and 1 DDNM's projection for a mask
/// (Wang, Yu, Zhang 2023), between them what is known in part, such as a noisy value with the posterior of being right.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub sample: &'a [f32],
    /// 0 to 1.
    pub weight: &'a [f32],
}

impl Known<'_> {
    /// # Errors
    /// [`GenerateError::Request`] unless both have `len` values, and all are in their range.
    pub fn check(&self, len: usize) -> Result<(), GenerateError> {
        let wrong = |reason| Err(GenerateError::Request { field: "known", reason });
        for (name, values) in [("known", self.sample), ("weight", self.weight)] {
            if values.len() != len {
                return wrong(format!("{name} has {} values, x has {len}", values.len()));
            }
        }
        if !self.sample.iter().all(|value| value.is_finite()) {
            return wrong("holds NaN or an infinity".into());
        }
        if !self.weight.iter().all(|weight| (0.0..=1.0).contains(weight)) {
            return wrong("weight is not from 0 to 1".into());
        }
        Ok(())
    }

    pub(super) fn put_back(&self, x0: &mut [f32]) {
        for ((x0, known), weight) in x0.iter_mut().zip(self.sample).zip(self.weight) {
            *x0 = weight * known + (1.0 - weight) * *x0;
        }
    }
}
