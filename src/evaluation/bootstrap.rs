//! Scores over frames, with 95 % intervals by bootstrap over frames.

use super::Sample;
use crate::noise::Noise;
use crate::report::metrics::{Confusion, HazardCounts, Reliability};
use statrs::statistics::{Data, OrderStatistics};

/// Stream of [`Noise`] that draws the frames of a resample.
const STREAM: u64 = 0x626f_6f74;
/// Resamples of an interval.
const RESAMPLES: u64 = 1000;

/// The 2.5 and 97.5 % quantiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// A score with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    pub value: f64,
    pub interval: Interval,
}

/// The columns of a row. `None` where the row has nothing to score.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    pub all_miou: Option<Score>,
    pub all_accuracy: Option<Score>,
    pub lost_miou: Option<Score>,
    pub lost_accuracy: Option<Score>,
    pub rule_f1: Option<Score>,
    pub head_f1: Option<Score>,
    pub rule_free_error: Option<Score>,
    pub head_free_error: Option<Score>,
    /// Share of the zone x type pairs on which head and truth agree.
    pub head_agreement: Option<Score>,
    /// Zone x type pairs that the head calls otherwise than in the frame before, a frame; and those that are otherwise in truth.
    pub flips: Option<[f64; 2]>,
    /// Expected calibration error of the cells' probabilities: see [`Sample::reliability`].
    pub reliability_error: Option<f64>,
    pub mean_macs: f64,
    pub mean_steps: f64,
    pub generated: f64,
}

impl Scores {
    /// Scores the samples of one row; pairs that are scored are chosen by their prevalence over all of them.
    pub fn of(samples: &[Sample]) -> Scores {
        let count = samples.len().max(1) as f64;
        let pooled = |cells: fn(&Sample) -> &Confusion, metric: fn(&Confusion) -> Option<f64>| {
            resampled(samples, move |frames| {
                let mut pooled: Option<Confusion> = None;
                for frame in frames {
                    match &mut pooled {
                        Some(pooled) => pooled.merge(cells(frame)),
                        None => pooled = Some(cells(frame).clone()),
                    }
                }
                pooled.as_ref().and_then(metric)
            })
        };
        let free = |verdict: fn(&Sample) -> Option<super::Verdict>| {
            resampled(samples, move |frames| {
                let errors: Vec<f64> = frames.iter().filter_map(|frame| Some(verdict(frame)?.free_error)).collect();
                (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
            })
        };
        let scored: Vec<usize> =
            counts(&samples.iter().collect::<Vec<_>>(), |sample| Some(sample.truth)).scored().collect();
        let f1 = |verdict: fn(&Sample) -> Option<super::Verdict>| {
            let scored = scored.clone();
            resampled(samples, move |frames| f1(frames, verdict, &scored))
        };
        Scores {
            all_miou: pooled(|sample| &sample.all_cells, Confusion::mean_iou),
            all_accuracy: pooled(|sample| &sample.all_cells, Confusion::accuracy),
            lost_miou: pooled(|sample| &sample.lost_cells, Confusion::mean_iou),
            lost_accuracy: pooled(|sample| &sample.lost_cells, Confusion::accuracy),
            rule_f1: f1(|sample| sample.rule),
            head_f1: f1(|sample| sample.head),
            rule_free_error: free(|sample| sample.rule),
            head_free_error: free(|sample| sample.head),
            head_agreement: resampled(samples, |frames| {
                counts(frames, |sample| Some(sample.head?.hazards)).agreement()
            }),
            flips: flips(samples),
            reliability_error: {
                let mut pooled = Reliability::default();
                samples.iter().for_each(|sample| pooled.merge(&sample.reliability));
                pooled.error()
            },
            mean_macs: samples.iter().map(|sample| sample.macs as f64).sum::<f64>() / count,
            mean_steps: samples.iter().map(|sample| sample.steps as f64).sum::<f64>() / count,
            generated: samples.iter().filter(|sample| sample.generated).count() as f64 / count,
        }
    }
}

/// Of the head and of the truth.
fn flips(samples: &[Sample]) -> Option<[f64; 2]> {
    let called: Vec<u32> =
        samples.iter().map(|sample| sample.head.map(|head| head.hazards.0)).collect::<Option<_>>()?;
    let truths: Vec<u32> = samples.iter().map(|sample| sample.truth.0).collect();
    // From the end of one stream to the beginning of the next nothing changes.
    let follows = || samples[1..].iter().map(|sample| !sample.begins);
    let count = samples.get(1..).map_or(0, |_| follows().filter(|follows| *follows).count());
    let mean = |sets: &[u32]| {
        let pairs = sets.windows(2).zip(follows()).filter(|(_, follows)| *follows);
        let flips: u32 = pairs.map(|(pair, _)| (pair[0] ^ pair[1]).count_ones()).sum();
        flips as f64 / count as f64
    };
    (count > 0).then(|| [mean(&called), mean(&truths)])
}

/// Hazard macro-F1 through the head of `ours` minus that of `theirs`, on the same frames. `None` when either has none.
pub fn paired_f1(ours: &[Sample], theirs: &[Sample]) -> Option<Score> {
    let pairs: Vec<(&Sample, &Sample)> = ours.iter().zip(theirs).collect();
    let truths: Vec<&Sample> = ours.iter().collect();
    let scored: Vec<usize> = counts(&truths, |sample| Some(sample.truth)).scored().collect();
    resampled(&pairs, |frames| {
        let (ours, theirs): (Vec<&Sample>, Vec<&Sample>) = frames.iter().copied().copied().unzip();
        Some(f1(&ours, |sample| sample.head, &scored)? - f1(&theirs, |sample| sample.head, &scored)?)
    })
}

fn counts(frames: &[&Sample], said: impl Fn(&Sample) -> Option<crate::scene::rule::HazardSet>) -> HazardCounts {
    let mut counts = HazardCounts::default();
    for frame in frames {
        if let Some(said) = said(frame) {
            counts.add(frame.truth, said);
        }
    }
    counts
}

fn f1(frames: &[&Sample], verdict: impl Fn(&Sample) -> Option<super::Verdict>, scored: &[usize]) -> Option<f64> {
    let counts = counts(frames, |sample| Some(verdict(sample)?.hazards));
    if counts.frames == 0 { None } else { counts.macro_f1(scored.iter().copied()) }
}

fn resampled<T>(frames: &[T], metric: impl Fn(&[&T]) -> Option<f64>) -> Option<Score> {
    let value = metric(&frames.iter().collect::<Vec<_>>())?;
    let noise = Noise::new(0, STREAM);
    let values = (0..RESAMPLES).filter_map(|resample| {
        let draw = noise.substream(resample);
        let drawn: Vec<&T> =
            (0..frames.len() as u64).map(|slot| &frames[draw.below_at(slot, frames.len() as u64) as usize]).collect();
        metric(&drawn)
    });
    let mut values = Data::new(values.collect::<Vec<f64>>());
    let interval = Interval { low: values.quantile(0.025), high: values.quantile(0.975) };
    Some(Score { value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let values: Vec<f64> = (0..400).map(|index| Noise::new(9, 9).normal_at(index)).collect();
        let mean = |frames: &[&f64]| Some(frames.iter().copied().sum::<f64>() / frames.len() as f64);
        let score = resampled(&values, mean).unwrap();
        let width = score.interval.high - score.interval.low;
        // 2 * 1.96 / sqrt(400)
        assert!((width - 0.196).abs() < 0.03, "{width}");
        assert!(score.interval.low < score.value && score.value < score.interval.high);
        assert!(resampled(&values, |_| None).is_none());
    }
}
