//! The network that predicts a cell where its neighbours differ: two small layers in 16-bit integers.
//!
//! Sums are exact whatever their order: `prior` refuses weights that could leave the ranges stated here.

use super::contexts::{Candidates, NEIGHBOURS};
use super::logistic;
use crate::ClassSet;

/// Width of the first layer.
pub const FIRST: usize = 64;
/// Width of the second layer.
pub const SECOND: usize = 16;
/// Classes of the label sets that have class rows.
pub const CLASSES: usize = 12;
/// Columns of coarse places across the frame, and their rows down it: for the network, and for flat cells.
pub const COLUMNS: usize = 16;
pub const ROWS: usize = 12;
pub const FLAT_ROWS: usize = 24;

/// Values of either layer are in 1/256. The first layer's are clipped to 0..=2047, the second's to 0..=4095.
const FIRST_CLIP: i16 = 2047;
pub const SECOND_CLIP: i16 = 4095;
/// The second layer's weights are in 1/4096: a value shifted by this, times a weight, has its own scale 16 bits up.
const VALUE_SHIFT: u32 = 4;
/// The output's weights are in 1/1024. From a sum of second-layer values times weights to logits in 1/32.
const LOGIT_SHIFT: u32 = 13;

pub type Row = [i16; FIRST];

/// What the shapes of neighbours say, whatever the classes are called.
pub struct Shape {
    pub bias: Row,
    /// Row 4k + code - 1 for neighbour k with that code; code 0 adds nothing.
    pub neighbours: [Row; 4 * NEIGHBOURS],
    pub second: [Row; SECOND],
    pub second_bias: [i16; SECOND],
    /// Is it candidate 0, 1, 2?
    pub candidate: [[i16; SECOND]; 3],
    pub candidate_bias: [i32; 3],
}

/// What the classes, the place in the frame and the present set add to that.
pub struct Classes {
    /// Row 13 * candidate 0 + candidate 1, with 12 for none.
    pub pair: [Row; (CLASSES + 1) * (CLASSES + 1)],
    pub third: [Row; CLASSES + 1],
    pub place: [Row; ROWS * COLUMNS],
    pub present: [Row; CLASSES],
    /// Logit of each class when no candidate is right.
    pub escape: [[i16; SECOND]; CLASSES],
    pub escape_bias: [i32; CLASSES],
}

/// The second layer's output for one cell.
pub struct Hidden([i16; SECOND]);

#[inline]
fn add(sum: &mut Row, row: &Row) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum = sum.wrapping_add(value);
    }
}

#[inline]
fn dot<const N: usize>(left: &[i16; N], right: &[i16; N]) -> i32 {
    left.iter().zip(right).map(|(&l, &r)| l as i32 * r as i32).sum()
}

impl Classes {
    /// Adds what is the same for all cells of a tile.
    pub fn add_present(&self, sum: &mut Row, present: ClassSet) {
        for class in present.iter() {
            if let Some(row) = self.present.get(class as usize) {
                add(sum, row);
            }
        }
    }

    /// Adds what a cell's candidates and its place say.
    #[inline]
    pub fn add_cell(&self, sum: &mut Row, candidates: &Candidates, place: usize) {
        let index = |rank: usize| (candidates.classes[rank] as usize).min(CLASSES);
        add(sum, &self.pair[index(0) * (CLASSES + 1) + index(1)]);
        add(sum, &self.third[index(2)]);
        add(sum, &self.place[place.min(ROWS * COLUMNS - 1)]);
    }

    /// Logit of `class` in 1/32, when no candidate is right.
    pub fn escape_logit(&self, hidden: &Hidden, class: u8) -> i32 {
        match (self.escape.get(class as usize), self.escape_bias.get(class as usize)) {
            (Some(weights), Some(bias)) => (dot(&hidden.0, weights) + bias) >> LOGIT_SHIFT,
            _ => logistic::LEAST_LOGIT,
        }
    }
}

impl Shape {
    /// Runs both layers. `base` holds the bias and what classes and place add; `active` the neighbour rows that count.
    pub fn hidden(&self, base: &Row, active: &[u8]) -> Hidden {
        let mut sum = *base;
        for &row in active {
            if let Some(row) = self.neighbours.get(row as usize) {
                add(&mut sum, row);
            }
        }
        for value in &mut sum {
            *value = (*value).clamp(0, FIRST_CLIP) << VALUE_SHIFT;
        }
        let mut hidden = self.second_bias;
        for (out, weights) in hidden.iter_mut().zip(&self.second) {
            let upper_half = |(&value, &weight)| ((value as i32 * weight as i32) as u32 >> 16) as u16;
            *out = sum.iter().zip(weights).map(upper_half).fold(*out as u16, u16::wrapping_add) as i16;
        }
        for value in &mut hidden {
            *value = (*value).clamp(0, SECOND_CLIP);
        }
        Hidden(hidden)
    }

    /// Logit in 1/32 that the cell is candidate `rank`, given that it is none before it.
    #[inline]
    pub fn candidate_logit(&self, hidden: &Hidden, rank: usize) -> i32 {
        (dot(&hidden.0, &self.candidate[rank]) + self.candidate_bias[rank]) >> LOGIT_SHIFT
    }
}
