//! What people read: a line a frame, and a summary by mode.

use semrx::receiver::Gate;
use semrx::report::record::{Decided, Outcome, PAIR_NAMES, Record};
use semrx::scene::rule::TYPES;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The record as a line.
pub fn line(record: &Record<'_>) -> String {
    let mut line = format!("{:>5}", record.sequence);
    let seconds = record.capture_us.map(|capture_us| capture_us as f64 / 1e6);
    let _ = match seconds {
        Some(seconds) => write!(line, " {seconds:>8.2} s"),
        None => write!(line, " {:>10}", ""),
    };
    match record.outcome {
        Outcome::Lost if record.frames > 1 => {
            line.push_str(&format!("  lost, with the {} behind it", record.frames - 1))
        }
        Outcome::Lost => line.push_str("  lost"),
        Outcome::Refused => line.push_str(&format!("  refused: {}", record.reason)),
        Outcome::Stale => line.push_str(&format!("  stale: {}", record.reason)),
        Outcome::Decided | Outcome::DecidedLate => {
            let known = record.known_permille as f64 / 10.0;
            let mode = match record.steps {
                0 => record.mode.to_owned(),
                steps => format!("{} x{steps}", record.mode),
            };
            let _ = write!(line, "  {mode:<14} known {known:>5.1} %");
            let _ = match record.snr_cdb {
                Some(snr_cdb) => write!(line, " {:>6.1} dB", snr_cdb as f64 / 100.0),
                None => write!(line, " {:>9}", ""),
            };
            let _ =
                write!(line, " {:>6} B  {}", record.bytes, record.decision.as_ref().map_or(String::new(), decision));
            match (record.outcome, record.gate) {
                (_, FAILED) => line.push_str(&format!("  [failed: {}]", record.reason)),
                (_, PREEMPTED) => line.push_str(&format!("  [given up: {}]", record.reason)),
                (Outcome::DecidedLate, _) => line.push_str(&format!("  [late: {}]", record.reason)),
                _ => {}
            }
        }
    }
    line
}

/// Free space ahead is that of the four middle columns, at its narrowest; hazards by band, left|centre|right.
fn decision(decided: &Decided) -> String {
    let ahead = decided.free_permille[6..10].iter().min().copied().unwrap_or(0);
    let mut text = format!("free ahead {:.2} ", ahead as f64 / 1000.0);
    for (band, name) in ["near", "middle", "far"].into_iter().enumerate() {
        let zones: [String; 3] = std::array::from_fn(|side| {
            let pairs = (band * 3 + side) * TYPES..;
            let letters = pairs.zip(["V", "P", "S"]).filter(|(pair, _)| decided.hazards.contains(&PAIR_NAMES[*pair]));
            let letters: String = letters.map(|(_, letter)| letter).collect();
            if letters.is_empty() { "-".into() } else { letters }
        });
        let _ = write!(text, " {name} {}", zones.join("|"));
    }
    text
}

/// What the letters of [`line`] mean.
pub const LEGEND: &str = "hazards left|centre|right of the corridor: V vehicle, P person or cyclist, S structure; free ahead: share of the height";

/// The gate of a frame whose refinement failed.
const FAILED: &str = Gate::Failed.name();
/// And of one whose refinement was given up.
const PREEMPTED: &str = Gate::Preempted.name();

/// Sums over the records of a drive.
#[derive(Debug, Default)]
pub struct Summary {
    by_mode: BTreeMap<String, Sums>,
    failed: u64,
    preempted: u64,
}

#[derive(Debug, Default)]
struct Sums {
    frames: u64,
    bytes: u64,
    macs: u64,
    known_permille: u64,
    decision_us: u64,
    late: u64,
}

impl Summary {
    pub fn add(&mut self, record: &Record<'_>) {
        let mode = match record.outcome {
            Outcome::Lost => "lost",
            Outcome::Refused => "refused",
            Outcome::Stale => "stale",
            Outcome::Decided | Outcome::DecidedLate => record.mode,
        };
        self.failed += u64::from(record.gate == FAILED);
        self.preempted += u64::from(record.gate == PREEMPTED);
        let sums = self.by_mode.entry(mode.into()).or_default();
        sums.frames += record.frames as u64;
        sums.bytes += record.bytes as u64;
        sums.macs += record.macs;
        sums.known_permille += record.known_permille as u64;
        sums.decision_us += record.timing.decision_us;
        sums.late += u64::from(record.outcome == Outcome::DecidedLate);
    }

    pub fn frames(&self) -> u64 {
        self.by_mode.values().map(|sums| sums.frames).sum()
    }

    /// Frames that some mode decided.
    pub fn decided(&self) -> u64 {
        self.frames() - self.refused() - self.of("lost") - self.of("stale")
    }

    pub fn refused(&self) -> u64 {
        self.of("refused")
    }

    /// Frames that were decided on what arrived, since their refinement failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Frames that were decided on what arrived, since their refinement was given up.
    pub fn preempted(&self) -> u64 {
        self.preempted
    }

    fn of(&self, mode: &str) -> u64 {
        self.by_mode.get(mode).map_or(0, |sums| sums.frames)
    }

    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<15} {:>7} {:>7} {:>8} {:>10} {:>9} {:>12} {:>6}\n",
            "mode", "frames", "share", "bytes", "MMAC", "known", "decision", "late"
        );
        let all = self.frames().max(1);
        for (mode, sums) in &self.by_mode {
            let mean = |sum: u64| sum as f64 / sums.frames.max(1) as f64;
            let share = 100.0 * sums.frames as f64 / all as f64;
            let _ = write!(table, "{mode:<15} {:>7} {share:>5.1} % {:>8.0}", sums.frames, mean(sums.bytes));
            let _ = match mode.as_str() {
                "lost" | "refused" | "stale" => writeln!(table),
                _ => writeln!(
                    table,
                    " {:>10.1} {:>7.1} % {:>9.1} ms {:>6}",
                    mean(sums.macs) / 1e6,
                    mean(sums.known_permille) / 10.0,
                    mean(sums.decision_us) / 1e3,
                    sums.late
                ),
            };
        }
        table
    }

    pub fn json(&self) -> serde_json::Value {
        let modes = self.by_mode.iter().map(|(mode, sums)| {
            let mean = |sum: u64| sum as f64 / sums.frames.max(1) as f64;
            let sums = serde_json::json!({
                "frames": sums.frames, "mean_bytes": mean(sums.bytes), "mean_macs": mean(sums.macs),
                "mean_known_permille": mean(sums.known_permille), "late": sums.late,
            });
            (mode.clone(), sums)
        });
        serde_json::Value::Object(modes.collect())
    }
}
