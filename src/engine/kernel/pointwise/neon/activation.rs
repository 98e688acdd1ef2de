//! Activations of a strip's values, as [`exp`](super::super::super::exp) defines them.

use super::super::super::exp::{LIMIT, LN_2, LOG2_E, MAGIC, SHORT};
use super::Values;
use std::arch::aarch64::*;
use std::array::from_fn;
use std::hint::black_box;

/// As the definition has it, also with zeros of two signs.
#[inline]
#[target_feature(enable = "neon")]
pub fn clip(value: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
    let value = vbslq_f32(vcgtq_f32(value, low), value, low);
    vbslq_f32(vcltq_f32(value, high), value, high)
}

/// The constants of an exponential, in every lane.
pub struct Exponential {
    lowest: float32x4_t,
    limit: float32x4_t,
    magic: float32x4_t,
    minus_magic: float32x4_t,
    one: float32x4_t,
    first: float32x4_t,
    third: float32x4_t,
    /// log2 e, ln 2, and what the first and the third term go on with: what is multiplied by one lane takes one register.
    factors: float32x4_t,
}

impl Exponential {
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn new() -> Self {
        let factors = [LOG2_E, LN_2, SHORT[1], SHORT[3]];
        // Seen through, they would be made anew for each pixel.
        let all = |x: f32| vdupq_n_f32(black_box(x));
        Exponential {
            lowest: all(-LIMIT),
            limit: all(LIMIT),
            magic: all(MAGIC),
            minus_magic: all(-MAGIC),
            one: all(1.0),
            first: all(SHORT[0]),
            third: all(SHORT[2]),
            // SAFETY: four lanes.
            factors: unsafe { vld1q_f32(black_box(&factors).as_ptr()) },
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub fn silu(&self, values: Values) -> Values {
        let raised = values.map(|value| vmaxq_f32(value, self.lowest));
        let divisors = self.one_plus_exp_of_minus(raised);
        from_fn(|v| vdivq_f32(raised[v], divisors[v]))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub fn sigmoid(&self, values: Values) -> Values {
        let raised = values.map(|value| vmaxq_f32(value, self.lowest));
        self.one_plus_exp_of_minus(raised).map(|divisor| vdivq_f32(self.one, divisor))
    }

    /// Of x not below −`LIMIT`; a NaN stays one, which the minimum that takes the number would not let it. Step by step for all of them, so that there is always something to do while a result is awaited.
    #[inline]
    #[target_feature(enable = "neon")]
    fn one_plus_exp_of_minus(&self, x: Values) -> Values {
        let factors = self.factors;
        let x = x.map(|x| vminq_f32(x, self.limit));
        let shifted = x.map(|x| vfmsq_laneq_f32::<0>(self.magic, x, factors));
        let n = shifted.map(|shifted| vaddq_f32(shifted, self.minus_magic));
        let r: Values = from_fn(|v| vfmaq_laneq_f32::<1>(x[v], n[v], factors));
        let r2 = r.map(|r| vmulq_f32(r, r));
        let high = r.map(|r| vfmsq_laneq_f32::<2>(self.first, r, factors));
        let low = r.map(|r| vsubq_f32(self.one, r));
        let last = r.map(|r| vfmsq_laneq_f32::<3>(self.third, r, factors));
        let high: Values = from_fn(|v| vfmaq_f32(high[v], last[v], r2[v]));
        let sum: Values = from_fn(|v| vfmaq_f32(low[v], high[v], r2[v]));
        from_fn(|v| {
            let power = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted[v]));
            vfmaq_f32(self.one, sum[v], vreinterpretq_f32_s32(power))
        })
    }
}
