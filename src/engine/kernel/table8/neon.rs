//! NEON: a lookup among 64 bytes is one instruction, which leaves cells alone that are out of its range.

use std::arch::aarch64::*;

/// Looks up the whole blocks of 16, and returns how many cells they are.
pub fn blocks(table: &[u8; 256], from: &[u8], to: &mut [u8]) -> usize {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { lookup(table, from, to) }
}

#[target_feature(enable = "neon")]
fn lookup(table: &[u8; 256], from: &[u8], to: &mut [u8]) -> usize {
    // SAFETY: each part has 64 bytes.
    let [a, b, c, d] = [0, 64, 128, 192].map(|at| unsafe { vld1q_u8_x4(table[at..at + 64].as_ptr()) });
    let part = vdupq_n_u8(64);
    let (from, to) = (from.as_chunks::<16>().0, to.as_chunks_mut::<16>().0);
    for (from, to) in from.iter().zip(to) {
        // SAFETY: 16 bytes.
        let cells = unsafe { vld1q_u8(from.as_ptr()) };
        let second = vsubq_u8(cells, part);
        let third = vsubq_u8(second, part);
        let found = vqtbx4q_u8(vqtbl4q_u8(a, cells), b, second);
        let found = vqtbx4q_u8(vqtbx4q_u8(found, c, third), d, vsubq_u8(third, part));
        // SAFETY: 16 bytes.
        unsafe { vst1q_u8(to.as_mut_ptr(), found) };
    }
    from.len() * 16
}
