//! Counter-based noise: the `n`-th value of a stream is a pure function of seed, stream and `n`.
//!
//! Nothing is advanced and nothing is stored, so that values do not depend on the order in which they are drawn: the
//! channel may damage slot 7 before slot 3, a sampler may restart at step 2, and every CPU gets the same bits. The
//! integers are SplitMix64 (Steele, Lea, Flood 2014) read at a random place; floats go through `libm` alone, never
//! through the platform's own mathematics. Not for secrets.

/// One stream of noise. Copy it freely: it holds no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    key: u64,
}

/// Step of SplitMix64: odd, and the golden ratio in 64 bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Sets the keys of the second uniform of a normal value apart from the first.
const ANGLE: u64 = 0xD1B5_4A32_D192_ED03;

impl Noise {
    /// The stream number `stream` of `seed`. Streams of one seed, and one stream of several seeds, are unrelated.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        let root = mix(seed.wrapping_add(GOLDEN));
        Self { key: mix(root ^ mix(stream.wrapping_mul(GOLDEN).wrapping_add(ANGLE))) }
    }

    /// A stream below this one, such as the slot `index` within the frame that this stream stands for.
    #[must_use]
    pub const fn substream(self, index: u64) -> Self {
        Self::new(self.key, index)
    }

    /// 64 uniform bits.
    #[must_use]
    pub const fn u64_at(self, counter: u64) -> u64 {
        mix(self.key.wrapping_add(counter.wrapping_mul(GOLDEN)))
    }

    /// A uniform integer in `0..bound`; 0 when `bound` is 0. Off from uniform by less than `bound` / 2^64.
    #[must_use]
    pub const fn below_at(self, counter: u64, bound: u64) -> u64 {
        ((self.u64_at(counter) as u128 * bound as u128) >> 64) as u64
    }

    /// A uniform value in `[0, 1)`, a multiple of 2^-53.
    #[must_use]
    pub fn uniform_at(self, counter: u64) -> f64 {
        unit(self.u64_at(counter))
    }

    /// A standard normal value by Box and Muller, within ±8.6. Takes one counter, as the others do.
    #[must_use]
    pub fn normal_at(self, counter: u64) -> f64 {
        let bits = self.u64_at(counter);
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(bits)));
        let angle = core::f64::consts::TAU * unit(mix(bits ^ ANGLE));
        radius * libm::cos(angle)
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_is_splitmix64() {
        // First outputs of SplitMix64 with state 0, from its reference code.
        assert_eq!(mix(GOLDEN), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(GOLDEN.wrapping_mul(2)), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn values_are_fixed() {
        let noise = Noise::new(7, 3);
        assert_eq!(noise.u64_at(0), 0x86CD_4D79_F070_8BBE);
        assert_eq!(noise.substream(2).u64_at(u64::MAX), 0x9F55_3CD9_1941_B750);
        assert_eq!(noise.normal_at(1).to_bits(), 0x3FC9_46F7_F4D9_6CE5);
    }

    #[test]
    fn streams_do_not_repeat_each_other() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..8 {
            for stream in 0..8 {
                let noise = Noise::new(seed, stream);
                for counter in 0..64 {
                    assert!(seen.insert(noise.u64_at(counter)), "{seed} {stream} {counter}");
                }
            }
        }
    }

    #[test]
    fn uniform_and_below_stay_in_range_and_are_flat() {
        let noise = Noise::new(1, 0);
        let mut bins = [0u32; 10];
        for counter in 0..20_000 {
            let u = noise.uniform_at(counter);
            assert!((0.0..1.0).contains(&u));
            bins[noise.below_at(counter, 10) as usize] += 1;
        }
        assert_eq!(noise.below_at(5, 0), 0);
        // Expected 2000 a bin with a deviation of 42.
        assert!(bins.iter().all(|&n| (1800..2200).contains(&n)), "{bins:?}");
    }

    #[test]
    fn normal_has_unit_moments() {
        let noise = Noise::new(2, 9);
        let count = 40_000;
        let (mut sum, mut square, mut beyond) = (0.0, 0.0, 0);
        for counter in 0..count {
            let z = noise.normal_at(counter);
            sum += z;
            square += z * z;
            beyond += u32::from(z.abs() > 1.959_964);
        }
        let n = count as f64;
        assert!((sum / n).abs() < 0.02, "mean {}", sum / n);
        assert!((square / n - 1.0).abs() < 0.03, "variance {}", square / n);
        let share = f64::from(beyond) / n;
        assert!((share - 0.05).abs() < 0.005, "share beyond 1.96 sigma {share}");
    }
}
