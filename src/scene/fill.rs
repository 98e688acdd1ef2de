//! Nearest-fill: each unknown cell takes the class of the nearest known one. A baseline, and a strong one.

use crate::wire::Grid;
use alloc::vec;
use alloc::vec::Vec;

/// Fills the unknown cells of `cells` from the nearest known cell (Euclidean; of equals the leftmost, then the upper one).
/// Returns false, and changes nothing, when no cell is known.
pub fn nearest_fill(grid: Grid, cells: &mut [u8], known: &[bool]) -> bool {
    let (width, height) = (grid.width as usize, grid.height as usize);
    if !known.iter().any(|&known| known) {
        return false;
    }
    // Per cell, the row of the nearest known cell in its column, if the column has one.
    let mut nearest_row: Vec<Option<usize>> = vec![None; cells.len()];
    for x in 0..width {
        let mut above = None;
        for y in 0..height {
            above = if known[y * width + x] { Some(y) } else { above };
            nearest_row[y * width + x] = above;
        }
        let mut below: Option<usize> = None;
        for y in (0..height).rev() {
            below = if known[y * width + x] { Some(y) } else { below };
            let slot = &mut nearest_row[y * width + x];
            *slot = match (*slot, below) {
                (Some(up), Some(down)) if y - up > down - y => Some(down),
                (up, down) => up.or(down),
            };
        }
    }
    let source = cells.to_vec();
    for y in 0..height {
        for x in (0..width).filter(|x| !known[y * width + x]) {
            let candidates = (0..width).filter_map(|column| {
                let row = nearest_row[y * width + column]?;
                let (dx, dy) = (column.abs_diff(x), row.abs_diff(y));
                Some((dx * dx + dy * dy, column, row))
            });
            if let Some((_, column, row)) = candidates.min() {
                cells[y * width + x] = source[row * width + column];
            }
        }
    }
    true
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
    fn nothing_known_changes_nothing() {
        let mut cells = [7; 6];
        assert!(!nearest_fill(Grid::new(3, 2), &mut cells, &[false; 6]));
        assert_eq!(cells, [7; 6]);
    }
}
