//! `semrx eval`: the evidence table.

use super::engine::EngineName;
use super::exit::Failure;
use super::output::print;
use super::{Done, bundles};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use semrx::evaluation::{Case, Outcome, ROWS, Row, Score, Scores, SnrError, evaluate, paired_f1};
use semrx::link::ChannelSpec;
use semrx::maps;
use semrx::report::metrics::HazardCounts;
use semrx::report::record::PAIR_NAMES;
use semrx::scene::ClassMap;
use semrx::wire::Payload;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Compare the modes with the baselines on label maps of your own, channel by channel.
///
/// The maps are sent in the order of their names, as consecutive frames of one stream. Truth is what the rule reads off the map that was
/// sent. Intervals are 95 %, by bootstrap over frames.
#[derive(Debug, Args)]
#[command(after_help = "\
Rows: layout-only (the rule on what arrived), prior (most common class of each cell), nearest-fill, hold (what the stream showed there last),
argmax and fds (soft payloads), semantic_first (the head on what arrived), hybrid N (head, N sampler steps, head again, both fused).
  semrx eval --maps maps/
  semrx eval --maps maps/ --channel tile-loss=0.5 --channel tile-loss=0.5,burst=3 --json")]
pub struct Options {
    /// Folder of index PNGs
    #[arg(long, value_name = "DIR")]
    maps: PathBuf,
    /// Only files whose names begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// The models: a folder, or the name of a bundle
    #[arg(long, value_name = "BUNDLE", default_value = "street")]
    bundle: PathBuf,
    /// A channel; sent as soft8 where it has a sigma, as map otherwise. Without any, the channels of docs/evidence.md
    #[arg(long, value_name = "SPEC")]
    channel: Vec<ChannelSpec>,
    /// The radio tells no SNR: that of soft payloads is estimated from their codes
    #[arg(long)]
    blind_snr: bool,
    /// Seed of channel and sampler
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Channels evaluated at the same time
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What runs the models
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
}

/// Tile loss, alone and in bursts, then GESCO's noise levels and two beyond.
fn default_channels() -> Vec<String> {
    let losses = ["0", "0.1", "0.3", "0.5", "0.7"].map(|loss| format!("tile-loss={loss}"));
    let bursts = ["0.1", "0.3", "0.5", "0.7"].map(|loss| format!("tile-loss={loss},burst=4"));
    let sigmas = ["0", "0.05", "0.08", "0.13", "0.22", "0.36", "0.6", "0.9", "1.3", "2"].map(|s| format!("sigma={s}"));
    losses.into_iter().chain(bursts).chain(sigmas).collect()
}

pub fn run(options: &Options) -> Done {
    let bundle = bundles::open(&options.bundle)?;
    let engine = options.engine.open(1)?;
    let files = maps::list(&options.maps)?;
    let files = files
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&options.only)));
    let mut truths: Vec<ClassMap> = Vec::new();
    for file in files {
        truths.push(maps::read(&file, bundle.labels())?.resampled(bundle.grid()));
    }
    if truths.is_empty() {
        return Err(Failure::refused(format!("{}: no PNG begins with {:?}", options.maps.display(), options.only)));
    }
    let channels = match options.channel.is_empty() {
        true => {
            default_channels().iter().map(|spec| spec.parse()).collect::<Result<_, _>>().map_err(Failure::failed)?
        }
        false => options.channel.clone(),
    };
    let cases: Vec<Case> = channels
        .into_iter()
        .map(|channel| {
            let payload = if channel.sigma.is_some() { Payload::Soft8 } else { Payload::Map };
            Case { payload, channel, blind: options.blind_snr }
        })
        .collect();

    let progress = ProgressBar::new((cases.len() * truths.len()) as u64);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames, {eta} left");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(cases.iter().map(|_| None).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, 64) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let outcome = evaluate(&bundle, &truths, case, options.seed, &engine, &mut || progress.inc(1))
                        .map_err(Failure::from)
                        .map(|outcome| {
                            let scores = outcome.samples.iter().map(|row| Scores::of(row)).collect();
                            (outcome, scores)
                        });
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[index] = Some(outcome);
                    }
                }
            });
        }
    });
    progress.finish_and_clear();
    let outcomes = outcomes.into_inner().map_err(|_| Failure::failed("an evaluation thread panicked"))?;
    let outcomes = outcomes.into_iter().flatten().collect::<Result<Vec<_>, Failure>>()?;
    let text = match options.json {
        true => format!("{:#}\n", json_table(&outcomes)),
        false => text_table(&truths, &outcomes),
    };
    print(&text)
}

fn text_table(truths: &[ClassMap], outcomes: &[(Outcome, Vec<Scores>)]) -> String {
    let mut text = String::new();
    if let Some((outcome, _)) = outcomes.first() {
        let mut counts = HazardCounts::default();
        outcome.samples[0].iter().for_each(|sample| counts.add(sample.truth, sample.truth));
        let prevalence = counts.prevalence_permille();
        text += &format!("{} frames; hazards scored, with the share of frames that have them:\n", truths.len());
        let scored: Vec<_> = counts
            .scored()
            .map(|pair| format!("{} {:.0} %", PAIR_NAMES[pair], prevalence[pair] as f64 / 10.0))
            .collect();
        for line in scored.chunks(4) {
            text += &format!("  {}\n", line.join(", "));
        }
        text += "mIoU, accuracy, F1 and free-space error in %, with 95 % intervals; F1 and error through the rule on the row's map, and through the head.\n";
    }
    for (outcome, scores) in outcomes {
        text += &format!(
            "\n{}, {}: {} of {} frames arrived, {:.0} bytes a frame\n",
            outcome.case.payload.name(),
            outcome.case.channel,
            outcome.frames,
            truths.len(),
            outcome.mean_bytes
        );
        text += &format!(
            "{:<15}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>18}{:>8}{:>6}\n",
            "row",
            "mIoU all",
            "acc all",
            "mIoU lost",
            "acc lost",
            "F1 rule",
            "F1 head",
            "free err rule",
            "free err head",
            "MMAC",
            "gen"
        );
        for ((row, samples), scores) in ROWS.iter().zip(&outcome.samples).zip(scores) {
            if samples.is_empty() {
                continue;
            }
            let columns = [
                scores.all_miou,
                scores.all_accuracy,
                scores.lost_miou,
                scores.lost_accuracy,
                scores.rule_f1,
                scores.head_f1,
                scores.rule_free_error,
                scores.head_free_error,
            ];
            let columns: String = columns.into_iter().map(|score| format!("{:>18}", cell(score))).collect();
            let (mmac, generated) = (scores.mean_macs / 1e6, 100.0 * scores.generated);
            text += &format!("{:<15}{columns}{mmac:>8.0}{generated:>5.0}%\n", row.name());
        }
        text += &compare(outcome, scores);
        if let Some(SnrError { mean_db, most_db }) = outcome.snr_error {
            let how = if outcome.case.blind { "estimated" } else { "told" };
            text += &format!("  the SNR that is {how} is {mean_db:.2} dB off on average, {most_db:.2} dB at most\n");
        }
    }
    text
}

/// What the bars ask: agreement of the head with the rule, and hybrid against semantic_first frame by frame.
fn compare(outcome: &Outcome, scores: &[Scores]) -> String {
    let index = |row: Row| ROWS.iter().position(|other| *other == row).unwrap_or(0);
    let first = index(Row::SemanticFirst);
    let mut text = String::new();
    if let Some(agreement) = scores[first].head_agreement {
        text +=
            &format!("  semantic_first agrees with the rule on {:.2} % of zone x type pairs;", 100.0 * agreement.value);
    }
    for row in [Row::Hybrid(1), Row::Hybrid(2), Row::Hybrid(4)] {
        if let Some(difference) = paired_f1(&outcome.samples[index(row)], &outcome.samples[first]) {
            text += &format!(" {} - semantic_first F1 {};", row.name(), signed(difference));
        }
    }
    text.trim_end_matches(';').to_owned() + "\n"
}

fn cell(score: Option<Score>) -> String {
    match score {
        Some(Score { value, interval }) => {
            format!("{:.1} [{:.0},{:.0}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
        }
        None => "-".into(),
    }
}

fn signed(Score { value, interval }: Score) -> String {
    format!("{:+.1} [{:+.1},{:+.1}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
}

fn json_table(outcomes: &[(Outcome, Vec<Scores>)]) -> Value {
    let score = |score: Option<Score>| {
        score.map(|score| json!({"value": score.value, "low": score.interval.low, "high": score.interval.high}))
    };
    let first = ROWS.iter().position(|row| *row == Row::SemanticFirst).unwrap_or(0);
    let cases = outcomes.iter().map(|(outcome, scores)| {
        let rows = ROWS.iter().zip(&outcome.samples).zip(scores).filter(|((_, samples), _)| !samples.is_empty());
        let rows: Vec<Value> = rows
            .map(|((row, samples), scores)| {
                json!({
                    "row": row.name(),
                    "miou_all": score(scores.all_miou), "accuracy_all": score(scores.all_accuracy),
                    "miou_lost": score(scores.lost_miou), "accuracy_lost": score(scores.lost_accuracy),
                    "f1_rule": score(scores.rule_f1), "f1_head": score(scores.head_f1),
                    "free_error_rule": score(scores.rule_free_error), "free_error_head": score(scores.head_free_error),
                    "agreement_head": score(scores.head_agreement),
                    "f1_head_minus_semantic_first": score(paired_f1(samples, &outcome.samples[first])),
                    "mean_macs": scores.mean_macs, "generated": scores.generated,
                })
            })
            .collect();
        json!({
            "payload": outcome.case.payload.name(), "channel": outcome.case.channel.to_string(),
            "frames": outcome.frames, "mean_bytes": outcome.mean_bytes,
            "snr_error_db": outcome.snr_error.map(|error| json!({"mean": error.mean_db, "most": error.most_db})),
            "rows": rows,
        })
    });
    json!({"schema": 1, "cases": cases.collect::<Vec<_>>()})
}
