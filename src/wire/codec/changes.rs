//! Tiles as the changes since a reference that both ends hold: which cells are of another class, and of which.

use super::coder::Coder;
use super::{logistic, one_of};
use crate::{ClassSet, Grid, Patch};

/// What is likely to change, counted by `models/train/changes.py`: the bytes `SRXC`, then the arrays of [`Weights`], little-endian.
static WEIGHTS: Weights = Weights::baked(include_bytes!("../../../models/priors/changes.bin"));

/// Surroundings of a cell: [`Tile::context`].
const CONTEXTS: usize = 4 * 4 * 16 * 4;
/// Classes that a changed cell most likely takes.
const CANDIDATES: usize = 3;
/// Bytes of the baked weights.
#[cfg(test)]
pub(super) const BAKED_BYTES: usize = size_of::<Weights>();

struct Weights {
    /// Logit, in 1/32, that a cell changes, by its context.
    change: [i16; CONTEXTS],
    /// By how many candidates there are (1 to 3), whether the cells to the west and to the north changed: weights of each candidate and of none of them.
    rank: [[u16; CANDIDATES + 1]; 4 * CANDIDATES],
}

impl Weights {
    const fn baked(bytes: &[u8]) -> Self {
        assert!(matches!(bytes, [b'S', b'R', b'X', b'C', ..]), "not the weights of changes");
        assert!(bytes.len() == 4 + 2 * (CONTEXTS + 4 * CANDIDATES * (CANDIDATES + 1)), "weights of the wrong length");
        let mut weights = Weights { change: [0; CONTEXTS], rank: [[0; CANDIDATES + 1]; 4 * CANDIDATES] };
        let mut at = 4;
        let mut context = 0;
        while context < CONTEXTS {
            weights.change[context] = i16::from_le_bytes([bytes[at], bytes[at + 1]]);
            (context, at) = (context + 1, at + 2);
        }
        let mut entry = 0;
        while entry < 4 * CANDIDATES * (CANDIDATES + 1) {
            let weight = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            assert!(weight > 0, "a weight of 0 can't be coded");
            weights.rank[entry / (CANDIDATES + 1)][entry % (CANDIDATES + 1)] = weight;
            (entry, at) = (entry + 1, at + 2);
        }
        weights
    }
}

/// A map of the whole grid that is written, or read.
pub(super) trait Map {
    fn class(&self, at: usize) -> u8;
    fn put(&mut self, at: usize, class: u8);
}

impl Map for &mut [u8] {
    fn class(&self, at: usize) -> u8 {
        self[at]
    }

    fn put(&mut self, at: usize, class: u8) {
        self[at] = class;
    }
}

/// An encoder's map holds already what will be put in.
impl Map for &[u8] {
    fn class(&self, at: usize) -> u8 {
        self[at]
    }

    fn put(&mut self, _: usize, _: u8) {}
}

/// Codes the cells of `patch` as changes since `reference`, a map of the whole grid. A changed cell takes a class of `present`.
pub(super) fn code<C: Coder>(
    coder: &mut C,
    grid: Grid,
    patch: Patch,
    present: ClassSet,
    reference: &[u8],
    cells: impl Map,
) {
    let mut tile = Tile { grid, patch, reference, cells };
    for y in 0..patch.height as usize {
        for x in 0..patch.width as usize {
            let at = tile.at(x, y);
            let (was, want) = (reference[at], tile.cells.class(at));
            let others = present.without(was);
            let stays = logistic::probability(-(WEIGHTS.change[tile.context(x, y)] as i32));
            let class = if others.is_empty() || coder.bit(stays, want == was) {
                was
            } else {
                tile.changed(coder, x, y, others, want)
            };
            tile.cells.put(at, class);
        }
    }
}

struct Tile<'a, M> {
    grid: Grid,
    patch: Patch,
    reference: &'a [u8],
    /// Done up to the cell that is being coded, row by row.
    cells: M,
}

impl<M: Map> Tile<'_, M> {
    fn at(&self, x: usize, y: usize) -> usize {
        self.patch.at(self.grid, x, y)
    }

    /// The place of the neighbour at (dx, dy) of (x, y), if it lies in the tile.
    fn beside(&self, x: usize, y: usize, dx: isize, dy: isize) -> Option<usize> {
        let (x, y) = (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?);
        (x < self.patch.width as usize && y < self.patch.height as usize).then(|| self.at(x, y))
    }

    fn has_changed(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| self.cells.class(at) != self.reference[at])
    }

    /// West and north, each twice whether it changed plus whether its class is another than the reference has here; then, whether they changed, north-west,
    /// north-east, west of west, north of north; then whether the reference is of another class in the east, in the south. What lies outside the tile has
    /// neither changed nor another class.
    fn context(&self, x: usize, y: usize) -> usize {
        let was = self.reference[self.at(x, y)];
        let mut context = 0;
        for (dx, dy) in [(-1, 0), (0, -1)] {
            let at = self.beside(x, y, dx, dy);
            let is_other = at.is_some_and(|at| self.cells.class(at) != was);
            context = 4 * context + 2 * self.has_changed(at) as usize + is_other as usize;
        }
        for (dx, dy) in [(-1, -1), (1, -1), (-2, 0), (0, -2)] {
            context = 2 * context + self.has_changed(self.beside(x, y, dx, dy)) as usize;
        }
        for (dx, dy) in [(1, 0), (0, 1)] {
            let at = self.beside(x, y, dx, dy);
            context = 2 * context + at.is_some_and(|at| self.reference[at] != was) as usize;
        }
        context
    }

    /// The class of a cell that changed: one of `others`, which isn't empty.
    fn changed<C: Coder>(&self, coder: &mut C, x: usize, y: usize, others: ClassSet, want: u8) -> u8 {
        let mut left = others;
        let mut found = heapless::Vec::<u8, CANDIDATES>::new();
        let coded = [(-1, 0), (0, -1), (1, -1), (-1, -1)].map(|(dx, dy)| self.beside(x, y, dx, dy));
        let coded = coded.into_iter().flatten().map(|at| self.cells.class(at));
        let ahead = [(1, 0), (0, 1)].map(|(dx, dy)| self.beside(x, y, dx, dy));
        let ahead = ahead.into_iter().flatten().map(|at| self.reference[at]);
        for class in coded.chain(ahead) {
            // Those that don't fit any more are coded like any other.
            if left.contains(class) && found.push(class).is_ok() {
                left = left.without(class);
            }
        }
        if !found.is_empty() {
            let [west, north] = [(-1, 0), (0, -1)].map(|(dx, dy)| self.has_changed(self.beside(x, y, dx, dy)) as usize);
            let rank = WEIGHTS.rank[4 * (found.len() - 1) + 2 * west + north];
            let mut weights = heapless::Vec::<u32, { CANDIDATES + 1 }>::new();
            // Never full: a weight for each candidate, and one for none of them.
            let _ = weights.extend_from_slice(&rank.map(u32::from)[..found.len()]);
            if !left.is_empty() {
                let _ = weights.push(rank[CANDIDATES] as u32);
            }
            let wanted = found.iter().position(|&class| class == want).unwrap_or(found.len());
            let chosen = coder.symbol(&weights, wanted);
            if let Some(&class) = found.get(chosen) {
                return class;
            }
        }
        one_of(coder, left, &[1; 64][..left.len()], want)
    }
}
