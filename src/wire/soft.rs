//! Soft values: a score per present class and cell, for links whose noise is on the values.
//!
//! A code `q` stands for the score `-2 + 5 q / (2^bits - 1)`, so that 0 and 1 are exact in 4 and in 8 bits:
//! 1 unit is 3 steps of 15 or 51 of 255, and noise has room to both sides. A tile is a plane per present class in
//! ascending order, each plane its cells row by row; 4-bit codes lie two to a byte, the first in the high half, and a plane ends on
//! a whole byte. Nothing in a soft tile is checked: the channel's noise is on the values.

use super::{ClassSet, Grid, Patch, WireError};

/// The code that stands for score 0.
pub const fn zero_code(bits: u8) -> u8 {
    2 * unit_steps(bits)
}

/// Code steps from score 0 to score 1.
pub const fn unit_steps(bits: u8) -> u8 {
    if bits == 4 { 3 } else { 51 }
}

/// The score that code `code` of `bits` bits stands for.
pub fn score(code: u8, bits: u8) -> f32 {
    (code as f32 - zero_code(bits) as f32) / unit_steps(bits) as f32
}

const fn plane_len(patch: Patch, bits: u8) -> usize {
    if bits == 4 { patch.cells().div_ceil(2) } else { patch.cells() }
}

/// Bytes of a soft tile.
pub const fn tile_len(patch: Patch, present: ClassSet, bits: u8) -> usize {
    plane_len(patch, bits) * present.len()
}

/// Writes the tile `patch` of the map `cells` of `grid` as scores 1 for its class and 0 for the other present ones.
pub(super) fn emit_tile(
    cells: &[u8],
    grid: Grid,
    patch: Patch,
    present: ClassSet,
    bits: u8,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let need = tile_len(patch, present, bits);
    let have = out.len();
    let out = out.get_mut(..need).ok_or(WireError::Buffer { need, have })?;
    out.fill(0);
    let (zero, one) = (zero_code(bits), zero_code(bits) + unit_steps(bits));
    for (plane, class) in out.chunks_exact_mut(plane_len(patch, bits)).zip(present.iter()) {
        for (index, cell) in patch.indices(grid).enumerate() {
            let code = if cells[cell] == class { one } else { zero };
            match bits {
                4 => plane[index / 2] |= code << (4 - 4 * (index % 2)),
                _ => plane[index] = code,
            }
        }
    }
    Ok(need)
}

/// Reads a soft tile into `codes`, one plane of the whole `grid` per present class, the planes one behind the other.
pub(super) fn read_tile(
    bytes: &[u8],
    grid: Grid,
    patch: Patch,
    present: ClassSet,
    bits: u8,
    codes: &mut [u8],
) -> Result<(), WireError> {
    if bytes.len() != tile_len(patch, present, bits) {
        return Err(WireError::Truncated { field: "soft tile" });
    }
    let need = grid.cells() * present.len();
    if codes.len() < need {
        return Err(WireError::Buffer { need, have: codes.len() });
    }
    for (plane, codes) in bytes.chunks_exact(plane_len(patch, bits)).zip(codes.chunks_exact_mut(grid.cells())) {
        for (index, cell) in patch.indices(grid).enumerate() {
            codes[cell] = match bits {
                4 => plane[index / 2] >> (4 - 4 * (index % 2)) & 15,
                _ => plane[index],
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_zero_and_one_are_exact() {
        for bits in [4, 8] {
            assert_eq!(score(zero_code(bits), bits), 0.0);
            assert_eq!(score(zero_code(bits) + unit_steps(bits), bits), 1.0);
            assert_eq!(score(0, bits), -2.0);
        }
        assert_eq!(score(15, 4), 3.0);
        assert_eq!(score(255, 8), 3.0);
    }

    #[test]
    fn a_tile_and_back() {
        let cells = [0u8, 1, 2, 2, 1, 0, 0, 0, 2, 1, 1, 1];
        let grid = Grid::new(4, 3);
        let patch = Patch::block(1, 0, 3, 3);
        let present = ClassSet(0b111);
        for bits in [4, 8] {
            let mut bytes = [0; 64];
            let len = emit_tile(&cells, grid, patch, present, bits, &mut bytes).unwrap();
            assert_eq!(len, if bits == 4 { 15 } else { 27 });
            let mut codes = [0; 36];
            read_tile(&bytes[..len], grid, patch, present, bits, &mut codes).unwrap();
            for (index, &class) in cells.iter().enumerate().filter(|(index, _)| index % 4 > 0) {
                for plane in 0..3 {
                    let expected = if plane == class { 1.0 } else { 0.0 };
                    assert_eq!(score(codes[plane as usize * 12 + index], bits), expected);
                }
            }
            assert!(read_tile(&bytes[..len - 1], grid, patch, present, bits, &mut codes).is_err());
        }
    }
}
