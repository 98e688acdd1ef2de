//! What can go wrong on a link, in words that say where, what, why and what to do.

use std::fmt;
use std::io;

use super::address::AddressError;
use super::srx::MAX_PACKET_BYTES;

/// An error of a link. `Display` is one line.
#[derive(Debug)]
pub enum LinkError {
    /// The text isn't a link address.
    Address(AddressError),
    /// A file, stream, socket or device could not be opened.
    Open { link: String, cause: io::Error },
    /// Reading failed at byte `offset` of the capture, or after `offset` bytes of datagrams.
    Read { link: String, offset: u64, cause: io::Error },
    /// Writing failed after `packets` whole packets.
    Write { link: String, packets: u64, cause: io::Error },
    /// A capture is damaged from byte `offset` on and no later packet could be found.
    Damaged { link: String, offset: u64, field: &'static str, reason: &'static str, packets: u64 },
    /// A packet is empty or longer than the link carries; `bytes` counts its envelope too.
    Size { link: String, bytes: usize, limit: usize },
    /// The [`Interrupt`](super::Interrupt) was set.
    Interrupted,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Address(error) => error.fmt(f),
            LinkError::Open { link, cause } => {
                write!(f, "{link}: cannot open: {cause}{}", advice(cause.kind()))
            }
            LinkError::Read { link, offset, cause } => {
                write!(f, "{link}: byte {offset}: cannot read: {cause}{}", advice(cause.kind()))
            }
            LinkError::Write { link, packets, cause } => write!(
                f,
                "{link}: packet {packets}: cannot write: {cause}; the packets before it are whole{}",
                advice(cause.kind())
            ),
            LinkError::Damaged { link, offset, field, reason, packets } => write!(
                f,
                "{link}: byte {offset}: {field}: {reason}; {packets} packets were read before it{}",
                damage_advice(field)
            ),
            LinkError::Size { link, bytes: 0, .. } => {
                write!(f, "{link}: packet: it is empty; a packet has at least one byte")
            }
            LinkError::Size { link, bytes, limit } => write!(
                f,
                "{link}: packet: {bytes} bytes with its envelope, the link carries {limit}{}",
                if *limit < MAX_PACKET_BYTES {
                    "; send tiles (--packet tile), more of them (--tiles up to 16x16), or a smaller grid"
                } else {
                    "; choose a smaller grid"
                }
            ),
            LinkError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkError::Address(error) => Some(error),
            LinkError::Open { cause, .. } | LinkError::Read { cause, .. } | LinkError::Write { cause, .. } => {
                Some(cause)
            }
            LinkError::Damaged { .. } | LinkError::Size { .. } | LinkError::Interrupted => None,
        }
    }
}

fn damage_advice(field: &str) -> &'static str {
    match field {
        "magic" => "; is it a .srx capture?",
        "version" => "; use a semrx that reads it, or capture again",
        _ => "; what was read is good, capture again for the rest",
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check the permissions",
        io::ErrorKind::AddrInUse => "; stop the program that listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address, 0.0.0.0 listens on all it has",
        io::ErrorKind::StorageFull => "; make room and send again",
        io::ErrorKind::BrokenPipe => "; the program that reads has gone",
        io::ErrorKind::IsADirectory => "; name a file in it",
        _ => "",
    }
}
