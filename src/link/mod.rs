//! Where packets come from and where they go: `.srx` captures, standard input and output, UDP, serial lines, and a simulated radio.
//!
//! The link moves opaque bytes plus what the radio says about them. It doesn't know what the bytes mean. Without std, envelopes can be read.

#[cfg(feature = "std")]
mod address;
#[cfg(feature = "std")]
mod channel;
pub mod envelope;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod feed;
#[cfg(all(feature = "serial", target_os = "linux"))]
pub mod serial;
#[cfg(feature = "std")]
pub mod srx;
#[cfg(feature = "std")]
pub mod udp;

#[cfg(feature = "std")]
pub use address::{Address, AddressError, SourceOptions};
#[cfg(feature = "std")]
pub use channel::{Channel, ChannelSpec, CodeBits, Fate, Layout, Slot, SlotKind, SpecError};
#[cfg(feature = "std")]
pub use error::LinkError;

#[cfg(feature = "std")]
use std::sync::Arc;
#[cfg(feature = "std")]
use std::sync::atomic::AtomicBool;
#[cfg(feature = "std")]
use std::time::Duration;

/// Set to true to make every blocked [`Source`] return [`LinkError::Interrupted`] within 200 ms.
#[cfg(feature = "std")]
pub type Interrupt = Arc<AtomicBool>;

/// The slots of a packet that the radio could not deliver: one bit a slot, index 0 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Erasures([u64; 4]);

impl Erasures {
    /// Nothing was lost.
    pub const NONE: Erasures = Erasures([0; 4]);

    /// Marks slot `index` as lost.
    pub fn set(&mut self, index: u8) {
        self.0[usize::from(index >> 6)] |= 1 << (index & 63);
    }

    /// Whether slot `index` was lost.
    pub fn contains(&self, index: u8) -> bool {
        self.0[usize::from(index >> 6)] >> (index & 63) & 1 == 1
    }

    /// How many slots were lost, 0 to 256.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no slot was lost.
    pub fn is_empty(&self) -> bool {
        *self == Erasures::NONE
    }

    /// The bit set as 32 bytes: slot `i` is bit `i % 8` of byte `i / 8`.
    #[cfg(feature = "std")]
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Erasures::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (i, byte) in bytes.into_iter().enumerate() {
            words[i / 8] |= u64::from(byte) << (8 * (i % 8));
        }
        Erasures(words)
    }
}

/// What the radio says about a packet. It travels beside the packet's bytes, never inside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Measured signal-to-noise ratio in hundredths of a dB; `None` where nothing measured it.
    pub snr_cdb: Option<i16>,
    /// Delay from capture to arrival that the channel added, in µs.
    pub delay_us: u32,
    /// The slots whose bytes the radio could not deliver; they are zeroed in [`Packet::bytes`].
    pub erased: Erasures,
}

/// Bytes that crossed, or are to cross, the link in one piece.
#[cfg(feature = "std")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// At least one byte, at most [`srx::MAX_PACKET_BYTES`] in a capture, about [`udp::MAX_DATAGRAM_BYTES`] over UDP, and about 16 KiB over a serial line.
    pub bytes: Vec<u8>,
    pub info: LinkInfo,
}

#[cfg(feature = "std")]
impl Packet {
    /// A packet that no radio has touched yet.
    pub fn new(bytes: Vec<u8>) -> Self {
        Packet { bytes, info: LinkInfo::default() }
    }
}

/// What a [`Source`] has seen so far. What it could not deliver is counted here, never dropped in silence.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets delivered.
    pub received: u64,
    /// Bytes of those packets on the link: envelope, length prefix and framing included.
    pub bytes: u64,
    /// Datagrams above [`udp::MAX_DATAGRAM_BYTES`], and stretches of a serial line above its limit, dropped.
    pub oversized: u64,
    /// Datagrams that are no envelope, damaged stretches of a capture, and stretches of a serial line that are no packet, dropped.
    pub malformed: u64,
    /// Times that the device of a serial line went away and came back.
    pub reopened: u64,
}

/// A place that packets come from.
#[cfg(feature = "std")]
pub trait Source {
    /// Waits for the next packet; `None` is the end. After an error a damaged capture is at its end, while a socket
    /// or a line can be asked again. An [`Interrupt`] ends the wait within 200 ms.
    fn next(&mut self) -> Result<Option<Packet>, LinkError>;

    /// From now on the link ends when nothing comes for `idle`. Only sockets and serial lines wait without end; the others leave this alone.
    fn end_after(&mut self, _idle: Duration) {}

    /// Sends `packet` back to where the last one came from, where the link has a way back; others leave it. A packet that gets lost is no error.
    fn reply(&mut self, _packet: &Packet) {}

    /// What was received and dropped so far.
    fn counters(&self) -> Counters;
}

/// A place that packets go to.
#[cfg(feature = "std")]
pub trait Sink {
    /// Sends one packet. When this returns, the packet has left the process.
    fn send(&mut self, packet: &Packet) -> Result<(), LinkError>;

    /// A packet that came back since it was asked last, where the link has a way back. Anybody may have sent it.
    fn heard(&mut self) -> Option<Packet> {
        None
    }

    /// Says that no packet follows, and reports what a late write could still fail with.
    fn finish(&mut self) -> Result<(), LinkError>;
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn erasures_remember_the_slots_at_word_borders() {
        let mut erased = Erasures::NONE;
        assert!(erased.is_empty());
        for index in [0, 63, 64, 191, 255] {
            erased.set(index);
        }
        let marked: Vec<u8> = (0..=255).filter(|&i| erased.contains(i)).collect();
        assert_eq!(marked, [0, 63, 64, 191, 255]);
        assert_eq!(erased.count(), 5);
        assert_eq!(Erasures::from_bytes(erased.to_bytes()), erased);
        assert_eq!(erased.to_bytes()[31], 0x80);
    }
}
