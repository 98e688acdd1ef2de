//! The SNR of a soft payload, estimated blind: from its codes alone, where the link tells none.

use super::Soft;
use libm::{erfc, log, pow, round};

/// The range of an estimate, in hundredths of dB. Beyond the upper end codes don't move any more.
pub const BLIND_CDB: core::ops::RangeInclusive<i16> = -2000..=4000;

/// Where the search ends, in dB: below what a frame of 100 000 codes can tell.
const TOLERANCE_DB: f64 = 0.02;
/// Chance of a code that the noise alone does not explain, so that one odd code does not decide.
const ODD: f64 = 1e-9;
/// The golden section.
const SECTION: f64 = 0.618_033_988_749_895;

/// The SNR of unit signal power, in hundredths of dB: the one under which the codes of the known cells are most likely. Each cell has
/// score 1 in one of the present classes and 0 in the others, which one is not asked; white noise moves the codes, which are rounded and
/// stop at the ends of their range. `None` where no code arrived.
///
/// The likelihood is that of the codes' histogram, so that the cost is that of 256 levels, whatever the map's size. The same bits
/// on every CPU.
pub fn blind_snr_cdb(soft: &Soft<'_>) -> Option<i16> {
    let mut counts = [0u32; 256];
    for codes in soft.codes.chunks_exact(soft.known.len()).take(soft.classes.len()) {
        for (&code, _) in codes.iter().zip(soft.known).filter(|(_, known)| **known) {
            counts[code as usize] += 1;
        }
    }
    counts.iter().any(|&count| count > 0).then(|| {
        let likelihood = |snr_db: f64| log_likelihood(&counts, soft, snr_db);
        let (low, high) = (*BLIND_CDB.start() as f64 / 100.0, *BLIND_CDB.end() as f64 / 100.0);
        round(100.0 * highest(low, high, likelihood)) as i16
    })
}

/// Of `counts` codes at `snr_db`, natural, less a constant.
fn log_likelihood(counts: &[u32; 256], soft: &Soft<'_>, snr_db: f64) -> f64 {
    let unit = soft.unit as f64;
    // A code that was sent as `center` falls short of `edge` with this chance.
    let scale = core::f64::consts::FRAC_1_SQRT_2 / (unit * pow(10.0, -snr_db / 20.0));
    let below = |edge: f64, center: f64| 0.5 * erfc((center - edge) * scale);
    let (zero, one) = (2.0 * unit, 3.0 * unit);
    let top = 5 * soft.unit as usize;
    let hot = 1.0 / soft.classes.len() as f64;
    // Chances of all codes below the one that is looked at.
    let mut before = 0.0;
    let mut sum = 0.0;
    for (code, &count) in counts[..=top].iter().enumerate() {
        let edge = code as f64 + 0.5;
        let until = if code == top { 1.0 } else { hot * below(edge, one) + (1.0 - hot) * below(edge, zero) };
        if count > 0 {
            sum += count as f64 * log((until - before).max(0.0) + ODD);
        }
        before = until;
    }
    sum
}

/// Where `value` is highest between `low` and `high`, by golden section: it rises to there and falls behind.
fn highest(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    let (mut left, mut right) = (high - SECTION * (high - low), low + SECTION * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    while high - low > TOLERANCE_DB {
        // Where both are alike nothing moved the codes: the upper end is the honest one.
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - SECTION * (high - low);
            at_left = value(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + SECTION * (high - low);
            at_right = value(right);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use crate::wire::{Grid, soft};
    use alloc::vec;
    use alloc::vec::Vec;

    const GRID: Grid = Grid::new(64, 48);

    /// Codes of a map of stripes, one class each, with noise of `sigma`.
    fn codes(bits: u8, classes: usize, sigma: f64) -> Vec<u8> {
        let (cells, noise) = (GRID.cells(), Noise::new(3, 1));
        let (zero, unit) = (soft::zero_code(bits) as f64, soft::unit_steps(bits) as f64);
        (0..classes * cells)
            .map(|index| {
                let hot = (index % cells) * classes / cells == index / cells;
                let score = hot as u8 as f64 + sigma * noise.normal_at(index as u64);
                libm::round(zero + unit * score).clamp(0.0, 5.0 * unit) as u8
            })
            .collect()
    }

    fn estimate(bits: u8, classes: usize, sigma: f64) -> f64 {
        let codes = codes(bits, classes, sigma);
        let ids: Vec<u8> = (0..classes as u8).collect();
        let known = vec![true; GRID.cells()];
        let soft = Soft { grid: GRID, codes: &codes, classes: &ids, known: &known, unit: soft::unit_steps(bits) };
        blind_snr_cdb(&soft).unwrap() as f64 / 100.0
    }

    #[test]
    fn the_noise_is_found_from_clean_to_drowned() {
        for bits in [4, 8] {
            for classes in [1, 2, 9] {
                for sigma in [0.22, 0.36, 0.6, 0.9, 1.3, 2.0, 4.0] {
                    let expected = -20.0 * libm::log10(sigma);
                    let found = estimate(bits, classes, sigma);
                    assert!((found - expected).abs() < 0.35, "{bits} bits, {classes} classes, {expected} dB: {found}");
                }
            }
        }
        for sigma in [0.02, 0.05, 0.1] {
            let expected = -20.0 * libm::log10(sigma);
            assert!((estimate(8, 9, sigma) - expected).abs() < 0.1, "{expected} dB");
        }
    }

    #[test]
    fn codes_that_nothing_moved_give_the_upper_end() {
        for bits in [4, 8] {
            assert!((estimate(bits, 5, 0.0) - 40.0).abs() < 0.1);
        }
    }

    #[test]
    fn only_known_cells_count() {
        let mut codes = codes(8, 2, 0.5);
        let mut known = vec![true; GRID.cells()];
        let unit = soft::unit_steps(8);
        for cell in (0..GRID.cells()).filter(|cell| cell % 3 > 0) {
            known[cell] = false;
            codes[cell] = 255;
        }
        let soft = Soft { grid: GRID, codes: &codes, classes: &[0, 1], known: &known, unit };
        let found = blind_snr_cdb(&soft).unwrap() as f64 / 100.0;
        assert!((found - 6.02).abs() < 0.3, "{found}");
        assert_eq!(blind_snr_cdb(&Soft { known: &vec![false; GRID.cells()], ..soft }), None);
    }

    /// Codes from the air can be anything.
    #[test]
    fn any_codes_have_an_estimate_in_range() {
        for (bits, top) in [(4, 15), (8, 255)] {
            for fill in [0, 1, top / 2, top] {
                let codes = vec![fill; 3 * GRID.cells()];
                let known = vec![true; GRID.cells()];
                let unit = soft::unit_steps(bits);
                let soft = Soft { grid: GRID, codes: &codes, classes: &[0, 4, 7], known: &known, unit };
                assert!(BLIND_CDB.contains(&blind_snr_cdb(&soft).unwrap()));
            }
        }
    }
}
