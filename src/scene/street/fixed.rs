//! Fixed-point helpers: a sine in integers and the dice of one place.

use crate::noise::Noise;

/// One turn of [`wave`], and the height of its crest.
pub const TURN: i64 = 1 << 20;

/// A sine of `phase` / `TURN` turns, in ±`TURN`. Two parabolas with one correction: within 0.2 % of a true sine.
pub fn wave(phase: i64) -> i64 {
    // p runs over [-1, 1) half turns.
    let p = (phase.rem_euclid(TURN) - TURN / 2) * 2;
    let rough = -4 * p * (TURN - p.abs()) / TURN;
    let square = rough * rough.abs() / TURN;
    rough + (square - rough) * 225 / 1000
}

/// Random choices that belong to one place or thing. Each choice has its own `field`, so that adding one moves no other.
#[derive(Clone, Copy)]
pub struct Dice(Noise);

impl Dice {
    pub fn new(noise: Noise) -> Self {
        Dice(noise)
    }

    /// The dice of the thing number `index` (which may be negative) among those of `kind`.
    pub fn of(self, kind: u64, index: i64) -> Dice {
        Dice(self.0.substream(kind).substream(index as u64))
    }

    /// Uniform in `low..=high`.
    pub fn range(self, field: u64, low: i64, high: i64) -> i64 {
        low + self.0.below_at(field, (high - low + 1) as u64) as i64
    }

    /// True `percent` times in a hundred.
    pub fn chance(self, field: u64, percent: i64) -> bool {
        self.range(field, 0, 99) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wave_follows_the_sine() {
        for step in -200..200 {
            let phase = step * TURN / 64 + 17;
            let truth = libm::sin(phase as f64 / TURN as f64 * core::f64::consts::TAU);
            let ours = wave(phase) as f64 / TURN as f64;
            assert!((truth - ours).abs() < 0.003, "{phase}: {ours} beside {truth}");
        }
    }
}
