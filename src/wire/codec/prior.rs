//! What is known of maps before the first one comes: the baked weights, read and checked while semrx is compiled.
//!
//! A blob is little-endian: the bytes `SRXP`, a `u16` that says whether class rows follow (0 or 1), then the arrays in the order in
//! which `Reader::shape` and `Reader::classes` read them.

use super::contexts::BORDERS;
use super::net::{self, Classes, Row, Shape};
use crate::Grid;

/// Weights for one kind of maps. `docs/codec.md` lists the arrays.
pub struct Prior {
    pub(super) shape: &'static Shape,
    /// Logit, in 1/32, that a flat cell goes on as its neighbours, by [`Window::border`](super::contexts::Window::border).
    pub(super) flat_border: &'static [i16; BORDERS],
    /// Absent for label sets that nothing is known of.
    pub(super) classes: Option<(&'static Classes, &'static FlatTable)>,
}

/// By class, then coarse place: what is added to a flat cell's logit.
pub(super) type FlatTable = [[i16; net::FLAT_ROWS * net::COLUMNS]; net::CLASSES];

/// Number of the label set camvid12 on the wire.
const CAMVID12: u16 = 1;
/// Maps of fewer rows than this take the prior that was trained at 128x96, taller ones that of 480x360: the geometric mean.
const TALL: u16 = 186;

impl Prior {
    /// The prior for maps of a label set on a grid; a generic one where the label set has none of its own.
    pub fn for_label_set(label_set: u16, grid: Grid) -> &'static Prior {
        match label_set {
            CAMVID12 if grid.height < TALL => &CAMVID12_SMALL,
            CAMVID12 => &CAMVID12_TALL,
            _ => &GENERIC,
        }
    }
}

type Street = (Shape, [i16; BORDERS], Classes, FlatTable);

static SMALL: Street = street(include_bytes!("../../../models/priors/camvid12-128x96.bin"));
static LARGE: Street = street(include_bytes!("../../../models/priors/camvid12-480x360.bin"));
static ANY: (Shape, [i16; BORDERS]) = generic(include_bytes!("../../../models/priors/generic.bin"));

static CAMVID12_SMALL: Prior = Prior { shape: &SMALL.0, flat_border: &SMALL.1, classes: Some((&SMALL.2, &SMALL.3)) };
static CAMVID12_TALL: Prior = Prior { shape: &LARGE.0, flat_border: &LARGE.1, classes: Some((&LARGE.2, &LARGE.3)) };
static GENERIC: Prior = Prior { shape: &ANY.0, flat_border: &ANY.1, classes: None };

/// Bytes of all baked weights together.
#[cfg(test)]
pub(super) const BAKED_BYTES: usize = 2 * size_of::<Street>() + size_of::<(Shape, [i16; BORDERS])>();

const fn street(bytes: &[u8]) -> Street {
    let reader = Reader::open(bytes, 1);
    let (shape, reader) = reader.shape();
    let (border, reader) = reader.row();
    let (classes, reader) = reader.classes();
    let (flat, reader) = reader.rows();
    reader.close();
    check(&shape, Some(&classes));
    (shape, border, classes, flat)
}

const fn generic(bytes: &[u8]) -> (Shape, [i16; BORDERS]) {
    let (shape, reader) = Reader::open(bytes, 0).shape();
    let (border, reader) = reader.row();
    reader.close();
    check(&shape, None);
    (shape, border)
}

/// Reads arrays one after the other; a blob of the wrong length does not compile.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn open(bytes: &'a [u8], classes: i16) -> Self {
        assert!(matches!(bytes, [b'S', b'R', b'X', b'P', ..]), "not a prior");
        let (kind, reader) = Reader { bytes, at: 4 }.value();
        assert!(kind == classes, "a prior of the other kind");
        reader
    }

    const fn close(self) {
        assert!(self.at == self.bytes.len(), "a prior of the wrong length");
    }

    const fn value(mut self) -> (i16, Self) {
        let value = i16::from_le_bytes([self.bytes[self.at], self.bytes[self.at + 1]]);
        self.at += 2;
        (value, self)
    }

    const fn row<const N: usize>(mut self) -> ([i16; N], Self) {
        let mut row = [0; N];
        let mut i = 0;
        while i < N {
            (row[i], self) = self.value();
            i += 1;
        }
        (row, self)
    }

    const fn rows<const N: usize, const M: usize>(mut self) -> ([[i16; N]; M], Self) {
        let mut rows = [[0; N]; M];
        let mut i = 0;
        while i < M {
            (rows[i], self) = self.row();
            i += 1;
        }
        (rows, self)
    }

    const fn wide<const N: usize>(mut self) -> ([i32; N], Self) {
        let mut row = [0; N];
        let mut i = 0;
        while i < N {
            let ([low, high], next) = self.row::<2>();
            row[i] = low as u16 as i32 | (high as i32) << 16;
            self = next;
            i += 1;
        }
        (row, self)
    }

    const fn shape(self) -> (Shape, Self) {
        let (bias, reader) = self.row();
        let (neighbours, reader) = reader.rows();
        let (second, reader) = reader.rows();
        let (second_bias, reader) = reader.row();
        let (candidate, reader) = reader.rows();
        let (candidate_bias, reader) = reader.wide();
        (Shape { bias, neighbours, second, second_bias, candidate, candidate_bias }, reader)
    }

    const fn classes(self) -> (Classes, Self) {
        let (pair, reader) = self.rows();
        let (third, reader) = reader.rows();
        let (place, reader) = reader.rows();
        let (present, reader) = reader.rows();
        let (escape, reader) = reader.rows();
        let (escape_bias, reader) = reader.wide();
        (Classes { pair, third, place, present, escape, escape_bias }, reader)
    }
}

/// Refuses weights with which a sum could leave its type: 16 bits in the first layer, 32 in the others.
const fn check(shape: &Shape, classes: Option<&Classes>) {
    let mut column = 0;
    while column < net::FIRST {
        let mut most = shape.bias[column].unsigned_abs() as u32;
        let mut k = 0;
        while k < shape.neighbours.len() {
            most += largest(&shape.neighbours, k, k + 4, column);
            k += 4;
        }
        if let Some(classes) = classes {
            most += largest(&classes.pair, 0, classes.pair.len(), column);
            most += largest(&classes.third, 0, classes.third.len(), column);
            most += largest(&classes.place, 0, classes.place.len(), column);
            let mut class = 0;
            while class < classes.present.len() {
                most += classes.present[class][column].unsigned_abs() as u32;
                class += 1;
            }
        }
        assert!(most <= i16::MAX as u32, "first layer: a sum could leave 16 bits");
        column += 1;
    }
    let mut row = 0;
    while row < net::SECOND {
        let mut most = shape.second_bias[row].unsigned_abs() as u32;
        let mut column = 0;
        while column < net::FIRST {
            // The largest first-layer value, shifted, is just below half of 1 << 16.
            most += (shape.second[row][column].unsigned_abs() as u32).div_ceil(2);
            column += 1;
        }
        assert!(most <= i16::MAX as u32, "second layer: a sum could leave 16 bits");
        row += 1;
    }
    let mut row = 0;
    while row < shape.candidate.len() {
        check_dot(&shape.candidate[row], shape.candidate_bias[row]);
        row += 1;
    }
    if let Some(classes) = classes {
        let mut row = 0;
        while row < net::CLASSES {
            check_dot(&classes.escape[row], classes.escape_bias[row]);
            row += 1;
        }
    }
}

/// Largest magnitude in a column of rows `from..to`: of these rows at most one is added.
const fn largest(rows: &[Row], from: usize, to: usize, column: usize) -> u32 {
    let mut most = 0;
    let mut row = from;
    while row < to {
        let magnitude = rows[row][column].unsigned_abs() as u32;
        if magnitude > most {
            most = magnitude;
        }
        row += 1;
    }
    most
}

const fn check_dot(weights: &[i16], bias: i32) {
    let mut most = bias.unsigned_abs() as u64;
    let mut i = 0;
    while i < weights.len() {
        most += weights[i].unsigned_abs() as u64 * net::SECOND_CLIP as u64;
        i += 1;
    }
    assert!(most <= i32::MAX as u64, "a sum could leave 32 bits");
}
