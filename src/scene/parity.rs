//! Tiles of parity: any of them restores a lost tile. Reed-Solomon over GF(2^8) on shards of one length: a tile's length plus one in two bytes, little-endian, its bytes, zeros. A tile
//! that wasn't sent is a shard of zeros.

use super::ReceivedFrame;
use crate::wire::{Params, map_tile_data};
use alloc::vec;
use alloc::vec::Vec;
use reed_solomon_erasure::galois_8::ReedSolomon;

/// Bytes of a shard before the tile's own.
const HEAD: usize = 2;

/// The `parity` tiles of a frame, of one length: `tiles` are its tiles as the codec gave them, `None` where one isn't sent. Empty where there is no such code: without tiles, or
/// with more than 256 in all.
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

/// The tiles of `frame` that did not arrive, or damaged, and can be had from the others: index and the codec's bytes.
pub(super) fn restore(frame: &ReceivedFrame) -> Vec<(usize, Vec<u8>)> {
    let Params { tiling, parity, .. } = frame.header.params;
    let (tiles, slots) = (tiling.tiles(), frame.header.params.slots());
    let whole = |index: usize| map_tile_data(&frame.header, index, frame.tiles.get(index)?).ok();
    let Some(size) = (tiles..slots).find_map(whole).map(<[u8]>::len) else { return Vec::new() };
    let mut shards: Vec<Option<Vec<u8>>> = (0..slots)
        .map(|index| match whole(index) {
            Some(parity) if index >= tiles => (parity.len() == size).then(|| parity.to_vec()),
            Some(tile) => (tile.len() + HEAD <= size).then(|| shard(Some(tile), size)),
            None if index < tiles && !frame.sent.contains(index) => Some(shard(None, size)),
            None => None,
        })
        .collect();
    let missing: Vec<usize> = (0..tiles).filter(|&index| shards[index].is_none()).collect();
    let Ok(code) = ReedSolomon::new(tiles, parity as usize) else { return Vec::new() };
    if missing.is_empty() || code.reconstruct_data(&mut shards).is_err() {
        return Vec::new();
    }
    let restored = missing.into_iter().filter_map(|index| Some((index, tile_of(shards[index].as_ref()?)?.to_vec())));
    restored.collect()
}

fn shard(tile: Option<&[u8]>, size: usize) -> Vec<u8> {
    let mut shard = vec![0; size];
    if let Some(tile) = tile {
        shard[..HEAD].copy_from_slice(&(tile.len() as u16 + 1).to_le_bytes());
        shard[HEAD..HEAD + tile.len()].copy_from_slice(tile);
    }
    shard
}

/// What [`shard`] was made from.
fn tile_of(shard: &[u8]) -> Option<&[u8]> {
    let (head, rest) = shard.split_first_chunk::<HEAD>()?;
    rest.get(..(u16::from_le_bytes(*head) as usize).checked_sub(1)?)
}

#[cfg(test)]
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
