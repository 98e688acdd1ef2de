//! The border that a convolution reads around an image.

use super::View;
use std::ops::Range;

/// An image with a ring of the same number of pixels on every side. Behind an inner row's last pixel the ring of this row starts, and
/// nothing lies between the rows' pixels but what a pixel has beyond its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ringed {
    pub height: usize,
    pub width: usize,
    /// Pixels on each side.
    pub ring: usize,
    /// Of the inner pixels.
    pub view: View,
}

/// Sets the ring's cells around the rows `rows` to `byte`: those left and right of each, and if the first or the last row is among them, all
/// of what is above or below. Whole pixels are set, with what they have beyond their channels.
///
/// # Panics
/// If the ring is not within `cells`, or a row is not long enough for it.
pub fn fill(cells: &mut [u8], image: &Ringed, rows: Range<usize>, byte: u8) {
    let Ringed { height, width, ring, view: View { origin, row, pixel } } = *image;
    if rows.is_empty() || ring == 0 {
        return;
    }
    assert!(rows.end <= height && (width + 2 * ring) * pixel <= row);
    let first = origin.checked_sub(ring * (row + pixel)).expect("a ring before the first cell");
    let side = ring * pixel;
    let across = (width + 2 * ring) * pixel;
    if rows.start == 0 {
        (0..ring).for_each(|y| cells[first + y * row..][..across].fill(byte));
    }
    for y in rows.clone() {
        let left = first + (ring + y) * row;
        cells[left..][..side].fill(byte);
        cells[left + side + width * pixel..][..side].fill(byte);
    }
    if rows.end == height {
        (ring + height..2 * ring + height).for_each(|y| cells[first + y * row..][..across].fill(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_and_nothing_else_is_set() {
        for (height, width, ring, gap) in [(3, 2, 1, 0), (1, 1, 2, 3), (4, 5, 3, 7), (2, 2, 0, 0)] {
            let (pixel, start) = (4, 5);
            let row = (width + 2 * ring) * pixel + gap;
            let view = View { origin: start + ring * (row + pixel), row, pixel };
            let image = Ringed { height, width, ring, view };
            let mut cells = vec![0; start + (height + 2 * ring) * row + 9];
            let whole = {
                let mut cells = cells.clone();
                fill(&mut cells, &image, 0..height, 1);
                cells
            };
            // In two parts.
            fill(&mut cells, &image, 0..height / 2, 1);
            fill(&mut cells, &image, height / 2..height, 1);
            assert_eq!(cells, whole);
            for (at, &cell) in cells.iter().enumerate() {
                let within = at.checked_sub(start).map(|at| (at / row, at % row / pixel));
                let inner =
                    |y: usize, x: usize| (ring..ring + height).contains(&y) && (ring..ring + width).contains(&x);
                let exact = within.is_some_and(|(y, x)| y < height + 2 * ring && x < width + 2 * ring && !inner(y, x));
                assert_eq!(cell == 1, exact, "{image:?} at {at}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a ring before the first cell")]
    fn a_ring_needs_room() {
        let image = Ringed { height: 1, width: 1, ring: 1, view: View { origin: 4, row: 12, pixel: 4 } };
        fill(&mut [0; 40], &image, 0..1, 1);
    }
}
