//! Probabilities of logits that lie in planes, a plane a class.

use super::Isa;
use super::exp::exp;

/// Cells that are worked on together.
const BLOCK: usize = 64;

/// Per cell over planes of `count` values: to 2e-6 of each probability, where logits are finite and at most 16 from each other.
///
/// # Panics
/// If the two differ in length, or aren't whole planes.
pub fn run(isa: Isa, logits: &[f32], count: usize, out: &mut [f32]) {
    assert!(logits.len() == out.len() && logits.len().is_multiple_of(count.max(1)));
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(logits, count, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(logits, count, out) },
        _ => body(logits, count, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(logits: &[f32], count: usize, out: &mut [f32]) {
    body(logits, count, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(logits: &[f32], count: usize, out: &mut [f32]) {
    body(logits, count, out);
}

#[inline(always)]
fn body(logits: &[f32], count: usize, out: &mut [f32]) {
    for first in (0..count).step_by(BLOCK) {
        let block = first..count.min(first + BLOCK);
        let (mut highest, mut sums) = ([f32::MIN; BLOCK], [0f32; BLOCK]);
        for plane in logits.chunks_exact(count) {
            for (highest, &logit) in highest.iter_mut().zip(&plane[block.clone()]) {
                *highest = if logit > *highest { logit } else { *highest };
            }
        }
        for (plane, out) in logits.chunks_exact(count).zip(out.chunks_exact_mut(count)) {
            let cells = plane[block.clone()].iter().zip(&mut out[block.clone()]);
            for ((&logit, out), (highest, sum)) in cells.zip(highest.iter().zip(&mut sums)) {
                *out = exp(logit - highest);
                *sum += *out;
            }
        }
        for out in out.chunks_exact_mut(count) {
            out[block.clone()].iter_mut().zip(&sums).for_each(|(out, sum)| *out /= sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn it_sums_to_one_and_is_the_same_on_every_instruction_set() {
        let mut random = Random::new(7);
        for count in [1, 63, 64, 200] {
            let logits = random.many(12 * count, |random| 16.0 * random.unit() - 8.0);
            let mut defined = vec![f32::NAN; logits.len()];
            body(&logits, count, &mut defined);
            for cell in 0..count {
                let logit = |class: usize| f64::from(logits[class * count + cell]);
                let sum: f64 = (0..12).map(|class| logit(class).exp()).sum();
                for class in 0..12 {
                    let (found, exact) = (f64::from(defined[class * count + cell]), logit(class).exp() / sum);
                    assert!((found - exact).abs() <= 2e-6 * exact, "{found} and {exact}");
                }
            }
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; logits.len()];
                run(isa, &logits, count, &mut out);
                assert_eq!(out, defined, "{isa}");
            }
        }
    }

    #[test]
    fn a_cell_with_one_class_left_is_that_class() {
        let (logits, mut out) = ([f32::NEG_INFINITY, 3.0, -200.0], [0.0; 3]);
        run(Isa::best(), &logits, 1, &mut out);
        assert!(out[1] == 1.0 && out[0] < 1e-30 && out[2] < 1e-30, "{out:?}");
    }
}
