//! Elements from where they are to where they belong: transposition, slices, concatenation, repetition.

use super::BLOCK;
use super::walk::{Blocks, Strided, is_upright};
use bytemuck::Pod;

/// Copies `source` to the elements of `target` that lie at `at` and the strides along `sizes`.
///
/// # Panics
/// If an index lies outside of its slice.
pub fn run<T: Pod>(sizes: &[usize], source: Strided<'_, T>, target: &mut [T], at: usize, strides: &[usize]) {
    let mut values = [T::zeroed(); BLOCK];
    for block in Blocks::new(sizes, is_upright(strides) || is_upright(source.strides)) {
        if !block.turn(&source, target, at, strides) {
            block.read(&source, &mut values);
            block.write(&values, target, at, strides);
        }
    }
}

/// [`run`], where each element goes through `value`.
///
/// # Panics
/// If an index lies outside of its slice.
pub fn run_through<T: Pod>(
    sizes: &[usize],
    source: Strided<'_, T>,
    target: &mut [T],
    at: usize,
    strides: &[usize],
    value: impl Fn(T) -> T,
) {
    let mut values = [T::zeroed(); BLOCK];
    for block in Blocks::new(sizes, is_upright(strides) || is_upright(source.strides)) {
        block.read(&source, &mut values);
        values[..block.count()].iter_mut().for_each(|element| *element = value(*element));
        block.write(&values, target, at, strides);
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::Walk;
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let planes: Vec<u8> = (0..3 * 400).map(|at| (at % 251) as u8).collect();
        let walk = Walk::new(&[3, 400], &[&[1, 4], &[400, 1]]).unwrap();
        let mut pixels = vec![0u8; 4 * 400];
        run(
            &walk.sizes,
            Strided { cells: &planes, at: 0, strides: &walk.strides[1] },
            &mut pixels,
            0,
            &walk.strides[0],
        );
        for (at, pixel) in pixels.chunks_exact(4).enumerate() {
            assert_eq!(pixel, [planes[at], planes[400 + at], planes[800 + at], 0]);
        }
    }
}
