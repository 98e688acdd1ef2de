//! The nearest known cell of each cell. What it shows, in the place of what is unknown, is a baseline, and a strong one.

use crate::wire::Grid;
use alloc::vec;
use alloc::vec::Vec;

/// No cell, in [`Nearest::of`].
const NONE: u32 = u32::MAX;

/// Finds nearest known cells of one grid, in buffers that are laid out once.
#[derive(Debug, Clone)]
pub struct Nearest {
    grid: Grid,
    /// Per cell, the row of the nearest known cell in its column, if the column has one.
    rows: Vec<u32>,
    of: Vec<u32>,
}

impl Nearest {
    pub fn new(grid: Grid) -> Self {
        Nearest { grid, rows: vec![NONE; grid.cells()], of: vec![NONE; grid.cells()] }
    }

    /// Finds, for each cell, the nearest one of which `known` says so: itself, or by Euclidean distance; of equals the leftmost, then the upper
    /// one. Returns false when no cell is known.
    pub fn find(&mut self, known: impl Fn(usize) -> bool) -> bool {
        let (width, height) = (self.grid.width as usize, self.grid.height as usize);
        let mut any = false;
        for x in 0..width {
            let mut above = NONE;
            for y in 0..height {
                if known(y * width + x) {
                    above = y as u32;
                }
                self.rows[y * width + x] = above;
            }
            any |= above != NONE;
            let mut below = NONE;
            for y in (0..height).rev() {
                let slot = &mut self.rows[y * width + x];
                if *slot == y as u32 {
                    below = y as u32;
                } else if below != NONE && (*slot == NONE || y as u32 - *slot > below - y as u32) {
                    *slot = below;
                }
            }
        }
        if !any {
            return false;
        }
        for y in 0..height {
            for x in 0..width {
                self.of[y * width + x] = self.nearest(x, y);
            }
        }
        true
    }

    fn nearest(&self, x: usize, y: usize) -> u32 {
        let width = self.grid.width as usize;
        let row = &self.rows[y * width..(y + 1) * width];
        // Distance, column, row: in the order that decides.
        let mut best = (usize::MAX, 0, 0);
        for dx in 0..width {
            if dx * dx > best.0 {
                break;
            }
            let columns = [x.checked_sub(dx), Some(x + dx).filter(|&column| column < width)];
            for column in columns.into_iter().flatten().filter(|&column| row[column] != NONE) {
                let dy = (row[column] as usize).abs_diff(y);
                best = best.min((dx * dx + dy * dy, column, row[column] as usize));
            }
        }
        (best.2 * width + best.1) as u32
    }

    /// The cell that is nearest to `cell`, as the last [`find`](Nearest::find) that returned true has it.
    pub fn of(&self, cell: usize) -> usize {
        self.of[cell] as usize
    }

    /// Square of the distance between `cell` and the one nearest to it, in cells.
    pub fn distance2(&self, cell: usize) -> usize {
        let (width, other) = (self.grid.width as usize, self.of(cell));
        let (dx, dy) = ((cell % width).abs_diff(other % width), (cell / width).abs_diff(other / width));
        dx * dx + dy * dy
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.rows[..]) + size_of_val(&self.of[..])
    }
}

/// Fills the unknown cells of `cells` from the nearest known cell. Returns false, and changes nothing, when no cell is known.
pub fn nearest_fill(grid: Grid, cells: &mut [u8], known: &[bool]) -> bool {
    let mut nearest = Nearest::new(grid);
    let found = nearest.find(|cell| known[cell]);
    if found {
        let source = cells.to_vec();
        cells.iter_mut().enumerate().for_each(|(cell, class)| *class = source[nearest.of(cell)]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_nearest() {
        let grid = Grid::new(4, 3);
        let mut cells = [1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3];
        let known = [true, false, false, true, false, false, false, false, false, false, false, true];
        assert!(nearest_fill(grid, &mut cells, &known));
        assert_eq!(cells, [1, 1, 2, 2, 1, 1, 2, 2, 1, 3, 3, 3]);
    }

    #[test]
    fn it_is_the_nearest_of_all() {
        let grid = Grid::new(23, 17);
        let mut nearest = Nearest::new(grid);
        let mut state = 7u64;
        for share in [1, 5, 40, 200] {
            let known: Vec<bool> = (0..grid.cells())
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 33) % 255 < share
                })
                .collect();
            let all = || (0..grid.cells()).filter(|&cell| known[cell]);
            assert_eq!(nearest.find(|cell| known[cell]), all().next().is_some());
            for cell in (0..grid.cells()).filter(|_| all().next().is_some()) {
                let place = |cell: usize| (cell % 23, cell / 23);
                let (x, y) = place(cell);
                let far = |(column, row): (usize, usize)| column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2);
                let right = all().map(|other| (far(place(other)), place(other))).min().unwrap();
                assert_eq!((nearest.distance2(cell), place(nearest.of(cell))), right);
            }
        }
    }

    #[test]
    fn nothing_known_changes_nothing() {
        let mut cells = [7; 6];
        assert!(!nearest_fill(Grid::new(3, 2), &mut cells, &[false; 6]));
        assert_eq!(cells, [7; 6]);
    }
}
