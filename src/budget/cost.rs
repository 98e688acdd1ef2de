//! Instructions and time of a run, from what its units take.

use super::counted;
use super::work::{UNITS, Work};
use crate::engine::kernel::Isa;
use serde::Deserialize;

/// The kernels of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instructions {
    /// Plain Rust, as on 32-bit ARM.
    Scalar,
    /// NEON with SMLAL: Cortex-A53, A57, A72.
    Neon,
    /// NEON with SDOT: Cortex-A76, A78.
    NeonDot,
    /// AVX2 or AVX-512 with VNNI.
    X86,
}

impl Instructions {
    /// The fastest that this machine has.
    pub fn here() -> Self {
        match Isa::best() {
            Isa::Scalar => Instructions::Scalar,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Instructions::Neon,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => Instructions::NeonDot,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512Vnni => Instructions::X86,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Instructions::Scalar => "scalar",
            Instructions::Neon => "neon",
            Instructions::NeonDot => "neon-dot",
            Instructions::X86 => "x86",
        }
    }

    pub(super) fn is_neon(self) -> bool {
        matches!(self, Instructions::Neon | Instructions::NeonDot)
    }

    fn counted(self) -> Option<&'static [f32; UNITS]> {
        match self {
            Instructions::Neon => Some(&counted::NEON),
            Instructions::NeonDot => Some(&counted::NEON_DOT),
            Instructions::Scalar | Instructions::X86 => None,
        }
    }

    /// Instructions that one thread executes for this work: predicted, within a tenth of what is counted of whole networks. `None` where the
    /// kernels were not counted, or something in the work was not.
    pub fn predict(self, work: &Work) -> Option<u64> {
        let counted = self.counted()?;
        let sum: f64 = work.units().map(|(unit, count)| count as f64 * f64::from(counted[unit as usize])).sum();
        // A unit that was never counted is NaN.
        (work.is_complete && sum.is_finite()).then_some(sum as u64)
    }
}

/// A range of time, in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub least_us: u64,
    pub most_us: u64,
}

/// How fast a core executes instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Pace {
    pub clock_mhz: u32,
    /// Cycles that a thousand instructions take: at best, and at worst.
    pub least_cycles: u32,
    pub most_cycles: u32,
}

impl Pace {
    pub fn time(self, instructions: u64) -> Range {
        let time = |cycles: u32| {
            let us = u128::from(instructions) * u128::from(cycles) / (1000 * u128::from(self.clock_mhz.max(1)));
            us as u64
        };
        Range { least_us: time(self.least_cycles), most_us: time(self.most_cycles) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_time() {
        let pace = Pace { clock_mhz: 1500, least_cycles: 500, most_cycles: 1500 };
        assert_eq!(pace.time(3_000_000), Range { least_us: 1000, most_us: 3000 });
    }

    #[test]
    fn what_was_not_counted_is_not_predicted() {
        let mut none = Work::default();
        none.is_complete = false;
        assert_eq!(Instructions::Neon.predict(&none), None);
        assert_eq!(Instructions::X86.predict(&Work::default()), None);
        assert_eq!(Instructions::NeonDot.predict(&Work::default()), Some(0));
    }
}
