//! A set of classes, as the header carries it.

/// Classes of a label set by index, 0..64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(pub u64);

impl ClassSet {
    /// Most classes that a label set on the wire may have.
    pub const MAX_CLASSES: u8 = 64;

    /// The classes that occur in `cells`. `None` when a cell holds a class of 64 or more.
    pub fn of(cells: &[u8]) -> Option<Self> {
        let mut bits = 0u64;
        for &class in cells {
            bits |= 1u64.checked_shl(class as u32)?;
        }
        Some(ClassSet(bits))
    }

    pub const fn contains(self, class: u8) -> bool {
        class < 64 && self.0 >> class & 1 == 1
    }

    /// The set but for `class`.
    pub const fn without(self, class: u8) -> Self {
        if class < 64 { ClassSet(self.0 & !(1 << class)) } else { self }
    }

    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// No class of `classes` or above.
    pub const fn is_below(self, classes: u8) -> bool {
        classes >= 64 || self.0 >> classes == 0
    }

    /// The classes in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |&class| self.contains(class))
    }

    /// Bytes that the set takes on the wire for a label set of `classes` classes.
    pub const fn wire_len(classes: u8) -> usize {
        classes.div_ceil(8) as usize
    }

    pub(super) fn emit(self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (self.0 >> (8 * index)) as u8;
        }
    }

    /// `bytes` are at most 8, little-endian.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let bits = bytes.iter().rev().fold(0u64, |bits, &byte| bits << 8 | byte as u64);
        ClassSet(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_of_cells() {
        let set = ClassSet::of(&[3, 3, 0, 63]).unwrap();
        assert_eq!(set.iter().collect::<std::vec::Vec<_>>(), [0, 3, 63]);
        assert_eq!(set.len(), 3);
        assert!(!set.is_below(63) && set.is_below(64));
        assert_eq!(ClassSet::of(&[64]), None);
        let mut bytes = [0; 8];
        set.emit(&mut bytes);
        assert_eq!(ClassSet::parse(&bytes), set);
        assert_eq!(ClassSet::wire_len(12), 2);
    }
}
