//! The cells of a map, and how a map is cut into tiles that decode alone.

/// Size of a map in cells. Row-major, `index = y * width + x`, row 0 at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub width: u16,
    pub height: u16,
}

impl Grid {
    /// Widest and tallest map that the wire carries, in cells.
    pub const MAX_SIDE: u16 = 4096;

    pub const fn new(width: u16, height: u16) -> Self {
        Grid { width, height }
    }

    pub const fn cells(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// Most cells that a map may have: 2048x1024.
    pub const MAX_CELLS: usize = 1 << 21;

    /// Both sides in 1..=[`Grid::MAX_SIDE`], at most [`Grid::MAX_CELLS`] cells.
    pub const fn is_valid(self) -> bool {
        self.width >= 1
            && self.height >= 1
            && self.width <= Self::MAX_SIDE
            && self.height <= Self::MAX_SIDE
            && self.cells() <= Self::MAX_CELLS
    }
}

impl core::fmt::Display for Grid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl core::str::FromStr for Grid {
    type Err = &'static str;

    /// Reads `WIDTHxHEIGHT`, as in `128x96`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = "a grid is WIDTHxHEIGHT in cells, each 1 to 4096 and 2097152 together, as in 128x96";
        let (width, height) = text.split_once('x').ok_or(reason)?;
        let grid = Grid { width: width.parse().map_err(|_| reason)?, height: height.parse().map_err(|_| reason)? };
        if grid.is_valid() { Ok(grid) } else { Err(reason) }
    }
}

/// The cells of a tile: `width` x `height` of them, from (x, y) on, each `across` columns from the one before and `down` rows from the one above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
    pub across: u16,
    pub down: u16,
}

impl Patch {
    /// Whether the cell in column `x`, row `y` of the grid is one of its cells.
    pub const fn holds(&self, x: u16, y: u16) -> bool {
        if x < self.x || y < self.y {
            return false;
        }
        let (right, below) = (x - self.x, y - self.y);
        let is_on = right.is_multiple_of(self.across) && below.is_multiple_of(self.down);
        is_on && right / self.across < self.width && below / self.down < self.height
    }

    /// A rectangle of neighbours.
    pub const fn block(x: u16, y: u16, width: u16, height: u16) -> Self {
        Patch { x, y, width, height, across: 1, down: 1 }
    }

    pub const fn cells(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The cell in column `x` of its row `y`, in a map of `grid`.
    pub const fn at(self, grid: Grid, x: usize, y: usize) -> usize {
        let (x, y) = (self.x as usize + x * self.across as usize, self.y as usize + y * self.down as usize);
        y * grid.width as usize + x
    }

    /// Its cells row by row, in a map of `grid`.
    pub fn indices(self, grid: Grid) -> impl Iterator<Item = usize> {
        (0..self.height as usize).flat_map(move |y| (0..self.width as usize).map(move |x| self.at(grid, x, y)))
    }

    pub const fn is_inside(self, grid: Grid) -> bool {
        self.width >= 1
            && self.height >= 1
            && self.across >= 1
            && self.down >= 1
            && self.x as u32 + (self.width as u32 - 1) * (self.across as u32) < grid.width as u32
            && self.y as u32 + (self.height as u32 - 1) * (self.down as u32) < grid.height as u32
    }
}

/// Which cells make a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// Tile `(row, col)` is a rectangle: columns `col * width / cols .. (col + 1) * width / cols`, rows likewise.
    #[default]
    Blocks,
    /// Tile `(row, col)` is every `cols`-th column from `col` on of every `rows`-th row from `row` on: a lost one leaves small holes everywhere.
    Phases,
}

impl Cut {
    pub const fn name(self) -> &'static str {
        match self {
            Cut::Blocks => "blocks",
            Cut::Phases => "phases",
        }
    }
}

impl core::str::FromStr for Cut {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "blocks" => Ok(Cut::Blocks),
            "phases" => Ok(Cut::Phases),
            _ => Err("a cut is blocks or phases"),
        }
    }
}

/// Into how many tiles a map is cut: `rows` x `cols` in scan order, each 1..=16, never more than the grid has cells on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    pub rows: u8,
    pub cols: u8,
}

impl Tiling {
    /// The tiling of every table in the documentation: 24x64 cells (rows x columns) at 128x96.
    pub const DEFAULT: Tiling = Tiling { rows: 4, cols: 2 };
    /// Most tiles a frame can have.
    pub const MAX_TILES: usize = 256;

    pub const fn tiles(self) -> usize {
        self.rows as usize * self.cols as usize
    }

    pub const fn fits(self, grid: Grid) -> bool {
        self.rows >= 1
            && self.cols >= 1
            && self.rows <= 16
            && self.cols <= 16
            && self.rows as u16 <= grid.height
            && self.cols as u16 <= grid.width
    }

    /// The cells of tile `index` (scan order). `None` past the last tile.
    pub const fn patch(self, grid: Grid, cut: Cut, index: usize) -> Option<Patch> {
        if index >= self.tiles() {
            return None;
        }
        let (row, col) = (index / self.cols as usize, index % self.cols as usize);
        Some(match cut {
            Cut::Blocks => {
                let (x, y) = (edge(grid.width, col, self.cols), edge(grid.height, row, self.rows));
                let width = edge(grid.width, col + 1, self.cols) - x;
                Patch::block(x, y, width, edge(grid.height, row + 1, self.rows) - y)
            }
            Cut::Phases => {
                let (x, y) = (col as u16, row as u16);
                let (across, down) = (self.cols as u16, self.rows as u16);
                let (width, height) = ((grid.width - x).div_ceil(across), (grid.height - y).div_ceil(down));
                Patch { x, y, width, height, across, down }
            }
        })
    }
}

/// Which tiles of a frame are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileSet([u64; Tiling::MAX_TILES / 64]);

impl TileSet {
    /// Every tile of a frame of `tiles` tiles.
    pub fn all(tiles: usize) -> Self {
        let mut set = TileSet::default();
        (0..tiles.min(Tiling::MAX_TILES)).for_each(|index| set.insert(index));
        set
    }

    pub const fn contains(&self, index: usize) -> bool {
        index < Tiling::MAX_TILES && self.0[index / 64] >> (index % 64) & 1 == 1
    }

    /// Its tiles in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        (0..Tiling::MAX_TILES).filter(move |&index| self.contains(index))
    }

    /// `index` is below [`Tiling::MAX_TILES`].
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the set takes on the wire for a frame of `tiles` tiles.
    pub(super) const fn wire_len(tiles: usize) -> usize {
        tiles.div_ceil(8)
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        (self.0[at / 8] >> (at % 8 * 8)) as u8
    }

    /// `bytes` are at most 32, tile `i` is bit `i % 8` of byte `i / 8`.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut set = TileSet::default();
        for (at, &byte) in bytes.iter().enumerate() {
            set.0[at / 8] |= (byte as u64) << (at % 8 * 8);
        }
        set
    }

    /// No tile of `tiles` or above.
    pub(super) fn is_below(&self, tiles: usize) -> bool {
        (tiles..Tiling::MAX_TILES).all(|index| !self.contains(index))
    }
}

const fn edge(side: u16, index: usize, parts: u8) -> u16 {
    (index * side as usize / parts as usize) as u16
}

impl core::fmt::Display for Tiling {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}", self.rows, self.cols)
    }
}

impl core::str::FromStr for Tiling {
    type Err = &'static str;

    /// Reads `ROWSxCOLS`, as in `4x2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = "a tiling is ROWSxCOLS, each 1 to 16, as in 4x2";
        let (rows, cols) = text.split_once('x').ok_or(reason)?;
        let tiling = Tiling { rows: rows.parse().map_err(|_| reason)?, cols: cols.parse().map_err(|_| reason)? };
        let within = |side: u8| (1..=16).contains(&side);
        if within(tiling.rows) && within(tiling.cols) { Ok(tiling) } else { Err(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_cell_once() {
        for (grid, tiling) in [
            (Grid::new(128, 96), Tiling::DEFAULT),
            (Grid::new(7, 5), Tiling { rows: 5, cols: 3 }),
            (Grid::new(480, 360), Tiling { rows: 16, cols: 7 }),
        ] {
            for cut in [Cut::Blocks, Cut::Phases] {
                let mut covered = std::vec![0u8; grid.cells()];
                for index in 0..tiling.tiles() {
                    let patch = tiling.patch(grid, cut, index).unwrap();
                    assert!(patch.is_inside(grid));
                    assert_eq!(patch.indices(grid).count(), patch.cells());
                    patch.indices(grid).for_each(|cell| covered[cell] += 1);
                }
                assert!(covered.iter().all(|&count| count == 1), "{grid} {tiling} {cut:?}");
                assert_eq!(tiling.patch(grid, cut, tiling.tiles()), None);
            }
        }
    }

    #[test]
    fn a_tile_set_crosses_the_wire() {
        let mut set = TileSet::all(9);
        set.remove(3);
        assert_eq!((set.len(), set.contains(3), set.contains(8), set.contains(9)), (8, false, true, false));
        let bytes: std::vec::Vec<u8> = (0..TileSet::wire_len(9)).map(|at| set.byte(at)).collect();
        assert_eq!(bytes, [0b1111_0111, 1]);
        assert_eq!(TileSet::parse(&bytes), set);
        assert!(set.is_below(9) && !set.is_below(8) && TileSet::all(256).is_below(256));
    }

    #[test]
    fn text_forms() {
        assert_eq!("128x96".parse(), Ok(Grid::new(128, 96)));
        assert!("0x5".parse::<Grid>().is_err());
        assert!("5000x5".parse::<Grid>().is_err());
        assert_eq!("4x2".parse(), Ok(Tiling::DEFAULT));
        assert!("17x1".parse::<Tiling>().is_err());
    }
}
