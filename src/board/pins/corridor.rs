//! When a decision says that the way ahead isn't free.

use crate::scene::rule::{COLUMNS, TYPES};

/// The four middle columns, at whose narrowest free space ahead is told everywhere.
const AHEAD: std::ops::Range<usize> = 6..10;
/// Zones of a band: left, centre, right.
const SIDES: usize = 3;

/// How far the centre of the corridor is looked at: the bands up to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    Near,
    #[default]
    Middle,
    Far,
}

/// What counts as a hazard ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corridor {
    pub reach: Reach,
    /// Less free space than this, in thousandths of the height, is too little. With 0 free space is not looked at.
    pub free_permille: u16,
}

impl Default for Corridor {
    /// As far as the middle band, and a near band that is free: it ends a quarter of the height above the bottom edge.
    fn default() -> Self {
        Corridor { reach: Reach::Middle, free_permille: 250 }
    }
}

impl Corridor {
    /// Whether a decision with this free space, that calls the zone x type pairs of which `calls` says so, shows a hazard ahead.
    pub fn is_blocked(&self, free_permille: &[u16; COLUMNS], calls: impl Fn(usize) -> bool) -> bool {
        let bands = 0..=self.reach as usize;
        let mut centre = bands.flat_map(|band| (0..TYPES).map(move |kind| (band * SIDES + 1) * TYPES + kind));
        centre.any(calls) || free_permille[AHEAD].iter().any(|&free| free < self.free_permille)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::PAIR_NAMES;
    use crate::scene::rule::PAIRS;

    const FREE: [u16; COLUMNS] = [500; COLUMNS];

    fn blocking(reach: Reach) -> Vec<&'static str> {
        let corridor = Corridor { reach, free_permille: 250 };
        (0..PAIRS).filter(|&one| corridor.is_blocked(&FREE, |pair| pair == one)).map(|pair| PAIR_NAMES[pair]).collect()
    }

    #[test]
    fn the_centre_is_looked_at_as_far_as_asked() {
        let near = ["near_centre.vehicle", "near_centre.person", "near_centre.structure"];
        let middle = ["middle_centre.vehicle", "middle_centre.person", "middle_centre.structure"];
        let far = ["far_centre.vehicle", "far_centre.person", "far_centre.structure"];
        assert_eq!(blocking(Reach::Near), near);
        assert_eq!(blocking(Reach::Middle), [near, middle].concat());
        assert_eq!(blocking(Reach::Far), [near, middle, far].concat());
    }

    #[test]
    fn free_space_is_that_of_the_middle_columns_at_its_narrowest() {
        let corridor = Corridor::default();
        for column in 0..COLUMNS {
            let mut free = FREE;
            free[column] = 250;
            assert!(!corridor.is_blocked(&free, |_| false));
            free[column] = 249;
            assert_eq!(corridor.is_blocked(&free, |_| false), (6..10).contains(&column), "column {column}");
        }
        assert!(!Corridor { free_permille: 0, ..corridor }.is_blocked(&[0; COLUMNS], |_| false));
    }
}
