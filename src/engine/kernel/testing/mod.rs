//! For the kernels' tests: seeded random numbers, and convolutions made of them.

pub mod conv;

/// A linear congruential generator (Knuth's MMIX constants), its high bits.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 32) as u32
    }

    /// In 0..`end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub fn any_i8(&mut self) -> i8 {
        (self.next() >> 9) as i8
    }

    /// In 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1 << 24) as f32
    }

    pub fn many<T>(&mut self, count: usize, draw: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..count).map(|_| draw(self)).collect()
    }
}
