//! A radio's microcontroller: it checks the frames that come in on a serial line, decides each by the rule, and sends a record of it on.

#![no_std]
#![no_main]

mod clock;
mod halt;
mod line;
mod stack;
mod uart;

use clock::Clock;
use cortex_m_rt::entry;
use line::{Heard, Line};
use semrx::front::{Front, Memory, Told};
use semrx::report::record::MAX_LEN;
use semrx::scene::{Drops, Reception};
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
static LINE: ConstStaticCell<Line> = ConstStaticCell::new(Line::new());
static TEXT: ConstStaticCell<[u8; MAX_LEN]> = ConstStaticCell::new([0; MAX_LEN]);

/// How long a stream is waited for behind its end marker: what that overtook may still come.
const LINGER_MS: u32 = 1000;
/// How long a stream that has not ended is waited for: its sender may be gone.
const FORGET_MS: u32 = 5000;

/// The last line of a stream.
#[derive(serde::Serialize)]
struct Summary {
    drops: Drops,
    /// Stretches of the line that are no packet.
    malformed: u32,
    /// Stretches of the line that are longer than any packet.
    oversized: u32,
    /// Bytes that the UART lost because none took them in time.
    overruns: u32,
    /// The deepest that the stack has been since the start.
    stack_bytes: usize,
}

#[entry]
fn main() -> ! {
    let (line, text) = (LINE.take(), TEXT.take());
    let mut front = Front::new(MEMORY.take(), false);
    let clock = Clock::start();
    uart::start();
    let mut lively_ms = clock.ms();
    loop {
        if let Some(byte) = uart::read() {
            let is_lively = line.push(byte).is_some_and(|heard| take(&mut front, heard, text));
            if is_lively {
                lively_ms = clock.ms();
            }
            continue;
        }
        let patience_ms = if front.ended() { LINGER_MS } else { FORGET_MS };
        if front.stream().is_some() && clock.ms().wrapping_sub(lively_ms) > patience_ms {
            settle(&mut front, line, text);
        } else {
            cortex_m::asm::wfi();
        }
    }
}

/// Whether the stream goes on: a record came of it, its first packet, or its end.
fn take(front: &mut Front<'_>, heard: Heard<'_>, text: &mut [u8]) -> bool {
    let Heard { info, packet, line_bytes } = heard;
    let reception = Reception { snr_cdb: info.snr_cdb, delay_us: info.delay_us, link_bytes: line_bytes };
    let erased = |tile: usize| u8::try_from(tile).is_ok_and(|tile| info.erased.contains(tile));
    let (before, mut is_told) = ((front.stream(), front.ended()), false);
    front.push(packet, reception, erased, &mut |told| {
        is_told |= matches!(told, Told::Record(_));
        tell(told, text);
    });
    is_told || before != (front.stream(), front.ended())
}

/// Ends the stream, and makes room for the next one.
fn settle(front: &mut Front<'_>, line: &mut Line, text: &mut [u8]) {
    front.end(&mut |told| tell(told, text));
    let summary = Summary {
        drops: front.drops(),
        malformed: line.malformed,
        oversized: line.oversized,
        overruns: uart::overruns(),
        stack_bytes: stack::deepest_bytes(),
    };
    // Shorter than a record.
    send(serde_json_core::to_slice(&summary, text).unwrap_or(0), text);
    front.restart(false);
    line.restart();
}

fn tell(told: Told<'_>, text: &mut [u8]) {
    if let Told::Record(record) = told {
        // `MAX_LEN` is enough for any.
        send(record.emit(text).unwrap_or(0), text);
    }
}

fn send(len: usize, text: &[u8]) {
    uart::write(&text[..len]);
    uart::write(b"\n");
}
