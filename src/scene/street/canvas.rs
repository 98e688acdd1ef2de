//! Filling shapes with a class on a map, in integers.

use alloc::vec;
use alloc::vec::Vec;

use crate::wire::Grid;

/// Parts of a cell: canvas coordinates count 1/256 of a cell, from the top left corner of the map.
pub const CELL: i64 = 256;

/// A map being painted. A cell belongs to a shape when its centre does; later shapes cover earlier ones.
pub struct Canvas {
    pub grid: Grid,
    cells: Vec<u8>,
}

impl Canvas {
    pub fn new(grid: Grid, class: u8) -> Self {
        Canvas { grid, cells: vec![class; usize::from(grid.width) * usize::from(grid.height)] }
    }

    pub fn into_cells(self) -> Vec<u8> {
        self.cells
    }

    /// Height of the canvas in canvas units.
    pub fn height(&self) -> i64 {
        i64::from(self.grid.height) * CELL
    }

    /// Width of the canvas in canvas units.
    pub fn width(&self) -> i64 {
        i64::from(self.grid.width) * CELL
    }

    /// Paints the cells of one row whose centres lie in `left..right`. A row outside the map paints nothing.
    pub fn span(&mut self, row: i64, left: i64, right: i64, class: u8) {
        if row < 0 || row >= i64::from(self.grid.height) {
            return;
        }
        let width = i64::from(self.grid.width);
        let first = ceil_div(left - CELL / 2, CELL).clamp(0, width);
        let last = ceil_div(right - CELL / 2, CELL).clamp(first, width);
        let start = row * width;
        self.cells[(start + first) as usize..(start + last) as usize].fill(class);
    }

    /// Paints the rectangle between two corners.
    pub fn rectangle(&mut self, left: i64, top: i64, right: i64, bottom: i64, class: u8) {
        for row in self.rows(top, bottom) {
            self.span(row, left, right, class);
        }
    }

    /// Paints a convex polygon.
    pub fn convex(&mut self, points: &[(i64, i64)], class: u8) {
        let top = points.iter().map(|p| p.1).min().unwrap_or(0);
        let bottom = points.iter().map(|p| p.1).max().unwrap_or(0);
        for row in self.rows(top, bottom) {
            let y = row * CELL + CELL / 2;
            let (mut left, mut right) = (i64::MAX, i64::MIN);
            for (at, &(x1, y1)) in points.iter().enumerate() {
                let (x0, y0) = points[(at + points.len() - 1) % points.len()];
                if (y0 <= y) != (y1 <= y) {
                    let x = x0 + (x1 - x0) * (y - y0) / (y1 - y0);
                    left = left.min(x);
                    right = right.max(x);
                }
            }
            if left < right {
                self.span(row, left, right, class);
            }
        }
    }

    /// Paints an upright ellipse.
    pub fn ellipse(&mut self, centre: (i64, i64), radius_x: i64, radius_y: i64, class: u8) {
        if radius_x <= 0 || radius_y <= 0 {
            return;
        }
        for row in self.rows(centre.1 - radius_y, centre.1 + radius_y) {
            let dy = row * CELL + CELL / 2 - centre.1;
            let chord = (radius_y * radius_y - dy * dy).max(0).isqrt();
            let half = radius_x * chord / radius_y;
            self.span(row, centre.0 - half, centre.0 + half, class);
        }
    }

    /// Paints a stroke of the given half width, in canvas units, between two points.
    pub fn stroke(&mut self, from: (i64, i64), to: (i64, i64), half: i64, class: u8) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        // Thicken across the longer direction; strokes here are close to upright or close to level.
        let (ox, oy) = if dx.abs() > dy.abs() { (0, half) } else { (half, 0) };
        let corners =
            [(from.0 - ox, from.1 - oy), (from.0 + ox, from.1 + oy), (to.0 + ox, to.1 + oy), (to.0 - ox, to.1 - oy)];
        self.convex(&corners, class);
    }

    /// Rows whose centres lie in `top..bottom`, clipped to the map.
    fn rows(&self, top: i64, bottom: i64) -> core::ops::Range<i64> {
        let height = i64::from(self.grid.height);
        let first = ceil_div(top - CELL / 2, CELL).clamp(0, height);
        let last = ceil_div(bottom - CELL / 2, CELL).clamp(first, height);
        first..last
    }
}

fn ceil_div(value: i64, by: i64) -> i64 {
    -((-value).div_euclid(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(paint: impl Fn(&mut Canvas)) -> alloc::string::String {
        let mut canvas = Canvas::new(Grid::new(6, 4), b'.');
        paint(&mut canvas);
        let cells = canvas.into_cells();
        let rows: Vec<&str> = cells.chunks(6).map(|row| core::str::from_utf8(row).unwrap()).collect();
        rows.join("/")
    }

    #[test]
    fn shapes_cover_the_centres_they_hold() {
        let c = CELL;
        assert_eq!(drawn(|p| p.rectangle(c, c, 3 * c, 3 * c, b'#')), "....../.##.../.##.../......");
        assert_eq!(drawn(|p| p.rectangle(-9 * c, 3 * c, 99 * c, 9 * c, b'#')), "....../....../....../######");
        assert_eq!(drawn(|p| p.ellipse((2 * c, 2 * c), 2 * c, 2 * c, b'#')), ".##.../####../####../.##...");
        assert_eq!(drawn(|p| p.convex(&[(0, 0), (4 * c, 4 * c), (0, 4 * c)], b'#')), "....../#...../##..../###...");
        assert_eq!(drawn(|p| p.stroke((3 * c, 0), (3 * c, 4 * c), c, b'#')), "..##../..##../..##../..##..");
    }

    #[test]
    fn shapes_outside_the_map_paint_nothing() {
        let far = 1 << 40;
        let empty = drawn(|_| {});
        assert_eq!(drawn(|p| p.rectangle(far, 0, 2 * far, CELL, b'#')), empty);
        assert_eq!(drawn(|p| p.span(-1, 0, far, b'#')), empty);
        assert_eq!(drawn(|p| p.span(4, 0, far, b'#')), empty);
    }
}
