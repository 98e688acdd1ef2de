//! `semrx front`: receive, decide by the rule alone, record.

use super::Done;
use super::exit::Failure;
use super::lines::Summary;
use super::records::RecordFile;
use super::signals::Signals;
use super::told::{self, Told};
use clap::Args;
use semrx::front::{self, Front, Memory};
use semrx::link::{Address, Counters, Packet, SourceOptions};
use semrx::scene::{Drops, Reception};
use semrx::wire::emit_request;
use std::path::PathBuf;
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

pub fn run(options: &Options) -> Done {
    let signals = Signals::hear(false)?;
    let live = options.from.is_live();
    let idle = options.idle_ms.map(Duration::from_millis);
    let mut source = options.from.source(&SourceOptions { idle, interrupt: signals.ends.clone() })?;
    let recorder = options.record.as_deref().map(|path| RecordFile::create(path, [&options.from])).transpose()?;
    let mut told = Told::new(recorder, options.json, live);
    let mut memory = Box::new(Memory::<{ front::GRID_CELLS }, { front::PACKET_BYTES }>::new());
    let mut receiver = Front::new(&mut memory, !live);
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
        receiver.push(&packet.bytes, reception, erased, &mut |of| take(&mut told, of));
        if let Some(request) = receiver.key_request() {
            source.reply(&Packet::new(emit_request(request).to_vec()));
        }
        if told.trouble.is_some() || live && receiver.complete() {
            break;
        }
        if live && receiver.ended() {
            // What the end marker overtook may still come.
            source.end_after(LINGER);
        }
    }
    receiver.end(&mut |of| take(&mut told, of));
    let Told { mut printer, summary, trouble, unrecorded, .. } = told;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if summary.frames() > 0 {
        let text = conclude(&summary, unrecorded, receiver.drops(), source.counters(), receiver.ended(), options.json);
        printer.print(text.as_bytes())?;
    }
    let refused = |why: &str| Err(Failure::refused(format!("{}: {why}", options.from)));
    match (summary.frames(), summary.decided(), summary.refused()) {
        _ if ending.is_err() => ending,
        _ if unrecorded > 0 => Err(told::incomplete(unrecorded)),
        (0, ..) => refused("no frame could be read from it"),
        (_, 0, 1..) => refused("none of its frames could be decided by a front: the records say why"),
        _ => Ok(()),
    }
}

fn take(told: &mut Told, of: front::Told<'_>) {
    match of {
        front::Told::Record(record) => told.take(record),
        front::Told::Dropped(why) => told.dropped(&why),
    }
}

fn conclude(summary: &Summary, unrecorded: u64, drops: Drops, link: Counters, ended: bool, json: bool) -> String {
    if !json {
        return told::conclusion(summary, unrecorded, told::drops_lines(&drops, &link), ended);
    }
    let mut counts = told::drops_json(&drops, &link);
    counts.insert("no_room".into(), drops.no_room.into());
    serde_json::json!({"summary": {"modes": summary.json(), "unrecorded": unrecorded, "drops": counts, "end_marker": ended}}).to_string() + "\n"
}
