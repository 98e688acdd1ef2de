//! Sums of float cells, and of their squares, around a center.

use super::super::{Isa, SLACK, View};
use std::ops::Range;

/// Adds to `sums`, for each channel, Σ(x − center) over the pixels of `rows`, and behind those of all channels Σ(x − center)² for each.
/// A row is summed in f32 from left to right, d = x − center, s += d, s2 = d · d + s2 in one rounding; its sums are then added in f64, row
/// after row. `center` has an element for each channel.
///
/// # Panics
/// If a slice is too short for what the view says.
#[allow(clippy::too_many_arguments)]
pub fn float(
    isa: Isa,
    channels: usize,
    width: usize,
    rows: Range<usize>,
    cells: &[f32],
    view: View,
    center: &[f32],
    sums: &mut [f64],
) {
    assert!(center.len() == channels && sums.len() == 2 * channels);
    if rows.is_empty() || width == 0 || channels == 0 {
        return;
    }
    let last = view.origin + (rows.end - 1) * view.row + (width - 1) * view.pixel + channels;
    assert!(last + SLACK <= cells.len());
    let first = &cells[view.origin..];
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => super::avx512::float_rows(width, rows, first, view, center, sums),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::avx2::float_rows(width, rows, first, view, center, sums),
        _ => all_rows(width, rows, first, view, center, sums),
    }
}

/// The compiler makes vectors of it, of what the function has into which it is inlined: channels don't depend on one another.
#[inline(always)]
pub fn all_rows(width: usize, rows: Range<usize>, cells: &[f32], view: View, center: &[f32], sums: &mut [f64]) {
    let channels = center.len();
    let (sums, squares) = sums.split_at_mut(channels);
    for y in rows {
        let row = &cells[y * view.row..];
        let mut c = 0;
        while c < channels {
            let (center, sums, squares) = (&center[c..], &mut sums[c..], &mut squares[c..]);
            c += match channels - c {
                32.. => strip::<32>(width, &row[c..], view.pixel, center, sums, squares),
                8.. => strip::<8>(width, &row[c..], view.pixel, center, sums, squares),
                _ => strip::<1>(width, &row[c..], view.pixel, center, sums, squares),
            };
        }
    }
}

/// `N` channels of a row. Returns `N`.
#[inline(always)]
fn strip<const N: usize>(
    width: usize,
    row: &[f32],
    pixel: usize,
    center: &[f32],
    sums: &mut [f64],
    squares: &mut [f64],
) -> usize {
    let center: [f32; N] = std::array::from_fn(|i| center[i]);
    let (mut s, mut s2) = ([0.0_f32; N], [0.0_f32; N]);
    for cells in row.chunks(pixel).take(width) {
        let cells = &cells[..N];
        for i in 0..N {
            let d = cells[i] - center[i];
            s[i] += d;
            s2[i] = d.mul_add(d, s2[i]);
        }
    }
    for i in 0..N {
        sums[i] += f64::from(s[i]);
        squares[i] += f64::from(s2[i]);
    }
    N
}
