//! Maps that fit into so many bytes: tiles of the corridor first, then as little simplified as can be.

use super::simplify::Simplifier;
use crate::scene::rule::{COLUMNS, ZONES, zone_of};
use crate::scene::{ClassMap, LabelSet};
use crate::wire::{Params, TileSet, WireError};

/// What of a map isn't sent, and what that changes for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// Tiles that are not sent.
    pub tiles: usize,
    /// Cells of the tiles that are sent whose class is another.
    pub cells: usize,
    /// Zone x type pairs that the rule reads otherwise from what is sent.
    pub hazards: usize,
    /// Mean error of the free space that it reads, in thousandths of the height.
    pub free_permille: u16,
}

/// A map that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fitted {
    pub map: ClassMap,
    pub sent: TileSet,
    pub given_up: GivenUp,
}

/// Fits the maps of one stream into bytes.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    simplifier: Simplifier,
    params: Params,
    /// Tiles, those first that the task needs most.
    order: Vec<usize>,
}

impl Rate {
    pub(super) fn new(params: Params, labels: &'static LabelSet) -> Self {
        let Params { grid, tiling, .. } = params;
        let need_at = |cell: usize| {
            let (x, y) = (cell % grid.width as usize, cell / grid.width as usize);
            zone_of(grid, x as u16, y as u16).map_or(0, need_of)
        };
        let need = |index: usize| params.patch(index).map_or(0, |patch| patch.indices(grid).map(need_at).sum::<u32>());
        let mut order: Vec<usize> = (0..tiling.tiles()).collect();
        // Of tiles that the corridor doesn't touch, the lower ones are nearer.
        order.sort_by_key(|&index| (std::cmp::Reverse(need(index)), std::cmp::Reverse(index)));
        Rate { simplifier: Simplifier::new(grid, labels), params, order }
    }

    pub(super) fn is_for(&self, params: &Params) -> bool {
        self.params == *params
    }

    /// Fits `map` into `most` bytes, of which `header` are spent before the first tile. `bytes` says what tile `index` of a map takes, all that
    /// comes with it included. Where `is_map` is false, tiles are sent as they are or not at all.
    pub(super) fn fit(
        &self,
        map: &ClassMap,
        is_map: bool,
        most: usize,
        header: usize,
        mut bytes: impl FnMut(&ClassMap, usize) -> Result<usize, WireError>,
    ) -> Result<Fitted, WireError> {
        let mut levels = vec![map.clone()];
        let mut sizes = vec![self.sizes(map, &mut bytes)?];
        let fits = |sizes: &[usize]| header + sizes.iter().sum::<usize>() <= most;
        if is_map && !fits(&sizes[0]) {
            for level in self.simplifier.levels(map) {
                sizes.push(self.sizes(&level, &mut bytes)?);
                levels.push(level);
                if sizes.last().is_some_and(|sizes| fits(sizes)) {
                    break;
                }
            }
        }
        // All at the last level if they fit; then the tiles that are needed most come back level by level.
        let last = levels.len() - 1;
        let mut of: Vec<Option<usize>> = vec![None; self.params.tiling.tiles()];
        let mut left = most.saturating_sub(header);
        for &index in &self.order {
            if sizes[last][index] <= left {
                (of[index], left) = (Some(last), left - sizes[last][index]);
            }
        }
        for level in (0..last).rev() {
            for &index in &self.order {
                let Some(now) = of[index] else { continue };
                let room = left + sizes[now][index];
                if sizes[level][index] <= room {
                    (of[index], left) = (Some(level), room - sizes[level][index]);
                }
            }
        }
        Ok(self.put_together(map, &levels, &of))
    }

    fn sizes(
        &self,
        map: &ClassMap,
        bytes: &mut impl FnMut(&ClassMap, usize) -> Result<usize, WireError>,
    ) -> Result<Vec<usize>, WireError> {
        (0..self.params.tiling.tiles()).map(|index| bytes(map, index)).collect()
    }

    /// Each tile from the level that it has in `of`.
    fn put_together(&self, truth: &ClassMap, levels: &[ClassMap], of: &[Option<usize>]) -> Fitted {
        let (mut map, mut sent) = (truth.clone(), TileSet::default());
        let mut known = vec![false; map.cells.len()];
        let mut given_up = GivenUp::default();
        for (index, &level) in of.iter().enumerate() {
            let (Some(level), Some(patch)) = (level, self.params.patch(index)) else {
                given_up.tiles += 1;
                continue;
            };
            sent.insert(index);
            for cell in patch.indices(self.params.grid) {
                let class = levels[level].cells[cell];
                given_up.cells += (class != map.cells[cell]) as usize;
                (map.cells[cell], known[cell]) = (class, true);
            }
        }
        let rule = self.simplifier.rule();
        let (before, after) = (rule.read_all(&truth.cells), rule.read(&map.cells, &known));
        given_up.hazards = (before.hazards.0 ^ after.hazards.0).count_ones() as usize;
        let rows = before.free_rows.iter().zip(after.free_rows).map(|(&a, b)| a.abs_diff(b) as usize);
        given_up.free_permille = (rows.sum::<usize>() * 1000 / (COLUMNS * self.params.grid.height as usize)) as u16;
        Fitted { map, sent, given_up }
    }
}

/// How much the task needs a cell of a zone: nearer bands more, the centre twice as much.
const fn need_of(zone: usize) -> u32 {
    let band = (ZONES / 3 - zone / 3) as u32;
    if zone % 3 == 1 { 2 * band } else { band }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CAMVID12, Street};

    use crate::wire::{Cut, Grid, Payload, Tiling};

    const GRID: Grid = Grid::new(128, 96);
    const PARAMS: Params = Params {
        grid: GRID,
        tiling: Tiling::DEFAULT,
        cut: Cut::Blocks,
        parity: 0,
        payload: Payload::Map,
        label_set: 1,
        classes: 12,
    };

    /// What stands for the bytes of a tile: its borders, counted.
    fn borders(map: &ClassMap, index: usize) -> Result<usize, WireError> {
        let rect = PARAMS.patch(index).unwrap();
        let rows = rect.y as usize..(rect.y + rect.height) as usize;
        let changes = |y: usize| {
            (rect.x as usize + 1..(rect.x + rect.width) as usize).filter(move |&x| map.at(x, y) != map.at(x - 1, y))
        };
        Ok(4 + rows.map(|y| changes(y).count()).sum::<usize>())
    }

    #[test]
    fn the_corridor_goes_first_and_nothing_goes_over() {
        let rate = Rate::new(PARAMS, &CAMVID12);
        assert_eq!(rate.order[..2], [7, 6], "the lower tiles hold the near zones");
        let map = Street::new(5, GRID).frame(11);
        let whole: usize = (0..8).map(|index| borders(&map, index).unwrap()).sum();
        let mut before = usize::MAX;
        for most in [whole + 20, whole + 19, whole, whole / 2, whole / 4, 40, 20] {
            let fitted = rate.fit(&map, true, most, 20, borders).unwrap();
            let sent: Vec<usize> = (0..8).filter(|&index| fitted.sent.contains(index)).collect();
            let bytes: usize = sent.iter().map(|&index| borders(&fitted.map, index).unwrap()).sum();
            assert!(20 + bytes <= most, "{bytes} of {most}");
            assert!(sent.len() <= before);
            before = sent.len();
            let GivenUp { tiles, cells, hazards, free_permille } = fitted.given_up;
            assert_eq!(tiles, 8 - sent.len());
            if most == whole + 20 {
                assert_eq!((tiles, cells, hazards, free_permille), (0, 0, 0, 0));
            } else {
                assert!(cells > 0 || tiles > 0);
            }
        }
        assert_eq!(before, 0);
    }

    #[test]
    fn soft_tiles_are_sent_whole_or_not() {
        let rate = Rate::new(PARAMS, &CAMVID12);
        let map = Street::new(5, GRID).frame(11);
        let fitted = rate.fit(&map, false, 1000, 100, |_, _| Ok(300)).unwrap();
        assert_eq!((fitted.map, fitted.sent.len()), (map, 3));
        assert!(rate.order[..3].iter().all(|&index| fitted.sent.contains(index)));
    }
}
