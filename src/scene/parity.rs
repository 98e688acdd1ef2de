//! Tiles of parity: any of them restores a lost tile. Reed-Solomon over GF(2^8) on shards of one length: a tile's length plus one in two bytes, little-endian, its bytes, zeros. A tile
//! that wasn't sent is a shard of zeros.
//!
//! At each byte, the shards are values of a polynomial at the points 0, 1, 2, …, of a degree below the number of tiles; so any that many of them give the others, by Lagrange.

use super::ReceivedFrame;
use super::buffer::Buffer;
use crate::wire::{Params, TileSet, map_tile_data};
#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};
#[cfg(feature = "alloc")]
use reed_solomon_erasure::galois_8::ReedSolomon;

/// Bytes of a shard before the tile's own.
const HEAD: usize = 2;

/// The `parity` tiles of a frame, of one length: `tiles` are its tiles as the codec gave them, `None` where one isn't sent. Empty where there is no such code: without tiles, or
/// with more than 256 in all.
#[cfg(feature = "alloc")]
pub fn make(tiles: &[Option<&[u8]>], parity: usize) -> Vec<Vec<u8>> {
    let size = HEAD + tiles.iter().flatten().map(|tile| tile.len()).max().unwrap_or(0);
    let Ok(code) = ReedSolomon::new(tiles.len(), parity) else { return Vec::new() };
    let data: Vec<Vec<u8>> = tiles.iter().map(|tile| shard(*tile, size)).collect();
    let mut made = vec![vec![0; size]; parity];
    match code.encode_sep(&data, &mut made) {
        Ok(()) => made,
        Err(_) => Vec::new(),
    }
}

/// The tiles of a frame that did not arrive, or damaged, and can be had from the others.
pub(super) struct Lost<'a> {
    frame: &'a ReceivedFrame<'a>,
    /// Bytes of a shard.
    size: usize,
    /// As many shards as the frame has tiles, the first ones that are known.
    known: TileSet,
    missing: TileSet,
}

impl<'a> Lost<'a> {
    /// `None` where nothing is missing, or too much.
    pub(super) fn of(frame: &'a ReceivedFrame<'a>) -> Option<Self> {
        let Params { tiling, parity, .. } = frame.header.params;
        let tiles = tiling.tiles();
        let size = (tiles..tiles + parity as usize).find_map(|index| whole(frame, index)).map(<[u8]>::len)?;
        let is_known = |index: usize| match whole(frame, index) {
            Some(parity) if index >= tiles => parity.len() == size,
            Some(tile) => tile.len() + HEAD <= size,
            None => index < tiles && !frame.sent.contains(index),
        };
        let (mut known, mut missing) = (TileSet::default(), TileSet::default());
        for index in 0..tiles + parity as usize {
            match is_known(index) {
                true if known.len() < tiles => known.insert(index),
                false if index < tiles => missing.insert(index),
                _ => {}
            }
        }
        (known.len() == tiles && !missing.is_empty()).then_some(Lost { frame, size, known, missing })
    }

    pub(super) fn missing(&self) -> TileSet {
        self.missing
    }

    /// The codec's bytes of tile `index`, one of the missing, in `shard`. `None` where it wasn't sent as a tile, or where `shard` lacks the room.
    pub(super) fn restore<'b>(&self, index: usize, shard: &'b mut Buffer<'_, u8>) -> Option<&'b [u8]> {
        let tiles = self.frame.header.params.tiling.tiles();
        shard.refill(self.size, 0).ok()?;
        for known in self.known.iter() {
            let share = self.share(known, index);
            let mut add = |at: usize, value: u8| shard[at] ^= multiply(share, value);
            match whole(self.frame, known) {
                Some(parity) if known >= tiles => parity.iter().enumerate().for_each(|(at, &value)| add(at, value)),
                Some(tile) => {
                    let head = head(tile);
                    head.iter().chain(tile).enumerate().for_each(|(at, &value)| add(at, value));
                }
                None => {}
            }
        }
        tile_of(shard)
    }

    /// What the shard at `known` counts in that at `point`: the product over the other known ones `i` of (`point` - `i`) / (`known` - `i`).
    fn share(&self, known: usize, point: usize) -> u8 {
        let others = self.known.iter().filter(|&other| other != known);
        let log = others.map(|other| LOG[point ^ other] as usize + 255 - LOG[known ^ other] as usize).sum::<usize>();
        POWER[log % 255]
    }
}

/// The bytes of slot `index` without their checksum, where it came undamaged.
fn whole<'a>(frame: &'a ReceivedFrame<'a>, index: usize) -> Option<&'a [u8]> {
    map_tile_data(&frame.header, index, frame.tiles.get(index)?).ok()
}

/// Powers of 2 in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
const POWER: [u8; 255] = {
    let (mut powers, mut value, mut exponent) = ([0; 255], 1u8, 0);
    while exponent < 255 {
        powers[exponent] = value;
        value = value << 1 ^ if value >= 128 { 0x1d } else { 0 };
        exponent += 1;
    }
    powers
};

/// The exponent of each value but 0.
const LOG: [u8; 256] = {
    let (mut logs, mut exponent) = ([0; 256], 0);
    while exponent < 255 {
        logs[POWER[exponent] as usize] = exponent as u8;
        exponent += 1;
    }
    logs
};

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    POWER[(LOG[a as usize] as usize + LOG[b as usize] as usize) % 255]
}

fn head(tile: &[u8]) -> [u8; HEAD] {
    (tile.len() as u16 + 1).to_le_bytes()
}

#[cfg(feature = "alloc")]
fn shard(tile: Option<&[u8]>, size: usize) -> Vec<u8> {
    let mut shard = vec![0; size];
    if let Some(tile) = tile {
        shard[..HEAD].copy_from_slice(&head(tile));
        shard[HEAD..HEAD + tile.len()].copy_from_slice(tile);
    }
    shard
}

/// The tile that a shard was made from.
fn tile_of(shard: &[u8]) -> Option<&[u8]> {
    let (head, rest) = shard.split_first_chunk::<HEAD>()?;
    rest.get(..(u16::from_le_bytes(*head) as usize).checked_sub(1)?)
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn a_shard_holds_a_tile_or_none() {
        for tile in [&[][..], &[7], &[0, 0], &[1, 2, 3]] {
            assert_eq!(tile_of(&shard(Some(tile), 8)), Some(tile));
        }
        assert_eq!(tile_of(&shard(None, 8)), None);
        assert_eq!(tile_of(&[9, 0, 1]), None, "longer than its shard");
    }

    #[test]
    fn parity_has_the_length_of_the_longest_tile() {
        let made = make(&[Some(&[1, 2, 3]), None, Some(&[])], 2);
        assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
        assert!(make(&[], 2).is_empty() && make(&[Some(&[1][..]); 255], 2).is_empty());
    }
}
