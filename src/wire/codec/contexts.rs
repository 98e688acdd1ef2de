//! What is known when a cell is coded: the neighbours before it in scan order, inside its own tile.

/// Stands for a neighbour outside the tile. No class is 255.
pub const OUTSIDE: u8 = 255;

/// Widest tile in cells.
pub const MAX_WIDTH: usize = 1024;

/// Neighbours that the net looks at.
pub const NEIGHBOURS: usize = 54;
/// Room for all of them, and a power of two.
pub const MOST_ACTIVE: usize = 64;

/// (dx, dy) of the neighbours. Candidates are found in this order; the first 31 of them decide whether a place is flat.
#[rustfmt::skip]
pub const OFFSETS: [(i8, i8); NEIGHBOURS] = [
    (-1, 0), (0, -1), (1, -1), (-1, -1), (0, -2), (-2, 0), (-1, -2), (-2, -1), (1, -2), (2, -1), (-2, -2), (2, -2),
    (0, -3), (-3, 0), (-1, -3), (-3, -1), (1, -3), (3, -1), (-2, -3), (-3, -2), (2, -3), (3, -2), (-4, 0), (-4, -1),
    (4, -1), (-3, -3), (3, -3), (-4, -2), (4, -2), (-5, 0), (5, -1), (0, -4), (-1, -4), (1, -4), (-2, -4), (2, -4),
    (0, -5), (-3, -4), (-4, -3), (3, -4), (4, -3), (-1, -5), (-5, -1), (1, -5), (-2, -5), (-5, -2), (2, -5), (5, -2),
    (-6, 0), (-6, -1), (6, -1), (6, -2), (-7, 0), (7, -1),
];

/// Cells that the window reaches to either side, and upwards.
const SIDE: usize = 8;
const ABOVE: usize = 5;
const STRIDE: usize = MAX_WIDTH + 2 * SIDE;

/// The window around a cell as the codec reads it: (dx, dy) of the first cell of a strip, and how many follow to the right.
const STRIPS: [(isize, isize, usize); 6] =
    [(-8, 0, 8), (-8, -1, 16), (-8, -2, 16), (-8, -3, 16), (-4, -4, 8), (-4, -5, 8)];
/// All of them; the lanes past the last strip stay outside.
const LANES: usize = 80;

/// Which lane of the strips holds each neighbour.
const LANE_OF: [u8; NEIGHBOURS] = {
    let mut lanes = [0; NEIGHBOURS];
    let mut k = 0;
    while k < NEIGHBOURS {
        let (dx, dy) = (OFFSETS[k].0 as isize, OFFSETS[k].1 as isize);
        let (mut strip, mut lane) = (0, 0);
        while STRIPS[strip].1 != dy {
            lane += STRIPS[strip].2;
            strip += 1;
        }
        assert!(dx >= STRIPS[strip].0 && dx < STRIPS[strip].0 + STRIPS[strip].2 as isize);
        lanes[k] = lane as u8 + (dx - STRIPS[strip].0) as u8;
        k += 1;
    }
    lanes
};

/// k for the lane of neighbour k, [`NO_NEIGHBOUR`] for the other lanes.
const NEIGHBOUR_IN: [u8; LANES] = {
    let mut order = [NO_NEIGHBOUR; LANES];
    let mut k = 0;
    while k < NEIGHBOURS {
        order[LANE_OF[k] as usize] = k as u8;
        k += 1;
    }
    order
};
const NO_NEIGHBOUR: u8 = 255;

/// Reach of a flat place to the left and right, by rows upwards: the rows of the near neighbours.
const FLAT: [(usize, usize); 4] = [(5, 0), (4, 5), (4, 4), (3, 3)];

/// The classes that a cell most likely has: the distinct ones among its neighbours, in the order of [`OFFSETS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    pub classes: [u8; 3],
    pub len: usize,
}

impl Candidates {
    /// Adds a class unless it is [`OUTSIDE`].
    fn push(&mut self, class: u8) {
        if class != OUTSIDE && self.len < self.classes.len() {
            self.classes[self.len] = class;
            self.len += 1;
        }
    }
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
        // Zeros cost a program no flash; `begin` fills what is read.
        Window { rows: [0; (ABOVE + 1) * STRIDE], starts: [[0; MAX_WIDTH]; FLAT.len()], width: 0, y: 0 }
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
    pub fn ranks(&self, x: usize, active: &mut [u8; MOST_ACTIVE]) -> (Candidates, usize) {
        let mut lanes = [OUTSIDE; LANES];
        let mut at = 0;
        for (dx, dy, len) in STRIPS {
            let start = (x + SIDE + ABOVE * STRIDE).wrapping_add_signed(dx + dy * STRIDE as isize);
            // `x` is below MAX_WIDTH, so that the strips always lie in the window.
            if let Some(strip) = self.rows.get(start..start + len) {
                lanes[at..at + len].copy_from_slice(strip);
            }
            at += len;
        }
        let mut found = Candidates { classes: [OUTSIDE; 3], len: 0 };
        let first = match (x, self.y) {
            (0, 0) => OUTSIDE,
            (0, _) => lanes[LANE_OF[1] as usize],
            _ => lanes[LANE_OF[0] as usize],
        };
        found.push(first);
        found.push(first_other(&lanes, first, first));
        let second = found.classes[1];
        let mut codes = [0; LANES];
        let mut others = 0;
        for (lane, code) in codes.iter_mut().enumerate() {
            let value = lanes[lane];
            let other = if value == OUTSIDE {
                4
            } else if value == second {
                1
            } else {
                3
            };
            let same = value == first && value != OUTSIDE;
            *code = if same || NEIGHBOUR_IN[lane] == NO_NEIGHBOUR { 0 } else { other };
            others |= *code & 2;
        }
        if others != 0 {
            found.push(first_other(&lanes, first, second));
            let third = found.classes[2];
            for (code, &value) in codes.iter_mut().zip(&lanes) {
                *code = if *code == 3 && value == third { 2 } else { *code };
            }
        }
        let mut rows = [0; LANES];
        for (lane, row) in rows.iter_mut().enumerate() {
            *row = NEIGHBOUR_IN[lane].wrapping_mul(4).wrapping_add(codes[lane]).wrapping_sub(1);
        }
        // A bit for each lane whose code is not 0: one loop over the bits, whose end alone is hard to foresee.
        let mut marks = [0u64; 2];
        for (word, eight) in codes.as_chunks::<8>().0.iter().enumerate() {
            let tops = (u64::from_le_bytes(*eight) + 0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080;
            // Moves the top bits of the eight bytes to the eight bits of the highest byte.
            let bits = (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            marks[word / 8] |= bits << (word % 8 * 8);
        }
        let mut count = 0;
        for (marks, rows) in marks.iter_mut().zip([&rows[..64], &rows[64..]]) {
            while *marks != 0 {
                active[count % active.len()] = rows[marks.trailing_zeros() as usize % rows.len()];
                count += 1;
                *marks &= *marks - 1;
            }
        }
        (found, count)
    }

    /// Where the cell lies to the tile's borders, 0..[`BORDERS`]: min(x, 6) * 35 + min(width - 1 - x, 6) * 5 + min(y, 4).
    #[inline]
    pub fn border(&self, x: usize) -> usize {
        x.min(6) * 35 + (self.width - 1 - x).min(6) * 5 + self.y.min(4)
    }
}

/// The first neighbour in the order of [`OFFSETS`] that is a class other than `a` and `b`; [`OUTSIDE`] if there is none.
#[inline]
fn first_other(lanes: &[u8; LANES], a: u8, b: u8) -> u8 {
    let mut order = NEIGHBOUR_IN;
    for (k, &value) in order.iter_mut().zip(lanes) {
        let passed = (value == a) | (value == b) | (value == OUTSIDE);
        *k |= (passed as u8).wrapping_neg();
    }
    let k = order.iter().copied().fold(NO_NEIGHBOUR, u8::min);
    LANE_OF.get(k as usize).map_or(OUTSIDE, |&lane| lanes[lane as usize])
}

/// Kinds of places by [`Window::border`].
pub const BORDERS: usize = 245;

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions themselves, cell by cell: near neighbours that agree, candidates in order, codes.
    fn plainly(rows: &[&[u8]], x: usize, y: usize) -> (Option<u8>, Candidates, [u8; NEIGHBOURS]) {
        let value = |(dx, dy): (i8, i8)| {
            let (x, y) = (x as isize + dx as isize, y as isize + dy as isize);
            let row = usize::try_from(y).ok().map(|y| rows[y]);
            row.zip(usize::try_from(x).ok()).and_then(|(row, x)| row.get(x).copied()).unwrap_or(OUTSIDE)
        };
        let values = OFFSETS.map(value);
        let mut found = Candidates { classes: [OUTSIDE; 3], len: 0 };
        for value in values {
            if !found.classes[..found.len].contains(&value) {
                found.push(value);
            }
        }
        let near = |class| values[..31].iter().all(|&value| value == class || value == OUTSIDE);
        let inside = values[..31].iter().find(|&&value| value != OUTSIDE);
        let codes = values.map(|value| match found.classes.iter().position(|&class| class == value) {
            _ if value == OUTSIDE => 4,
            Some(rank) => rank as u8,
            None => 3,
        });
        (inside.copied().filter(|&class| near(class)), found, codes)
    }

    #[test]
    fn the_window_agrees_with_the_definitions() {
        let mut state = 5u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        let mut window = Window::new();
        for width in [1, 2, 5, 9, 33, 70] {
            let mut map = std::vec![std::vec![0u8; width]; 12];
            for _ in 0..6 {
                let (class, top, left) = (next(5) as u8, next(12) as usize, next(width as u64) as usize);
                map[top..].iter_mut().for_each(|row| row[left..].fill(class));
            }
            let rows: std::vec::Vec<&[u8]> = map.iter().map(|row| row.as_slice()).collect();
            let mut flats = 0;
            for (y, row) in rows.iter().enumerate() {
                if y == 0 {
                    window.begin(width)
                } else {
                    window.next_row()
                }
                for (x, &class) in row.iter().enumerate() {
                    let (flat, candidates, codes) = plainly(&rows, x, y);
                    assert_eq!(window.flat(x), flat, "({x}, {y}) of width {width}");
                    flats += flat.is_some() as usize;
                    let mut active = [0; MOST_ACTIVE];
                    let (found, count) = window.ranks(x, &mut active);
                    assert_eq!(found, candidates, "({x}, {y}) of width {width}");
                    let mut expected: std::vec::Vec<u8> =
                        (0..).zip(codes).filter(|&(_, code)| code > 0).map(|(k, code)| 4 * k + code - 1).collect();
                    expected.sort();
                    active[..count].sort();
                    assert_eq!(active[..count], expected, "({x}, {y}) of width {width}");
                    window.put(x, class);
                }
            }
            assert!(flats > 0);
        }
    }
}
