//! How kernels walk over tensors: axes in the order of memory, those that lie end to end made one.

use super::BLOCK;

/// Elements of an axis that are not worth a loop of their own.
const SHORT: usize = 16;

/// The most rows of a block for which its columns are made fewer.
const UPRIGHT: usize = 16;

/// The most axes that are left then.
pub const AXES: usize = 6;

/// Elements of a tensor in a slice: that of index i lies at `at` + Σ i[k] · stride[k].
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a, T> {
    pub cells: &'a [T],
    pub at: usize,
    /// One for each axis of the walk.
    pub strides: &'a [usize],
}

/// Sizes of axes, and for each operand its strides along them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    pub sizes: Vec<usize>,
    pub strides: Vec<Vec<usize>>,
}

impl Walk {
    /// A walk over `shape`, for operands with these strides, in the order in which the first of them lies in memory. It has two axes at least.
    /// `None` where it would have more than [`AXES`]. Where the last axis is short, and as many operands have the elements of the one before end to
    /// end, the two change places.
    pub fn new(shape: &[usize], operands: &[&[usize]]) -> Option<Walk> {
        let mut axes: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] != 1).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(operands[0][axis]));
        let mut walk = Walk { sizes: Vec::new(), strides: vec![Vec::new(); operands.len()] };
        for axis in axes {
            let joins = walk.sizes.last().is_some()
                && operands
                    .iter()
                    .zip(&walk.strides)
                    .all(|(of, strides)| strides.last().is_some_and(|&outer| outer == of[axis] * shape[axis]));
            if joins {
                *walk.sizes.last_mut()? *= shape[axis];
                walk.strides.iter_mut().zip(operands).for_each(|(strides, of)| {
                    strides.pop();
                    strides.push(of[axis]);
                });
            } else {
                walk.sizes.push(shape[axis]);
                walk.strides.iter_mut().zip(operands).for_each(|(strides, of)| strides.push(of[axis]));
            }
        }
        while walk.sizes.len() < 2 {
            walk.sizes.insert(0, 1);
            walk.strides.iter_mut().for_each(|strides| strides.insert(0, 0));
        }
        let last = walk.sizes.len() - 1;
        let end_to_end = |axis: usize| walk.strides.iter().filter(|strides| strides[axis] == 1).count();
        if last > 1 && walk.sizes[last] < SHORT.min(walk.sizes[last - 1]) && end_to_end(last) <= end_to_end(last - 1) {
            walk.sizes.swap(last - 1, last);
            walk.strides.iter_mut().for_each(|strides| strides.swap(last - 1, last));
        }
        (walk.sizes.len() <= AXES).then_some(walk)
    }
}

/// A piece of a walk: rows and columns of its last two axes, at an index of the others.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    index: [usize; AXES],
    axes: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Block {
    pub fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// Offset of its first element, and the strides of its rows and columns.
    #[inline(always)]
    pub fn place(&self, at: usize, strides: &[usize]) -> (usize, usize, usize) {
        let first = (0..self.axes).fold(at, |at, axis| at + self.index[axis] * strides[axis]);
        (first, strides[self.axes - 2], strides[self.axes - 1])
    }

    /// Its elements, row by row, to the front of `to`.
    #[inline(always)]
    pub fn read<T: Copy>(&self, from: &Strided<'_, T>, to: &mut [T; BLOCK]) {
        let (first, row, column) = self.place(from.at, from.strides);
        let to = &mut to[..self.count()];
        match column {
            0 if row == 0 => to.fill(from.cells[first]),
            1 if row == self.columns => to.copy_from_slice(&from.cells[first..][..to.len()]),
            _ => {
                for (y, to) in to.chunks_exact_mut(self.columns).enumerate() {
                    let cells = &from.cells[first + y * row..];
                    match column {
                        0 => to.fill(cells[0]),
                        1 => copy_run(&cells[..self.columns], to),
                        _ => {
                            let (last, to) = to.split_last_mut().expect("a block has columns");
                            for (to, cells) in to.iter_mut().zip(cells.chunks_exact(column)) {
                                *to = cells[0];
                            }
                            *last = cells[(self.columns - 1) * column];
                        }
                    }
                }
            }
        }
    }

    /// The reverse of [`Block::read`].
    #[inline(always)]
    pub fn write<T: Copy>(&self, from: &[T; BLOCK], to: &mut [T], at: usize, strides: &[usize]) {
        let (first, row, column) = self.place(at, strides);
        let from = &from[..self.count()];
        if column == 1 && row == self.columns {
            to[first..][..from.len()].copy_from_slice(from);
            return;
        }
        for (y, from) in from.chunks_exact(self.columns).enumerate() {
            let cells = &mut to[first + y * row..];
            if column == 1 {
                copy_run(from, &mut cells[..self.columns]);
            } else {
                let (&last, from) = from.split_last().expect("a block has columns");
                for (cells, &from) in cells.chunks_exact_mut(column.max(1)).zip(from) {
                    cells[0] = from;
                }
                cells[(self.columns - 1) * column] = last;
            }
        }
    }
}

/// Copies a few elements: faster than the function for many.
#[inline(always)]
fn copy_run<T: Copy>(from: &[T], to: &mut [T]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<4>(), to.as_chunks_mut::<4>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Whether rows of an operand with these strides lie side by side, as those of an image whose channels are planes elsewhere.
pub fn is_upright(strides: &[usize]) -> bool {
    strides[strides.len() - 2] == 1
}

/// The blocks of a walk, in order. What calls a closure for each is not always compiled with its caller's instructions: this is.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    sizes: &'a [usize],
    /// Of a block that is not cut short.
    full: [usize; 2],
    index: [usize; AXES],
    done: bool,
}

impl<'a> Blocks<'a> {
    /// Where some operand [is upright](is_upright), a block has several rows: what is read or written then stays in the cache until all of a line
    /// was.
    #[inline(always)]
    pub fn new(sizes: &'a [usize], upright: bool) -> Self {
        let axes = sizes.len();
        assert!((2..=AXES).contains(&axes));
        let (height, width) = (sizes[axes - 2], sizes[axes - 1]);
        let widest = if upright { BLOCK / height.clamp(1, UPRIGHT) } else { BLOCK };
        let columns = width.clamp(1, widest);
        let rows = (BLOCK / columns).min(height);
        Blocks { sizes, full: [rows, columns], index: [0; AXES], done: sizes.contains(&0) }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    #[inline(always)]
    fn next(&mut self) -> Option<Block> {
        if self.done {
            return None;
        }
        let (sizes, axes) = (self.sizes, self.sizes.len());
        let left = |axis: usize| sizes[axis] - self.index[axis];
        let (rows, columns) = (self.full[0].min(left(axes - 2)), self.full[1].min(left(axes - 1)));
        let block = Block { index: self.index, axes, rows, columns };
        // To the right, then down, then on along the outer axes.
        let mut axis = axes;
        loop {
            if axis == 0 {
                self.done = true;
                break;
            }
            axis -= 1;
            self.index[axis] += match axes - axis {
                1 => self.full[1],
                2 => self.full[0],
                _ => 1,
            };
            if self.index[axis] < sizes[axis] {
                break;
            }
            self.index[axis] = 0;
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_lie_end_to_end_are_one() {
        let walk = Walk::new(&[1, 3, 4, 5], &[&[60, 20, 5, 1], &[0, 20, 5, 1]]).unwrap();
        assert_eq!((walk.sizes, walk.strides), (vec![1, 60], vec![vec![0, 1], vec![0, 1]]));
        // A value for each channel of an image whose channels lie together.
        let walk = Walk::new(&[1, 8, 4, 5], &[&[160, 1, 40, 8], &[8, 1, 0, 0]]).unwrap();
        assert_eq!((walk.sizes, walk.strides), (vec![20, 8], vec![vec![8, 1], vec![0, 1]]));
        assert_eq!(Walk::new(&[], &[&[]]).unwrap().sizes, [1, 1]);
        assert_eq!(Walk::new(&[2; 7], &[&[1; 7]]), None);
    }

    #[test]
    fn every_element_is_visited_once() {
        for sizes in
            [vec![1, 1], vec![3, 5], vec![2, 3, 700], vec![40, 30], vec![2, 1, 3, 17, 5], vec![0, 4], vec![5, 300]]
        {
            let strides: Vec<usize> = (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
            let mut seen = vec![0; sizes.iter().product()];
            for upright in [false, true] {
                seen.fill(0);
                let mut count = 0;
                for block in Blocks::new(&sizes, upright) {
                    assert!(block.count() <= BLOCK);
                    count += block.count();
                    block.write(&[1; BLOCK], &mut seen, 0, &strides);
                }
                assert!(count == seen.len() && seen.iter().all(|&count| count == 1), "{sizes:?}");
            }
        }
    }
}
