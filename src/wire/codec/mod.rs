//! The map codec: lossless, tile by tile, in integers. `docs/codec.md` describes it for another implementation.
//!
//! A cell is predicted from the cells before it in its tile, from its place in the frame, and from the present set. Where the neighbours
//! agree a table tells how likely they are to go on; where they differ a small network with baked weights does. Either end runs the same
//! [`Model::code`], one with an encoder, one with a decoder.

mod changes;
mod coder;
mod contexts;
mod logistic;
mod net;
mod prior;

use super::{ClassSet, Grid, Patch};
use coder::{Coder, Decoder, Encoder};
use contexts::{MAX_WIDTH, MOST_ACTIVE, Window};
use core::fmt;
pub use prior::Prior;

/// Why cells can't be coded. Bytes can always be decoded: damage shows in the tile's checksum alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The tile is empty, reaches over the edge of the grid, or has a side of more than 1024 cells.
    Patch(Patch),
    /// The slice of cells isn't as long as the grid has cells.
    Cells { need: usize, have: usize },
    /// No class is present.
    NothingPresent,
    /// A cell of the tile holds a class outside the present set.
    Class(u8),
    /// The tile does not fit into the `have` bytes of the buffer.
    Buffer { have: usize },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Patch(patch) => write!(
                f,
                "a tile of {}x{} cells at ({}, {}) is empty, outside the grid or wider than 1024",
                patch.width, patch.height, patch.x, patch.y
            ),
            CodecError::Cells { need, have } => write!(f, "the grid has {need} cells, the map has {have}"),
            CodecError::NothingPresent => write!(f, "the present set is empty"),
            CodecError::Class(class) => write!(f, "class {class} occurs but is not in the present set"),
            CodecError::Buffer { have } => write!(f, "a tile does not fit into {have} bytes"),
        }
    }
}

impl core::error::Error for CodecError {}

/// All mutable state of the codec, about 16 KiB. One serves any number of tiles, one after the other.
pub struct Scratch {
    window: Window,
    row: [u8; MAX_WIDTH],
}

impl Scratch {
    pub const fn new() -> Self {
        Scratch { window: Window::new(), row: [0; MAX_WIDTH] }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// The chance, in 1/65536, that a tile is coded with the prior and not plainly.
const MODELLED: u32 = 65535;

/// Most bytes that a tile of `cells` cells can take when `present` classes are present: those of plain coding.
pub const fn max_len(cells: usize, present: usize) -> usize {
    let bits = (usize::BITS - present.saturating_sub(1).leading_zeros()) as usize;
    // Two bytes say that it is plain, one or two end the stream, and rounding loses less than one in a tile of 1024 x 1024.
    (cells * bits).div_ceil(8) + 6
}

/// Codes the tile `patch` of the map `cells` (row-major, the whole grid) into `out`, and returns its length in bytes, which may be 0.
///
/// The length is never more than [`max_len`]. Which prior was used is not in the bytes.
///
/// # Errors
/// See [`CodecError`].
pub fn encode_tile(
    cells: &[u8],
    grid: Grid,
    patch: Patch,
    present: ClassSet,
    prior: &Prior,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, CodecError> {
    check(cells.len(), grid, patch, present)?;
    if let Some(cell) = patch.indices(grid).find(|&cell| !present.contains(cells[cell])) {
        return Err(CodecError::Class(cells[cell]));
    }
    let have = out.len();
    let limit = have.min(max_len(patch.cells(), present.len()));
    let model = Model::new(prior, present, grid, patch);
    for plain in [false, true] {
        let mut encoder = Encoder::new(&mut out[..limit]);
        encoder.bit(MODELLED, !plain);
        for y in 0..patch.height {
            let row = &mut scratch.row[..patch.width as usize];
            for (x, cell) in row.iter_mut().enumerate() {
                *cell = cells[patch.at(grid, x, y as usize)];
            }
            if plain {
                plain_row(&mut encoder, row, present);
            } else {
                model.code(&mut encoder, y, row, &mut scratch.window);
            }
            if encoder.is_full() {
                break;
            }
        }
        if let Some(len) = encoder.finish() {
            return Ok(len);
        }
    }
    Err(CodecError::Buffer { have })
}

/// Codes the tiles `patches` of the map `cells` as changes since the map `reference` (both row-major, the whole grid) into `out`, one after the other, and
/// returns their length in bytes. `None` where that would be more than [`max_len`] of their cells together, or than `out` holds.
///
/// # Errors
/// See [`CodecError`]; of a cell that didn't change, any class will do.
pub fn encode_changes(
    cells: &[u8],
    reference: &[u8],
    grid: Grid,
    patches: impl Iterator<Item = Patch> + Clone,
    present: ClassSet,
    out: &mut [u8],
) -> Result<Option<usize>, CodecError> {
    let mut most = 0;
    for patch in patches.clone() {
        check(cells.len(), grid, patch, present)?;
        check(reference.len(), grid, patch, present)?;
        most += patch.cells();
        for at in patch.indices(grid) {
            if cells[at] != reference[at] && !present.contains(cells[at]) {
                return Err(CodecError::Class(cells[at]));
            }
        }
    }
    let limit = out.len().min(max_len(most, present.len()));
    let mut encoder = Encoder::new(&mut out[..limit]);
    for patch in patches {
        changes::code(&mut encoder, grid, patch, present, reference, cells);
    }
    Ok(encoder.finish())
}

/// Decodes `bytes` into the cells of the tiles `patches`; the rest of `cells` is left as it is.
///
/// Any bytes decode, to classes of the present set and of the reference. All but the bytes must be what the encoder was given.
///
/// # Errors
/// [`CodecError::Patch`], [`CodecError::Cells`], [`CodecError::NothingPresent`]; `cells` is then as it was.
pub fn decode_changes(
    bytes: &[u8],
    reference: &[u8],
    grid: Grid,
    patches: impl Iterator<Item = Patch> + Clone,
    present: ClassSet,
    cells: &mut [u8],
) -> Result<(), CodecError> {
    for patch in patches.clone() {
        check(cells.len(), grid, patch, present)?;
        check(reference.len(), grid, patch, present)?;
    }
    let mut decoder = Decoder::new(bytes);
    for patch in patches {
        changes::code(&mut decoder, grid, patch, present, reference, &mut *cells);
    }
    Ok(())
}

/// Decodes `bytes` into the cells of `patch`; the rest of `cells` (row-major, the whole grid) is left as it is.
///
/// Any bytes decode to classes of the present set. `present` and `prior` must be those of the encoder.
///
/// # Errors
/// [`CodecError::Patch`], [`CodecError::Cells`], [`CodecError::NothingPresent`].
pub fn decode_tile(
    bytes: &[u8],
    grid: Grid,
    patch: Patch,
    present: ClassSet,
    prior: &Prior,
    scratch: &mut Scratch,
    cells: &mut [u8],
) -> Result<(), CodecError> {
    check(cells.len(), grid, patch, present)?;
    let model = Model::new(prior, present, grid, patch);
    let mut decoder = Decoder::new(bytes);
    let modelled = decoder.bit(MODELLED, true);
    for y in 0..patch.height {
        let row = &mut scratch.row[..patch.width as usize];
        if modelled {
            model.code(&mut decoder, y, row, &mut scratch.window);
        } else {
            plain_row(&mut decoder, row, present);
        }
        for (x, &class) in row.iter().enumerate() {
            cells[patch.at(grid, x, y as usize)] = class;
        }
    }
    Ok(())
}

fn check(have: usize, grid: Grid, patch: Patch, present: ClassSet) -> Result<(), CodecError> {
    if !patch.is_inside(grid) || patch.width as usize > MAX_WIDTH || patch.height as usize > MAX_WIDTH {
        return Err(CodecError::Patch(patch));
    }
    if have != grid.cells() {
        return Err(CodecError::Cells { need: grid.cells(), have });
    }
    if present.is_empty() {
        return Err(CodecError::NothingPresent);
    }
    Ok(())
}

/// What predicts the cells of one tile.
struct Model<'a> {
    prior: &'a Prior,
    present: ClassSet,
    grid: Grid,
    patch: Patch,
    /// What the network's first layer adds up for every cell of the tile.
    base: net::Row,
}

impl<'a> Model<'a> {
    fn new(prior: &'a Prior, present: ClassSet, grid: Grid, patch: Patch) -> Self {
        let mut base = prior.shape.bias;
        if let Some((classes, _)) = prior.classes {
            classes.add_present(&mut base, present);
        }
        Model { prior, present, grid, patch, base }
    }

    /// Codes row `y` of the tile. Rows come in order.
    fn code<C: Coder>(&self, coder: &mut C, y: u16, row: &mut [u8], window: &mut Window) {
        if y == 0 {
            window.begin(row.len());
        } else {
            window.next_row();
        }
        let height = self.grid.height as usize;
        let frame_y = self.patch.y as usize + y as usize * self.patch.down as usize;
        let place_row = frame_y * net::ROWS / height * net::COLUMNS;
        let flat_row = frame_y * net::FLAT_ROWS / height * net::COLUMNS;
        // (x * COLUMNS) / width for each x in turn, without a division a cell.
        let (width, step) = (self.grid.width as usize, self.patch.across as usize * net::COLUMNS);
        let mut column = self.patch.x as usize * net::COLUMNS / width;
        let mut rest = self.patch.x as usize * net::COLUMNS % width;
        for (x, cell) in row.iter_mut().enumerate() {
            let flat = window.flat(x);
            *cell = match flat {
                Some(class) if self.goes_on(coder, class, window.border(x), flat_row + column, *cell) => class,
                _ => self.predicted(coder, x, flat.is_some(), place_row + column, *cell, window),
            };
            window.put(x, *cell);
            rest += step;
            while rest >= width {
                rest -= width;
                column += 1;
            }
        }
    }

    /// Whether a flat cell is of its neighbours' class.
    #[inline]
    fn goes_on<C: Coder>(&self, coder: &mut C, class: u8, border: usize, place: usize, want: u8) -> bool {
        if self.present.len() == 1 {
            return true;
        }
        let mut logit = self.prior.flat_border[border.min(contexts::BORDERS - 1)] as i32;
        if let Some((_, flat)) = self.prior.classes {
            logit += flat.get(class as usize).and_then(|places| places.get(place)).map_or(0, |&extra| extra as i32);
        }
        coder.bit(logistic::probability(logit), want == class)
    }

    /// A cell whose neighbours differ; or, when `born`, one that is known not to be of their one class.
    fn predicted<C: Coder>(&self, coder: &mut C, x: usize, born: bool, place: usize, want: u8, window: &Window) -> u8 {
        let mut active = [0; MOST_ACTIVE];
        let (candidates, count) = window.ranks(x, &mut active);
        let mut sum = self.base;
        if let Some((classes, _)) = self.prior.classes {
            classes.add_cell(&mut sum, &candidates, place);
        }
        let hidden = self.prior.shape.hidden(&sum, &active[..count.min(MOST_ACTIVE)]);
        let mut left = self.present;
        for (rank, &class) in candidates.classes[..candidates.len].iter().enumerate() {
            left.0 &= !(1 << class.min(63));
            if born && rank == 0 {
                continue;
            }
            if left.is_empty() {
                return class;
            }
            let p = logistic::probability(self.prior.shape.candidate_logit(&hidden, rank));
            if coder.bit(p, want == class) {
                return class;
            }
        }
        self.escaped(coder, left, &hidden, want)
    }

    /// A class that is none of the candidates: one of `left`, which isn't empty.
    fn escaped<C: Coder>(&self, coder: &mut C, left: ClassSet, hidden: &net::Hidden, want: u8) -> u8 {
        let mut logits = [0; 64];
        if let Some((classes, _)) = self.prior.classes {
            for (logit, class) in logits.iter_mut().zip(left.iter()) {
                *logit = classes.escape_logit(hidden, class);
            }
        }
        let logits = &logits[..left.len()];
        let greatest = logits.iter().copied().max().unwrap_or(0);
        let mut weights = [0; 64];
        for (weight, &logit) in weights.iter_mut().zip(logits) {
            *weight = logistic::weight(greatest.saturating_sub(logit));
        }
        one_of(coder, left, &weights[..logits.len()], want)
    }
}

/// Codes a row without a model: every present class is as likely as any other.
fn plain_row<C: Coder>(coder: &mut C, row: &mut [u8], present: ClassSet) {
    for cell in row {
        *cell = one_of(coder, present, &[1; 64][..present.len()], *cell);
    }
}

/// One class of `set`, which isn't empty, by the weights of its classes in ascending order.
fn one_of<C: Coder>(coder: &mut C, set: ClassSet, weights: &[u32], want: u8) -> u8 {
    let mut index = 0;
    if weights.len() > 1 {
        let wanted = set.iter().position(|class| class == want).unwrap_or(0);
        index = coder.symbol(weights, wanted);
    }
    set.iter().nth(index).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// A multiplicative generator: the same maps on every machine.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) % bound as u64) as u32
        }
    }

    /// Rectangles on rectangles, as streets are, over `classes` classes; with some specks.
    fn blocks(grid: Grid, classes: u8, dice: &mut Dice) -> Vec<u8> {
        let (width, height) = (grid.width as u32, grid.height as u32);
        let mut cells = vec![0; grid.cells()];
        for _ in 0..12 {
            let class = dice.below(classes as u32) as u8;
            let (x0, y0) = (dice.below(width), dice.below(height));
            let (x1, y1) = (x0 + 1 + dice.below(width - x0), y0 + 1 + dice.below(height - y0));
            for y in y0..y1 {
                cells[(y * width + x0) as usize..(y * width + x1) as usize].fill(class);
            }
        }
        for _ in 0..dice.below(5) {
            let at = dice.below(width * height) as usize;
            cells[at] = dice.below(classes as u32) as u8;
        }
        cells
    }

    /// Codes `patch`, decodes it into a map of other cells, and returns its length.
    fn there_and_back(cells: &[u8], grid: Grid, patch: Patch, present: ClassSet, label_set: u16) -> usize {
        let prior = Prior::for_label_set(label_set, grid);
        let mut scratch = Scratch::new();
        let mut out = vec![0x5a; max_len(patch.cells(), present.len())];
        let len = encode_tile(cells, grid, patch, present, prior, &mut scratch, &mut out).unwrap();
        let mut back = vec![200; grid.cells()];
        decode_tile(&out[..len], grid, patch, present, prior, &mut scratch, &mut back).unwrap();
        let mut is_inside = vec![false; grid.cells()];
        patch.indices(grid).for_each(|cell| is_inside[cell] = true);
        for (at, (&before, &after)) in cells.iter().zip(&back).enumerate() {
            assert_eq!(after, if is_inside[at] { before } else { 200 }, "cell {at} of {grid} in {patch:?}");
        }
        len
    }

    #[test]
    fn blocks_of_any_size_come_back() {
        let mut dice = Dice(7);
        for round in 0..300 {
            let side = if round % 10 == 0 { 200 } else { 24 };
            let grid = Grid::new(1 + dice.below(side) as u16, 1 + dice.below(side) as u16);
            let classes = 1 + dice.below(if round % 3 == 0 { 64 } else { 12 }) as u8;
            let cells = blocks(grid, classes, &mut dice);
            let (x, y) = (dice.below(grid.width as u32) as u16, dice.below(grid.height as u32) as u16);
            let width = 1 + dice.below((grid.width - x) as u32) as u16;
            let height = 1 + dice.below((grid.height - y) as u32) as u16;
            // Classes that don't occur may be present too.
            let present = ClassSet(ClassSet::of(&cells).unwrap().0 | 1 << dice.below(64));
            there_and_back(&cells, grid, Patch::block(x, y, width, height), present, (round % 2) as u16);
        }
    }

    #[test]
    fn changes_come_back_whatever_the_reference() {
        let mut dice = Dice(17);
        let (mut leant, mut alone, mut refused) = (0, 0, 0);
        for round in 0..300 {
            let grid = Grid::new(2 + dice.below(80) as u16, 2 + dice.below(60) as u16);
            let Grid { width, height } = grid;
            // The upper left tile of four, and the lower right one.
            let patches = [
                Patch::block(0, 0, width / 2, height / 2),
                Patch::block(width / 2, height / 2, width - width / 2, height - height / 2),
            ];
            let classes = 1 + dice.below(if round % 3 == 0 { 64 } else { 12 }) as u8;
            let reference = blocks(grid, classes, &mut dice);
            let mut cells = match round % 4 {
                0 => blocks(grid, classes, &mut dice),
                1 => (0..grid.cells()).map(|_| dice.below(64) as u8).collect(),
                _ => reference.clone(),
            };
            for _ in 0..dice.below(20) {
                let at = dice.below(grid.cells() as u32) as usize;
                cells[at] = dice.below(classes as u32) as u8;
            }
            let present = ClassSet::of(&cells).unwrap();
            let mut out = vec![0x5a; max_len(grid.cells(), present.len())];
            let patches = || patches.into_iter();
            let Some(len) = encode_changes(&cells, &reference, grid, patches(), present, &mut out).unwrap() else {
                assert!(round % 4 < 2, "a few changes take more than the whole");
                refused += 1;
                continue;
            };
            let mut back = vec![200; grid.cells()];
            decode_changes(&out[..len], &reference, grid, patches(), present, &mut back).unwrap();
            let mut is_inside = vec![false; grid.cells()];
            patches().flat_map(|patch| patch.indices(grid)).for_each(|cell| is_inside[cell] = true);
            for (at, (&sent, &came)) in cells.iter().zip(&back).enumerate() {
                assert_eq!(came, if is_inside[at] { sent } else { 200 });
            }
            if round % 4 > 1 {
                leant += len;
                alone += patches().map(|patch| there_and_back(&cells, grid, patch, present, 1)).sum::<usize>();
            }
            // Any bytes decode.
            out.iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
            decode_changes(&out, &reference, grid, patches(), present, &mut back).unwrap();
            let is_known = |at: usize| present.contains(back[at]) || back[at] == reference[at];
            assert!(patches().all(|patch| patch.indices(grid).all(is_known)));
        }
        assert!(2 * leant < alone, "{leant} of {alone}");
        assert!(refused > 10, "{refused}");
    }

    #[test]
    fn noise_of_64_classes_stays_near_six_bits_a_cell() {
        let mut dice = Dice(11);
        let grid = Grid::new(1024, 20);
        let cells: Vec<u8> = (0..grid.cells()).map(|_| dice.below(64) as u8).collect();
        let all = Patch::block(0, 0, grid.width, grid.height);
        let len = there_and_back(&cells, grid, all, ClassSet(u64::MAX), 1);
        assert!(len <= grid.cells() * 6 / 8 + 6, "{len}");
    }

    #[test]
    fn degenerate_tiles() {
        let grid = Grid::new(1, 1);
        let one = Patch::block(0, 0, 1, 1);
        assert_eq!(there_and_back(&[63], grid, one, ClassSet(1 << 63), 0), 0);
        assert_eq!(there_and_back(&[63], grid, one, ClassSet(1 << 63), 1), 0);
        for class in [0, 3, 11] {
            assert!(there_and_back(&[class], grid, one, ClassSet(0xfff), 1) <= 2);
        }
        // One class alone costs nothing, however large the tile.
        let grid = Grid::new(1024, 1024);
        let all = Patch::block(0, 0, 1024, 1024);
        assert_eq!(there_and_back(&vec![3; grid.cells()], grid, all, ClassSet(1 << 3), 1), 0);
        // A line either way.
        for grid in [Grid::new(300, 1), Grid::new(1, 300)] {
            let cells: Vec<u8> = (0..300).map(|i| (i / 7 % 12) as u8).collect();
            let all = Patch::block(0, 0, grid.width, grid.height);
            there_and_back(&cells, grid, all, ClassSet(0xfff), 1);
        }
    }

    #[test]
    fn any_bytes_decode_to_present_classes() {
        let mut dice = Dice(13);
        let mut scratch = Scratch::new();
        for round in 0..400 {
            let grid = Grid::new(1 + dice.below(70) as u16, 1 + dice.below(200) as u16);
            let bytes: Vec<u8> = (0..dice.below(300))
                .map(|_| match round % 4 {
                    0 => 0xff,
                    1 => 0,
                    _ => dice.below(256) as u8,
                })
                .collect();
            let bits = (dice.below(u32::MAX) as u64) << dice.below(32) | 1 << dice.below(64);
            let present = if round % 5 == 0 { ClassSet(1 << (bits % 64)) } else { ClassSet(bits) };
            let all = Patch::block(0, 0, grid.width, grid.height);
            let mut cells = vec![255; grid.cells()];
            let prior = Prior::for_label_set((round % 2) as u16, grid);
            decode_tile(&bytes, grid, all, present, prior, &mut scratch, &mut cells).unwrap();
            assert!(cells.iter().all(|&class| present.contains(class)));
        }
    }

    #[test]
    fn refusals() {
        let grid = Grid::new(8, 4);
        let prior = Prior::for_label_set(1, grid);
        let mut scratch = Scratch::new();
        let mut cells = vec![5; 32];
        let all = Patch::block(0, 0, 8, 4);
        let mut out = [0; 64];
        let mut encode = |cells: &[u8], patch, present, room: usize| {
            encode_tile(cells, grid, patch, ClassSet(present), prior, &mut scratch, &mut out[..room])
        };
        let outside = Patch { x: 1, ..all };
        let empty = Patch { width: 0, ..all };
        assert_eq!(encode(&cells, outside, 32, 64), Err(CodecError::Patch(outside)));
        assert_eq!(encode(&cells, empty, 32, 64), Err(CodecError::Patch(empty)));
        assert_eq!(encode(&cells[1..], all, 32, 64), Err(CodecError::Cells { need: 32, have: 31 }));
        assert_eq!(encode(&cells, all, 0, 64), Err(CodecError::NothingPresent));
        assert_eq!(encode(&cells, all, 31, 64), Err(CodecError::Class(5)));
        cells[31] = 255;
        assert_eq!(encode(&cells, all, u64::MAX, 64), Err(CodecError::Class(255)));
        let mut dice = Dice(1);
        cells.fill_with(|| dice.below(12) as u8);
        assert_eq!(encode(&cells, all, 0xfff, 5), Err(CodecError::Buffer { have: 5 }));
        let whole = || [all].into_iter();
        let changes =
            |cells: &[u8], present| encode_changes(cells, &[5; 32], grid, whole(), ClassSet(present), &mut [0; 64]);
        assert_eq!(changes(&[5; 32], 1), Ok(Some(0)), "nothing changed");
        assert_eq!(changes(&[6; 32], 1), Err(CodecError::Class(6)));
        assert_eq!(changes(&[6; 31], 64), Err(CodecError::Cells { need: 32, have: 31 }));
        let short = decode_changes(&[], &[5; 31], grid, whole(), ClassSet(1), &mut [0; 32]);
        assert_eq!(short, Err(CodecError::Cells { need: 32, have: 31 }));
        let refused = decode_tile(&[], grid, outside, ClassSet(1), prior, &mut Scratch::new(), &mut cells);
        assert_eq!(refused, Err(CodecError::Patch(outside)));
    }

    #[test]
    fn bytes_of_a_small_street() {
        // Sky, a house, a tree, road and a car. These bytes are the wire's: they change with the priors alone.
        let grid = Grid::new(24, 16);
        let mut cells = vec![0; grid.cells()];
        for (at, cell) in cells.iter_mut().enumerate() {
            let (x, y) = (at % 24, at / 24);
            *cell = match (x, y) {
                (12..16, 8..12) => 8,
                _ if y >= 10 => 3,
                _ if x + y / 2 < 9 && y >= 2 => 1,
                (18..23, 5..) => 5,
                _ => 0,
            };
        }
        let all = Patch::block(0, 0, 24, 16);
        let present = ClassSet::of(&cells).unwrap();
        let bytes = |label_set| {
            let mut out = [0; 64];
            let prior = Prior::for_label_set(label_set, grid);
            let len = encode_tile(&cells, grid, all, present, prior, &mut Scratch::new(), &mut out).unwrap();
            there_and_back(&cells, grid, all, present, label_set);
            out[..len].to_vec()
        };
        assert_eq!(bytes(1), [109, 87, 210, 246, 21, 234, 116, 236, 24, 194, 16, 178, 23, 209, 153]);
        assert_eq!(bytes(0), [36, 195, 23, 197, 165, 215, 138, 16, 222, 1, 248, 255, 79, 173]);
    }

    #[test]
    fn state_stays_within_256_kib() {
        let bytes = size_of::<Scratch>() + prior::BAKED_BYTES + changes::BAKED_BYTES + logistic::TABLE_BYTES;
        assert!(bytes <= 256 * 1024, "{bytes}");
    }
}
