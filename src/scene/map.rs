//! A class for each cell of a grid.

use crate::wire::Grid;
use alloc::vec;
use alloc::vec::Vec;

/// A class index per cell, row-major. `cells.len() == grid.cells()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    pub grid: Grid,
    pub cells: Vec<u8>,
}

impl ClassMap {
    /// Every cell of class `class`.
    pub fn filled(grid: Grid, class: u8) -> Self {
        ClassMap { grid, cells: vec![class; grid.cells()] }
    }

    /// The class at column `x`, row `y`; both inside the grid.
    pub fn at(&self, x: usize, y: usize) -> u8 {
        self.cells[y * self.grid.width as usize + x]
    }

    /// Nearest resampling: the centre of each new cell looks up the old one.
    pub fn resampled(&self, grid: Grid) -> ClassMap {
        let nearest = |index: usize, old: u16, new: u16| (2 * index + 1) * old as usize / (2 * new as usize);
        let mut cells = Vec::with_capacity(grid.cells());
        for y in 0..grid.height as usize {
            let row = nearest(y, self.grid.height, grid.height) * self.grid.width as usize;
            cells.extend((0..grid.width as usize).map(|x| self.cells[row + nearest(x, self.grid.width, grid.width)]));
        }
        ClassMap { grid, cells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resampling_looks_up_centres() {
        let map = ClassMap { grid: Grid::new(4, 2), cells: (0..8).collect() };
        assert_eq!(map.resampled(Grid::new(2, 1)).cells, [5, 7]);
        assert_eq!(map.resampled(Grid::new(4, 2)), map);
        assert_eq!(map.resampled(Grid::new(8, 2)).cells[..8], [0, 0, 1, 1, 2, 2, 3, 3]);
    }
}
