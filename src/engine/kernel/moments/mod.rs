//! Sums and sums of products over the pixels of images: what norms make means and variances of.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

pub use float::float;

use super::{Isa, View};
use std::ops::Range;

/// The most images of one call.
pub const TERMS: usize = 4;

/// How many sums `terms` images have: one for each image and one for each pair of images, an image with itself among them.
pub const fn groups(terms: usize) -> usize {
    terms + terms * (terms + 1) / 2
}

/// Pixels whose sums are taken in 32 bits: a product of unsigned and signed cells is at most 255 · 128, and four of them go to one sum.
const PIXELS: usize = 8192;

/// Channels whose sums a block holds, after those of a span were added.
const WIDTH: usize = 64;

/// The sums of up to [`WIDTH`] channels or spans over at most [`PIXELS`] pixels.
type Block = [[i32; WIDTH]; groups(TERMS)];

/// A part of the images: these pixels, and the channels from `channel` on. With a span of 1, kernels are given columns in fours.
#[derive(Debug, Clone)]
struct Part {
    channel: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Adds to `sums`, for each image in its order, Σ q over the pixels of `rows` for each span of `span` adjacent channels, and then Σ q · p for
/// each pair of images in lexicographic order: 00, 01, 02, 11, 12, 22. There are [`groups`] times channels / span sums. q is an int8 cell's
/// value in −128..=127, with neither scale nor zero point.
///
/// # Panics
/// If a slice is too short for what the views say, `span` is neither 1 nor 4, `channels` is not a multiple of it, or there are not
/// 1..=[`TERMS`] terms.
pub fn int8(
    isa: Isa,
    channels: usize,
    span: usize,
    width: usize,
    rows: Range<usize>,
    terms: &[(&[u8], View)],
    sums: &mut [i64],
) {
    assert!((1..=TERMS).contains(&terms.len()) && matches!(span, 1 | 4) && channels.is_multiple_of(span));
    assert_eq!(sums.len(), groups(terms.len()) * (channels / span));
    if rows.is_empty() || width == 0 || channels == 0 {
        return;
    }
    for (cells, view) in terms {
        let last = view.origin + (rows.end - 1) * view.row + (width - 1) * view.pixel + channels;
        assert!(last + super::SLACK <= cells.len());
    }
    let columns_at_once = width.min(PIXELS);
    let rows_at_once = PIXELS / columns_at_once;
    let mut block: Block = [[0; WIDTH]; groups(TERMS)];
    for y in rows.clone().step_by(rows_at_once) {
        for x in (0..width).step_by(columns_at_once) {
            for channel in (0..channels).step_by(WIDTH) {
                let rows = y..rows.end.min(y + rows_at_once);
                let end = width.min(x + columns_at_once);
                // Four pixels at a time, where channels aren't brought together.
                let whole = if span == 1 { x + (end - x) / 4 * 4 } else { end };
                let part = Part { channel, rows: rows.clone(), columns: x..whole };
                match isa {
                    Isa::Scalar => {
                        block.iter_mut().for_each(|group| group.fill(0));
                        scalar::add_sums(&part, channels, span, terms, &mut block);
                    }
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2::sums(&part, channels, span, terms, &mut block),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Vnni => avx512::sums(&part, span, terms, &mut block),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon | Isa::NeonDot => neon::sums(isa, &part, channels, span, terms, &mut block),
                }
                if whole < end {
                    scalar::add_sums(&Part { channel, rows, columns: whole..end }, channels, span, terms, &mut block);
                }
                add(&block, channel / span, (channels - channel).min(WIDTH) / span, channels / span, sums);
            }
        }
    }
}

/// Adds the first `count` sums of each group of a block to those from `first` on.
fn add(block: &Block, first: usize, count: usize, stride: usize, sums: &mut [i64]) {
    for (sums, block) in sums.chunks_exact_mut(stride).zip(block) {
        for (sum, &part) in sums[first..first + count].iter_mut().zip(block) {
            *sum += i64::from(part);
        }
    }
}
