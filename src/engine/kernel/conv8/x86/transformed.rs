//! Winograd's convolution for AVX2: two products of 16 bits to a lane by VPMADDWD.

use super::super::super::tile::{HALF, Places, TILED, Tiled};
use super::super::winograd::{self, CELLS, IN, Job, Kernel, NINTH, OUT, SHIFT, TAPS};
use super::super::{Output, Shape};
use super::avx2::put;
use super::finish::{self, End, Finish, Stored};
use std::arch::x86_64::*;
use std::ops::Range;

pub enum Avx2 {}

const BLOCK: usize = HALF;
const PAIR: usize = 2;
const GROUP: usize = 6;
const STEP: usize = 16;

/// Outputs, or outputs by channels of a pair, of a register.
const LANES: usize = 8;

impl Kernel for Avx2 {
    const BLOCK: usize = BLOCK;
    const PAIR: usize = PAIR;
    const GROUP: usize = GROUP;
    const GROUPS: usize = 4;
    const STEP: usize = STEP;

    unsafe fn spread(weights: &[i8], to: &mut [i16]) {
        // SAFETY: the caller's promise.
        unsafe { spread_weights(weights, to) }
    }

    unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16) {
        // SAFETY: the caller's promise.
        unsafe { transform(shape, from, to) }
    }

    unsafe fn multiply(steps: usize, cells: *const i16, weights: *const i16, to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { multiply(steps, cells, weights, to) }
    }

    unsafe fn finish(job: &Job<'_>, block: usize, tiles: Range<usize>, products: &[i32], output: &mut Output<'_>) {
        // SAFETY: the caller's promise.
        unsafe { write(job, block, tiles, products, output) }
    }
}

/// # Safety
/// As for [`Kernel::spread`].
#[target_feature(enable = "avx2,fma")]
unsafe fn spread_weights(weights: &[i8], to: &mut [i16]) {
    const OWN: usize = BLOCK * PAIR;
    let groups = weights.len() / (TAPS * OWN);
    for (group, lane) in (0..groups).flat_map(|group| [(group, 0), (group, OWN / 2)]) {
        // SAFETY: the taps of a group are `TAPS` times 32 weights, two registers' in 16 bits, each of its `CELLS` cells as many.
        unsafe {
            let from = weights.as_ptr().add(group * TAPS * OWN + lane);
            let mut taps = [_mm256_setzero_si256(); TAPS];
            for (tap, own) in taps.iter_mut().enumerate() {
                *own = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(tap * OWN).cast()));
            }
            let [c0, c1, c2] = [0, 1, 2].map(|x| spread_taps([taps[x], taps[3 + x], taps[6 + x]]));
            for y in 0..IN {
                for (x, cell) in spread_taps([c0[y], c1[y], c2[y]]).into_iter().enumerate() {
                    let at = ((y * IN + x) * groups + group) * OWN + lane;
                    _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), cell);
                }
            }
        }
    }
}

/// G g.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread_taps([a, b, c]: [__m256i; 3]) -> [__m256i; IN] {
    let (near, far) = (_mm256_add_epi16(a, c), _mm256_add_epi16(a, _mm256_slli_epi16::<2>(c)));
    let twice = _mm256_add_epi16(b, b);
    [
        a,
        _mm256_add_epi16(near, b),
        _mm256_sub_epi16(near, b),
        _mm256_add_epi16(far, twice),
        _mm256_sub_epi16(far, twice),
        c,
    ]
}

/// # Safety
/// As for [`Kernel::transform`].
#[target_feature(enable = "avx2,fma")]
unsafe fn transform(shape: &Shape, from: *const u8, to: *mut i16) {
    let steps = winograd::steps::<Avx2>(shape);
    let flip = _mm256_set1_epi16(128);
    for step in 0..steps {
        let mut rows = [[_mm256_setzero_si256(); IN]; IN];
        for (y, row) in rows.iter_mut().enumerate() {
            for (x, cell) in row.iter_mut().enumerate() {
                let at = y * shape.input.row + x * shape.input.pixel + step * STEP;
                // SAFETY: a tile's cells are in the input; of the last channels, up to twelve cells behind a pixel are read.
                let cells = unsafe { _mm_loadu_si128(from.add(at).cast()) };
                *cell = _mm256_sub_epi16(_mm256_cvtepu8_epi16(cells), flip);
            }
            *row = spread(*row);
        }
        let [r0, r1, r2, r3, r4, r5] = rows;
        for x in 0..IN {
            for (y, cell) in spread([r0[x], r1[x], r2[x], r3[x], r4[x], r5[x]]).into_iter().enumerate() {
                let at = ((y * IN + x) * steps + step) * GROUP * STEP;
                // SAFETY: a step has `GROUP` times `STEP` elements.
                unsafe { _mm256_storeu_si256(to.add(at).cast(), cell) };
            }
        }
    }
}

/// Bᵀ d.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread(d: [__m256i; IN]) -> [__m256i; IN] {
    let four = |of| _mm256_slli_epi16::<2>(of);
    let (far, near) = (_mm256_sub_epi16(d[4], d[2]), _mm256_sub_epi16(d[3], d[1]));
    let twice = _mm256_add_epi16(near, near);
    [
        _mm256_add_epi16(far, four(_mm256_sub_epi16(d[0], d[2]))),
        _mm256_sub_epi16(_mm256_add_epi16(d[3], d[4]), four(_mm256_add_epi16(d[1], d[2]))),
        _mm256_add_epi16(_mm256_sub_epi16(d[4], d[3]), four(_mm256_sub_epi16(d[1], d[2]))),
        _mm256_add_epi16(far, twice),
        _mm256_sub_epi16(far, twice),
        _mm256_sub_epi16(_mm256_sub_epi16(d[5], d[3]), four(near)),
    ]
}

/// # Safety
/// As for [`Kernel::multiply`].
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(steps: usize, mut cells: *const i16, mut weights: *const i16, to: *mut i32) {
    let mut sums = [[_mm256_setzero_si256(); BLOCK / LANES]; GROUP];
    for _ in 0..steps {
        for pair in 0..STEP / PAIR {
            // SAFETY: the caller's promise.
            unsafe {
                let own = [0, 1].map(|half| _mm256_loadu_si256(weights.add(half * LANES * PAIR).cast()));
                for (t, sums) in sums.iter_mut().enumerate() {
                    let two = cells.add(t * STEP + pair * PAIR).cast::<i32>().read_unaligned();
                    let two = _mm256_set1_epi32(two);
                    for (sums, own) in sums.iter_mut().zip(own) {
                        *sums = _mm256_add_epi32(*sums, _mm256_madd_epi16(two, own));
                    }
                }
                weights = weights.add(BLOCK * PAIR);
            }
        }
        cells = cells.wrapping_add(GROUP * STEP);
    }
    for (t, sums) in sums.into_iter().enumerate() {
        for (half, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_si256(to.add(t * CELLS * BLOCK + half * LANES).cast(), sums) };
        }
    }
}

/// # Safety
/// The output has what the job's shape says.
#[target_feature(enable = "avx2,fma")]
unsafe fn write(job: &Job<'_>, block: usize, tiles: Range<usize>, products: &[i32], output: &mut Output<'_>) {
    let view = &job.shape.output;
    let first = block * BLOCK;
    let outputs = (job.shape.outputs - first).min(BLOCK);
    let places = Places { pixels: OUT, outputs, halves: 1, pixel: view.pixel };
    let finish = Finish::new(job.epilogue, first, outputs, 1);
    let offset = &job.offset.as_chunks::<BLOCK>().0[block];
    for (tile, products) in tiles.zip(products.as_chunks::<{ CELLS * BLOCK }>().0) {
        let [y, x] = job.place(tile);
        let mut all = [[[_mm256_setzero_si256(); 2]; OUT]; OUT];
        sums::<0>(products, offset, &mut all);
        sums::<1>(products, offset, &mut all);
        for (row, all) in (y..).zip(&all).filter(|(row, _)| job.rows.contains(row)) {
            let to = (row - job.rows.start) * view.row + x * view.pixel + first;
            match (&mut *output, &finish) {
                (Output::Int8(cells), Finish::Int8(rounding)) => {
                    put(all, End::Cells(Stored { rounding, places, cells: &mut cells[to..] }));
                }
                (Output::Float(reals), Finish::Float(scale, bias)) => {
                    let mut tile = Tiled([[0; HALF]; TILED]);
                    put(all, End::Sums(&mut tile));
                    finish::float(&tile, scale, bias, places, &mut reals[to..]);
                }
                (Output::Sums(whole), Finish::Sums) => {
                    let mut tile = Tiled([[0; HALF]; TILED]);
                    put(all, End::Sums(&mut tile));
                    places.put(&tile, &mut whole[to..]);
                }
                _ => unreachable!("checked by the caller"),
            }
        }
    }
}

/// A tile's sums for one half of a block of outputs, by row and column.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sums<const HALF: usize>(
    products: &[i32; CELLS * BLOCK],
    offset: &[i32; BLOCK],
    to: &mut [[[__m256i; 2]; OUT]; OUT],
) {
    // SAFETY: eight of sixteen elements.
    let offset = unsafe { _mm256_loadu_si256(offset[HALF * LANES..].as_ptr().cast()) };
    let mut columns = [[_mm256_setzero_si256(); OUT]; IN];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut cells = [_mm256_setzero_si256(); IN];
        for (y, cell) in cells.iter_mut().enumerate() {
            // SAFETY: eight of the sixteen elements of a cell.
            *cell = unsafe { _mm256_loadu_si256(products[(y * IN + x) * BLOCK + HALF * LANES..].as_ptr().cast()) };
        }
        *column = gather(cells);
    }
    let [c0, c1, c2, c3, c4, c5] = columns;
    for (y, to) in to.iter_mut().enumerate() {
        let row = gather([c0[y], c1[y], c2[y], c3[y], c4[y], c5[y]]);
        for (x, to) in to.iter_mut().enumerate() {
            let ninth = _mm256_mullo_epi32(row[x], _mm256_set1_epi32(NINTH));
            let whole = _mm256_sra_epi32(ninth, _mm_cvtsi32_si128(SHIFT[y] + SHIFT[x]));
            to[HALF] = _mm256_add_epi32(whole, offset);
        }
    }
}

/// Aᵀ m.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn gather(m: [__m256i; IN]) -> [__m256i; OUT] {
    let (a, b) = (_mm256_add_epi32(m[1], m[2]), _mm256_sub_epi32(m[2], m[1]));
    let (c, d) = (_mm256_add_epi32(m[3], m[4]), _mm256_sub_epi32(m[3], m[4]));
    let twice = |of| _mm256_slli_epi32::<1>(of);
    let six = |of| _mm256_add_epi32(_mm256_slli_epi32::<2>(of), _mm256_slli_epi32::<1>(of));
    [
        _mm256_add_epi32(_mm256_sub_epi32(c, _mm256_slli_epi32::<2>(a)), six(m[0])),
        _mm256_add_epi32(d, twice(b)),
        _mm256_sub_epi32(c, a),
        _mm256_add_epi32(_mm256_add_epi32(b, twice(d)), six(m[5])),
    ]
}
