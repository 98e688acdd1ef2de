//! How deep the stack has been: it is painted before `main`.

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    /// Both by the linker script: the stack's lowest word, and the first behind it.
    static _stack_end: u32;
    static _stack_start: u32;
}

pub fn deepest_bytes() -> usize {
    let (lowest, behind) = (&raw const _stack_end, &raw const _stack_start);
    let words = (behind as usize - lowest as usize) / size_of::<u32>();
    let is_painted = |word: &usize| {
        // Safety: the word lies in the stack's memory, which is always readable.
        unsafe { lowest.add(*word).read_volatile() == STACK_PAINT_VALUE }
    };
    let painted = (0..words).take_while(is_painted).count();
    (words - painted) * size_of::<u32>()
}
