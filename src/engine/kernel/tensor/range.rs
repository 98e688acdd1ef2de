//! The smallest and the largest element of a tensor.

use super::BLOCK;
use super::walk::{Blocks, Strided, is_upright};
use crate::Isa;

/// Smallest and largest of 0 and the elements over a walk; a NaN is neither.
///
/// # Panics
/// If an index lies outside of its slice.
pub fn run(isa: Isa, sizes: &[usize], source: Strided<'_, f32>) -> (f32, f32) {
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(sizes, source) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(sizes, source) },
        _ => body(sizes, source),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(sizes: &[usize], source: Strided<'_, f32>) -> (f32, f32) {
    body(sizes, source)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(sizes: &[usize], source: Strided<'_, f32>) -> (f32, f32) {
    body(sizes, source)
}

#[inline(always)]
fn body(sizes: &[usize], source: Strided<'_, f32>) -> (f32, f32) {
    // As many of each as a block has elements: which comes first makes no difference.
    let (mut low, mut high, mut values) = ([0f32; BLOCK], [0f32; BLOCK], [0f32; BLOCK]);
    for block in Blocks::new(sizes, is_upright(source.strides)) {
        block.read(&source, &mut values);
        for ((&value, low), high) in values[..block.count()].iter().zip(&mut low).zip(&mut high) {
            *low = if value < *low { value } else { *low };
            *high = if value > *high { value } else { *high };
        }
    }
    (low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn it_finds_both_ends_and_includes_zero() {
        let mut random = Random::new(5);
        for isa in Isa::available() {
            let mut x = random.many(3 * 700, |random| 4.0 * random.unit() - 1.0);
            (x[5], x[900], x[1500]) = (f32::NAN, 9.0, -7.0);
            let of = |at: usize, size: usize| run(isa, &[1, size], Strided { cells: &x, at, strides: &[0, 1] });
            assert_eq!(of(0, 2100), (-7.0, 9.0), "{isa}");
            assert_eq!(of(1500, 1), (-7.0, 0.0), "{isa}");
            assert_eq!(of(900, 1), (0.0, 9.0), "{isa}");
            let every_third = run(isa, &[20, 35], Strided { cells: &x, at: 0, strides: &[105, 3] });
            assert_eq!(every_third, (-7.0, 9.0), "{isa}");
        }
    }
}
