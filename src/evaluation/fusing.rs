//! Temperatures of log-odds, under which they are probabilities (Guo, Pleiss, Sun, Weinberger 2017): of the head's alone, and of the pool of two decisions
//! (a logarithmic one: Genest, Zidek 1986). A temperature is told by its inverse, the weight that log-odds are multiplied with.

use super::{Case, EvaluationError, Recording, Tried, try_all};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::report::metrics::Reliability;
use crate::scene::rule::PAIRS;

/// Log-odds count up to here: beyond, they say no more than sure.
const MOST: f64 = 12.0;

/// One hazard of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    /// The soft values were noisy; else cells were unknown.
    pub is_noisy: bool,
    /// Log-odds of the head on the received scene.
    pub received: f64,
    /// Of the pool with the head on the refined scene, by the bundle's shares, where there is one.
    pub pooled: Option<f64>,
    /// Probabilities that the receiver gave, as the bundle has it: provisional, then on both.
    pub said: [f64; 2],
    pub is_true: bool,
}

/// How far probabilities are from how often they come true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truthfulness {
    /// Mean negative log-likelihood.
    pub nll: f64,
    /// Expected calibration error, of the likelier side.
    pub ece: f64,
}

/// What was found for one kind of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct FusionFinding {
    /// Of the head's log-odds where nothing is refined, and of the pool's where something is.
    pub weights: [f64; 2],
    /// As the bundle has it: of provisional decisions, of those on both.
    pub before: [Truthfulness; 2],
    /// With the weights.
    pub after: [Truthfulness; 2],
    pub hazards: usize,
}

/// Sends each of `recordings` through the channels of `cases`, and notes what the head says of each scene, received and refined.
///
/// # Errors
/// [`EvaluationError`].
pub fn fusion_odds(
    bundle: &Bundle,
    recordings: &[Recording<'_>],
    cases: &[Case],
    seed: u64,
    engine: &Engine,
    tick: &mut dyn FnMut(),
) -> Result<Vec<Odds>, EvaluationError> {
    let mut odds = Vec::new();
    try_all(bundle, recordings, cases, seed, engine, tick, |tried| {
        let Tried { scene, truth, provisional, received, conclusion, receiver, .. } = tried;
        let is_noisy = receiver.is_noisy(scene);
        if !is_noisy && scene.known_permille() == 1000 {
            return;
        }
        let share = receiver.refined_share(scene);
        let pool =
            (conclusion.mode == "hybrid").then(|| received.fused(receiver.belief(), share, [1.0 - share, share]));
        let likely = |permille: u16| f64::from(permille) / 1000.0;
        odds.extend((0..PAIRS).map(|pair| Odds {
            is_noisy,
            received: f64::from(received.hazard[pair]),
            pooled: pool.map(|pool| f64::from(pool.hazard[pair])),
            said: [&provisional, &conclusion.decision].map(|said| likely(said.hazard_permille[pair])),
            is_true: truth.hazards.contains(pair),
        }));
    })?;
    Ok(odds)
}

/// The weights for frames with unknown cells, then for noisy ones. `None` where nothing was refined.
pub fn calibrate_fusion(odds: &[Odds]) -> [Option<FusionFinding>; 2] {
    [false, true].map(|is_noisy| {
        let of_kind: Vec<&Odds> = odds.iter().filter(|odds| odds.is_noisy == is_noisy).collect();
        let alone: Vec<(f64, bool)> = of_kind.iter().map(|odds| (bounded(odds.received), odds.is_true)).collect();
        let pooled: Vec<(f64, bool)> =
            of_kind.iter().filter_map(|odds| Some((bounded(odds.pooled?), odds.is_true))).collect();
        if pooled.is_empty() {
            return None;
        }
        let weights = [weight(&alone), weight(&pooled)];
        let weighed = |odds: &[(f64, bool)], weight: f64| {
            truthfulness(odds.iter().map(|&(odds, is_true)| (sigmoid(weight * odds), is_true)))
        };
        let refined = of_kind.iter().filter(|odds| odds.pooled.is_some());
        Some(FusionFinding {
            weights,
            before: [
                truthfulness(of_kind.iter().map(|odds| (odds.said[0], odds.is_true))),
                truthfulness(refined.map(|odds| (odds.said[1], odds.is_true))),
            ],
            after: [weighed(&alone, weights[0]), weighed(&pooled, weights[1])],
            hazards: of_kind.len(),
        })
    })
}

fn bounded(log_odds: f64) -> f64 {
    log_odds.clamp(-MOST, MOST)
}

fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

/// The weight under which log-odds are likeliest to have given the truth, 0 to 4: logistic regression without an intercept, by Newton's method.
fn weight(odds: &[(f64, bool)]) -> f64 {
    let mut weight = 0.5;
    for _ in 0..50 {
        // A ridge that a few samples outweigh keeps the step finite where all of them are sure.
        let (mut gradient, mut curvature) = (0.0, 1e-3);
        for &(odds, is_true) in odds {
            let p = sigmoid(weight * odds);
            gradient += (p - f64::from(u8::from(is_true))) * odds;
            curvature += p * (1.0 - p) * odds * odds;
        }
        weight = (weight - (gradient / curvature).clamp(-0.5, 0.5)).clamp(0.0, 4.0);
    }
    weight
}

/// Of probabilities with what came true.
fn truthfulness(said: impl Iterator<Item = (f64, bool)>) -> Truthfulness {
    let (mut nll, mut reliability) = (0.0, Reliability::default());
    for (p, is_true) in said {
        let (likelier, is_right) = if p >= 0.5 { (p, is_true) } else { (1.0 - p, !is_true) };
        nll -= libm::log(if is_right { likelier } else { 1.0 - likelier }.max(1e-3));
        reliability.add(likelier, is_right);
    }
    Truthfulness { nll: nll / reliability.count().max(1) as f64, ece: reliability.error().unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn weights_are_those_that_the_truth_was_drawn_with() {
        let noise = Noise::new(1, 1);
        let odds: Vec<Odds> = (0..40_000)
            .map(|at| {
                let [received, pooled] = [0, 1].map(|which| 4.0 * noise.normal_at(3 * at + which));
                // The truth follows the head's log-odds where nothing was refined, the pool's elsewhere.
                let is_refined = at % 2 == 1;
                let p = sigmoid(if is_refined { 1.5 * bounded(pooled) } else { 0.6 * bounded(received) });
                let is_true = noise.uniform_at(3 * at + 2) < p;
                let pooled = is_refined.then_some(pooled);
                Odds { is_noisy: is_refined, received, pooled, said: [0.5, 0.5], is_true }
            })
            .collect();
        let [None, Some(found)] = calibrate_fusion(&odds) else { panic!() };
        assert!((found.weights[1] - 1.5).abs() < 0.05, "{found:?}");
        assert!(found.after[1].ece < 0.01 && found.after[1].nll < found.before[1].nll, "{found:?}");
        assert!((found.before[1].nll - 0.693).abs() < 0.01, "{found:?}");
        let both: Vec<Odds> = odds.iter().map(|odds| Odds { is_noisy: false, ..*odds }).collect();
        let [Some(found), None] = calibrate_fusion(&both) else { panic!() };
        // Half of the head's log-odds say nothing.
        assert!(found.weights[0] < 0.3 && (found.weights[1] - 1.5).abs() < 0.05, "{found:?}");
        assert!(calibrate_fusion(&[]).iter().all(Option::is_none));
    }

    #[test]
    fn witnesses_that_are_always_right_stay_finite() {
        let sure = |is_true: bool| {
            let odds = if is_true { 9.0 } else { -9.0 };
            Odds { is_noisy: true, received: odds, pooled: Some(30.0 * odds), said: [1.0, 1.0], is_true }
        };
        let [None, Some(found)] = calibrate_fusion(&[sure(true), sure(false)]) else { panic!() };
        assert!(found.weights.iter().all(|weight| (0.5..=4.0).contains(weight)), "{found:?}");
    }
}
