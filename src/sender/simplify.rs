//! Maps with less in them: small regions merged and borders smoothed, as far as what the rule reads stays the same.

use super::edits::{Edit, apply};
use crate::scene::{ClassMap, LabelSet, Regions, Role, Rule, Tally, beside};
use crate::wire::Grid;

/// What is given up, from little to much: regions that count for fewer cells are merged into what lies round them, and borders are smoothed
/// so many times. In cells of a grid of [`REFERENCE`] cells.
const LEVELS: [(usize, usize); 9] = [(2, 0), (4, 0), (8, 0), (8, 1), (16, 1), (32, 2), (64, 2), (128, 3), (256, 4)];
const REFERENCE: usize = 128 * 96;

/// How much a cell counts in the size of its region: what the task asks for stays longer.
const fn weight(role: Role) -> usize {
    match role {
        Role::Vehicle | Role::Person => 4,
        Role::Structure | Role::Drivable => 2,
        Role::Unlabelled | Role::Other => 1,
    }
}

/// Makes the maps of one grid and label set simpler.
#[derive(Debug, Clone)]
pub(super) struct Simplifier {
    rule: Rule,
}

impl Simplifier {
    pub(super) fn new(grid: Grid, labels: &'static LabelSet) -> Self {
        Simplifier { rule: Rule::new(grid, labels) }
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Each simpler than the one before, the first simpler than `map`; all of them read as `map` does.
    pub(super) fn levels(&self, map: &ClassMap) -> impl Iterator<Item = ClassMap> {
        let mut map = map.clone();
        let mut tally = Tally::new(&self.rule, &map.cells);
        let reading = tally.reading();
        let scale = |cells: usize| (cells * map.grid.cells()).div_ceil(REFERENCE);
        let levels = LEVELS.map(|(cells, smoothings)| (scale(cells), smoothings));
        let mut smoothed = 0;
        levels.into_iter().map(move |(cells, smoothings)| {
            while smoothed < smoothings {
                let edits = smoothing(&map);
                apply(&mut map, &mut tally, &edits, &reading, HALVINGS);
                smoothed += 1;
            }
            let edits = self.merging(&map, cells);
            apply(&mut map, &mut tally, &edits, &reading, HALVINGS);
            map.clone()
        })
    }

    /// Regions that count for `most` cells or fewer, the smallest first, become part of the one that they share most sides with.
    fn merging(&self, map: &ClassMap, most: usize) -> Vec<Edit> {
        let regions = Regions::of(map);
        let (width, height) = (map.grid.width as usize, map.grid.height as usize);
        let first = |number: usize| map.cells[regions.cells(number)[0] as usize];
        let size = |number: usize| regions.cells(number).len() * weight(self.rule.labels().role(first(number)));
        let mut small: Vec<(usize, usize)> =
            (0..regions.len()).map(|number| (size(number), number)).filter(|&(size, _)| size <= most).collect();
        small.sort_unstable();
        // The region that each has become part of, and what it counts for with all that became part of it.
        let mut into: Vec<usize> = (0..regions.len()).collect();
        let mut sizes: Vec<usize> = (0..regions.len()).map(size).collect();
        let mut sides: Vec<(usize, u32)> = Vec::new();
        for &(_, number) in &small {
            let own = root(&mut into, number);
            if sizes[own] > most {
                continue;
            }
            sides.clear();
            for &cell in regions.cells(number) {
                for beside in beside(cell as usize, width, height) {
                    let other = root(&mut into, regions.at(beside));
                    match sides.iter_mut().find(|(region, _)| *region == other) {
                        _ if other == own => {}
                        Some((_, count)) => *count += 1,
                        None => sides.push((other, 1)),
                    }
                }
            }
            let most_sides =
                sides.iter().max_by_key(|&&(region, count)| (count, sizes[region], std::cmp::Reverse(region)));
            if let Some(&(other, _)) = most_sides {
                (into[own], sizes[other]) = (other, sizes[other] + sizes[own]);
            }
        }
        let mut edits = Vec::new();
        for &(_, number) in &small {
            let class = first(root(&mut into, number));
            if class != first(number) {
                edits.push(regions.cells(number).iter().map(|&cell| (cell, class)).collect());
            }
        }
        edits
    }
}

/// The region that `number` is part of by now.
fn root(into: &mut [usize], number: usize) -> usize {
    let mut root = number;
    while into[root] != root {
        into[root] = into[into[root]];
        root = into[root];
    }
    root
}

/// How often edits are halved to find those that change the reading: what is left then is given up together, so that a map of specks takes no
/// longer than another.
const HALVINGS: u32 = 7;

/// Each cell becomes the most frequent class of the 3x3 cells round it, its own if that is as frequent; an edit a row.
fn smoothing(map: &ClassMap) -> Vec<Edit> {
    let (width, height) = (map.grid.width as usize, map.grid.height as usize);
    let mut edits = Vec::new();
    for y in 0..height {
        let mut edit = Vec::new();
        for x in 0..width {
            let own = map.at(x, y);
            let mut counts = [0u8; 256];
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    counts[map.at(column, row) as usize] += 1;
                }
            }
            let most = counts.iter().copied().max().unwrap_or(0);
            if counts[own as usize] < most {
                let class = counts.iter().position(|&count| count == most).unwrap_or(own as usize);
                edit.push(((y * width + x) as u32, class as u8));
            }
        }
        if !edit.is_empty() {
            edits.push(edit);
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CAMVID12, Street};

    #[test]
    fn every_level_reads_as_the_map_does_and_holds_fewer_regions() {
        let grid = Grid::new(128, 96);
        let simplifier = Simplifier::new(grid, &CAMVID12);
        for seed in 0..4 {
            let map = Street::new(seed, grid).frame(seed as u32 * 7);
            let mut regions = Regions::of(&map).len();
            let first = regions;
            let mut count = 0;
            for level in simplifier.levels(&map) {
                assert_eq!(simplifier.rule.read_all(&level.cells), simplifier.rule.read_all(&map.cells));
                let now = Regions::of(&level).len();
                assert!(now <= regions + 2, "{now} after {regions}");
                (regions, count) = (now, count + 1);
            }
            assert_eq!(count, LEVELS.len());
            assert!(2 * regions < first, "{regions} of {first}");
        }
    }

    #[test]
    fn a_checkerboard_becomes_one_class_where_nothing_is_read() {
        let grid = Grid::new(128, 96);
        let board = |cell: usize| if cell < grid.cells() / 3 { [0, 5][(cell + cell / 128) % 2] } else { 3 };
        let map = ClassMap { grid, cells: (0..grid.cells()).map(board).collect() };
        let last = Simplifier::new(grid, &CAMVID12).levels(&map).last().unwrap();
        assert!(Regions::of(&last).len() < 4, "{}", Regions::of(&last).len());
    }

    #[test]
    fn a_speck_becomes_what_is_round_it() {
        let grid = Grid::new(128, 96);
        let mut map = ClassMap::filled(grid, 0);
        map.cells[128 * 10 + 10] = 5;
        let first = Simplifier::new(grid, &CAMVID12).levels(&map).next().unwrap();
        assert_eq!(first, ClassMap::filled(grid, 0));
    }
}
