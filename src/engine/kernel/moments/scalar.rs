//! The definition.

use super::super::{View, load};
use super::{Block, Part, WIDTH};

/// Adds to the block's sums.
pub fn add_sums(part: &Part, channels: usize, span: usize, terms: &[(&[u8], View)], block: &mut Block) {
    for y in part.rows.clone() {
        for x in part.columns.clone() {
            for c in 0..(channels - part.channel).min(WIDTH) {
                let mut q = [0; super::TERMS];
                for (q, (cells, view)) in q.iter_mut().zip(terms) {
                    *q = load(cells[view.origin + y * view.row + x * view.pixel + part.channel + c]);
                }
                let mut pair = terms.len();
                for t in 0..terms.len() {
                    block[t][c / span] += q[t];
                    for u in t..terms.len() {
                        block[pair][c / span] += q[t] * q[u];
                        pair += 1;
                    }
                }
            }
        }
    }
}
