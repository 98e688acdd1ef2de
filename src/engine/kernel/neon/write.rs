//! Writes fewer than eight cells, and calls nothing: a call would make the compiler spill the sums of whole blocks as well.

use std::arch::aarch64::*;

/// Writes the first `count` bytes of `bytes`, fewer than 8.
///
/// # Safety
/// `to` may be written.
#[inline]
pub unsafe fn bytes(mut to: *mut u8, mut bytes: u64, count: usize) {
    // SAFETY: the steps add up to `count`.
    unsafe {
        if count & 4 != 0 {
            to.cast::<u32>().write_unaligned(bytes as u32);
            (to, bytes) = (to.add(4), bytes >> 32);
        }
        if count & 2 != 0 {
            to.cast::<u16>().write_unaligned(bytes as u16);
            (to, bytes) = (to.add(2), bytes >> 16);
        }
        if count & 1 != 0 {
            to.write(bytes as u8);
        }
    }
}

/// Writes the first `count` of `floats`, fewer than 8.
///
/// # Safety
/// `to` may be written.
#[inline]
#[target_feature(enable = "neon")]
pub unsafe fn floats(mut to: *mut f32, floats: [float32x4_t; 2], count: usize) {
    let [mut next, last] = floats;
    // SAFETY: the steps add up to `count`.
    unsafe {
        if count & 4 != 0 {
            vst1q_f32(to, next);
            (to, next) = (to.add(4), last);
        }
        if count & 2 != 0 {
            vst1_f32(to, vget_low_f32(next));
            (to, next) = (to.add(2), vextq_f32::<2>(next, next));
        }
        if count & 1 != 0 {
            vst1q_lane_f32::<0>(to, next);
        }
    }
}
