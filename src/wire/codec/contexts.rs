//! What is known when a cell is coded: the neighbours before it in scan order, inside its own tile.

/// Stands for a neighbour outside the tile. No class is 255.
pub const OUTSIDE: u8 = 255;

/// Widest tile in cells.
pub const MAX_WIDTH: usize = 1024;

/// Neighbours that the net looks at.
pub const NEIGHBOURS: usize = 54;

/// (dx, dy) of the neighbours. Candidates are found in this order; the first 31 of them decide whether a place is flat.
pub const OFFSETS: [(i8, i8); NEIGHBOURS] = [
    (-1, 0),
    (0, -1),
    (1, -1),
    (-1, -1),
    (0, -2),
    (-2, 0),
    (-1, -2),
    (-2, -1),
    (1, -2),
    (2, -1),
    (-2, -2),
    (2, -2),
    (0, -3),
    (-3, 0),
    (-1, -3),
    (-3, -1),
    (1, -3),
    (3, -1),
    (-2, -3),
    (-3, -2),
    (2, -3),
    (3, -2),
    (-4, 0),
    (-4, -1),
    (4, -1),
    (-3, -3),
    (3, -3),
    (-4, -2),
    (4, -2),
    (-5, 0),
    (5, -1),
    (0, -4),
    (-1, -4),
    (1, -4),
    (-2, -4),
    (2, -4),
    (0, -5),
    (-3, -4),
    (-4, -3),
    (3, -4),
    (4, -3),
    (-1, -5),
    (-5, -1),
    (1, -5),
    (-2, -5),
    (-5, -2),
    (2, -5),
    (5, -2),
    (-6, 0),
    (-6, -1),
    (6, -1),
    (6, -2),
    (-7, 0),
    (7, -1),
];

/// Cells that the window reaches to either side, and upwards.
const SIDE: usize = 8;
const ABOVE: usize = 5;
const STRIDE: usize = MAX_WIDTH + 2 * SIDE;
/// From the cell at (-SIDE, -ABOVE) to the one at (0, 0).
const SPAN: usize = ABOVE * STRIDE + SIDE + 1;

/// Reach of a flat place to the left and right, by rows upwards: the rows of the near neighbours.
const FLAT: [(usize, usize); 4] = [(5, 0), (4, 5), (4, 4), (3, 3)];

/// The classes that a cell most likely has: the distinct ones among its neighbours, in the order of [`OFFSETS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    pub classes: [u8; 3],
    pub len: usize,
}

/// The rows of a tile that are still in sight, and where their runs of equal cells begin.
pub struct Window {
    /// Rows `ABOVE`..0 above the present one, each with `SIDE` cells of [`OUTSIDE`] at either end.
    rows: [u8; (ABOVE + 1) * STRIDE],
    /// By row upwards from the present one: the column where the run of equal cells that holds this column begins.
    starts: [[u16; MAX_WIDTH]; FLAT.len()],
    width: usize,
    /// Rows of the tile that lie above the present one.
    y: usize,
}

impl Window {
    pub const fn new() -> Self {
        Window { rows: [OUTSIDE; (ABOVE + 1) * STRIDE], starts: [[0; MAX_WIDTH]; FLAT.len()], width: 0, y: 0 }
    }

    /// Begins a tile of `width` cells a row, at most [`MAX_WIDTH`].
    pub fn begin(&mut self, width: usize) {
        self.width = width.min(MAX_WIDTH);
        self.y = 0;
        for row in self.rows.chunks_exact_mut(STRIDE) {
            row[..self.width + 2 * SIDE].fill(OUTSIDE);
        }
    }

    /// Moves one row down.
    pub fn next_row(&mut self) {
        let used = self.width + 2 * SIDE;
        for row in 0..ABOVE {
            self.rows.copy_within((row + 1) * STRIDE..(row + 1) * STRIDE + used, row * STRIDE);
        }
        for row in (1..FLAT.len()).rev() {
            let (below, above) = self.starts.split_at_mut(row);
            above[0][..self.width].copy_from_slice(&below[row - 1][..self.width]);
        }
        self.y += 1;
    }

    /// Puts `class` at column `x` of the present row. Cells come from left to right.
    #[inline]
    pub fn put(&mut self, x: usize, class: u8) {
        let at = ABOVE * STRIDE + SIDE + x;
        let same = x > 0 && self.rows[at - 1] == class;
        self.starts[0][x] = if same { self.starts[0][x - 1] } else { x as u16 };
        self.rows[at] = class;
    }

    /// The one class of all near neighbours inside the tile. `None` where they differ, and for the first cell of a tile.
    #[inline]
    pub fn flat(&self, x: usize) -> Option<u8> {
        let centre = ABOVE * STRIDE + SIDE + x;
        let class = match (x, self.y) {
            (0, 0) => return None,
            (0, _) => self.rows[centre - STRIDE],
            _ => self.rows[centre - 1],
        };
        let last = self.width - 1;
        if x > 0 && self.starts[0][x - 1] as usize > x.saturating_sub(FLAT[0].0) {
            return None;
        }
        for (up, &(left, right)) in FLAT.iter().enumerate().take(self.y + 1).skip(1) {
            let end = (x + right).min(last);
            let uniform = self.starts[up][end] as usize <= x.saturating_sub(left);
            if !uniform || self.rows[centre - up * STRIDE] != class {
                return None;
            }
        }
        Some(class)
    }

    /// The candidates of the cell in column `x`, and what its neighbours are beside them: `active` receives
    /// 4k + code - 1 for each neighbour k whose code is not 0, and the number of them is returned. Codes: 0 to 2 the candidate that the
    /// neighbour equals, 3 another class, 4 outside the tile.
    pub fn ranks(&self, x: usize, active: &mut [u8; NEIGHBOURS]) -> (Candidates, usize) {
        let mut values = [OUTSIDE; NEIGHBOURS];
        // `x` is below MAX_WIDTH, so that the span always lies inside.
        if let Some(span) = self.rows.get(x..x + SPAN) {
            for (value, &(dx, dy)) in values.iter_mut().zip(&OFFSETS) {
                *value = span[(SPAN - 1).wrapping_add_signed(dx as isize + dy as isize * STRIDE as isize)];
            }
        }
        let mut codes = [3u8; 256];
        codes[OUTSIDE as usize] = 4;
        let mut found = Candidates { classes: [OUTSIDE; 3], len: 0 };
        for &value in &values {
            if codes[value as usize] == 3 {
                codes[value as usize] = found.len as u8;
                found.classes[found.len] = value;
                found.len += 1;
                if found.len == 3 {
                    break;
                }
            }
        }
        let mut count = 0;
        for (k, &value) in values.iter().enumerate() {
            let code = codes[value as usize];
            active[count.min(NEIGHBOURS - 1)] = (4 * k as u8 + code).wrapping_sub(1);
            count += (code != 0) as usize;
        }
        (found, count)
    }

    /// Where the cell lies to the tile's borders, 0..[`BORDERS`]: min(x, 6) * 35 + min(width - 1 - x, 6) * 5 + min(y, 4).
    #[inline]
    pub fn border(&self, x: usize) -> usize {
        x.min(6) * 35 + (self.width - 1 - x).min(6) * 5 + self.y.min(4)
    }
}

/// Kinds of places by [`Window::border`].
pub const BORDERS: usize = 245;
