//! What noise does to the values of a packet: bits flip, codes move.

use crate::noise::Noise;

use super::layout::CodeBits;

/// The bit error rate of BPSK at `snr_db` (Eb/N0): half of erfc(√γ).
pub(super) fn bit_error_rate(snr_db: f64) -> f64 {
    0.5 * libm::erfc(libm::sqrt(libm::pow(10.0, snr_db / 10.0)))
}

/// The deviation of the noise on a signal of unit power at `snr_db`.
pub(super) fn sigma_of_snr(snr_db: f64) -> f64 {
    libm::pow(10.0, -snr_db / 20.0)
}

/// The inverse of [`sigma_of_snr`]; infinite without noise.
pub(super) fn snr_of_sigma(sigma: f64) -> f64 {
    -20.0 * libm::log10(sigma)
}

/// Flips each bit with the chance `rate`. What flips at a low rate flips at a higher one too.
pub(super) fn flip_bits(bytes: &mut [u8], rate: f64, noise: Noise) {
    if rate <= 0.0 {
        return;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        for bit in 0..8 {
            if noise.uniform_at(i as u64 * 8 + bit) < rate {
                *byte ^= 1 << bit;
            }
        }
    }
}

/// Adds Gaussian noise of deviation `sigma` amplitudes to each code, rounds, and stops at the ends of the range.
pub(super) fn add_noise(bytes: &mut [u8], bits: CodeBits, unit: f32, sigma: f64, noise: Noise) {
    let steps = sigma * f64::from(unit);
    let moved = |code: u8, top: u8, counter: u64| {
        // NaN, from a unit that isn't a number, becomes 0.
        libm::round(f64::from(code) + steps * noise.normal_at(counter)).clamp(0.0, f64::from(top)) as u8
    };
    for (i, byte) in bytes.iter_mut().enumerate() {
        let i = i as u64;
        *byte = match bits {
            CodeBits::Eight => moved(*byte, 255, i),
            CodeBits::Four => moved(*byte >> 4, 15, 2 * i) << 4 | moved(*byte & 15, 15, 2 * i + 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_flip_at_the_rate_of_the_formula() {
        // Q(√(2γ)) from the tables.
        for (snr_db, expected) in [(-3.0, 0.1584), (0.0, 0.07865), (4.0, 0.012501), (10.0, 3.872e-6)] {
            let rate = bit_error_rate(snr_db);
            assert!((rate / expected - 1.0).abs() < 1e-3, "{snr_db} dB: {rate}");
        }
        let mut bytes = vec![0u8; 50_000];
        for snr_db in [-3.0, 0.0, 4.0, 7.0] {
            bytes.fill(0);
            let rate = bit_error_rate(snr_db);
            flip_bits(&mut bytes, rate, Noise::new(1, 2));
            let flipped = f64::from(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>());
            let expected = rate * 400_000.0;
            assert!((flipped - expected).abs() < 4.0 * libm::sqrt(expected), "{snr_db} dB: {flipped} of {expected}");
        }
    }

    #[test]
    fn codes_move_by_the_sigma_asked_for() {
        let mut bytes = vec![128u8; 40_000];
        add_noise(&mut bytes, CodeBits::Eight, 32.0, 0.9, Noise::new(1, 2));
        let (mean, deviation) = moments(bytes.iter().copied());
        assert!((mean - 128.0).abs() < 0.6, "{mean}");
        // Rounding adds a twelfth of a step to the variance.
        let expected = libm::sqrt(28.8 * 28.8 + 1.0 / 12.0);
        assert!((deviation / expected - 1.0).abs() < 0.015, "{deviation} of {expected}");

        let mut bytes = vec![0x78u8; 40_000];
        add_noise(&mut bytes, CodeBits::Four, 3.0, 0.5, Noise::new(1, 2));
        let expected = libm::sqrt(1.5 * 1.5 + 1.0 / 12.0);
        let (mean, deviation) = moments(bytes.iter().map(|byte| byte >> 4));
        assert!((mean - 7.0).abs() < 0.03, "{mean}");
        assert!((deviation / expected - 1.0).abs() < 0.015, "{deviation} of {expected}");
        let (mean, _) = moments(bytes.iter().map(|byte| byte & 15));
        assert!((mean - 8.0).abs() < 0.03, "{mean}");
        let high: Vec<f64> = bytes.iter().map(|byte| f64::from(byte >> 4) - 7.0).collect();
        let product: f64 = bytes.iter().zip(high).map(|(byte, high)| high * (f64::from(byte & 15) - 8.0)).sum();
        assert!((product / 40_000.0).abs() < 0.06, "halves of a byte move together: {product}");
    }

    #[test]
    fn codes_stop_at_the_ends_of_their_range() {
        let mut bytes = vec![0u8; 1000];
        add_noise(&mut bytes, CodeBits::Eight, 200.0, 10.0, Noise::new(1, 2));
        assert!(bytes.contains(&0) && bytes.contains(&255));
        add_noise(&mut bytes, CodeBits::Four, f32::NAN, 10.0, Noise::new(1, 2));
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn snr_and_sigma_are_one_scale() {
        assert!((sigma_of_snr(20.0) - 0.1).abs() < 1e-12);
        for snr_db in [-20.0, 0.0, 7.5, 60.0] {
            assert!((snr_of_sigma(sigma_of_snr(snr_db)) - snr_db).abs() < 1e-9);
        }
        assert_eq!(snr_of_sigma(0.0), f64::INFINITY);
    }

    fn moments(codes: impl Iterator<Item = u8>) -> (f64, f64) {
        let (mut sum, mut square, mut count) = (0.0, 0.0, 0.0);
        for code in codes {
            sum += f64::from(code);
            square += f64::from(code) * f64::from(code);
            count += 1.0;
        }
        let mean = sum / count;
        (mean, libm::sqrt(square / count - mean * mean))
    }
}
