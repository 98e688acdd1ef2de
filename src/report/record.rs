//! Decision records: one line of JSON for every frame that was sent and for every gap in the sequence.
//!
//! Two runs on the same bytes with the same seed give the same records, apart from the `timing` object.

use crate::scene::ReceivedFrame;
use crate::scene::rule::{COLUMNS, HazardSet, MAX_TASKS, PAIRS};
use heapless::Vec;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Version of the record's fields. It grows when a field changes its meaning or goes.
pub const SCHEMA: u16 = 1;
/// No record takes more bytes.
pub const MAX_LEN: usize = 4096;

/// Zone x type pairs by index, as records name them.
pub const PAIR_NAMES: [&str; PAIRS] = [
    "near_left.vehicle",
    "near_left.person",
    "near_left.structure",
    "near_centre.vehicle",
    "near_centre.person",
    "near_centre.structure",
    "near_right.vehicle",
    "near_right.person",
    "near_right.structure",
    "middle_left.vehicle",
    "middle_left.person",
    "middle_left.structure",
    "middle_centre.vehicle",
    "middle_centre.person",
    "middle_centre.structure",
    "middle_right.vehicle",
    "middle_right.person",
    "middle_right.structure",
    "far_left.vehicle",
    "far_left.person",
    "far_left.structure",
    "far_centre.vehicle",
    "far_centre.person",
    "far_centre.structure",
    "far_right.vehicle",
    "far_right.person",
    "far_right.structure",
];

/// How a frame or a gap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Decided,
    /// Decided after its deadline, or after a later frame.
    DecidedLate,
    /// Never came.
    Lost,
    /// Came, but can't be decided with this bundle.
    Refused,
    /// Came, but was not decided: a newer frame of its stream waited, or its deadline had passed before it was its turn.
    Stale,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Decided {
    /// Free space in 16 columns, thousandths of the height.
    pub free_permille: [u16; COLUMNS],
    /// Probability of each zone x type pair, in the order of [`PAIR_NAMES`].
    pub hazard_permille: [u16; PAIRS],
    /// The pairs that are called present.
    pub hazards: Vec<&'static str, PAIRS>,
}

/// A head's own tasks by their names, with probabilities in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks<'a> {
    entries: [(&'a str, u16); MAX_TASKS],
    count: usize,
}

impl<'a> FromIterator<(&'a str, u16)> for Tasks<'a> {
    /// Takes the first [`MAX_TASKS`].
    fn from_iter<I: IntoIterator<Item = (&'a str, u16)>>(entries: I) -> Self {
        let mut tasks = Tasks::default();
        for (kept, entry) in tasks.entries.iter_mut().zip(entries) {
            *kept = entry;
            tasks.count += 1;
        }
        tasks
    }
}

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.count))?;
        for (name, permille) in &self.entries[..self.count] {
            map.serialize_entry(name, permille)?;
        }
        map.end()
    }
}

/// When things happened. Everything else in a record is a function of the bytes received and the seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Timing {
    /// From arrival to the scene.
    pub decode_us: u64,
    /// From arrival to the provisional decision.
    pub provisional_us: u64,
    /// From arrival to the decision.
    pub decision_us: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Record<'a> {
    pub schema: u16,
    pub stream: u16,
    /// Sequence number; of a gap, the first one.
    pub sequence: u32,
    /// Frames that the record stands for: 1, or the length of a gap.
    pub frames: u32,
    pub outcome: Outcome,
    /// Why a frame was refused or late, or its refinement failed; empty otherwise.
    pub reason: &'a str,
    /// Capture time in µs of the sender's clock. `null` for what never came.
    pub capture_us: Option<u64>,
    /// Delay of the link in µs, as the link told it.
    pub delay_us: u32,
    /// Bytes that the frame took on the link, envelopes included.
    pub bytes: u32,
    /// As the link told it, in hundredths of dB.
    pub snr_cdb: Option<i16>,
    /// Estimated from a soft payload's codes, where the link told none.
    pub blind_snr_cdb: Option<i16>,
    /// Cells that arrived, of 1000.
    pub known_permille: u16,
    /// Tiles that did not arrive, or arrived damaged.
    pub tiles_missing: u16,
    /// `semantic_first`, `hybrid`, `latent` or `view`; empty where nothing was decided.
    pub mode: &'a str,
    /// What the gate found.
    pub gate: &'a str,
    /// Of 1000 frames on such channels, how many at most are decided worse for what the gate did not generate. `null`: nothing is promised.
    pub risk_permille: Option<u16>,
    /// Sampler steps, those of a refinement that failed included.
    pub steps: u16,
    /// Steps among them at which a cache answered for the restore network.
    pub cached_steps: u16,
    /// Multiply-accumulates that were spent.
    pub macs: u64,
    /// Multiply-accumulates that the cache saved.
    pub saved_macs: u64,
    /// The head's decision on the received scene, published before anything was generated.
    pub provisional: Option<Decided>,
    pub decision: Option<Decided>,
    /// The pairs that are called present with hysteresis over the stream. `null` where nothing was decided, or late.
    pub steady: Option<Vec<&'static str, PAIRS>>,
    /// Probability of each of the head's own tasks by its name, in thousandths. `null` where the head has none, or nothing was decided.
    pub tasks: Option<Tasks<'a>>,
    pub timing: Timing,
}

impl Decided {
    pub fn new(free_permille: [u16; COLUMNS], hazard_permille: [u16; PAIRS], hazards: HazardSet) -> Self {
        Decided { free_permille, hazard_permille, hazards: names(hazards) }
    }
}

/// The [`PAIR_NAMES`] of a set.
pub fn names(hazards: HazardSet) -> Vec<&'static str, PAIRS> {
    hazards.iter().map(|pair| PAIR_NAMES[pair]).collect()
}

impl Record<'_> {
    /// A record of a frame that came, to be decided.
    pub fn received(frame: &ReceivedFrame<'_>) -> Self {
        let header = &frame.header;
        Record {
            capture_us: Some(header.capture_us),
            delay_us: frame.delay_us,
            bytes: frame.link_bytes as u32,
            snr_cdb: frame.snr_cdb,
            ..Record::empty(header.stream, header.sequence, 1, Outcome::Decided)
        }
    }

    /// A record of a frame or gap about which nothing more is known.
    pub fn empty(stream: u16, sequence: u32, frames: u32, outcome: Outcome) -> Self {
        Record {
            schema: SCHEMA,
            stream,
            sequence,
            frames,
            outcome,
            reason: "",
            capture_us: None,
            delay_us: 0,
            bytes: 0,
            snr_cdb: None,
            blind_snr_cdb: None,
            known_permille: 0,
            tiles_missing: 0,
            mode: "",
            gate: "",
            risk_permille: None,
            steps: 0,
            cached_steps: 0,
            macs: 0,
            saved_macs: 0,
            provisional: None,
            decision: None,
            steady: None,
            tasks: None,
            timing: Timing::default(),
        }
    }

    /// Writes the record as JSON, without a line end, and returns its length.
    ///
    /// # Errors
    /// `buffer` is too small: [`MAX_LEN`] bytes are enough unless `reason` is longer than 500.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, serde_json_core::ser::Error> {
        serde_json_core::to_slice(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::rule::{MAX_TASK_NAME, TYPE_NAMES, TYPES, ZONE_NAMES};

    #[test]
    fn names_are_those_of_the_rule() {
        for (pair, name) in PAIR_NAMES.iter().enumerate() {
            let zone = ZONE_NAMES[pair / TYPES].replace(' ', "_");
            assert_eq!(*name, std::format!("{zone}.{}", TYPE_NAMES[pair % TYPES]));
        }
    }

    #[test]
    fn the_longest_record_fits() {
        let decided = || Some(Decided::new([1000; COLUMNS], [1000; PAIRS], HazardSet((1 << PAIRS) - 1)));
        let long: std::vec::Vec<_> =
            (0..MAX_TASKS).map(|task| std::format!("{task}{}", "x".repeat(MAX_TASK_NAME - 1))).collect();
        let record = Record {
            reason: &"x".repeat(300),
            capture_us: Some(u64::MAX),
            delay_us: u32::MAX,
            bytes: u32::MAX,
            snr_cdb: Some(i16::MIN),
            blind_snr_cdb: Some(i16::MIN),
            known_permille: 1000,
            tiles_missing: 256,
            mode: "semantic_first",
            gate: "deadline",
            risk_permille: Some(999),
            steps: u16::MAX,
            cached_steps: u16::MAX,
            macs: u64::MAX,
            saved_macs: u64::MAX,
            provisional: decided(),
            decision: decided(),
            steady: Some(names(HazardSet((1 << PAIRS) - 1))),
            tasks: Some(long.iter().map(|name| (name.as_str(), 1000)).collect()),
            timing: Timing { decode_us: u64::MAX, provisional_us: u64::MAX, decision_us: u64::MAX },
            ..Record::empty(u16::MAX, u32::MAX, u32::MAX, Outcome::DecidedLate)
        };
        let mut buffer = [0; MAX_LEN];
        let len = record.emit(&mut buffer).unwrap();
        assert!(len > 1500 && len <= MAX_LEN, "{len}");
        let text = core::str::from_utf8(&buffer[..len]).unwrap();
        assert!(text.starts_with(r#"{"schema":1,"stream":65535,"sequence":4294967295,"#), "{text}");
        assert!(text.contains(r#""outcome":"decided_late""#));
    }
}
