//! Regions: cells of one class that touch by a side.

use super::ClassMap;
use alloc::vec;
use alloc::vec::Vec;

/// The regions of a map, numbered in the order of their first cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// Of each cell, the region that it belongs to.
    of: Vec<u32>,
    /// The cells of all regions, region after region.
    cells: Vec<u32>,
    /// Where each region ends in `cells`.
    ends: Vec<u32>,
}

impl Regions {
    pub fn of(map: &ClassMap) -> Self {
        const NONE: u32 = u32::MAX;
        let (width, height) = (map.grid.width as usize, map.grid.height as usize);
        let mut regions = Regions { of: vec![NONE; map.cells.len()], cells: Vec::new(), ends: Vec::new() };
        for first in 0..map.cells.len() {
            if regions.of[first] != NONE {
                continue;
            }
            let (number, mut next) = (regions.ends.len() as u32, regions.cells.len());
            regions.of[first] = number;
            regions.cells.push(first as u32);
            while let Some(&cell) = regions.cells.get(next) {
                next += 1;
                for beside in beside(cell as usize, width, height) {
                    if regions.of[beside] == NONE && map.cells[beside] == map.cells[first] {
                        regions.of[beside] = number;
                        regions.cells.push(beside as u32);
                    }
                }
            }
            regions.ends.push(next as u32);
        }
        regions
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cells of region `number`, its first one first.
    pub fn cells(&self, number: usize) -> &[u32] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[start as usize..self.ends[number] as usize]
    }

    /// The region that `cell` belongs to.
    pub fn at(&self, cell: usize) -> usize {
        self.of[cell] as usize
    }
}

/// The cells that share a side with `cell`.
pub fn beside(cell: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (cell % width, cell / width);
    let left = (x > 0).then(|| cell - 1);
    let right = (x + 1 < width).then_some(cell + 1);
    let above = (y > 0).then(|| cell - width);
    let below = (y + 1 < height).then_some(cell + width);
    [left, right, above, below].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Grid;

    #[test]
    fn corners_do_not_touch() {
        let map = ClassMap { grid: Grid::new(3, 3), cells: vec![1, 1, 0, 0, 1, 0, 1, 0, 0] };
        let regions = Regions::of(&map);
        assert_eq!(regions.len(), 4);
        assert_eq!(regions.cells(0), [0, 1, 4]);
        assert_eq!(regions.cells(1), [2, 5, 8, 7]);
        assert_eq!(regions.cells(2), [3]);
        assert_eq!((regions.at(6), regions.at(8)), (3, 1));
    }
}
