//! Tokens: what stands in a scene, as boxes and keypoints, and feature vectors for a head that declares one.
//!
//! A tile of tokens is any number of them, one behind the other, at most [`MAX_LEN`] bytes. The first byte of each says what it is:
//!
//! - 1, a box: class, confidence, then x, y, width and height in cells, 16 bits each;
//! - 2, a keypoint: class, confidence, x and y;
//! - 3, a vector: what it means (0 is for the receiver's head, other numbers are agreed between both ends), how many values in 16 bits, each as a
//!   finite float16.
//!
//! A confidence of 255 is sure. Boxes and keypoints lie in the grid, and their classes are in the present set; which tile they travel in says nothing.

use super::{ClassSet, Grid, WireError};
use half::f16;

/// Most bytes of the tokens of a tile.
pub const MAX_LEN: usize = 4096;
/// Most values of a vector.
pub const MAX_VALUES: usize = 1024;

/// What a vector for the receiver's head means.
pub const FOR_HEAD: u8 = 0;

const BOX: u8 = 1;
const KEYPOINT: u8 = 2;
const VECTOR: u8 = 3;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Something of a class within a rectangle, in cells.
    Box {
        class: u8,
        confidence: u8,
        x: u16,
        y: u16,
        width: u16,
        height: u16,
    },
    /// Something of a class at a cell.
    Keypoint {
        class: u8,
        confidence: u8,
        x: u16,
        y: u16,
    },
    Vector {
        meaning: u8,
        values: Values<'a>,
    },
}

/// The values of a vector, as they came: little-endian float16, all finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// Takes `bytes`, two for each value.
    ///
    /// # Errors
    /// [`WireError::Field`] for more than [`MAX_VALUES`], none, half a value, or one that isn't finite.
    pub fn new(bytes: &'a [u8]) -> Result<Self, WireError> {
        let field = |reason| Err(WireError::Field { field: "vector", reason });
        if bytes.is_empty() || !bytes.len().is_multiple_of(2) || bytes.len() > 2 * MAX_VALUES {
            return field("has 1 to 1024 values of two bytes");
        }
        match Values(bytes).iter().all(f32::is_finite) {
            true => Ok(Values(bytes)),
            false => field("has a value that is not finite"),
        }
    }

    /// How many, at least 1.
    pub fn count(&self) -> usize {
        self.0.len() / 2
    }

    pub fn iter(&self) -> impl Iterator<Item = f32> + use<'a> {
        self.0.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
    }
}

impl Token<'_> {
    /// Bytes that it takes.
    pub fn wire_len(&self) -> usize {
        match self {
            Token::Box { .. } => 11,
            Token::Keypoint { .. } => 7,
            Token::Vector { values, .. } => 4 + values.0.len(),
        }
    }

    /// Writes it, and returns its length.
    ///
    /// # Errors
    /// [`WireError::Buffer`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let (need, have) = (self.wire_len(), out.len());
        let out = out.get_mut(..need).ok_or(WireError::Buffer { need, have })?;
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        match *self {
            Token::Box { class, confidence, x, y, width, height } => {
                put(0, &[BOX, class, confidence]);
                [x, y, width, height].iter().enumerate().for_each(|(k, v)| put(3 + 2 * k, &v.to_le_bytes()));
            }
            Token::Keypoint { class, confidence, x, y } => {
                put(0, &[KEYPOINT, class, confidence]);
                [x, y].iter().enumerate().for_each(|(k, v)| put(3 + 2 * k, &v.to_le_bytes()));
            }
            Token::Vector { meaning, values } => {
                put(0, &[VECTOR, meaning]);
                put(2, &(values.count() as u16).to_le_bytes());
                put(4, values.0);
            }
        }
        Ok(need)
    }
}

/// The tokens of a tile, checked one by one. It ends with the first that can't be read.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    bytes: &'a [u8],
    grid: Grid,
    present: ClassSet,
}

impl<'a> Tokens<'a> {
    /// Of the bytes of a tile without their checksum.
    pub const fn new(bytes: &'a [u8], grid: Grid, present: ClassSet) -> Self {
        Tokens { bytes, grid, present }
    }

    fn token(&mut self) -> Result<Token<'a>, WireError> {
        let field = |field, reason| Err(WireError::Field { field, reason });
        let mut take = |count: usize| {
            let (taken, rest) = self.bytes.split_at_checked(count).ok_or(WireError::Truncated { field: "token" })?;
            self.bytes = rest;
            Ok::<&'a [u8], WireError>(taken)
        };
        let kind = take(1)?[0];
        let number = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if kind == VECTOR {
            let head = take(3)?;
            let values = Values::new(take(2 * usize::from(number(head, 1)))?)?;
            return Ok(Token::Vector { meaning: head[0], values });
        }
        let (token, class, [x, y, width, height]) = match kind {
            BOX => {
                let body = take(10)?;
                let [x, y, width, height] = [2, 4, 6, 8].map(|at| number(body, at));
                let token = Token::Box { class: body[0], confidence: body[1], x, y, width, height };
                (token, body[0], [x, y, width, height])
            }
            KEYPOINT => {
                let body = take(6)?;
                let [x, y] = [2, 4].map(|at| number(body, at));
                (Token::Keypoint { class: body[0], confidence: body[1], x, y }, body[0], [x, y, 1, 1])
            }
            _ => return field("token", "is 1 (box), 2 (keypoint) or 3 (vector)"),
        };
        if !self.present.contains(class) {
            return field("token", "has a class that isn't in the present set");
        }
        let fits = |from: u16, len: u16, side: u16| len > 0 && u32::from(from) + u32::from(len) <= u32::from(side);
        if !fits(x, width, self.grid.width) || !fits(y, height, self.grid.height) {
            return field("token", "lies outside the grid, or has no cell");
        }
        Ok(token)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let token = self.token();
        if token.is_err() {
            self.bytes = &[];
        }
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const GRID: Grid = Grid::new(128, 96);

    #[test]
    fn tokens_come_back_as_they_went() {
        let half: Vec<u8> = [0.5f32, -2.0, 65504.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let tokens = [
            Token::Box { class: 8, confidence: 200, x: 10, y: 20, width: 118, height: 76 },
            Token::Keypoint { class: 9, confidence: 255, x: 127, y: 95 },
            Token::Vector { meaning: FOR_HEAD, values: Values::new(&half).unwrap() },
        ];
        let mut bytes = [0; 64];
        let mut len = 0;
        for token in &tokens {
            len += token.emit(&mut bytes[len..]).unwrap();
        }
        assert_eq!(len, 11 + 7 + 10);
        let read: Result<Vec<_>, _> = Tokens::new(&bytes[..len], GRID, ClassSet(1 << 8 | 1 << 9)).collect();
        assert_eq!(read.unwrap(), tokens);
        let Token::Vector { values, .. } = tokens[2] else { panic!() };
        assert_eq!(values.iter().collect::<Vec<_>>(), [0.5, -2.0, 65504.0]);
        assert!(tokens[0].emit(&mut bytes[..10]).is_err());
        // Cut anywhere but between two of them, it says so.
        for cut in (0..len).filter(|cut| ![0, 11, 18].contains(cut)) {
            let read: Result<Vec<_>, _> = Tokens::new(&bytes[..cut], GRID, ClassSet(1 << 8 | 1 << 9)).collect();
            assert!(matches!(read, Err(WireError::Truncated { field: "token" })), "{cut}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |bytes: &[u8]| match Tokens::new(bytes, GRID, ClassSet(1 << 3)).last() {
            Some(Err(WireError::Field { reason, .. })) => reason,
            other => panic!("{other:?}"),
        };
        assert!(error(&[0]).contains("is 1 (box)"));
        assert!(error(&[2, 4, 255, 0, 0, 0, 0]).contains("present set"));
        assert!(error(&[2, 3, 255, 128, 0, 0, 0]).contains("outside the grid"));
        assert!(error(&[1, 3, 255, 0, 0, 0, 0, 0, 0, 1, 0]).contains("no cell"));
        assert!(error(&[1, 3, 255, 1, 0, 0, 0, 0xff, 0xff, 1, 0]).contains("outside the grid"));
        assert!(error(&[3, 0, 0, 0]).contains("1 to 1024 values"));
        assert!(error(&[3, 0, 1, 0, 0, 0x7c]).contains("not finite"));
    }
}
