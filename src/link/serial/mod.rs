//! A serial line (UART, USB adapter): packets between zero bytes, as [`framing`] has them.
//!
//! A line loses, flips and invents bytes, has no ends, and nobody knows where a receiver joins: it is in step again at the next zero. Both
//! ways are one line each, so a receiver can ask its sender back.

mod framing;
mod tty;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, warn};

use super::feed::PATIENCE;
use super::{Counters, Interrupt, LinkError, Packet, Sink, Source, envelope};
pub use framing::{Deframer, Framer, MAX_ENVELOPE_BYTES, Stretch};
use tty::Tty;

/// Read at once: some 40 ms of a line at 921 600 baud.
const READ_BYTES: usize = 4096;
/// The shortest and the longest pause between two tries to open a device that went away.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The device and what was read of it.
struct Port {
    tty: Tty,
    deframer: Deframer,
    framer: Framer,
    buffer: Box<[u8]>,
    /// `buffer[taken..filled]` was read and not looked at.
    taken: usize,
    filled: usize,
}

impl Port {
    fn open(path: &Path, baud: u32) -> io::Result<Port> {
        Ok(Port {
            tty: Tty::open(path, baud)?,
            deframer: Deframer::default(),
            framer: Framer::default(),
            buffer: vec![0; READ_BYTES].into(),
            taken: 0,
            filled: 0,
        })
    }

    /// The next stretch of the line; `None` when none ended within `patience`, or with what came then.
    fn next(&mut self, patience: Duration) -> io::Result<Option<Stretch>> {
        if self.taken == self.filled {
            self.filled = self.tty.read(&mut self.buffer, patience)?;
            self.taken = 0;
        }
        while self.taken < self.filled {
            self.taken += 1;
            let stretch = self.deframer.push(self.buffer[self.taken - 1]);
            if stretch.is_some() {
                return Ok(stretch);
            }
        }
        Ok(None)
    }

    fn send(&mut self, packet: &Packet, patience: Duration) -> io::Result<()> {
        self.tty.write_all(self.framer.frame(packet), patience)
    }
}

/// Sends packets over a serial line, as fast as the line takes them.
pub struct SerialSink {
    port: Port,
    link: String,
    packets: u64,
}

impl SerialSink {
    /// Opens the device at `path`, whether or not somebody listens; `link` names it in errors.
    pub fn open(path: &Path, baud: u32, link: impl Into<String>) -> Result<Self, LinkError> {
        let link = link.into();
        match Port::open(path, baud) {
            Ok(port) => Ok(SerialSink { port, link, packets: 0 }),
            Err(cause) => Err(LinkError::Open { link, cause }),
        }
    }

    fn failed(&self, cause: io::Error) -> LinkError {
        LinkError::Write { link: self.link.clone(), packets: self.packets, cause }
    }
}

impl Sink for SerialSink {
    fn send(&mut self, packet: &Packet) -> Result<(), LinkError> {
        let len = if packet.bytes.is_empty() { 0 } else { envelope::encoded_len(packet) };
        if len == 0 || len > MAX_ENVELOPE_BYTES {
            return Err(LinkError::Size { link: self.link.clone(), bytes: len, limit: MAX_ENVELOPE_BYTES });
        }
        let stall = self.port.tty.stall();
        self.port.send(packet, stall).map_err(|cause| self.failed(cause))?;
        self.packets += 1;
        Ok(())
    }

    fn heard(&mut self) -> Option<Packet> {
        // A device that has gone is the next packet's matter.
        while let Ok(Some(stretch)) = self.port.next(Duration::ZERO) {
            if let Stretch::Packet { packet, .. } = stretch {
                return Some(packet);
            }
        }
        None
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        self.port.tty.drain().map_err(|cause| self.failed(cause))
    }
}

/// Receives packets from a serial line. A device that goes away, such as a USB adapter, is opened again when it comes back.
pub struct SerialSource {
    path: PathBuf,
    baud: u32,
    link: String,
    interrupt: Interrupt,
    idle: Option<Duration>,
    /// `None` while the device is away.
    port: Option<Port>,
    /// Until the next try to open it, and from then to the one after.
    retry: Instant,
    pause: Duration,
    counters: Counters,
}

impl SerialSource {
    /// Opens the device at `path`. The link ends when nothing comes for `idle`; without `idle` it never does. `link` names it in errors.
    pub fn open(
        path: &Path,
        baud: u32,
        link: impl Into<String>,
        idle: Option<Duration>,
        interrupt: Interrupt,
    ) -> Result<Self, LinkError> {
        let link = link.into();
        match Port::open(path, baud) {
            Ok(port) => Ok(SerialSource {
                path: path.to_owned(),
                baud,
                link,
                interrupt,
                idle,
                port: Some(port),
                retry: Instant::now(),
                pause: PAUSE,
                counters: Counters::default(),
            }),
            Err(cause) => Err(LinkError::Open { link, cause }),
        }
    }

    /// What the line brings within [`PATIENCE`].
    fn wait(&mut self) -> Option<Stretch> {
        let Some(port) = &mut self.port else {
            self.try_again();
            return None;
        };
        match port.next(PATIENCE) {
            Ok(stretch) => stretch,
            Err(cause) => {
                warn!("{}: {cause}, after {} packets; waiting for it", self.link, self.counters.received);
                self.port = None;
                self.retry = Instant::now() + self.pause;
                None
            }
        }
    }

    /// Opens the device again, if it is time to.
    fn try_again(&mut self) {
        let now = Instant::now();
        if now < self.retry {
            return thread::sleep(PATIENCE.min(self.retry - now));
        }
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        self.retry = now + self.pause;
        match Port::open(&self.path, self.baud) {
            Ok(port) => {
                warn!("{}: the device is back", self.link);
                self.port = Some(port);
                self.counters.reopened += 1;
            }
            Err(error) => debug!("{}: cannot open: {error}; trying again in {:?}", self.link, self.pause),
        }
    }

    fn accept(&mut self, stretch: Stretch) -> Option<Packet> {
        match stretch {
            Stretch::Packet { packet, line_bytes } => {
                self.counters.received += 1;
                self.counters.bytes += line_bytes as u64;
                self.pause = PAUSE;
                return Some(packet);
            }
            Stretch::Oversized => {
                self.counters.oversized += 1;
                debug!("{}: stretch dropped: longer than a packet of {MAX_ENVELOPE_BYTES} bytes", self.link);
            }
            Stretch::Malformed(error) => {
                self.counters.malformed += 1;
                debug!("{}: stretch dropped: byte {}: {}: {}", self.link, error.offset, error.field, error.reason);
            }
        }
        None
    }
}

impl Source for SerialSource {
    fn next(&mut self) -> Result<Option<Packet>, LinkError> {
        let waiting_since = Instant::now();
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(LinkError::Interrupted);
            }
            if let Some(packet) = self.wait().and_then(|stretch| self.accept(stretch)) {
                return Ok(Some(packet));
            }
            if self.idle.is_some_and(|idle| waiting_since.elapsed() >= idle) {
                return Ok(None);
            }
        }
    }

    fn end_after(&mut self, idle: Duration) {
        self.idle = Some(idle);
    }

    fn reply(&mut self, packet: &Packet) {
        let Some(port) = &mut self.port else { return };
        // A line that takes nothing may not hold up the receiver.
        if let Err(error) = port.send(packet, PATIENCE) {
            debug!("{}: no reply: {error}", self.link);
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
