//! Products of matrices of floats, or of 32-bit whole numbers.
//!
//! y[m, n] starts as bias[n] (or 0), and becomes mul_add(a[m, k], b[k, n], y) for each k in order.

use crate::Isa;

/// Columns of b and y are multiples of it, the last of them not of use.
pub const COLUMNS: usize = 16;
/// Rows that are computed together.
const ROWS: usize = 4;
/// Columns of a row that are computed together.
const WIDE: usize = 32 * COLUMNS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub rows: usize,
    /// Columns of use.
    pub columns: usize,
    pub depth: usize,
    /// From a row of a to the next, and from a k to the next.
    pub a: [usize; 2],
    /// From a k of b to the next; columns lie end to end.
    pub b: usize,
    /// From a row of y to the next; columns lie end to end.
    pub y: usize,
}

/// What matrices are made of.
pub trait Number: Copy + Default {
    /// self · b + c: in one rounding, or modulo 2^32.
    fn mul_add(self, b: Self, c: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn mul_add(self, b: f32, c: f32) -> f32 {
        f32::mul_add(self, b, c)
    }
}

impl Number for i32 {
    #[inline(always)]
    fn mul_add(self, b: i32, c: i32) -> i32 {
        self.wrapping_mul(b).wrapping_add(c)
    }
}

/// `bias` is empty, or has an element for each column. Columns of `b` may be read up to the next multiple of [`COLUMNS`].
///
/// # Panics
/// If a slice is too short for what the shape says.
pub fn run<T: Number>(isa: Isa, shape: &Shape, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    match isa {
        // SAFETY: the instruction set was found on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(shape, a, b, bias, y) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512(shape, a, b, bias, y) },
        _ => body(shape, a, b, bias, y),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<T: Number>(shape: &Shape, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    body(shape, a, b, bias, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512<T: Number>(shape: &Shape, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    body(shape, a, b, bias, y);
}

#[inline(always)]
fn body<T: Number>(shape: &Shape, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    let mut m = 0;
    while m < shape.rows {
        match shape.rows - m {
            ROWS.. => {
                rows::<T, ROWS>(shape, m, a, b, bias, y);
                m += ROWS;
            }
            _ => {
                row(shape, m, a, b, bias, y);
                m += 1;
            }
        }
    }
}

/// One row, for which nothing of b is read twice: b is read in the order of memory.
#[inline(always)]
fn row<T: Number>(shape: &Shape, m: usize, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    let factor = |k: usize| a[m * shape.a[0] + k * shape.a[1]];
    let mut n = 0;
    while n < shape.columns {
        let width = WIDE.min(shape.columns - n);
        let mut sums = [T::default(); WIDE];
        if !bias.is_empty() {
            sums[..width].copy_from_slice(&bias[n..][..width]);
        }
        let sums = &mut sums[..width.next_multiple_of(COLUMNS)];
        let of = |k: usize| &b[k * shape.b + n..][..width.next_multiple_of(COLUMNS)];
        let mut k = 0;
        while k + 4 <= shape.depth {
            let (f, g, h, i) = (factor(k), factor(k + 1), factor(k + 2), factor(k + 3));
            let rows = of(k).iter().zip(of(k + 1)).zip(of(k + 2)).zip(of(k + 3));
            for (sum, (((&p, &q), &r), &s)) in sums.iter_mut().zip(rows) {
                *sum = i.mul_add(s, h.mul_add(r, g.mul_add(q, f.mul_add(p, *sum))));
            }
            k += 4;
        }
        while k < shape.depth {
            let f = factor(k);
            for (sum, &p) in sums.iter_mut().zip(of(k)) {
                *sum = f.mul_add(p, *sum);
            }
            k += 1;
        }
        y[m * shape.y + n..][..width].copy_from_slice(&sums[..width]);
        n += width;
    }
}

#[inline(always)]
fn rows<T: Number, const M: usize>(shape: &Shape, m: usize, a: &[T], b: &[T], bias: &[T], y: &mut [T]) {
    let mut n = 0;
    while n < shape.columns {
        if shape.columns - n >= 4 * COLUMNS {
            tile::<T, M, { 4 * COLUMNS }>(shape, m, n, a, b, bias, y);
            n += 4 * COLUMNS;
        } else {
            tile::<T, M, COLUMNS>(shape, m, n, a, b, bias, y);
            n += COLUMNS;
        }
    }
}

#[inline(always)]
fn tile<T: Number, const M: usize, const N: usize>(
    shape: &Shape,
    m: usize,
    n: usize,
    a: &[T],
    b: &[T],
    bias: &[T],
    y: &mut [T],
) {
    let width = N.min(shape.columns - n);
    let mut sums = [[T::default(); N]; M];
    if !bias.is_empty() {
        sums.iter_mut().for_each(|sums| sums[..width].copy_from_slice(&bias[n..][..width]));
    }
    for k in 0..shape.depth {
        let from = k * shape.b + n;
        let mut b_row = [T::default(); N];
        b_row.copy_from_slice(&b[from..from + N]);
        for (row, sums) in sums.iter_mut().enumerate() {
            let factor = a[(m + row) * shape.a[0] + k * shape.a[1]];
            for (sum, &b) in sums.iter_mut().zip(&b_row) {
                *sum = factor.mul_add(b, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        y[(m + row) * shape.y + n..][..width].copy_from_slice(&sums[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn whole_numbers_are_exact() {
        let mut random = Random::new(3);
        let (rows, columns, depth) = (5, 21, 300);
        let a = random.many(rows * depth, |random| random.below(1 << 16) as i32 - (1 << 15));
        let b = random.many(depth * 32, |random| random.below(1 << 16) as i32 - (1 << 15));
        let shape = Shape { rows, columns, depth, a: [depth, 1], b: 32, y: columns };
        for isa in Isa::available() {
            let mut y = vec![0; rows * columns];
            run(isa, &shape, &a, &b, &[], &mut y);
            for (at, &y) in y.iter().enumerate() {
                let (m, n) = (at / columns, at % columns);
                let right: i64 = (0..depth).map(|k| i64::from(a[m * depth + k]) * i64::from(b[k * 32 + n])).sum();
                assert_eq!(y, right as i32, "{isa}");
            }
        }
    }

    #[test]
    fn it_is_the_product_on_every_instruction_set() {
        let mut random = Random::new(2);
        for (rows, columns, depth) in [(1, 1, 1), (1, 128, 13), (7, 9, 50), (5, 80, 3), (9, 65, 20)] {
            let pitch = usize::next_multiple_of(columns, COLUMNS);
            let a = random.many(rows * depth, |random| random.unit() - 0.5);
            let b = random.many(depth * pitch, |random| random.unit() - 0.5);
            let bias = random.many(columns, |random| random.unit() - 0.5);
            for bias in [&bias[..], &[]] {
                for a_strides in [[depth, 1], [1, rows]] {
                    let shape = Shape { rows, columns, depth, a: a_strides, b: pitch, y: columns };
                    let mut right = vec![0.0; rows * columns];
                    for (at, right) in right.iter_mut().enumerate() {
                        let (m, n) = (at / columns, at % columns);
                        *right = bias.get(n).copied().unwrap_or(0.0);
                        for k in 0..depth {
                            *right = a[m * a_strides[0] + k * a_strides[1]].mul_add(b[k * pitch + n], *right);
                        }
                    }
                    for isa in Isa::available() {
                        let mut y = vec![0.0; rows * columns];
                        run(isa, &shape, &a, &b, bias, &mut y);
                        assert_eq!(y, right, "{isa}");
                    }
                }
            }
        }
    }
}
