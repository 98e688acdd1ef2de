//! Which instructions a kernel may use.

use std::fmt;

/// A level of instructions, chosen once when a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust: the definition.
    Scalar,
    #[cfg(target_arch = "x86_64")]
    /// AVX2 and FMA.
    Avx2,
    #[cfg(target_arch = "x86_64")]
    /// AVX-512 F, BW, DQ, VL and VNNI, beside AVX2 and FMA.
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    /// NEON with SMLAL: Cortex-A53, A57, A72.
    Neon,
    #[cfg(target_arch = "aarch64")]
    /// NEON with SDOT: Cortex-A76, A78.
    NeonDot,
}

impl Isa {
    /// Those that this machine has, the fastest first.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && avx512 {
                found.push(Isa::Avx512Vnni);
            }
            if avx2 {
                found.push(Isa::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Isa::NeonDot);
            }
            found.push(Isa::Neon);
        }
        found.push(Isa::Scalar);
        found
    }

    /// The fastest that this machine has.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => "neon-dot",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_always_there() {
        assert_eq!(Isa::available().last(), Some(&Isa::Scalar));
        assert_eq!(Isa::best(), Isa::available()[0]);
    }
}
