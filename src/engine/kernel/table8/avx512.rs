//! AVX-512 VBMI: a lookup among 128 bytes is one instruction. Not every machine with VNNI has it.

use std::arch::x86_64::*;

/// Looks up the whole blocks of 64, and returns how many cells they are: none without VBMI.
pub fn blocks(table: &[u8; 256], from: &[u8], to: &mut [u8]) -> usize {
    if !is_x86_feature_detected!("avx512vbmi") {
        return 0;
    }
    // SAFETY: just found; and with it AVX-512 BW, which this instruction set has.
    unsafe { lookup(table, from, to) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn lookup(table: &[u8; 256], from: &[u8], to: &mut [u8]) -> usize {
    let part = |at: usize| load(table[at..].first_chunk().expect("64 entries"));
    let [a, b, c, d] = [0, 64, 128, 192].map(part);
    let (from, to) = (from.as_chunks::<64>().0, to.as_chunks_mut::<64>().0);
    for (from, to) in from.iter().zip(to) {
        let cells = load(from);
        let (low, high) = (_mm512_permutex2var_epi8(a, cells, b), _mm512_permutex2var_epi8(c, cells, d));
        let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(cells), low, high);
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), found) };
    }
    from.len() * 64
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
