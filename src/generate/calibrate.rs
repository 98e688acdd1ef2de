//! The threshold of a bounded cache, found on samples of the model itself.

use super::{GenerateError, Generator, Given};
use crate::noise::Noise;
use crate::sampler::{Cache, Spent};

/// Thresholds between which the search goes, and how far apart it ends, as factors.
const LOW: f32 = 1e-3;
const HIGH: f32 = 16.0;
const CLOSE: f32 = 1.05;

/// What a threshold costs and saves, over all samples it was tried on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    pub threshold: f32,
    /// Root mean square of cached less uncached samples, over that of the uncached.
    pub error: f64,
    /// Of the last sample.
    pub spent: Spent,
}

/// The largest threshold of [`Cache::Bounded`] whose samples are within `most` of the uncached ones from the same noise: relative root mean
/// square, over `samples` samples of `noise`. By bisection: the error grows with the threshold, give or take. `None` where the smallest one
/// that is tried, 0.001, is not. `tried` is called after each threshold.
///
/// # Errors
/// What [`Generator::run`] says.
pub fn calibrate(
    generator: &mut Generator,
    noise: Noise,
    samples: u64,
    most: f64,
    mut tried: impl FnMut(&Calibration),
) -> Result<Option<Calibration>, GenerateError> {
    generator.set_cache(None)?;
    let take = |generator: &mut Generator, sample| {
        generator.run(&noise.substream(sample), Given::default(), || {}).map(<[f32]>::to_vec)
    };
    let whole = (0..samples).map(|sample| take(generator, sample)).collect::<Result<Vec<_>, _>>()?;
    let mut measure = |threshold| {
        generator.set_cache(Some(Cache::Bounded { threshold }))?;
        let (mut off, mut size) = (0.0, 0.0);
        for (sample, whole) in whole.iter().enumerate() {
            for (cached, whole) in take(generator, sample as u64)?.iter().zip(whole) {
                off += f64::from(cached - whole).powi(2);
                size += f64::from(*whole).powi(2);
            }
        }
        let error = (off / size.max(f64::MIN_POSITIVE)).sqrt();
        let found = Calibration { threshold, error, spent: generator.spent() };
        tried(&found);
        Ok::<_, GenerateError>(found)
    };
    let mut best = measure(LOW)?;
    if best.error > most {
        return Ok(None);
    }
    let mut high = HIGH;
    while high > best.threshold * CLOSE {
        let found = measure((best.threshold * high).sqrt())?;
        match found.error <= most {
            true => best = found,
            false => high = found.threshold,
        }
    }
    Ok(Some(best))
}
