//! What a delta frame tells of a map.

use super::edits::{Edit, apply};
use crate::scene::{ClassMap, Rule, Tally};

/// Which changes since the key frame are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// All of them: nothing is lost.
    All,
    /// Those without which the rule would read other hazards or another free space.
    Task,
}

impl Delta {
    pub const fn name(self) -> &'static str {
        match self {
            Delta::All => "all",
            Delta::Task => "task",
        }
    }
}

impl std::str::FromStr for Delta {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Delta::All),
            "task" => Ok(Delta::Task),
            _ => Err("which changes are sent is all or task"),
        }
    }
}

/// How often runs of changed cells are halved to find those that the rule needs: a run alone, in maps of up to 4096 of them.
const HALVINGS: u32 = 12;

/// `map` with as many of its cells as can be of the class that they have in `key`: it reads as `map` does.
pub(super) fn needed(map: &ClassMap, key: &ClassMap, rule: &Rule) -> ClassMap {
    let mut needed = map.clone();
    let mut tally = Tally::new(rule, &map.cells);
    let reading = tally.reading();
    apply(&mut needed, &mut tally, &reversals(map, key), &reading, HALVINGS);
    needed
}

/// For each run of cells in a row that changed, from one class to one other: its classes of before.
fn reversals(map: &ClassMap, key: &ClassMap) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let width = map.grid.width as usize;
    let mut last = None;
    for (cell, (&now, &before)) in map.cells.iter().zip(&key.cells).enumerate() {
        let run = (now != before).then_some((cell / width, now, before));
        match edits.last_mut() {
            Some(edit) if run.is_some() && run == last => edit.push((cell as u32, before)),
            _ if run.is_some() => edits.push(vec![(cell as u32, before)]),
            _ => {}
        }
        last = run;
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CAMVID12, Street};
    use crate::wire::Grid;

    #[test]
    fn what_is_needed_reads_the_same_and_changes_less() {
        let grid = Grid::new(128, 96);
        let (rule, street) = (Rule::new(grid, &CAMVID12), Street::new(3, grid));
        let changed = |a: &ClassMap, b: &ClassMap| a.cells.iter().zip(&b.cells).filter(|(a, b)| a != b).count();
        let key = street.frame(20);
        let (mut all, mut kept) = (0, 0);
        for frame in 20..30 {
            let map = street.frame(frame);
            let needed = needed(&map, &key, &rule);
            assert_eq!(rule.read_all(&needed.cells), rule.read_all(&map.cells));
            for (cell, &class) in needed.cells.iter().enumerate() {
                assert!(class == map.cells[cell] || class == key.cells[cell]);
            }
            all += changed(&map, &key);
            kept += changed(&needed, &key);
        }
        assert!(kept > 0 && 3 * kept < all, "{kept} of {all}");
    }

    #[test]
    fn runs_end_with_their_row_and_their_classes() {
        let grid = Grid::new(4, 2);
        let key = ClassMap { grid, cells: vec![0, 0, 1, 1, 1, 0, 0, 0] };
        let map = ClassMap { grid, cells: vec![0, 2, 2, 2, 2, 0, 0, 3] };
        let cells: Vec<Vec<u32>> =
            reversals(&map, &key).iter().map(|run| run.iter().map(|edit| edit.0).collect()).collect();
        assert_eq!(cells, [vec![1], vec![2, 3], vec![4], vec![7]]);
    }
}
