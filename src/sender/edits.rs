//! Changes of a map that leave alone what the rule reads of it.

use crate::scene::rule::Reading;
use crate::scene::{ClassMap, Tally};

/// New classes for some cells, all or none of them.
pub(super) type Edit = Vec<(u32, u8)>;

/// Makes the edits, but for those that would change the reading. Edits that would together are halved, so many times at most, to find which.
pub(super) fn apply(map: &mut ClassMap, tally: &mut Tally<'_>, edits: &[Edit], reading: &Reading, halvings: u32) {
    let mut before = Vec::new();
    for &(cell, class) in edits.iter().flatten() {
        let old = std::mem::replace(&mut map.cells[cell as usize], class);
        tally.change(cell as usize, old, class);
        before.push((cell as usize, old));
    }
    if tally.reading() == *reading {
        return;
    }
    for (cell, old) in before.into_iter().rev() {
        tally.change(cell, map.cells[cell], old);
        map.cells[cell] = old;
    }
    if edits.len() > 1 && halvings > 0 {
        let (some, others) = edits.split_at(edits.len() / 2);
        apply(map, tally, some, reading, halvings - 1);
        apply(map, tally, others, reading, halvings - 1);
    }
}
