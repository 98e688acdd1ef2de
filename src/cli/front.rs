//! `semrx front`: receive, decide by the rule alone, record.

use super::Done;
use super::exit::Failure;
use super::lines::{self, Summary};
use super::output::Printer;
use super::records::{self, RecordFile};
use clap::Args;
use semrx::front::{Front, Memory, Told};
use semrx::link::{Address, Counters, Packet, SourceOptions};
use semrx::report::record::Record;
use semrx::scene::{Drops, Reception};
use semrx::wire::emit_request;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Receive a stream and decide on every frame by the rule alone, without models, as a microcontroller in front of a radio does.
///
/// It runs what boards/mcu runs, in as much memory: grids of up to 12288 cells (128x96), packets of up to 8192 bytes, maps and tokens. What doesn't
/// fit is refused or dropped, and counted. Every frame, and every gap in the sequence, ends in one record, whose timing is 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  semrx front --from drive.srx --record out.jsonl
  semrx front --from udp://127.0.0.1:9000 --json")]
pub struct Options {
    /// Where from: a capture (drive.srx), -, udp://host:port or serial:/dev/ttyAMA0@921600
    #[arg(long, value_name = "LINK")]
    from: Address,
    /// Write a record a frame as JSON lines
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// End when no packet came for so long (UDP)
    #[arg(long, value_name = "MS")]
    idle_ms: Option<u64>,
    /// Print records and the summary as JSON lines
    #[arg(long)]
    json: bool,
}

/// How long a socket is listened to behind the end marker, while frames are missing.
const LINGER: Duration = Duration::from_millis(500);

/// Where records go.
struct Output {
    printer: Printer,
    recorder: Option<RecordFile>,
    summary: Summary,
    json: bool,
    /// What the first write that failed said; nothing is written after it.
    trouble: Option<Failure>,
}

impl Output {
    fn take(&mut self, told: Told<'_>) {
        let done = match told {
            _ if self.trouble.is_some() => return,
            Told::Record(record) => self.write(record),
            Told::Dropped(why) => {
                log::info!("dropped a packet: {why:?}");
                Ok(())
            }
        };
        self.trouble = done.err();
    }

    fn write(&mut self, record: &Record<'_>) -> Done {
        self.summary.add(record);
        let text = match self.json {
            true => records::line(record)?,
            false => (lines::line(record) + "\n").into_bytes(),
        };
        self.printer.print(&text)?;
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.write(record))
    }
}

pub fn run(options: &Options) -> Done {
    let interrupt = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C ends at once.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupt.clone())
            .and_then(|_| signal_hook::flag::register(signal, interrupt.clone()))
            .map_err(|error| Failure::failed(format!("signal handler: {error}")))?;
    }
    let live = options.from.is_live();
    let idle = options.idle_ms.map(Duration::from_millis);
    let mut source = options.from.source(&SourceOptions { idle, interrupt })?;
    let mut output = Output {
        printer: Printer::default(),
        recorder: options.record.as_deref().map(|path| RecordFile::create(path, [&options.from])).transpose()?,
        summary: Summary::default(),
        json: options.json,
        trouble: None,
    };
    let mut memory = Box::new(Memory::<{ semrx::front::GRID_CELLS }, { semrx::front::PACKET_BYTES }>::new());
    let mut front = Front::new(&mut memory, !live);
    let mut ending = Ok(());
    loop {
        let heard_bytes = source.counters().bytes;
        let packet = match source.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                ending = Err(Failure::from(error));
                break;
            }
        };
        let reception = Reception {
            snr_cdb: packet.info.snr_cdb,
            delay_us: packet.info.delay_us,
            link_bytes: (source.counters().bytes - heard_bytes) as usize,
        };
        let erased = |tile: usize| u8::try_from(tile).is_ok_and(|tile| packet.info.erased.contains(tile));
        front.push(&packet.bytes, reception, erased, &mut |told| output.take(told));
        if let Some(request) = front.key_request() {
            source.reply(&Packet::new(emit_request(request).to_vec()));
        }
        if output.trouble.is_some() || live && front.complete() {
            break;
        }
        if live && front.ended() {
            // What the end marker overtook may still come.
            source.end_after(LINGER);
        }
    }
    front.end(&mut |told| output.take(told));
    let Output { mut printer, summary, trouble, .. } = output;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if summary.frames() > 0 {
        let text = conclude(&summary, front.drops(), source.counters(), front.ended(), options.json);
        printer.print(text.as_bytes())?;
    }
    let refused = |why: &str| Err(Failure::refused(format!("{}: {why}", options.from)));
    match (summary.frames(), summary.decided(), summary.refused()) {
        _ if ending.is_err() => ending,
        (0, ..) => refused("no frame could be read from it"),
        (_, 0, 1..) => refused("none of its frames could be decided by a front: the records say why"),
        _ => Ok(()),
    }
}

fn conclude(summary: &Summary, drops: Drops, link: Counters, ended: bool, json: bool) -> String {
    if json {
        let drops = serde_json::json!({
            "refused": drops.refused, "duplicate": drops.duplicate, "stale": drops.stale, "other_stream": drops.other_stream,
            "no_room": drops.no_room, "damaged_tiles": drops.damaged_tiles, "repaired_headers": drops.repaired_headers,
            "malformed": link.malformed, "oversized": link.oversized, "reopened": link.reopened,
        });
        return serde_json::json!({"summary": {"modes": summary.json(), "drops": drops, "end_marker": ended}})
            .to_string()
            + "\n";
    }
    let mut text = format!("{}\n\n{}", lines::LEGEND, summary.table());
    let counts = [
        (drops.refused, "packets whose header can't be read, or that lean on a key frame not heard"),
        (drops.duplicate, "duplicates"),
        (drops.stale, "packets too late for their frame"),
        (drops.other_stream, "packets of other streams"),
        (drops.no_room, "packets longer than there is memory for"),
        (drops.damaged_tiles, "damaged tiles"),
        (drops.repaired_headers, "damaged headers, mended"),
        (link.malformed, "damaged stretches of the link"),
        (link.oversized, "oversized datagrams"),
        (link.reopened, "times the device went away and came back"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    if !ended {
        text += "no end marker came: frames lost at the end can't be counted\n";
    }
    text
}
