//! How kernels walk over tensors: axes in the order of memory, those that lie end to end made one.

use super::BLOCK;
use bytemuck::Pod;

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
    pub fn read<T: Pod>(&self, from: &Strided<'_, T>, to: &mut [T; BLOCK]) {
        let (first, row, column) = self.place(from.at, from.strides);
        let to = &mut to[..self.count()];
        match column {
            0 if row == 0 => to.fill(from.cells[first]),
            1 if row == self.columns => to.copy_from_slice(&from.cells[first..][..to.len()]),
            _ if row == 1 && column > 1 && self.is_large() => {
                turn(&from.cells[first..], column, to, self.columns, [self.columns, self.rows]);
            }
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

    /// Copies its elements from `from` to `to`, if rows of the one are columns of the other.
    #[inline(always)]
    pub fn turn<T: Pod>(&self, from: &Strided<'_, T>, to: &mut [T], at: usize, strides: &[usize]) -> bool {
        let ((first, row, column), (to_first, to_row, to_column)) =
            (self.place(from.at, from.strides), self.place(at, strides));
        if !self.is_large() {
            return false;
        }
        let (from, to) = (&from.cells[first..], &mut to[to_first..]);
        match (row, column, to_row, to_column) {
            (1, 2.., 1.., 1) => turn(from, column, to, to_row, [self.columns, self.rows]),
            (1.., 1, 1, 2..) => turn(from, row, to, to_column, [self.rows, self.columns]),
            _ => return false,
        }
        true
    }

    /// Whether a tile goes into it.
    #[inline(always)]
    fn is_large(&self) -> bool {
        self.rows >= TILE && self.columns >= TILE
    }

    /// The reverse of [`Block::read`].
    #[inline(always)]
    pub fn write<T: Pod>(&self, from: &[T; BLOCK], to: &mut [T], at: usize, strides: &[usize]) {
        let (first, row, column) = self.place(at, strides);
        let from = &from[..self.count()];
        if column == 1 && row == self.columns {
            to[first..][..from.len()].copy_from_slice(from);
            return;
        }
        if row == 1 && column > 1 && self.is_large() {
            turn(from, self.columns, &mut to[first..], column, [self.rows, self.columns]);
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

/// Rows become columns: element x of row y of `from`, whose rows are `from_pitch` apart, is element y of row x of `to`. Tile by tile, along the
/// rows that lie farther apart: few lines of the cache are touched in turn, and all of each.
#[inline(always)]
fn turn<T: Pod>(from: &[T], from_pitch: usize, to: &mut [T], to_pitch: usize, [rows, columns]: [usize; 2]) {
    let (even_rows, even_columns) = (rows - rows % TILE, columns - columns % TILE);
    if from_pitch > to_pitch {
        let mut y = 0;
        while y < even_rows {
            let row = |row: usize| from[(y + row) * from_pitch..][..even_columns].as_chunks::<TILE>().0;
            let mut at = y;
            for (((&a, &b), &c), &d) in row(0).iter().zip(row(1)).zip(row(2)).zip(row(3)) {
                let to = &mut to[at..][..3 * to_pitch + TILE];
                let [a, b, c, d] = turned([a, b, c, d]);
                to[..TILE].copy_from_slice(&a);
                to[to_pitch..][..TILE].copy_from_slice(&b);
                to[2 * to_pitch..][..TILE].copy_from_slice(&c);
                to[3 * to_pitch..][..TILE].copy_from_slice(&d);
                at += TILE * to_pitch;
            }
            y += TILE;
        }
    } else {
        let mut x = 0;
        while x < even_columns {
            let (a, rest) = to[x * to_pitch..].split_at_mut(to_pitch);
            let (b, rest) = rest.split_at_mut(to_pitch);
            let (c, d) = rest.split_at_mut(to_pitch);
            let mut at = x;
            let [a, b, c, d] = [a, b, c, d].map(|row| row[..even_rows].as_chunks_mut::<TILE>().0);
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                let from = &from[at..][..3 * from_pitch + TILE];
                let row = |row: usize| {
                    let mut tile = [T::zeroed(); TILE];
                    tile.copy_from_slice(&from[row * from_pitch..][..TILE]);
                    tile
                };
                [*a, *b, *c, *d] = turned([row(0), row(1), row(2), row(3)]);
                at += TILE * from_pitch;
            }
            x += TILE;
        }
    }
    let mut y = 0;
    while y < rows {
        let mut x = if y < even_rows { even_columns } else { 0 };
        while x < columns {
            to[x * to_pitch + y] = from[y * from_pitch + x];
            x += 1;
        }
        y += 1;
    }
}

/// Elements of a row of a tile.
const TILE: usize = 4;

#[inline(always)]
fn turned<T: Pod>([a, b, c, d]: [[T; TILE]; TILE]) -> [[T; TILE]; TILE] {
    if size_of::<T>() != 1 {
        return [
            [a[0], b[0], c[0], d[0]],
            [a[1], b[1], c[1], d[1]],
            [a[2], b[2], c[2], d[2]],
            [a[3], b[3], c[3], d[3]],
        ];
    }
    // Bytes change places within words.
    let word = |row: [T; TILE]| u32::from_le_bytes(bytemuck::cast(row));
    let [a, b] = exchanged(word(a), word(b), 8, 0x00ff_00ff);
    let [c, d] = exchanged(word(c), word(d), 8, 0x00ff_00ff);
    let ([a, c], [b, d]) = (exchanged(a, c, 16, 0x0000_ffff), exchanged(b, d, 16, 0x0000_ffff));
    let row = |word: u32| bytemuck::cast(word.to_le_bytes());
    [row(a), row(b), row(c), row(d)]
}

/// Both words, where what the mask has of the second and what lies `shift` bits above it in the first have changed places.
#[inline(always)]
fn exchanged(first: u32, second: u32, shift: u32, mask: u32) -> [u32; 2] {
    let change = ((first >> shift) ^ second) & mask;
    [first ^ (change << shift), second ^ change]
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
        // Whole tiles.
        let even = |count: usize| if upright && count > TILE { count - count % TILE } else { count };
        let widest = if upright { even(BLOCK / height.clamp(1, UPRIGHT)) } else { BLOCK };
        let columns = width.clamp(1, widest);
        let rows = even(BLOCK / columns).min(height);
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

    #[test]
    fn tiles_and_what_is_left_of_them_change_places() {
        fn check<T: Pod + PartialEq + std::fmt::Debug>(value: impl Fn(usize) -> T) {
            for (rows, columns) in [(4, 4), (12, 20), (7, 9), (5, 34), (21, 12)] {
                let (from_pitch, to_pitch) = (columns + 3, rows + 2);
                let from: Vec<T> = (0..rows * from_pitch).map(&value).collect();
                let mut to = vec![value(250); columns * to_pitch];
                turn(&from, from_pitch, &mut to, to_pitch, [rows, columns]);
                for (at, &found) in to.iter().enumerate() {
                    let (x, y) = (at / to_pitch, at % to_pitch);
                    assert_eq!(found, if y < rows { from[y * from_pitch + x] } else { value(250) });
                }
            }
        }
        check(|at| (at % 249) as u8);
        check(|at| at as u16);
        check(|at| at as f32);
        check(|at| at as u64);
    }

    #[test]
    fn blocks_of_planes_and_pixels_are_read_and_written_alike() {
        // 6 channels of 5 x 7 pixels, as planes and with the channels of a pixel together.
        for (channels, pixels) in [(12, 700), (6, 35), (3, 40), (40, 9)] {
            let planes: Vec<u8> = (0..channels * pixels).map(|at| (at % 251) as u8).collect();
            for sizes in [[channels, pixels], [pixels, channels]] {
                let strides = |together: bool| match (together, sizes[0] == channels) {
                    (true, true) => [1, channels + 2],
                    (true, false) => [channels + 2, 1],
                    (false, true) => [pixels, 1],
                    (false, false) => [1, pixels],
                };
                let (mut together, mut back) = (vec![0u8; pixels * (channels + 2)], vec![0u8; planes.len()]);
                let mut values = [0; BLOCK];
                for block in Blocks::new(&sizes, true) {
                    block.read(&Strided { cells: &planes, at: 0, strides: &strides(false) }, &mut values);
                    block.write(&values, &mut together, 0, &strides(true));
                }
                for block in Blocks::new(&sizes, true) {
                    block.read(&Strided { cells: &together, at: 0, strides: &strides(true) }, &mut values);
                    block.write(&values, &mut back, 0, &strides(false));
                }
                assert_eq!(back, planes);
            }
        }
    }
}
