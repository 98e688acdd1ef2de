//! Weights of floats as they are kept: in 32 bits, or in 16 where they lose nothing by it.

use bytemuck::Pod;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Lines of `f32`, in which a kernel reads them.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored<L> {
    Full(Vec<L>),
    Half(Vec<f16>),
}

impl<L: Pod> Stored<L> {
    const FLOATS: usize = size_of::<L>() / size_of::<f32>();

    /// Keeps what is exact in 16 bits in them.
    pub fn halved(self) -> Self {
        match self {
            Stored::Full(lines) => {
                Stored::Half(bytemuck::cast_slice::<_, f32>(&lines).iter().map(|&of| f16::from_f32(of)).collect())
            }
            Stored::Half(_) => self,
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Stored::Full(lines) => size_of_val(&lines[..]),
            Stored::Half(halves) => size_of_val(&halves[..]),
        }
    }

    /// Lines in all.
    pub fn len(&self) -> usize {
        match self {
            Stored::Full(lines) => lines.len(),
            Stored::Half(halves) => halves.len() / Self::FLOATS,
        }
    }

    /// Floats of the room that [`Stored::get`] wants for as many lines.
    pub fn room(&self, lines: usize) -> usize {
        match self {
            Stored::Full(_) => 0,
            Stored::Half(_) => lines * Self::FLOATS + align_of::<L>() / size_of::<f32>() - 1,
        }
    }

    /// Some lines: as they lie, or widened into `room`.
    ///
    /// # Panics
    /// If there are not as many lines, or there is not as much [room](Stored::room).
    pub fn get<'a>(&'a self, range: Range<usize>, room: &'a mut [f32]) -> &'a [L] {
        match self {
            Stored::Full(lines) => &lines[range],
            Stored::Half(halves) => {
                let (_, room, _) = bytemuck::pod_align_to_mut::<f32, L>(room);
                let room = &mut room[..range.len()];
                let halves = &halves[range.start * Self::FLOATS..range.end * Self::FLOATS];
                widen(halves, bytemuck::cast_slice_mut(room));
                room
            }
        }
    }
}

/// Exact, on every machine.
#[cfg(not(target_arch = "aarch64"))]
fn widen(from: &[f16], to: &mut [f32]) {
    from.convert_to_f32_slice(to);
}

/// FCVTL is part of every NEON, which `half` doesn't make use of.
#[cfg(target_arch = "aarch64")]
fn widen(from: &[f16], to: &mut [f32]) {
    use std::arch::aarch64::*;
    use std::arch::asm;
    let ((from, rest), (to, rest_to)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    for (from, to) in from.iter().zip(to) {
        // SAFETY: aarch64 has NEON; there are eight numbers on each side.
        unsafe {
            let halves = vld1q_u16(from.as_ptr().cast());
            let (low, high): (float32x4_t, float32x4_t);
            asm!("fcvtl {low:v}.4s, {halves:v}.4h", "fcvtl2 {high:v}.4s, {halves:v}.8h",
                halves = in(vreg) halves, low = out(vreg) low, high = lateout(vreg) high,
                options(pure, nomem, nostack, preserves_flags));
            vst1q_f32(to.as_mut_ptr(), low);
            vst1q_f32(to.as_mut_ptr().add(4), high);
        }
    }
    rest.convert_to_f32_slice(rest_to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_widened_exactly() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|of| !of.is_nan()).collect();
        let floats: Vec<f32> = halves.iter().map(|&of| f16::to_f32(of)).collect();
        let stored = Stored::Full(floats.clone()).halved();
        assert_eq!((stored.len(), stored.bytes()), (floats.len(), 2 * floats.len()));
        let mut room = vec![0.0; stored.room(floats.len() - 3)];
        let bits = |floats: &[f32]| floats.iter().map(|of| of.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(stored.get(3..floats.len(), &mut room)), bits(&floats[3..]));
    }
}
