//! One block of memory for everything that a plan's steps write, its size known before the first run.

use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// Offsets and sizes are multiples of it: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

#[derive(Debug, Clone)]
pub struct Arena(Vec<Line>);

impl Arena {
    pub fn new(bytes: usize) -> Self {
        Arena(vec![Line::zeroed(); bytes.div_ceil(ALIGN)])
    }

    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// The range `own` to write, and all else to read.
    pub fn split(&mut self, own: &Range<usize>) -> (Rest<'_>, &mut [u8]) {
        let (before, from) = self.bytes_mut().split_at_mut(own.start);
        let (own_bytes, after) = from.split_at_mut(own.len());
        (Rest { before, after, end: own.end }, own_bytes)
    }
}

/// An arena without the range that is being written.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a> {
    before: &'a [u8],
    after: &'a [u8],
    /// Where `after` begins in the arena.
    end: usize,
}

impl<'a> Rest<'a> {
    /// # Panics
    /// If `range` touches what is being written: no step of a plan reads what it writes.
    pub fn get(&self, range: &Range<usize>) -> &'a [u8] {
        if range.end <= self.before.len() {
            &self.before[range.clone()]
        } else {
            assert!(range.start >= self.end);
            &self.after[range.start - self.end..range.end - self.end]
        }
    }
}

/// A piece of an arena from the step that first writes it to the one that last reads it, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

/// An offset for each lease, such that those that live at the same step don't touch; and the bytes that it takes in all.
/// The largest are placed first, each as low as it goes.
pub fn place(leases: &[Lease]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..leases.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(leases[index].bytes), leases[index].first, index));
    let mut offsets = vec![0; leases.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let own = leases[index];
        let bytes = own.bytes.next_multiple_of(ALIGN);
        let mut taken: Vec<(usize, usize)> = (placed.iter())
            .filter(|&&other| leases[other].first <= own.last && own.first <= leases[other].last)
            .map(|&other| (offsets[other], offsets[other] + leases[other].bytes.next_multiple_of(ALIGN)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if start >= offset + bytes {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        total = total.max(offset + bytes);
        placed.push(index);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_together_lies_apart() {
        let lease = |bytes, first, last| Lease { bytes, first, last };
        let leases = [lease(100, 0, 1), lease(200, 1, 2), lease(100, 2, 3), lease(1, 0, 3), lease(300, 4, 5)];
        let (offsets, total) = place(&leases);
        for (i, a) in leases.iter().enumerate() {
            for (j, b) in leases.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                assert!(!together || apart, "{i} and {j}");
            }
        }
        // 256 + 128 + 64: the first and the third share their place.
        assert_eq!((total, offsets[0]), (448, offsets[2]));
    }

    #[test]
    fn the_rest_is_what_is_not_written() {
        let mut arena = Arena::new(200);
        arena.bytes_mut()[10] = 7;
        arena.bytes_mut()[130] = 9;
        let (rest, own) = arena.split(&(64..128));
        own.fill(1);
        assert_eq!((rest.get(&(10..11)), rest.get(&(130..131)), own.len()), (&[7][..], &[9][..], 64));
    }
}
