//! The exponential function and what activations are made of it, by operations whose results every machine rounds alike.

/// Below and above, [`exp`] stays what it is there: 2^n is a normal number in between.
const LOW: f32 = -87.3;
const HIGH: f32 = 88.3;

/// Added to a number of at most 2^22 it leaves the nearest integer, half to even, in the low bits, biased as an exponent is: shifted left
/// by 23 they are 2^n.
pub(super) const MAGIC: f32 = 12_582_912.0 + 127.0;
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;
pub(super) const LN_2: f32 = std::f32::consts::LN_2;

/// ln 2 in a part with few bits, so that its product with n is exact, and the rest.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Minimax over |r| <= ln 2 / 2: exp(r) = 1 + r + Σ of `EXP`[k] · r^(k + 2), to 4e-9.
const EXP: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_39, 8.368_745e-3, 1.381_454e-3];

/// The same with four terms: to 1.1e-7, which is as much as the sum is rounded by.
pub(super) const SHORT: [f32; 4] = [0.499_992_3, 0.166_671_14, 0.041_890_115, 8.312_525e-3];

/// What [`one_plus_exp_of_minus`] clips to: 2^n is a normal number in between, and beyond it adds nothing to 1, or 1 adds nothing to it.
pub(super) const LIMIT: f32 = 87.0;

/// `value`, or `low` if it isn't greater, so also for a NaN.
#[inline(always)]
pub(super) fn at_least(value: f32, low: f32) -> f32 {
    if value > low { value } else { low }
}

/// `value`, or `high` if it isn't less, so also for a NaN.
#[inline(always)]
pub(super) fn at_most(value: f32, high: f32) -> f32 {
    if value < high { value } else { high }
}

/// e^x to 2 units in the last place for x in −87.3..=88.3, and outside of it the nearest of these results. Of a NaN: e^−87.3.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = at_most(at_least(x, LOW), HIGH);
    let shifted = x.mul_add(LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut sum = EXP[4];
    for c in [EXP[3], EXP[2], EXP[1], EXP[0], 1.0, 1.0] {
        sum = sum.mul_add(r, c);
    }
    sum * f32::from_bits(shifted.to_bits() << 23)
}

/// `x`, or −87 if it is less. A NaN stays one.
#[inline(always)]
fn raised(x: f32) -> f32 {
    if x < -LIMIT { -LIMIT } else { x }
}

/// 1 + e^−x, to 6e-7 of e^−x. x is not less than −87, and more than 87 counts as 87; of a NaN it is one.
#[inline(always)]
fn one_plus_exp_of_minus(x: f32) -> f32 {
    let x = if x > LIMIT { LIMIT } else { x };
    let shifted = x.mul_add(-LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(LN_2, x);
    let r2 = r * r;
    let last = r.mul_add(-SHORT[3], SHORT[2]);
    let high = last.mul_add(r2, r.mul_add(-SHORT[1], SHORT[0]));
    let sum = high.mul_add(r2, 1.0 - r);
    sum.mul_add(f32::from_bits(shifted.to_bits() << 23), 1.0)
}

/// 1 / (1 + e^−x), to 6e-7 of the result. x below −87 counts as −87; of a NaN it is one.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / one_plus_exp_of_minus(raised(x))
}

/// x / (1 + e^−x), to 6e-7 of the result. x below −87 counts as −87; of a NaN it is one.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    let x = raised(x);
    x / one_plus_exp_of_minus(x)
}

/// ln x to 2 units in the last place: −∞ of 0, a NaN of what is below, ∞ of ∞. Polynomial of the Cephes library (Moshier), logf.c.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    // Numbers below 2^−126 have fewer bits: 2^23 times as large they are like all others.
    let tiny = x < f32::MIN_POSITIVE;
    let normal = if tiny { x * 8_388_608.0 } else { x };
    // Mantissa in √½..√2, and the exponent to it.
    let bits = normal.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((bits as i32) >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let m = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF) - 1.0;
    let mut sum = LOG[0];
    for c in &LOG[1..] {
        sum = sum.mul_add(m, *c);
    }
    let square = m * m;
    let small = (sum * m).mul_add(square, exponent * LN_2_LOW);
    let result = exponent.mul_add(LN_2_HIGH, square.mul_add(-0.5, small) + m);
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x > 0.0 { result } else { f32::NAN };
    if x == 0.0 { f32::NEG_INFINITY } else { result }
}

/// The bits of √½.
const SQRT_HALF: u32 = 0x3f35_04f3;

/// ln(1 + m) = m − m² / 2 + m³ · Σ of `LOG`[k] · m^(8 − k).
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -0.115_146_1,
    0.116_769_984,
    -0.124_201_41,
    0.142_493_23,
    -0.166_680_57,
    0.200_007_15,
    -0.249_999_94,
    0.333_333_3,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `step`-th float with a magnitude from 2^−30 to 2^7, of both signs.
    fn floats(step: usize) -> impl Iterator<Item = f32> {
        (0x3080_0000_u32..0x4300_0000).step_by(step).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    #[test]
    fn log_is_right_to_two_units_in_the_last_place() {
        for x in (1..0x7f80_0000_u32).step_by(9973).map(f32::from_bits).chain([1.0, f32::MIN_POSITIVE, f32::MAX]) {
            let exact = f64::from(x).ln();
            let unit = f64::from((exact.abs() as f32).next_up()) - f64::from(exact.abs() as f32);
            assert!((f64::from(log(x)) - exact).abs() <= 2.0 * unit, "{x:e}: {} and {exact}", log(x));
        }
        assert_eq!((log(0.0), log(-0.0), log(f32::INFINITY)), (f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY));
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place() {
        for x in floats(499).filter(|x| (LOW..=HIGH).contains(x)) {
            let exact = f64::from(x).exp();
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            assert!((f64::from(exp(x)) - exact).abs() <= 2.0 * unit, "{x}");
        }
    }

    #[test]
    fn sigmoid_and_silu_are_right_to_six_ten_millionths() {
        for x in floats(499).filter(|x| x.abs() <= LIMIT) {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) / exact - 1.0).abs() <= 6e-7, "{x}");
            assert!((f64::from(silu(x)) / (f64::from(x) * exact) - 1.0).abs() <= 6e-7, "{x}");
        }
    }

    #[test]
    fn every_machine_has_the_same_bits() {
        // FNV-1a over the results' bits.
        let hash = |hash: u64, x: f32| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3);
        let all = |of: fn(f32) -> f32| floats(4999).map(of).fold(0xcbf2_9ce4_8422_2325, hash);
        let exact = [17_183_997_002_494_888_881, 8_165_000_343_562_747_134, 2_940_170_267_306_292_601];
        assert_eq!([all(exp), all(sigmoid), all(silu)], exact);
    }

    #[test]
    fn the_ends_are_finite_and_what_is_no_number_has_a_fixed_result() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(LOW));
        assert_eq!(exp(f32::NAN), exp(LOW));
        assert!(exp(LOW).is_normal());
        assert_eq!(exp(f32::INFINITY), exp(HIGH));
        assert!(exp(HIGH).is_finite());
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NAN).is_nan() && silu(f32::NAN).is_nan());
        assert_eq!(silu(f32::INFINITY), f32::INFINITY);
        assert_eq!(silu(f32::NEG_INFINITY), silu(-LIMIT));
        assert_eq!(silu(1e30), 1e30);
        assert!(silu(-LIMIT) < 0.0 && silu(-LIMIT) > -1e-35);
    }
}
