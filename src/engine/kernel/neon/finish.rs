//! From sums to cells: the epilogue of a block of outputs.

use super::super::epilogue::{Epilogue, Output};
use super::{BLOCK, write};
use std::arch::aarch64::*;

/// The sums of a pixel, by output.
pub type Sums = [int32x4_t; 2];

/// What becomes of the sums of one block of outputs in one row. Always inlined, for the sums are in registers.
pub trait Finish: Copy {
    /// The same for a row that starts `cells` further.
    fn below(self, cells: usize) -> Self;

    /// Writes the outputs of the block that there are, at the pixels from `x` on.
    ///
    /// # Safety
    /// The row has these pixels.
    unsafe fn finish<const P: usize>(&self, x: usize, sums: [Sums; P]);
}

#[derive(Clone, Copy)]
pub struct Int8 {
    scale: [float32x4_t; 2],
    zero_point: int16x8_t,
    low: int8x8_t,
    high: int8x8_t,
    to: *mut u8,
    pixel: usize,
    outputs: usize,
}

#[derive(Clone, Copy)]
pub struct Float {
    scale: [float32x4_t; 2],
    bias: [float32x4_t; 2],
    to: *mut f32,
    pixel: usize,
    outputs: usize,
}

/// Leaves the sums as they are.
#[derive(Clone, Copy)]
pub struct Whole {
    to: *mut i32,
    pixel: usize,
    outputs: usize,
}

/// The epilogue of a block of outputs in a row.
#[derive(Clone, Copy)]
pub enum Row {
    Int8(Int8),
    Float(Float),
    Sums(Whole),
}

impl Row {
    /// For those of the `outputs` from `first` on, in the row that starts at cell `row`, whose pixels lie `pixel` cells apart.
    ///
    /// # Panics
    /// If `output` ends before the block's first cell.
    #[target_feature(enable = "neon")]
    pub fn new(
        epilogue: &Epilogue<'_>,
        output: &mut Output<'_>,
        outputs: usize,
        pixel: usize,
        row: usize,
        first: usize,
    ) -> Self {
        let outputs = (outputs - first).min(BLOCK);
        match (epilogue, output) {
            (Epilogue::Int8 { scale, zero_point, low, high }, Output::Int8(cells)) => {
                let cell = |value: i32| vdup_n_s8(value.clamp(-128, 127) as i8);
                Row::Int8(Int8 {
                    scale: factors(&scale[first..]),
                    zero_point: vdupq_n_s16(*zero_point as i16),
                    low: cell(*low),
                    high: cell(*high),
                    to: cells[row + first..].as_mut_ptr(),
                    pixel,
                    outputs,
                })
            }
            (Epilogue::Float { scale, bias }, Output::Float(cells)) => Row::Float(Float {
                scale: factors(&scale[first..]),
                bias: factors(&bias[first..]),
                to: cells[row + first..].as_mut_ptr(),
                pixel,
                outputs,
            }),
            (Epilogue::Sums, Output::Sums(cells)) => {
                Row::Sums(Whole { to: cells[row + first..].as_mut_ptr(), pixel, outputs })
            }
            _ => unreachable!("checked by the caller"),
        }
    }
}

/// The factors of a block, zeros where there is no output.
#[target_feature(enable = "neon")]
fn factors(of: &[f32]) -> [float32x4_t; 2] {
    let mut all = [0.0; BLOCK];
    let count = of.len().min(BLOCK);
    all[..count].copy_from_slice(&of[..count]);
    // SAFETY: `all` has 8 elements.
    unsafe { [vld1q_f32(all.as_ptr()), vld1q_f32(all.as_ptr().add(4))] }
}

#[inline]
#[target_feature(enable = "neon")]
fn scaled(sums: Sums, scale: [float32x4_t; 2]) -> [float32x4_t; 2] {
    [vmulq_f32(vcvtq_f32_s32(sums[0]), scale[0]), vmulq_f32(vcvtq_f32_s32(sums[1]), scale[1])]
}

impl Int8 {
    /// Rounds before it clamps, in saturating integers: the bounds are whole numbers in −128..=127, so nothing differs.
    #[inline]
    #[target_feature(enable = "neon")]
    fn cells(&self, sums: Sums) -> uint8x8_t {
        let real = scaled(sums, self.scale);
        let whole = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(real[0])), vcvtnq_s32_f32(real[1]));
        let cells = vqmovn_s16(vqaddq_s16(whole, self.zero_point));
        vreinterpret_u8_s8(vmin_s8(vmax_s8(cells, self.low), self.high))
    }
}

impl Finish for Int8 {
    #[inline]
    fn below(mut self, cells: usize) -> Self {
        self.to = self.to.wrapping_add(cells);
        self
    }

    #[inline(always)]
    unsafe fn finish<const P: usize>(&self, x: usize, sums: [Sums; P]) {
        // SAFETY: there is NEON, the row has these pixels, and each has `outputs` cells, at most 8, from this block's first one on.
        unsafe {
            let mut to = self.to.add(x * self.pixel);
            if self.outputs == BLOCK {
                for sums in sums {
                    vst1_u8(to, self.cells(sums));
                    to = to.wrapping_add(self.pixel);
                }
            } else {
                for sums in sums {
                    write::bytes(to, vget_lane_u64::<0>(vreinterpret_u64_u8(self.cells(sums))), self.outputs);
                    to = to.wrapping_add(self.pixel);
                }
            }
        }
    }
}

impl Float {
    #[inline]
    #[target_feature(enable = "neon")]
    fn cells(&self, sums: Sums) -> [float32x4_t; 2] {
        let [a, b] = scaled(sums, self.scale);
        [vaddq_f32(a, self.bias[0]), vaddq_f32(b, self.bias[1])]
    }
}

impl Finish for Float {
    #[inline]
    fn below(mut self, cells: usize) -> Self {
        self.to = self.to.wrapping_add(cells);
        self
    }

    #[inline(always)]
    unsafe fn finish<const P: usize>(&self, x: usize, sums: [Sums; P]) {
        // SAFETY: there is NEON, the row has these pixels, and each has `outputs` cells, at most 8, from this block's first one on.
        unsafe {
            let mut to = self.to.add(x * self.pixel);
            for sums in sums {
                let [a, b] = self.cells(sums);
                if self.outputs == BLOCK {
                    vst1q_f32(to, a);
                    vst1q_f32(to.add(4), b);
                } else {
                    write::floats(to, [a, b], self.outputs);
                }
                to = to.wrapping_add(self.pixel);
            }
        }
    }
}

impl Finish for Whole {
    #[inline]
    fn below(mut self, cells: usize) -> Self {
        self.to = self.to.wrapping_add(cells);
        self
    }

    #[inline(always)]
    unsafe fn finish<const P: usize>(&self, x: usize, sums: [Sums; P]) {
        // SAFETY: there is NEON, the row has these pixels, and each has `outputs` sums, at most 8, from this block's first one on.
        unsafe {
            let mut to = self.to.add(x * self.pixel);
            for [a, b] in sums {
                if self.outputs == BLOCK {
                    vst1q_s32(to, a);
                    vst1q_s32(to.add(4), b);
                } else {
                    // Words are words.
                    write::floats(to.cast(), [vreinterpretq_f32_s32(a), vreinterpretq_f32_s32(b)], self.outputs);
                }
                to = to.wrapping_add(self.pixel);
            }
        }
    }
}
