//! Beta schedules, and the share of the signal that is left at each training timestep.
//!
//! Floats are those of diffusers: betas in 32 bits, their running product in 64 bits and rounded to 32 at each timestep.

use super::SchedulerError;
use super::config::Keys;
use alloc::vec::Vec;

/// Most timesteps that a model can have been trained with.
pub(super) const MAX_TRAIN: u32 = 10_000;

/// `num_train_timesteps`, for every class.
pub(super) fn train_timesteps(keys: &mut Keys, default: u32) -> Result<u32, SchedulerError> {
    keys.count("num_train_timesteps", default, 1..=MAX_TRAIN, "a whole number from 1 to 10000")
}

/// How betas rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rise {
    Linear,
    /// Linear in the square root (latent diffusion).
    ScaledLinear,
    /// From a cosine of abar (Nichol, Dhariwal 2021).
    SquaredCosine,
}

const RISES: [(&str, Rise); 3] =
    [("linear", Rise::Linear), ("scaled_linear", Rise::ScaledLinear), ("squaredcos_cap_v2", Rise::SquaredCosine)];

/// A variance-preserving process, `x = sqrt(abar) x0 + sqrt(1 - abar) z`: abar by training timestep.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Process {
    pub rise: Rise,
    /// Whether abar ends at exactly 0 (Lin et al. 2024).
    pub zero_snr: bool,
    abar: Vec<f32>,
}

impl Process {
    /// Reads `num_train_timesteps`, `beta_start`, `beta_end`, `beta_schedule`, `trained_betas` and `rescale_betas_zero_snr`.
    pub fn read(keys: &mut Keys, start: f64, end: f64, rise: Rise) -> Result<Self, SchedulerError> {
        let train = train_timesteps(keys, 1000)?;
        let range = f64::MIN_POSITIVE..=0.999_999;
        let expected = "a number above 0 and below 1";
        let start = keys.number("beta_start", start, range.clone(), expected)?;
        let end = keys.number("beta_end", end, range.clone(), expected)?;
        if start > end {
            return Err(SchedulerError::Conflict {
                keys: "beta_start, beta_end",
                reason: "betas should not fall from start to end",
            });
        }
        let expected_rise = "\"linear\", \"scaled_linear\" or \"squaredcos_cap_v2\"";
        let rise = keys.word("beta_schedule", &RISES, rise, expected_rise)?;
        let trained = keys.numbers("trained_betas", train as usize, range, "null or a list of numbers from 0 to 1")?;
        let zero_snr = keys.flag("rescale_betas_zero_snr", false)?;
        let mut betas: Vec<f32> = match trained {
            Some(betas) if betas.len() != train as usize => {
                let reason = "there should be one beta for each training timestep";
                return Err(SchedulerError::Conflict { keys: "trained_betas, num_train_timesteps", reason });
            }
            Some(betas) => betas.into_iter().map(|beta| beta as f32).collect(),
            None => match rise {
                Rise::Linear => line(start as f32, end as f32, train).collect(),
                Rise::ScaledLinear => {
                    line(libm::sqrt(start) as f32, libm::sqrt(end) as f32, train).map(|root| root * root).collect()
                }
                Rise::SquaredCosine => squared_cosine(train).collect(),
            },
        };
        if zero_snr {
            rescale(&mut betas);
        }
        Ok(Process { rise, zero_snr, abar: cumulate(&betas) })
    }

    pub fn train(&self) -> u32 {
        self.abar.len() as u32
    }

    /// Abar of every timestep, falling.
    pub fn table(&self) -> &[f32] {
        &self.abar
    }

    /// Abar at `timestep`; `last` below 0. `None` beyond the training timesteps.
    pub fn abar(&self, timestep: i64, last: f64) -> Option<f64> {
        match usize::try_from(timestep) {
            Err(_) => Some(last),
            Ok(timestep) => self.abar.get(timestep).map(|&abar| abar as f64),
        }
    }

    /// The training timestep whose signal-to-noise ratio, as a power ratio, is nearest to `snr`: that is abar nearest to
    /// `snr / (1 + snr)`.
    pub fn timestep_at(&self, snr: f64) -> usize {
        let target = snr / (1.0 + snr);
        let distance = |timestep: usize| (self.abar[timestep] as f64 - target).abs();
        (1..self.abar.len()).fold(0, |best, timestep| if distance(timestep) < distance(best) { timestep } else { best })
    }
}

/// `count` values from `start` to `end`, each half computed from its own end and rounded once, as torch does.
fn line(start: f32, end: f32, count: u32) -> impl Iterator<Item = f32> {
    let step = if count > 1 { (end - start) / (count - 1) as f32 } else { 0.0 };
    let fused = move |from: f32, steps: u32, sign: f64| (from as f64 + sign * step as f64 * steps as f64) as f32;
    (0..count).map(
        move |index| {
            if index < count / 2 { fused(start, index, 1.0) } else { fused(end, count - 1 - index, -1.0) }
        },
    )
}

fn squared_cosine(count: u32) -> impl Iterator<Item = f32> {
    let abar = |t: f64| {
        let cosine = libm::cos((t + 0.008) / 1.008 * core::f64::consts::PI / 2.0);
        cosine * cosine
    };
    (0..count).map(move |index| {
        let (from, to) = (index as f64 / count as f64, (index + 1) as f64 / count as f64);
        (1.0 - abar(to) / abar(from)).min(0.999) as f32
    })
}

fn cumulate(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0;
    let running = betas.iter().map(|beta| {
        product *= (1.0 - beta) as f64;
        product as f32
    });
    running.collect()
}

/// Shifts and scales the root of abar so that it ends at 0 and begins where it did.
fn rescale(betas: &mut [f32]) {
    let roots: Vec<f32> = cumulate(betas).into_iter().map(libm::sqrtf).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return };
    let mut before = 1.0;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let root = (root - last) * (first / (first - last));
        let abar = root * root;
        *beta = 1.0 - abar / before;
        before = abar;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(text: &str) -> Result<Process, SchedulerError> {
        Process::read(&mut Keys::parse(text.as_bytes())?, 0.0001, 0.02, Rise::Linear)
    }

    #[test]
    fn abar_is_that_of_diffusers() {
        // alphas_cumprod at 0, 500, 999 of DDIMScheduler in diffusers 0.42.1.
        for (text, expected) in [
            ("{}", [9.999e-1, 7.786e-2, 4.036e-5]),
            (
                r#"{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}"#,
                [0.99915, 0.2763, 0.00466],
            ),
            (r#"{"beta_schedule": "squaredcos_cap_v2"}"#, [9.9996e-1, 4.9229e-1, 2.4287e-9]),
        ] {
            let process = process(text).unwrap();
            for (timestep, expected) in [0, 500, 999].into_iter().zip(expected) {
                let abar = process.abar(timestep, 1.0).unwrap();
                assert!((abar / expected - 1.0).abs() < 1e-3, "{text} at {timestep}: {abar}");
            }
        }
        let zero = process(r#"{"rescale_betas_zero_snr": true}"#).unwrap();
        assert_eq!(zero.abar(999, 1.0), Some(0.0));
        assert_eq!((zero.abar(1000, 1.0), zero.abar(-20, 1.0)), (None, Some(1.0)));
    }

    /// The reference's table for the linear schedule: 0, 5, 10, 15, 20 dB.
    #[test]
    fn a_channel_has_its_timestep() {
        let process = process("{}").unwrap();
        let timesteps = [1.0, 3.162_278, 10.0, 31.622_777, 100.0].map(|snr| process.timestep_at(snr));
        assert_eq!(timesteps, [258, 161, 92, 51, 26]);
    }

    #[test]
    fn absurd_betas_are_refused() {
        for (text, named) in [
            (r#"{"beta_start": -0.1}"#, "beta_start"),
            (r#"{"beta_end": NaN}"#, "beta_end"),
            (r#"{"beta_start": 0.5, "beta_end": 0.1}"#, "beta_start, beta_end"),
            (r#"{"beta_schedule": "cubic"}"#, "beta_schedule"),
            (r#"{"num_train_timesteps": 0}"#, "num_train_timesteps"),
            (r#"{"num_train_timesteps": 99999999999}"#, "num_train_timesteps"),
            (r#"{"trained_betas": [0.1]}"#, "trained_betas"),
            (r#"{"trained_betas": 0.1}"#, "trained_betas"),
        ] {
            let error = std::format!("{}", process(text).unwrap_err());
            assert!(error.starts_with(named), "{error}");
        }
        let trained = process(r#"{"num_train_timesteps": 2, "trained_betas": [0.5, 0.5]}"#).unwrap();
        assert_eq!(trained.table(), [0.5, 0.25]);
    }
}
