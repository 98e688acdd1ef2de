//! What a receiver tells, to people or to programs: a line or a record for each frame, and at the end what it counted.

use super::Done;
use super::exit::Failure;
use super::lines::{self, Summary};
use super::output::{Printer, tell};
use super::records::{self, RecordFile};
use semrx::link::Counters;
use semrx::report::record::Record;
use semrx::scene::{Dropped, Drops};
use serde_json::{Map, Value, json};
use std::mem;

/// Where records go.
pub struct Told {
    pub printer: Printer,
    recorder: Option<RecordFile>,
    json: bool,
    /// Nobody sends again what is missed: a record that can't be written ends nothing, it is counted, and the next one tried.
    is_live: bool,
    /// Records that could not be written, in all; and whether the last one was among them.
    pub unrecorded: u64,
    is_blocked: bool,
    pub summary: Summary,
    /// The first thing that could not be told; nothing is told after it.
    pub trouble: Option<Failure>,
}

impl Told {
    pub fn new(recorder: Option<RecordFile>, json: bool, is_live: bool) -> Self {
        let (printer, summary) = (Printer::default(), Summary::default());
        Told { printer, recorder, json, is_live, unrecorded: 0, is_blocked: false, summary, trouble: None }
    }

    /// The last record could not be written.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    pub fn take(&mut self, record: &Record<'_>) {
        if self.trouble.is_none() {
            self.summary.add(record);
            self.trouble = self.write(record).err();
        }
    }

    pub fn dropped(&self, why: &Dropped) {
        if self.trouble.is_none() {
            log::info!("dropped a packet: {}", reason(why));
        }
    }

    fn write(&mut self, record: &Record<'_>) -> Done {
        let text = if self.json { records::line(record)? } else { (lines::line(record) + "\n").into_bytes() };
        self.printer.print(&text)?;
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        match recorder.write(record) {
            Err(failure) if self.is_live => {
                self.unrecorded += 1;
                if !mem::replace(&mut self.is_blocked, true) {
                    tell(&format!("semrx: {}; frames are decided all the same", failure.message()));
                }
            }
            Err(failure) => return Err(failure),
            Ok(()) if mem::replace(&mut self.is_blocked, false) => {
                tell(&format!("semrx: records are written again; {} are missing so far", self.unrecorded));
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

/// What did not end in a scene, with what the links counted.
pub fn drops_json(drops: &Drops, links: &Counters) -> Map<String, Value> {
    let counts = json!({
        "refused": drops.refused, "duplicate": drops.duplicate, "stale": drops.stale, "other_stream": drops.other_stream,
        "damaged_tiles": drops.damaged_tiles, "repaired_headers": drops.repaired_headers,
        "malformed": links.malformed, "oversized": links.oversized, "reopened": links.reopened,
    });
    match counts {
        Value::Object(counts) => counts,
        _ => Map::new(),
    }
}

/// The same in words.
pub fn drops_lines(drops: &Drops, links: &Counters) -> [(u64, &'static str); 10] {
    [
        (drops.refused, "packets whose header can't be read, or that lean on a key frame not heard"),
        (drops.duplicate, "duplicates"),
        (drops.stale, "packets too late for their frame"),
        (drops.other_stream, "packets of other streams"),
        (drops.no_room, "packets longer than there is memory for"),
        (drops.damaged_tiles, "damaged tiles"),
        (drops.repaired_headers, "damaged headers, mended"),
        (links.malformed, "damaged stretches of the link"),
        (links.oversized, "oversized datagrams"),
        (links.reopened, "times the device went away and came back"),
    ]
}

/// The table of the summary, and a line for each count above 0.
pub fn conclusion(
    summary: &Summary,
    unrecorded: u64,
    counts: impl IntoIterator<Item = (u64, &'static str)>,
    ended: bool,
) -> String {
    let mut text = format!("{}\n\n{}", lines::LEGEND, summary.table());
    let unrecorded = [(unrecorded, "records could not be written")];
    for (count, what) in unrecorded.into_iter().chain(counts).filter(|(count, _)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    if !ended {
        text += "no end marker came: frames lost at the end can't be counted\n";
    }
    text
}

/// Why a run that went on without some records ends with an error.
pub fn incomplete(unrecorded: u64) -> Failure {
    Failure::failed(format!("{unrecorded} records could not be written: the file of records has gaps"))
}

fn reason(why: &Dropped) -> String {
    match why {
        Dropped::Refused(error) => error.to_string(),
        Dropped::Duplicate { sequence } => format!("frame {sequence} came before"),
        Dropped::Stale { sequence } => format!("frame {sequence} is settled"),
        Dropped::OtherStream { stream } => format!("stream {stream} is not the one followed"),
        Dropped::NoRoom { sequence } => format!("frame {sequence} is longer than there is memory for"),
    }
}
