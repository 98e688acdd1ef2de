//! How kernels walk over tensors: axes in the order of memory, those that lie end to end made one.

use super::BLOCK;

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
    /// `None` where it would have more than [`AXES`].
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
        match column {
            0 if row == 0 => to[..self.count()].fill(from.cells[first]),
            1 if row == self.columns => to[..self.count()].copy_from_slice(&from.cells[first..][..self.count()]),
            _ => {
                for (y, to) in to[..self.count()].chunks_exact_mut(self.columns).enumerate() {
                    let cells = &from.cells[first + y * row..];
                    match column {
                        0 => to.fill(cells[0]),
                        1 => to.copy_from_slice(&cells[..self.columns]),
                        _ => to.iter_mut().zip(cells.iter().step_by(column)).for_each(|(to, &cell)| *to = cell),
                    }
                }
            }
        }
    }

    /// The reverse of [`Block::read`], through what `value` makes of each.
    #[inline(always)]
    pub fn write<S: Copy, T>(
        &self,
        from: &[S; BLOCK],
        to: &mut [T],
        at: usize,
        strides: &[usize],
        value: impl Fn(S) -> T,
    ) {
        let (first, row, column) = self.place(at, strides);
        for (y, from) in from[..self.count()].chunks_exact(self.columns).enumerate() {
            let cells = to[first + y * row..].iter_mut().step_by(column.max(1));
            cells.zip(from).for_each(|(cell, &from)| *cell = value(from));
        }
    }
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
    #[inline(always)]
    pub fn new(sizes: &'a [usize]) -> Self {
        let axes = sizes.len();
        assert!((2..=AXES).contains(&axes));
        let (height, width) = (sizes[axes - 2], sizes[axes - 1]);
        let columns = width.clamp(1, BLOCK);
        let rows = if columns < width { 1 } else { (BLOCK / columns).min(height) };
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
            for block in Blocks::new(&sizes) {
                assert!(block.count() <= BLOCK);
                block.write(&[1; BLOCK], &mut seen, 0, &strides, |one| one);
            }
            assert!(seen.iter().all(|&count| count == 1), "{sizes:?}");
        }
    }
}
