//! The frame on the air, version 1: header, tiles, map codec, soft values, tokens.
//!
//! `no_std`, no allocation, no panics: every length is checked before use. `docs/wire.md` describes the bytes.

#![no_std]

#[cfg(test)]
extern crate std;

mod classes;
pub mod codec;
mod error;
mod grid;
pub mod header;
mod packet;
mod params;
pub mod soft;
pub mod tokens;

pub use classes::ClassSet;
pub use error::WireError;
pub use grid::{Cut, Grid, Patch, TileSet, Tiling};
pub use header::{Context, Header};
pub use packet::{
    End, FramePacket, KeyRequest, Packet, TilePacket, buffer_len, decode_map_tile, emit_coded, emit_coded_tile,
    emit_delta, emit_end, emit_frame, emit_request, emit_tile, encode_map_tile, map_tile_data, read_changes,
    read_map_tile, read_soft_tile, read_tokens, request_for,
};
pub use params::{MAX_PARITY, Params, Payload};
