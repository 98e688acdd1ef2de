//! The rule that turns a label map into truth: free space and hazards. Integers alone, the same on every CPU.
//!
//! With `u = 2x + 1` and `v = 2y + 1` for the cell in column `x`, row `y` of a `W`x`H` grid:
//!
//! - *Bands*, by `v / 2H`: far from 0.50, middle from 0.60, near from 0.75 down to the bottom edge.
//! - *Zones*: a corridor that narrows with the distance. `reach = 8Wv - 6WH`, `dist = 20H |u - W|` (in units of `40WH`, that is
//!   half-width 0.4 v/2H - 0.15 of the width). Centre where `dist < reach`; left and right where `reach <= dist < 3 reach`.
//! - *Hazards*: in each of the nine zones a vehicle, a person, a structure, present when at least `N` known cells of the zone say so;
//!   `N = max(4, zone cells / 50)`.
//! - *Free space*, in 16 columns: from the bottom edge up, pass over the robot's own body (rows of the column that are all unlabelled),
//!   then over drivable rows: `d > 0` and `2d >= n - i`, where of the row's `n` cells `d` are drivable and `i` unlabelled. Free is
//!   the rows passed over the height, 0 when none was drivable.
//!
//! An unknown cell says nothing: it is neither drivable nor unlabelled nor a hazard.

use super::{LabelSet, Role};
use crate::wire::Grid;
#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Most tasks that a head may have beyond the rule's.
pub const MAX_TASKS: usize = 8;
/// Most bytes of such a task's name.
pub const MAX_TASK_NAME: usize = 32;
/// Columns of the free-space reading.
pub const COLUMNS: usize = 16;
/// Zones of the ego corridor.
pub const ZONES: usize = 9;
/// Hazard types in a zone.
pub const TYPES: usize = 3;
/// Zone x type pairs, index `zone * TYPES + type`.
pub const PAIRS: usize = ZONES * TYPES;

/// Zones by index: band by band from near to far, in each left, centre, right.
pub const ZONE_NAMES: [&str; ZONES] = [
    "near left",
    "near centre",
    "near right",
    "middle left",
    "middle centre",
    "middle right",
    "far left",
    "far centre",
    "far right",
];
/// Hazard types by index.
pub const TYPE_NAMES: [&str; TYPES] = ["vehicle", "person", "structure"];

/// A set of zone x type pairs: bit `zone * TYPES + type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HazardSet(pub u32);

impl HazardSet {
    pub const fn contains(self, pair: usize) -> bool {
        self.0 >> pair & 1 == 1
    }

    pub fn insert(&mut self, pair: usize) {
        self.0 |= 1 << pair;
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..PAIRS).filter(move |&pair| self.contains(pair))
    }
}

/// What the rule reads off a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Free space of each column, rows passed from the bottom edge, `0..=height`.
    pub free_rows: [u16; COLUMNS],
    pub hazards: HazardSet,
}

impl Reading {
    /// Free space in thousandths of the height of a map of `grid`.
    pub fn free_permille(&self, grid: Grid) -> [u16; COLUMNS] {
        self.free_rows.map(|rows| (rows as u32 * 1000 / grid.height as u32) as u16)
    }
}

/// The zone of the cell in column `x`, row `y`. `None` outside the corridor.
pub fn zone_of(grid: Grid, x: u16, y: u16) -> Option<usize> {
    let (width, height) = (grid.width as i64, grid.height as i64);
    let (u, v) = (2 * x as i64 + 1, 2 * y as i64 + 1);
    let band = match 1000 * v / (2 * height) {
        750.. => 0,
        600.. => 1,
        500.. => 2,
        _ => return None,
    };
    let reach = 8 * width * v - 6 * width * height;
    let distance = 20 * height * (u - width).abs();
    let side = match distance {
        near if near < reach => 1,
        wide if wide < 3 * reach && u < width => 0,
        wide if wide < 3 * reach => 2,
        _ => return None,
    };
    Some(band * 3 + side)
}

/// The corridor in row `y`: the band, and the columns of its left, centre and right zone. `None` above it.
fn corridor(grid: Grid, y: u16) -> Option<(usize, [Range<usize>; 3])> {
    // The band does not hang on the column.
    let band = zone_of(grid, grid.width / 2, y)? / 3;
    let (width, height, v) = (grid.width as i64, grid.height as i64, 2 * y as i64 + 1);
    let reach = 8 * width * v - 6 * width * height;
    // The columns for which `dist < bound`.
    let within = |bound: i64| {
        let most = (bound - 1) / (20 * height);
        let (first, last) = ((width - most).max(0) / 2, (width + most + 1) / 2);
        first as usize..last.min(width) as usize
    };
    let (centre, all) = (within(reach), within(3 * reach));
    Some((band, [all.start..centre.start, centre.clone(), centre.end..all.end]))
}

/// The rule for one grid and label set.
#[derive(Debug, Clone)]
pub struct Rule {
    grid: Grid,
    labels: &'static LabelSet,
    /// Cells that a hazard needs in each zone.
    needed: [u32; ZONES],
}

impl Rule {
    pub fn new(grid: Grid, labels: &'static LabelSet) -> Self {
        let mut sizes = [0u32; ZONES];
        for (band, sides) in (0..grid.height).filter_map(|y| corridor(grid, y)) {
            for (side, columns) in sides.into_iter().enumerate() {
                sizes[band * 3 + side] += columns.len() as u32;
            }
        }
        Rule { grid, labels, needed: sizes.map(|cells| (cells / 50).max(4)) }
    }

    pub fn grid(&self) -> Grid {
        self.grid
    }

    pub fn labels(&self) -> &'static LabelSet {
        self.labels
    }

    /// Cells that a hazard needs in each zone.
    pub fn needed(&self) -> [u32; ZONES] {
        self.needed
    }

    /// Reads the map `cells`; `known` says which cells count. Both have a value per cell of the grid.
    pub fn read(&self, cells: &[u8], known: &[bool]) -> Reading {
        self.read_where(cells, |cell| known[cell])
    }

    /// Reads a map that is known in every cell.
    pub fn read_all(&self, cells: &[u8]) -> Reading {
        self.read_where(cells, |_| true)
    }

    fn read_where(&self, cells: &[u8], known: impl Fn(usize) -> bool) -> Reading {
        Reading { free_rows: self.free(cells, &known), hazards: self.hazards(cells, &known) }
    }

    fn hazards(&self, cells: &[u8], known: impl Fn(usize) -> bool) -> HazardSet {
        let mut counts = [[0u32; TYPES]; ZONES];
        for y in 0..self.grid.height {
            let Some((band, sides)) = corridor(self.grid, y) else { continue };
            let row = y as usize * self.grid.width as usize;
            for (side, columns) in sides.into_iter().enumerate() {
                for cell in (row + columns.start..row + columns.end).filter(|&cell| known(cell)) {
                    if let Some(kind) = kind_of(self.labels.role(cells[cell])) {
                        counts[band * 3 + side][kind] += 1;
                    }
                }
            }
        }
        self.present(&counts)
    }

    /// The hazards of which there are enough cells.
    fn present(&self, counts: &[[u32; TYPES]; ZONES]) -> HazardSet {
        let mut hazards = HazardSet::default();
        for (zone, (counts, needed)) in counts.iter().zip(self.needed).enumerate() {
            for (kind, &count) in counts.iter().enumerate() {
                if count >= needed {
                    hazards.insert(zone * TYPES + kind);
                }
            }
        }
        hazards
    }

    fn free(&self, cells: &[u8], known: impl Fn(usize) -> bool) -> [u16; COLUMNS] {
        let width = self.grid.width as usize;
        self.passed(|y, column| {
            let (start, end) = self.span(column);
            let (mut drivable, mut unlabelled) = (0, 0);
            for cell in (y * width + start..y * width + end).filter(|&cell| known(cell)) {
                match self.labels.role(cells[cell]) {
                    Role::Drivable => drivable += 1,
                    Role::Unlabelled => unlabelled += 1,
                    _ => {}
                }
            }
            (drivable, unlabelled)
        })
    }

    /// Free rows by column; `row` says how many drivable and unlabelled cells a column has in a row.
    fn passed(&self, row: impl Fn(usize, usize) -> (usize, usize)) -> [u16; COLUMNS] {
        core::array::from_fn(|column| {
            let (start, end) = self.span(column);
            let n = end - start;
            let mut driven = false;
            let mut passed = 0;
            for y in (0..self.grid.height as usize).rev() {
                let (drivable, unlabelled) = row(y, column);
                if drivable > 0 && 2 * drivable >= n - unlabelled {
                    driven = true;
                } else if driven || unlabelled < n {
                    break;
                }
                passed += 1;
            }
            if driven { passed } else { 0 }
        })
    }

    /// The first cell of a row in a column, and the first behind it.
    fn span(&self, column: usize) -> (usize, usize) {
        let width = self.grid.width as usize;
        (column * width / COLUMNS, (column + 1) * width / COLUMNS)
    }
}

/// The hazard type that a class is of.
const fn kind_of(role: Role) -> Option<usize> {
    match role {
        Role::Vehicle => Some(0),
        Role::Person => Some(1),
        Role::Structure => Some(2),
        _ => None,
    }
}

/// A map that is known in every cell, counted so that a changed cell is read anew without the others.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone)]
pub struct Tally<'a> {
    rule: &'a Rule,
    /// Zone of each cell, `ZONES` for none.
    zones: Vec<u8>,
    /// Cells by zone and hazard type.
    counts: [[u32; TYPES]; ZONES],
    /// Drivable and unlabelled cells, row by row, column by column.
    rows: Vec<[u16; 2]>,
    /// The column of each x.
    columns: Vec<u8>,
}

#[cfg(feature = "alloc")]
impl<'a> Tally<'a> {
    pub fn new(rule: &'a Rule, cells: &[u8]) -> Self {
        let spans = (0..COLUMNS).flat_map(|column| {
            let (start, end) = rule.span(column);
            core::iter::repeat_n(column as u8, end - start)
        });
        let (width, mut zones) = (rule.grid.width as usize, vec![ZONES as u8; rule.grid.cells()]);
        for (y, row) in zones.chunks_exact_mut(width).enumerate() {
            let Some((band, sides)) = corridor(rule.grid, y as u16) else { continue };
            for (side, columns) in sides.into_iter().enumerate() {
                row[columns].fill((band * 3 + side) as u8);
            }
        }
        let mut tally = Tally {
            rule,
            zones,
            counts: [[0; TYPES]; ZONES],
            rows: vec![[0; 2]; rule.grid.height as usize * COLUMNS],
            columns: spans.collect(),
        };
        cells.iter().enumerate().for_each(|(cell, &class)| tally.count(cell, class, 1));
        tally
    }

    /// `cell` is of class `after`, no longer of `before`.
    pub fn change(&mut self, cell: usize, before: u8, after: u8) {
        self.count(cell, before, -1);
        self.count(cell, after, 1);
    }

    fn count(&mut self, cell: usize, class: u8, by: i16) {
        let role = self.rule.labels.role(class);
        if let (Some(zone), Some(kind)) = (self.counts.get_mut(self.zones[cell] as usize), kind_of(role)) {
            zone[kind] = zone[kind].saturating_add_signed(by.into());
        }
        let width = self.rule.grid.width as usize;
        let row = &mut self.rows[cell / width * COLUMNS + self.columns[cell % width] as usize];
        match role {
            Role::Drivable => row[0] = row[0].saturating_add_signed(by),
            Role::Unlabelled => row[1] = row[1].saturating_add_signed(by),
            _ => {}
        }
    }

    pub fn reading(&self) -> Reading {
        let row = |y: usize, column: usize| {
            let [drivable, unlabelled] = self.rows[y * COLUMNS + column];
            (drivable.into(), unlabelled.into())
        };
        Reading { free_rows: self.rule.passed(row), hazards: self.rule.present(&self.counts) }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::scene::{CAMVID12, ClassMap};

    const GRID: Grid = Grid::new(128, 96);

    fn rule() -> Rule {
        Rule::new(GRID, &CAMVID12)
    }

    fn fill(map: &mut ClassMap, xs: core::ops::Range<usize>, ys: core::ops::Range<usize>, class: u8) {
        for y in ys {
            for x in xs.clone() {
                map.cells[y * 128 + x] = class;
            }
        }
    }

    #[test]
    fn zones_lie_as_documented() {
        assert_eq!(zone_of(GRID, 64, 95), Some(1));
        assert_eq!(zone_of(GRID, 0, 95), Some(0));
        assert_eq!(zone_of(GRID, 127, 80), Some(2));
        assert_eq!(zone_of(GRID, 63, 60), Some(4));
        assert_eq!(zone_of(GRID, 64, 48), Some(7));
        assert_eq!(zone_of(GRID, 64, 47), None);
        assert_eq!(zone_of(GRID, 0, 50), None);
        // Left and right mirror each other.
        for y in 0..96 {
            for x in 0..128 {
                let mirrored = zone_of(GRID, 127 - x, y).map(|zone| zone / 3 * 3 + 2 - zone % 3);
                assert_eq!(zone_of(GRID, x, y), mirrored);
            }
        }
    }

    #[test]
    fn a_row_of_the_corridor_holds_the_cells_of_its_zones() {
        for grid in [GRID, Grid::new(480, 360), Grid::new(37, 20), Grid::new(9, 12), Grid::new(1, 7), Grid::new(6, 1)] {
            for y in 0..grid.height {
                let row = corridor(grid, y);
                for x in 0..grid.width {
                    let mut zones = row.iter().flat_map(|(band, sides)| {
                        sides.iter().enumerate().map(move |(side, columns)| (band * 3 + side, columns))
                    });
                    let zone = zones.find(|(_, columns)| columns.contains(&(x as usize))).map(|(zone, _)| zone);
                    assert_eq!(zone, zone_of(grid, x, y), "{x}, {y} of {grid}");
                }
            }
        }
    }

    #[test]
    fn a_car_is_a_hazard_from_n_cells_on() {
        let rule = rule();
        let needed = rule.needed()[4] as usize;
        for cells in [needed - 1, needed] {
            let mut map = ClassMap::filled(GRID, 3);
            for index in 0..cells {
                fill(&mut map, 60 + index % 4..61 + index % 4, 60 + index / 4..61 + index / 4, 8);
            }
            let hazards = rule.read_all(&map.cells).hazards;
            assert_eq!(hazards.contains(4 * TYPES), cells == needed);
            assert!(!hazards.contains(4 * TYPES + 1));
        }
    }

    #[test]
    fn free_space_stops_at_the_first_obstacle_and_passes_the_bonnet() {
        let rule = rule();
        let mut map = ClassMap::filled(GRID, 0);
        fill(&mut map, 0..128, 48..96, 3);
        assert_eq!(rule.read_all(&map.cells).free_rows, [48; COLUMNS]);
        fill(&mut map, 0..128, 90..96, 11);
        assert_eq!(rule.read_all(&map.cells).free_rows, [48; COLUMNS]);
        fill(&mut map, 8..16, 70..72, 8);
        assert_eq!(rule.read_all(&map.cells).free_rows[..3], [48, 24, 48]);
        fill(&mut map, 16..24, 48..96, 4);
        assert_eq!(rule.read_all(&map.cells).free_rows[..4], [48, 24, 0, 48]);
    }

    #[test]
    fn unknown_cells_say_nothing() {
        let rule = rule();
        let mut map = ClassMap::filled(GRID, 3);
        fill(&mut map, 50..78, 60..70, 8);
        let known: Vec<bool> = (0..GRID.cells()).map(|cell| cell / 128 < 50).collect();
        let reading = rule.read(&map.cells, &known);
        assert_eq!(reading.free_rows, [0; COLUMNS]);
        assert_eq!(reading.hazards, HazardSet(0));
    }

    #[test]
    fn a_tally_reads_what_the_rule_reads() {
        for grid in [GRID, Grid::new(37, 20), Grid::new(9, 12)] {
            let rule = Rule::new(grid, &CAMVID12);
            let mut cells: Vec<u8> =
                (0..grid.cells()).map(|cell| if cell > grid.cells() / 2 { 3 } else { 1 }).collect();
            let mut tally = Tally::new(&rule, &cells);
            let mut state = 1u64;
            for step in 0..2000 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (cell, class) = ((state >> 33) as usize % cells.len(), (state >> 20) as u8 % 12);
                tally.change(cell, cells[cell], class);
                cells[cell] = class;
                if step % 50 == 0 {
                    assert_eq!(tally.reading(), rule.read_all(&cells));
                }
            }
        }
    }
}
