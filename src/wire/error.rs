//! Why a packet was refused.

use super::codec::CodecError;
use core::fmt;

/// Every way in which bytes can fail to be a packet, or a packet can fail to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The packet ends inside `field`.
    Truncated { field: &'static str },
    /// The first byte is not [`SYNC`](super::header::SYNC).
    Sync(u8),
    /// A version of the wire that this receiver does not speak.
    Version(u8),
    /// A packet kind that version 1 does not have.
    Kind(u8),
    /// A field that is read but makes no sense.
    Field { field: &'static str, reason: &'static str },
    /// The packet leans on a key frame that has not been heard yet.
    NoKeyFrame,
    /// The packet leans on other parameters than those of the last key frame.
    ParamsChanged,
    /// The header's CRC-32C does not match, and the header could not be repaired.
    HeaderChecksum,
    /// Bytes are left over behind the packet.
    Oversized { extra: usize },
    /// The tile's CRC-32C does not match.
    TileChecksum,
    /// A delta frame leans on tiles of a key frame that aren't there.
    NoReference,
    /// The buffer given is too small for what has to be written.
    Buffer { need: usize, have: usize },
    /// The codec refused the cells.
    Codec(CodecError),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Truncated { field } => write!(f, "the packet ends inside {field}"),
            WireError::Sync(byte) => write!(f, "sync is {byte:#04x}, not 0xd5: not a semrx packet"),
            WireError::Version(version) => {
                write!(f, "version {version} of the wire, this receiver speaks version 1")
            }
            WireError::Kind(kind) => write!(f, "packet kind {kind} is not one of version 1"),
            WireError::Field { field, reason } => write!(f, "{field}: {reason}"),
            WireError::NoKeyFrame => write!(f, "no key frame heard yet, which it leans on"),
            WireError::ParamsChanged => {
                write!(f, "parameters differ from the last key frame's: waiting for the next one")
            }
            WireError::HeaderChecksum => write!(f, "header checksum does not match"),
            WireError::Oversized { extra } => write!(f, "{extra} bytes too many behind the packet"),
            WireError::TileChecksum => write!(f, "tile checksum does not match"),
            WireError::NoReference => write!(f, "the key frame that it leans on did not arrive whole"),
            WireError::Buffer { need, have } => write!(f, "needs a buffer of {need} bytes, has {have}"),
            WireError::Codec(error) => write!(f, "map codec: {error}"),
        }
    }
}

impl core::error::Error for WireError {}

impl From<CodecError> for WireError {
    fn from(error: CodecError) -> Self {
        WireError::Codec(error)
    }
}
