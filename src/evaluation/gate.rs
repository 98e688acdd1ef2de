//! Thresholds of the gate with a risk that they keep: learn then test (Angelopoulos, Bates, Candes, Jordan, Lei 2021).

use super::{Case, EvaluationError, Recording, Sample, Tried, Verdict, try_all};
use crate::bundle::{Bundle, GateBin, GateChannel};
use crate::engine::Engine;
use crate::noise::Noise;
use crate::receiver::Decision;
use crate::report::metrics::free_error;
use crate::scene::rule::HazardSet;

/// Frames in a row that count as one observation: they are too much alike to count as more.
const BLOCK: usize = 10;
/// A decision is worse than another if more of its hazards are wrong, or if the error of its free space is larger by more than this share of the height.
const FREE_TOLERANCE: f64 = 0.02;
/// Stream of [`Noise`] that splits the blocks.
const STREAM: u64 = 0x6c74_7400;

/// The bins: maps with few and with many unknown cells, soft payloads.
pub const BINS: [(GateChannel, i16, i16); 3] =
    [(GateChannel::Map, 0, 400), (GateChannel::Map, 400, 1001), (GateChannel::Soft, -1000, 6000)];

/// Thresholds of doubt that are tried, in this order, in thousandths of a hazard: the first never skips a doubt, each later one skips more.
const LADDER: [u16; 24] = [
    0, 50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000, 2250, 2500, 2750, 3000, 3500,
    4000, 5000, 13500,
];

/// A frame on a channel, decided with and without a refinement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateTrial {
    /// Index into [`BINS`].
    pub bin: usize,
    /// Which ten frames of which recording it comes from.
    pub block: usize,
    pub doubt_permille: u16,
    /// Something was unknown or noisy, so that there was something to refine.
    pub refines: bool,
    /// The decision without is worse than the one with.
    pub worse: bool,
}

/// What was found for one bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateFinding {
    /// The threshold; `None` where not even the lowest one keeps the risk.
    pub doubt_permille: Option<u16>,
    /// Of all frames of the bin: decided worse for what was skipped.
    pub risk: f64,
    /// Of all frames of the bin: not refined, by the gate or because there was nothing to refine.
    pub skipped: f64,
    /// Of the frames that could be refined: not refined.
    pub spared: f64,
    /// Blocks with frames in the bin.
    pub blocks: usize,
}

/// Sends each of `recordings` through the channels of `cases`, and decides each frame with and without a refinement.
///
/// # Errors
/// [`EvaluationError`].
pub fn gate_trials(
    bundle: &Bundle,
    recordings: &[Recording<'_>],
    cases: &[Case],
    seed: u64,
    engine: &Engine,
    tick: &mut dyn FnMut(),
) -> Result<Vec<GateTrial>, EvaluationError> {
    let mut firsts = vec![0];
    for Recording { maps, .. } in recordings {
        firsts.push(firsts[firsts.len() - 1] + maps.len().div_ceil(BLOCK));
    }
    let mut trials = Vec::new();
    try_all(bundle, recordings, cases, seed, engine, tick, |tried| {
        let Tried { scene, truth, recording, sequence, provisional, conclusion, .. } = tried;
        let soft_snr_cdb = scene.params().payload.soft_bits().map(|_| scene.snr_cdb());
        let holds = |bin: &GateBin| bin.holds(scene.known_permille(), soft_snr_cdb);
        let bin =
            BINS.iter().position(|&(channel, from, below)| holds(&GateBin { channel, from, below, doubt_permille: 0 }));
        let Some(bin) = bin else { return };
        let refines = conclusion.mode == "hybrid";
        let free = truth.free_permille(bundle.grid());
        let verdict = |decision: &Decision| Verdict {
            hazards: decision.hazards(),
            free_error: free_error(&free, &decision.free_permille),
        };
        trials.push(GateTrial {
            bin,
            block: firsts[recording] + sequence as usize / BLOCK,
            doubt_permille: provisional.doubt_permille(),
            refines,
            worse: refines && is_worse(truth.hazards, &verdict(&provisional), &verdict(&conclusion.decision)),
        });
    })?;
    Ok(trials)
}

fn is_worse(truth: HazardSet, without: &Verdict, with: &Verdict) -> bool {
    let wrong = |verdict: &Verdict| (verdict.hazards.0 ^ truth.0).count_ones();
    wrong(without) > wrong(with) || without.free_error > with.free_error + FREE_TOLERANCE
}

/// Of the frames in `gated`, those that are decided worse than in `always` for what the gate did not generate, as a share: both rows on the same frames, the same noise and as
/// many steps.
pub fn gate_risk(gated: &[Sample], always: &[Sample]) -> Option<f64> {
    let worse = gated.iter().zip(always).map(|(gated, always)| {
        let was_skipped = always.generated && !gated.generated;
        Some(was_skipped && is_worse(gated.truth, gated.head.as_ref()?, always.head.as_ref()?))
    });
    let worse: Vec<bool> = worse.collect::<Option<_>>()?;
    (!worse.is_empty()).then(|| worse.iter().filter(|worse| **worse).count() as f64 / worse.len() as f64)
}

/// For each threshold of doubt, from the lowest to the highest: of the bin's frames, the share that isn't refined and the share that is decided worse for that.
pub fn risk_by_coverage(trials: &[GateTrial], bin: usize) -> Vec<(f64, f64)> {
    let mut trials = of_bin(trials, bin);
    trials.sort_by_key(|trial| (trial.refines, trial.doubt_permille));
    let count = trials.len() as f64;
    let mut worse = 0;
    let points = trials.iter().zip(1..).map(|(trial, skipped)| {
        worse += usize::from(trial.worse);
        (f64::from(skipped) / count, worse as f64 / count)
    });
    points.collect()
}

/// The thresholds of the [`BINS`] with which, at confidence 1 - `delta`, a share of `alpha` at most of the frames like these `trials` is decided worse for what isn't
/// generated. Each bin keeps that by itself.
pub fn calibrate_gate(trials: &[GateTrial], alpha: f64, delta: f64) -> [GateFinding; BINS.len()] {
    findings(trials, thresholds(trials, alpha, delta))
}

fn thresholds(trials: &[GateTrial], alpha: f64, delta: f64) -> [Option<u16>; BINS.len()] {
    core::array::from_fn(|bin| {
        let trials = of_bin(trials, bin);
        let keeps = |&threshold: &u16| {
            let losses = block_means(&trials, |trial| trial.is_loss(threshold));
            !losses.is_empty() && p_value(&losses, alpha, delta) <= delta
        };
        LADDER.into_iter().take_while(keeps).last()
    })
}

/// How the `thresholds` of the [`BINS`] do on `trials`.
fn findings(trials: &[GateTrial], thresholds: [Option<u16>; BINS.len()]) -> [GateFinding; BINS.len()] {
    core::array::from_fn(|bin| finding(&of_bin(trials, bin), thresholds[bin]))
}

fn of_bin(trials: &[GateTrial], bin: usize) -> Vec<&GateTrial> {
    trials.iter().filter(|trial| trial.bin == bin).collect()
}

fn finding(trials: &[&GateTrial], threshold: Option<u16>) -> GateFinding {
    let mean = |of: &dyn Fn(&GateTrial) -> bool| {
        let means = block_means(trials, of);
        means.iter().sum::<f64>() / means.len().max(1) as f64
    };
    let skips = |trial: &GateTrial| threshold.is_some_and(|threshold| trial.doubt_permille <= threshold);
    let refined = trials.iter().filter(|trial| trial.refines);
    GateFinding {
        doubt_permille: threshold,
        risk: mean(&|trial| trial.worse && skips(trial)),
        skipped: mean(&|trial| !trial.refines || skips(trial)),
        spared: refined.clone().filter(|trial| skips(trial)).count() as f64 / refined.count().max(1) as f64,
        blocks: block_means(trials, |_| true).len(),
    }
}

/// `splits` times, half of the blocks, drawn at random, say the thresholds, and the other half tells their risk: in how many splits each bin stayed within `alpha`.
pub fn gate_splits(trials: &[GateTrial], alpha: f64, delta: f64, splits: u64) -> [usize; BINS.len()] {
    let blocks = trials.iter().map(|trial| trial.block + 1).max().unwrap_or(0) as u64;
    let mut kept = [0; BINS.len()];
    for split in 0..splits {
        let draw = Noise::new(0, STREAM).substream(split);
        let mut order: Vec<u64> = (0..blocks).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, draw.below_at(at as u64, at as u64 + 1) as usize);
        }
        let mut is_first = vec![false; blocks as usize];
        order[..blocks as usize / 2].iter().for_each(|&block| is_first[block as usize] = true);
        let (first, second): (Vec<GateTrial>, Vec<GateTrial>) = trials.iter().partition(|trial| is_first[trial.block]);
        for (kept, finding) in kept.iter_mut().zip(findings(&second, thresholds(&first, alpha, delta))) {
            *kept += (finding.risk <= alpha) as usize;
        }
    }
    kept
}

impl GateTrial {
    fn is_loss(&self, threshold: u16) -> bool {
        self.worse && self.doubt_permille <= threshold
    }
}

/// The share of the trials of each block of which `what` holds.
fn block_means(trials: &[&GateTrial], what: impl Fn(&GateTrial) -> bool) -> Vec<f64> {
    let mut sums: std::collections::BTreeMap<usize, (usize, usize)> = Default::default();
    for trial in trials {
        let (count, sum) = sums.entry(trial.block).or_default();
        *count += 1;
        *sum += what(trial) as usize;
    }
    sums.values().map(|&(count, sum)| sum as f64 / count as f64).collect()
}

/// Of the hypothesis that the mean of the independent `observations`, each 0 to 1, is `alpha` or more: the betting test of Waudby-Smith and Ramdas (2023), section 4,
/// with their predictable plug-in bets for a level of `delta`. What a bettor against the hypothesis ends up with at best, inverted (Ville).
fn p_value(observations: &[f64], alpha: f64, delta: f64) -> f64 {
    let count = observations.len() as f64;
    let (mut capital, mut most) = (1.0f64, 1.0f64);
    // Of the observations so far, and of one that nobody made.
    let (mut sum, mut squares, mut variance) = (0.5, 0.25, 0.25);
    for (seen, &x) in observations.iter().enumerate() {
        let bet = (2.0 * libm::log(1.0 / delta) / (count * variance)).sqrt().min(1.0);
        capital *= 1.0 - bet * (x - alpha);
        most = most.max(capital);
        sum += x;
        let mean = sum / (seen + 2) as f64;
        squares += (x - mean) * (x - mean);
        variance = squares / (seen + 2) as f64;
    }
    1.0 / most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_above_alpha_is_seldom_taken_for_one_below() {
        let noise = Noise::new(3, 3);
        let mut passed = [0; 2];
        for round in 0..400 {
            // A tenth of the observations are 1; the hypotheses that the mean is a tenth, and that it is a fifth.
            let draw = noise.substream(round);
            let observations: Vec<f64> = (0..200).map(|at| (draw.below_at(at, 10) == 0) as u8 as f64).collect();
            for (passed, alpha) in passed.iter_mut().zip([0.1, 0.2]) {
                *passed += (p_value(&observations, alpha, 0.1) <= 0.1) as usize;
            }
        }
        // Forty are what is allowed on average: a tenth.
        assert!(passed[0] <= 55, "{passed:?}");
        assert!(passed[1] >= 390, "{passed:?}");
        assert!(p_value(&[0.0; 5], 0.1, 0.1) > 0.1, "five observations are too few");
    }

    fn trials() -> Vec<GateTrial> {
        // Doubt from 0 to 3.9 hazards; what is skipped is worse in so many of ten cases.
        let noise = Noise::new(5, 5);
        (0..20_000)
            .map(|at| {
                let doubt = noise.below_at(2 * at, 40);
                GateTrial {
                    bin: (at % 2) as usize,
                    block: (at / 100) as usize,
                    doubt_permille: 100 * doubt as u16,
                    refines: true,
                    worse: noise.below_at(2 * at + 1, 100) < doubt,
                }
            })
            .collect()
    }

    #[test]
    fn the_threshold_keeps_the_risk_and_skips_what_it_can() {
        let trials = trials();
        let findings = calibrate_gate(&trials, 0.1, 0.1);
        for finding in &findings[..2] {
            // Up to doubt d the loss is about d^2 / 80 of 100: a tenth at 2.8.
            assert!((2000..=2750).contains(&finding.doubt_permille.unwrap()), "{finding:?}");
            assert!(finding.risk <= 0.1 && finding.skipped > 0.5, "{finding:?}");
            assert!((finding.spared - finding.skipped).abs() < 1e-9 && finding.blocks == 200, "{finding:?}");
        }
        assert_eq!((findings[2].doubt_permille, findings[2].blocks), (None, 0));
        assert!(gate_splits(&trials, 0.1, 0.1, 20)[..2].iter().all(|&kept| kept >= 18));
        let curve = risk_by_coverage(&trials, 0);
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        let all_worse = trials.iter().filter(|trial| trial.bin == 0 && trial.worse).count() as f64;
        assert_eq!(curve.last(), Some(&(1.0, all_worse / 10_000.0)));
        let strict = calibrate_gate(&trials, 0.001, 0.1);
        assert!(strict[0].doubt_permille < Some(300), "{strict:?}");
    }
}
