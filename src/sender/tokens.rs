//! A map as tokens: what the task asks for, as boxes.

use crate::scene::rule::COLUMNS;
use crate::scene::{ClassMap, LabelSet, Regions, Role};
use crate::wire::Params;
use crate::wire::tokens::{MAX_LEN, Token};

/// Regions of fewer cells are left out: the rule asks for as many in its smallest zones.
const LEAST: usize = 4;
/// What the drivable way and the robot's own body are told with, so that they stand where other boxes reach into them.
const SURE: u8 = 255;
/// A box is told with the share of its cells that have its class, of this.
const MOST: usize = 254;

/// Boxes round what stands in `map`, told with the share of their cells that it fills; and in each of the rule's columns, from the bottom edge up, the robot's own body and
/// what of the way is free.
pub(super) fn of_map(map: &ClassMap, labels: &LabelSet) -> Vec<Token<'static>> {
    let (width, height) = (usize::from(map.grid.width), usize::from(map.grid.height));
    let role = |class: u8| labels.classes[usize::from(class)].role;
    let regions = Regions::of(map);
    let mut tokens = Vec::new();
    for number in 0..regions.len() {
        let cells = regions.cells(number);
        let class = map.cells[cells[0] as usize];
        if cells.len() < LEAST || !matches!(role(class), Role::Vehicle | Role::Person | Role::Structure) {
            continue;
        }
        let sides = cells.iter().fold((width, 0, height, 0), |(left, right, top, bottom), &cell| {
            let (x, y) = (cell as usize % width, cell as usize / width);
            (left.min(x), right.max(x), top.min(y), bottom.max(y))
        });
        let (left, right, top, bottom) = sides;
        let (across, down) = (right - left + 1, bottom - top + 1);
        tokens.push(Token::Box {
            class,
            confidence: (MOST * cells.len() / (across * down)).max(1) as u8,
            x: left as u16,
            y: top as u16,
            width: across as u16,
            height: down as u16,
        });
    }
    let mut runs: Vec<[usize; 5]> = Vec::new();
    for column in 0..COLUMNS.min(width) {
        let (from, to) = (column * width / COLUMNS, (column + 1) * width / COLUMNS);
        let is = |y: usize, wanted: Role| (from..to).filter(|x| role(map.cells[y * width + x]) == wanted).count();
        let mut y = height;
        for wanted in [Role::Unlabelled, Role::Drivable] {
            let bottom = y;
            // The body fills its rows; of the way's rows, what is drivable is at least half of the rest.
            while y > 0
                && match wanted {
                    Role::Unlabelled => is(y - 1, wanted) == to - from,
                    _ => is(y - 1, wanted) > 0 && 2 * is(y - 1, wanted) + is(y - 1, Role::Unlabelled) >= to - from,
                }
            {
                y -= 1;
            }
            let class = labels.classes.iter().position(|class| class.role == wanted);
            let Some(class) = class.filter(|_| y < bottom) else { continue };
            match runs.iter_mut().find(|run| run[..3] == [class, y, bottom] && run[4] == from) {
                Some(run) => run[4] = to,
                None => runs.push([class, y, bottom, from, to]),
            }
        }
    }
    tokens.extend(runs.into_iter().map(|[class, top, bottom, from, to]| Token::Box {
        class: class as u8,
        confidence: SURE,
        x: from as u16,
        y: top as u16,
        width: (to - from) as u16,
        height: (bottom - top) as u16,
    }));
    tokens
}

/// The bytes of each tile: a token travels in that of its lowest cell in the middle, a vector in the first. Of a tile that is full the rest is left out.
pub(super) fn by_tile(tokens: &[Token<'_>], params: &Params) -> Vec<Vec<u8>> {
    let mut tiles = vec![Vec::new(); params.tiling.tiles()];
    for token in tokens {
        let index = match *token {
            Token::Box { x, y, width, height, .. } => tile_of(params, x + width / 2, y + height - 1),
            Token::Keypoint { x, y, .. } => tile_of(params, x, y),
            Token::Vector { .. } => 0,
        };
        let tile: &mut Vec<u8> = &mut tiles[index];
        let (start, len) = (tile.len(), token.wire_len());
        if start + len <= MAX_LEN {
            tile.resize(start + len, 0);
            // There is as much room as it takes.
            let _ = token.emit(&mut tile[start..]);
        }
    }
    tiles
}

/// The tile with the cell in column `x`, row `y`.
fn tile_of(params: &Params, x: u16, y: u16) -> usize {
    let holds = |index: &usize| params.patch(*index).is_some_and(|patch| patch.holds(x, y));
    (0..params.tiling.tiles()).find(holds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CAMVID12, Rule, Street};
    use crate::wire::tokens::Tokens;
    use crate::wire::{ClassSet, Cut, Grid, Payload, Tiling};

    #[test]
    fn the_way_reads_as_in_the_map() {
        let (grid, classes) = (Grid::new(128, 96), CAMVID12.len() as u8);
        let (tiling, cut, payload) = (Tiling::DEFAULT, Cut::Blocks, Payload::Tokens);
        let params = Params { grid, tiling, cut, parity: 0, payload, label_set: 1, classes };
        let rule = Rule::new(grid, &CAMVID12);
        for seed in 0..8 {
            let map = Street::new(seed, grid).frame(5);
            let tiles = by_tile(&of_map(&map, &CAMVID12), &params);
            let (mut cells, mut known, mut bytes) = (vec![0; map.cells.len()], vec![false; map.cells.len()], 0);
            for tile in &tiles {
                bytes += tile.len();
                for token in Tokens::new(tile, grid, ClassSet::of(&map.cells).unwrap()) {
                    let Token::Box { class, confidence: SURE, x, y, width, height } = token.unwrap() else { continue };
                    for (y, x) in (y..y + height).flat_map(|y| (x..x + width).map(move |x| (y, x))) {
                        let cell = usize::from(y) * 128 + usize::from(x);
                        (cells[cell], known[cell]) = (class, true);
                    }
                }
            }
            let (whole, told) = (rule.read_all(&map.cells), rule.read(&cells, &known));
            assert_eq!(told.free_permille(grid), whole.free_permille(grid), "street {seed}");
            assert!(bytes < 1500, "street {seed}: {bytes}");
        }
    }
}
