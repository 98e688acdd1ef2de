//! Sums, means and extremes over some axes of a tensor.

use super::BLOCK;
use super::walk::{AXES, Blocks, Strided, is_upright};
use crate::Isa;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sum,
    Mean,
    Maximum,
    Minimum,
    /// Of squares.
    SumSquare,
}

/// What is folded: for each element of a walk over `sizes`, `source` over the axes of `inner`, sizes and strides, in f64, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub kind: Kind,
    pub sizes: &'a [usize],
    pub source: Strided<'a, f32>,
    pub inner: (&'a [usize], &'a [usize]),
    /// Of the target.
    pub at: usize,
    pub strides: &'a [usize],
}

/// # Panics
/// If an index lies outside of its slice, or there are too many axes.
pub fn run(isa: Isa, job: &Job<'_>, target: &mut [f32]) {
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(job, target) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(job, target) },
        _ => body(job, target),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(job: &Job<'_>, target: &mut [f32]) {
    body(job, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(job: &Job<'_>, target: &mut [f32]) {
    body(job, target);
}

#[inline(always)]
fn body(job: &Job<'_>, target: &mut [f32]) {
    let &Job { kind, sizes, source, inner, at, strides } = job;
    let (mut values, mut sums) = ([0f32; BLOCK], [0f64; BLOCK]);
    let count: usize = inner.0.iter().product();
    let start = match kind {
        Kind::Sum | Kind::Mean | Kind::SumSquare => 0.0,
        Kind::Maximum => f64::NEG_INFINITY,
        Kind::Minimum => f64::INFINITY,
    };
    let share = if kind == Kind::Mean { 1.0 / count as f64 } else { 1.0 };
    for block in Blocks::new(sizes, is_upright(strides) || is_upright(source.strides)) {
        let own = &mut sums[..block.count()];
        own.fill(start);
        for offset in Offsets::new(inner) {
            block.read(&Strided { at: source.at + offset, ..source }, &mut values);
            for (sum, &value) in own.iter_mut().zip(&values) {
                let value = f64::from(value);
                *sum = match kind {
                    Kind::Sum | Kind::Mean => *sum + value,
                    Kind::SumSquare => *sum + value * value,
                    Kind::Maximum => {
                        if value > *sum {
                            value
                        } else {
                            *sum
                        }
                    }
                    Kind::Minimum => {
                        if value < *sum {
                            value
                        } else {
                            *sum
                        }
                    }
                };
            }
        }
        for (value, sum) in values.iter_mut().zip(&sums).take(block.count()) {
            *value = (sum * share) as f32;
        }
        block.write(&values, target, at, strides);
    }
}

/// The offsets of the elements that are folded, in order.
struct Offsets<'a> {
    sizes: &'a [usize],
    strides: &'a [usize],
    index: [usize; AXES],
    offset: usize,
    done: bool,
}

impl<'a> Offsets<'a> {
    #[inline(always)]
    fn new((sizes, strides): (&'a [usize], &'a [usize])) -> Self {
        assert!(sizes.len() <= AXES && sizes.len() == strides.len());
        Offsets { sizes, strides, index: [0; AXES], offset: 0, done: sizes.contains(&0) }
    }
}

impl Iterator for Offsets<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.done {
            return None;
        }
        let offset = self.offset;
        let mut axis = self.sizes.len();
        loop {
            if axis == 0 {
                self.done = true;
                break;
            }
            axis -= 1;
            self.index[axis] += 1;
            self.offset += self.strides[axis];
            if self.index[axis] < self.sizes[axis] {
                break;
            }
            self.offset -= self.sizes[axis] * self.strides[axis];
            self.index[axis] = 0;
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn it_folds_what_it_says() {
        let x = Random::new(1).many(3 * 4 * 50, |random| random.unit() - 0.5);
        // Over the first and the last axis of 3 x 4 x 50.
        for kind in [Kind::Sum, Kind::Mean, Kind::Maximum, Kind::Minimum, Kind::SumSquare] {
            let of = |isa| {
                let mut target = [0.0; 4];
                let source = Strided { cells: &x[..], at: 0, strides: &[0, 50] };
                let inner = (&[3, 50][..], &[200, 1][..]);
                let job = Job { kind, sizes: &[1, 4], source, inner, at: 0, strides: &[0, 1] };
                run(isa, &job, &mut target);
                target
            };
            let scalar = of(Isa::Scalar);
            for isa in Isa::available() {
                assert_eq!(of(isa).map(f32::to_bits), scalar.map(f32::to_bits));
            }
            for (c, value) in scalar.into_iter().enumerate() {
                let own = || (0..3).flat_map(|n| x[n * 200 + c * 50..][..50].iter().map(|&x| f64::from(x)));
                let right = match kind {
                    Kind::Sum => own().sum(),
                    Kind::Mean => own().sum::<f64>() / 150.0,
                    Kind::SumSquare => own().map(|x| x * x).sum(),
                    Kind::Maximum => own().fold(f64::NEG_INFINITY, f64::max),
                    Kind::Minimum => own().fold(f64::INFINITY, f64::min),
                };
                assert!((f64::from(value) - right).abs() < 1e-6 * (1.0 + right.abs()), "{kind:?}");
            }
        }
    }
}
