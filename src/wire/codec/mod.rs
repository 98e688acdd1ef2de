//! The map codec: lossless, tile by tile, in integers. `docs/codec.md` describes it for another implementation.
//!
//! A cell is predicted from the cells before it in its tile, from its place in the frame, and from the present set. Where the neighbours
//! agree a table tells how likely they are to go on; where they differ a small network with baked weights does. Either end runs the same
//! [`Model::code`], one with an encoder, one with a decoder.

mod coder;
mod contexts;
mod logistic;
mod net;
mod prior;

use super::{ClassSet, Grid, Rect};
use coder::{Coder, Decoder, Encoder};
use contexts::{MAX_WIDTH, NEIGHBOURS, Window};
use core::fmt;
pub use prior::Prior;

/// Why cells can't be coded. Bytes can always be decoded: damage shows in the tile's checksum alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The tile is empty, reaches over the edge of the grid, or has a side of more than 1024 cells.
    Rect(Rect),
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
            CodecError::Rect(rect) => write!(
                f,
                "a tile of {}x{} cells at ({}, {}) is empty, outside the grid or wider than 1024",
                rect.width, rect.height, rect.x, rect.y
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
    (cells * bits).div_ceil(8) + 4
}

/// Codes the tile `rect` of the map `cells` (row-major, the whole grid) into `out`, and returns its length in bytes, which may be 0.
///
/// The length is never more than [`max_len`]. Which prior was used is not in the bytes.
///
/// # Errors
/// See [`CodecError`].
pub fn encode_tile(
    cells: &[u8],
    grid: Grid,
    rect: Rect,
    present: ClassSet,
    prior: &Prior,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<usize, CodecError> {
    check(cells.len(), grid, rect, present)?;
    for y in 0..rect.height {
        for &class in &cells[row_of(grid, rect, y)] {
            if !present.contains(class) {
                return Err(CodecError::Class(class));
            }
        }
    }
    let have = out.len();
    let limit = have.min(max_len(rect.cells(), present.len()));
    let model = Model::new(prior, present, grid, rect);
    for plain in [false, true] {
        let mut encoder = Encoder::new(&mut out[..limit]);
        encoder.bit(MODELLED, !plain);
        for y in 0..rect.height {
            let row = &mut scratch.row[..rect.width as usize];
            row.copy_from_slice(&cells[row_of(grid, rect, y)]);
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

/// Decodes `bytes` into the cells of `rect`; the rest of `cells` (row-major, the whole grid) is left as it is.
///
/// Any bytes decode to classes of the present set. `present` and `prior` must be those of the encoder.
///
/// # Errors
/// [`CodecError::Rect`], [`CodecError::Cells`], [`CodecError::NothingPresent`].
pub fn decode_tile(
    bytes: &[u8],
    grid: Grid,
    rect: Rect,
    present: ClassSet,
    prior: &Prior,
    scratch: &mut Scratch,
    cells: &mut [u8],
) -> Result<(), CodecError> {
    check(cells.len(), grid, rect, present)?;
    let model = Model::new(prior, present, grid, rect);
    let mut decoder = Decoder::new(bytes);
    let modelled = decoder.bit(MODELLED, true);
    for y in 0..rect.height {
        let row = &mut scratch.row[..rect.width as usize];
        if modelled {
            model.code(&mut decoder, y, row, &mut scratch.window);
        } else {
            plain_row(&mut decoder, row, present);
        }
        cells[row_of(grid, rect, y)].copy_from_slice(row);
    }
    Ok(())
}

fn check(have: usize, grid: Grid, rect: Rect, present: ClassSet) -> Result<(), CodecError> {
    if !rect.is_inside(grid) || rect.width as usize > MAX_WIDTH || rect.height as usize > MAX_WIDTH {
        return Err(CodecError::Rect(rect));
    }
    if have != grid.cells() {
        return Err(CodecError::Cells { need: grid.cells(), have });
    }
    if present.is_empty() {
        return Err(CodecError::NothingPresent);
    }
    Ok(())
}

/// Where row `y` of the tile lies in the map.
fn row_of(grid: Grid, rect: Rect, y: u16) -> core::ops::Range<usize> {
    let start = (rect.y as usize + y as usize) * grid.width as usize + rect.x as usize;
    start..start + rect.width as usize
}

/// What predicts the cells of one tile.
struct Model<'a> {
    prior: &'a Prior,
    present: ClassSet,
    grid: Grid,
    rect: Rect,
    /// What the network's first layer adds up for every cell of the tile.
    base: net::Row,
}

impl<'a> Model<'a> {
    fn new(prior: &'a Prior, present: ClassSet, grid: Grid, rect: Rect) -> Self {
        let mut base = prior.shape.bias;
        if let Some((classes, _)) = prior.classes {
            classes.add_present(&mut base, present);
        }
        Model { prior, present, grid, rect, base }
    }

    /// Codes row `y` of the tile. Rows come in order.
    fn code<C: Coder>(&self, coder: &mut C, y: u16, row: &mut [u8], window: &mut Window) {
        if y == 0 {
            window.begin(row.len());
        } else {
            window.next_row();
        }
        let height = self.grid.height as usize;
        let frame_y = self.rect.y as usize + y as usize;
        let place_row = frame_y * net::ROWS / height * net::COLUMNS;
        let flat_row = frame_y * net::FLAT_ROWS / height * net::COLUMNS;
        // (x * COLUMNS) / width for each x in turn, without a division a cell.
        let width = self.grid.width as usize;
        let mut column = self.rect.x as usize * net::COLUMNS / width;
        let mut rest = self.rect.x as usize * net::COLUMNS % width;
        for (x, cell) in row.iter_mut().enumerate() {
            let flat = window.flat(x);
            *cell = match flat {
                Some(class) if self.goes_on(coder, class, window.border(x), flat_row + column, *cell) => class,
                _ => self.predicted(coder, x, flat.is_some(), place_row + column, *cell, window),
            };
            window.put(x, *cell);
            rest += net::COLUMNS;
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
        let mut active = [0; NEIGHBOURS];
        let (candidates, count) = window.ranks(x, &mut active);
        let mut sum = self.base;
        if let Some((classes, _)) = self.prior.classes {
            classes.add_cell(&mut sum, &candidates, place);
        }
        let hidden = self.prior.shape.hidden(sum, &active[..count.min(NEIGHBOURS)]);
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
