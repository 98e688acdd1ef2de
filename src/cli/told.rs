//! What a receiver tells, to people or to programs: a line or a record for each frame, and at the end what it counted.

use super::Done;
use super::exit::Failure;
use super::lines::{self, Summary};
use super::output::Printer;
use super::records::{self, RecordFile};
use semrx::link::Counters;
use semrx::report::record::Record;
use semrx::scene::{Dropped, Drops};
use serde_json::{Map, Value, json};

/// Where records go.
pub struct Told {
    pub printer: Printer,
    recorder: Option<RecordFile>,
    json: bool,
    pub summary: Summary,
    /// The first thing that could not be told; nothing is told after it.
    pub trouble: Option<Failure>,
}

impl Told {
    pub fn new(recorder: Option<RecordFile>, json: bool) -> Self {
        Told { printer: Printer::default(), recorder, json, summary: Summary::default(), trouble: None }
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
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.write(record))
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
pub fn conclusion(summary: &Summary, counts: impl IntoIterator<Item = (u64, &'static str)>, ended: bool) -> String {
    let mut text = format!("{}\n\n{}", lines::LEGEND, summary.table());
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    if !ended {
        text += "no end marker came: frames lost at the end can't be counted\n";
    }
    text
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
