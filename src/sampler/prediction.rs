//! What a model's output means.

use super::SchedulerError;
use super::config::Keys;

/// A value that is linear in x and in the model's output.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Line {
    pub x: f64,
    pub output: f64,
}

/// `prediction_type`, where `x = signal x0 + sigma epsilon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise in x.
    Epsilon,
    /// `signal epsilon - sigma x0` (Salimans, Ho 2022).
    Velocity,
    /// x0 itself.
    Sample,
    /// `epsilon - x0`, on the straight path where `signal = 1 - sigma` (Lipman et al. 2023).
    Flow,
}

const PREDICTIONS: [(&str, Prediction); 3] =
    [("epsilon", Prediction::Epsilon), ("v_prediction", Prediction::Velocity), ("sample", Prediction::Sample)];

impl Prediction {
    /// Reads `prediction_type` of the classes that know three.
    pub(super) fn read(keys: &mut Keys) -> Result<Self, SchedulerError> {
        let expected = "\"epsilon\", \"v_prediction\" or \"sample\"";
        keys.word("prediction_type", &PREDICTIONS, Prediction::Epsilon, expected)
    }

    /// As configurations call it.
    pub fn name(self) -> &'static str {
        match self {
            Prediction::Epsilon => "epsilon",
            Prediction::Velocity => "v_prediction",
            Prediction::Sample => "sample",
            Prediction::Flow => "flow",
        }
    }

    /// The estimate of x0.
    pub(super) fn x0(self, signal: f64, sigma: f64) -> Line {
        match self {
            Prediction::Epsilon => Line { x: 1.0 / signal, output: -sigma / signal },
            Prediction::Velocity => Line { x: signal, output: -sigma },
            Prediction::Sample => Line { x: 0.0, output: 1.0 },
            Prediction::Flow => Line { x: 1.0, output: -sigma },
        }
    }

    /// The noise in x.
    pub(super) fn epsilon(self, signal: f64, sigma: f64) -> Line {
        match self {
            Prediction::Epsilon => Line { x: 0.0, output: 1.0 },
            Prediction::Velocity => Line { x: sigma, output: signal },
            Prediction::Sample => Line { x: 1.0 / sigma, output: -signal / sigma },
            Prediction::Flow => Line { x: 1.0, output: 1.0 - sigma },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_tells_x0_and_the_noise_apart() {
        let (x0, epsilon) = (0.7, -1.3);
        for (prediction, signal, sigma) in [
            (Prediction::Epsilon, 0.8, 0.6),
            (Prediction::Velocity, 0.8, 0.6),
            (Prediction::Sample, 0.8, 0.6),
            (Prediction::Flow, 0.4, 0.6),
        ] {
            let x = signal * x0 + sigma * epsilon;
            let output = match prediction {
                Prediction::Epsilon => epsilon,
                Prediction::Velocity => signal * epsilon - sigma * x0,
                Prediction::Sample => x0,
                Prediction::Flow => epsilon - x0,
            };
            let value = |line: Line| line.x * x + line.output * output;
            assert!((value(prediction.x0(signal, sigma)) - x0).abs() < 1e-12, "{prediction:?}");
            assert!((value(prediction.epsilon(signal, sigma)) - epsilon).abs() < 1e-12, "{prediction:?}");
        }
    }
}
