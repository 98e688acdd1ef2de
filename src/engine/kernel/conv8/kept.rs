//! Int8 weights as they are kept: a byte each, or in 4 bits with a factor for each run of them, unpacked for a block of outputs when it is computed.

use bytemuck::{Pod, Zeroable};
use std::collections::HashMap;
use std::ops::Range;

/// Weights of a line.
pub const LINE: usize = 64;

/// Weights in the order in which a kernel reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [i8; LINE]);

impl Line {
    /// # Panics
    /// If these are not whole lines.
    pub fn all(weights: &[i8]) -> Vec<Self> {
        let (lines, rest) = weights.as_chunks();
        assert!(rest.is_empty());
        lines.iter().map(|line| Line(*line)).collect()
    }
}

/// A line in 4 bits: of a byte, the low ones are the weight of its number, the high ones that half a line behind.
type Packed = [u8; LINE / 2];

#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    Bytes(Vec<Line>),
    Nibbles {
        /// -8 to 7 each.
        cells: Vec<Packed>,
        /// What cells are multiplied by, 0 to 15 each.
        factors: Vec<Packed>,
        /// For each line of cells, which line of factors.
        which: Vec<u16>,
    },
}

impl Kept {
    /// Lines of weights; with `factors`, in the same order, in 4 bits if that is less.
    ///
    /// # Panics
    /// If a weight is no product of its factor, 0 to 15, and a cell of 4 bits.
    pub fn new(weights: Vec<Line>, factors: Option<Vec<Line>>) -> Self {
        let nibbles = factors.and_then(|factors| Kept::nibbles(&weights, &factors));
        match nibbles.filter(|nibbles| nibbles.bytes() < size_of_val(&weights[..])) {
            Some(nibbles) => nibbles,
            None => Kept::Bytes(weights),
        }
    }

    /// `None` where there are too many lines of factors.
    fn nibbles(weights: &[Line], own: &[Line]) -> Option<Self> {
        assert_eq!(weights.len(), own.len());
        let (mut numbers, mut factors, mut which) = (HashMap::<Line, u16>::new(), Vec::new(), Vec::new());
        for line in own {
            let number = match numbers.get(line) {
                Some(&number) => number,
                None => {
                    assert!(line.0.iter().all(|factor| (0..16).contains(factor)));
                    let number = u16::try_from(factors.len()).ok()?;
                    factors.push(packed(&line.0));
                    numbers.insert(*line, number);
                    number
                }
            };
            which.push(number);
        }
        let cell = |(&weight, &factor): (&i8, &i8)| {
            let cell = if factor == 0 { 0 } else { weight / factor };
            assert!((-8..8).contains(&cell) && cell * factor == weight);
            cell
        };
        let cells = weights.iter().zip(own).map(|(weights, factors)| {
            let mut cells = [0; LINE];
            cells.iter_mut().zip(weights.0.iter().zip(&factors.0)).for_each(|(to, of)| *to = cell(of));
            packed(&cells)
        });
        Some(Kept::Nibbles { cells: cells.collect(), factors, which })
    }

    /// Lines in all.
    pub fn len(&self) -> usize {
        match self {
            Kept::Bytes(lines) => lines.len(),
            Kept::Nibbles { cells, .. } => cells.len(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Kept::Bytes(lines) => size_of_val(&lines[..]),
            Kept::Nibbles { cells, factors, which } => {
                size_of_val(&cells[..]) + size_of_val(&factors[..]) + size_of_val(&which[..])
            }
        }
    }

    /// Numbers of 32 bits of the room that [`Kept::get`] wants for as many lines.
    pub fn room(&self, lines: usize) -> usize {
        match self {
            Kept::Bytes(_) => 0,
            Kept::Nibbles { .. } => (lines * size_of::<Line>() + align_of::<Line>()) / size_of::<i32>() - 1,
        }
    }

    /// Some lines: as they lie, or unpacked into `room`.
    ///
    /// # Panics
    /// If there are not as many lines, or there is not as much [room](Kept::room).
    pub fn get<'a>(&'a self, range: Range<usize>, room: &'a mut [i32]) -> &'a [Line] {
        match self {
            Kept::Bytes(lines) => &lines[range],
            Kept::Nibbles { cells, factors, which } => {
                let (_, room, _) = bytemuck::pod_align_to_mut::<i32, Line>(room);
                let room = &mut room[..range.len()];
                for ((to, cells), &which) in room.iter_mut().zip(&cells[range.clone()]).zip(&which[range]) {
                    unpack(cells, &factors[usize::from(which)], &mut to.0);
                }
                room
            }
        }
    }
}

fn packed(line: &[i8; LINE]) -> Packed {
    std::array::from_fn(|at| (line[at] & 0xf) as u8 | (line[at + LINE / 2] as u8) << 4)
}

/// Products of cells and factors.
fn unpack(cells: &Packed, factors: &Packed, to: &mut [i8; LINE]) {
    let (low, high) = to.split_at_mut(LINE / 2);
    for (((low, high), &cell), &factor) in low.iter_mut().zip(high).zip(cells).zip(factors) {
        *low = ((cell << 4) as i8 >> 4).wrapping_mul((factor & 0xf) as i8);
        *high = (cell as i8 >> 4).wrapping_mul((factor >> 4) as i8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn every_product_is_unpacked_exactly() {
        let mut random = Random::new(1);
        let mut weights = Vec::new();
        let mut factors = Vec::new();
        for line in 0..64 {
            // Sixteen lines of factors, as several lines of a run have the same.
            let of = |at: usize| ((line / 4 + at) % 16) as i8;
            factors.extend((0..LINE).map(of));
            weights.extend((0..LINE).map(|at| (random.below(16) as i8 - 8) * of(at)));
        }
        let kept = Kept::new(Line::all(&weights), Some(Line::all(&factors)));
        assert_eq!(kept.bytes(), 64 * 32 + 16 * 32 + 64 * 2);
        let mut room = vec![-1; kept.room(63)];
        let lines = kept.get(1..64, &mut room);
        assert_eq!(bytemuck::cast_slice::<_, i8>(lines), &weights[LINE..]);
    }

    #[test]
    fn what_would_not_be_less_stays_in_bytes() {
        let (weights, factors) = ([0; 2 * LINE], std::array::from_fn::<i8, { 2 * LINE }, _>(|at| at as i8 / 16));
        let kept = |factors| Kept::new(Line::all(&weights), factors);
        assert_eq!(kept(Some(Line::all(&factors))), kept(None));
    }
}
