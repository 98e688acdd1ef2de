//! A binary range coder for streams of a few bytes: exact 16-bit probabilities on a 32-bit range, and a tail as short as it can be.
//!
//! The stream is a binary fraction. The encoder narrows an interval of fractions, decision by decision, and writes the shortest
//! byte string that lies in it; the decoder reads zeros behind its end. How many bytes there are is known from outside.

/// What the model needs of either end. `want` is what the encoder has to write; the decoder ignores it and returns what it reads.
pub trait Coder {
    /// A decision that is `true` with probability `p / 65536`, `p` in 1..=65535.
    fn bit(&mut self, p: u32, want: bool) -> bool;

    /// One of `weights`: index `i` with probability `weights[i] / sum`. Each weight is 1..=65535, at most 64 of them, and at least one.
    fn symbol(&mut self, weights: &[u32], want: usize) -> usize;
}

/// Below this the range is scaled up by a byte.
const LOW_RANGE: u32 = 1 << 24;

/// The part of `range` that `part / 65536` of it is.
fn split(range: u32, part: u32) -> u32 {
    ((range as u64 * part as u64) >> 16) as u32
}

/// Writes decisions into a buffer.
pub struct Encoder<'a> {
    out: &'a mut [u8],
    /// Bytes written, those that found no room included.
    len: usize,
    /// Whether a byte other than zero found no room. Zeros need none: the decoder reads them behind the end anyway.
    full: bool,
    /// Lower end of the interval; bit 32 is a carry into the bytes before.
    low: u64,
    range: u32,
    /// A byte that a carry may still change, and how many 0xff follow it.
    held: u8,
    pending: usize,
    /// Whether `held` is a byte of the stream: the first one out of `low` isn't, since the fraction is below one.
    started: bool,
}

impl<'a> Encoder<'a> {
    pub fn new(out: &'a mut [u8]) -> Self {
        Encoder { out, len: 0, full: false, low: 0, range: u32::MAX, held: 0, pending: 0, started: false }
    }

    /// Ends the stream. `None` when it did not fit; otherwise its length in bytes.
    pub fn finish(mut self) -> Option<usize> {
        // The value in low..low + range that has the most trailing zero bits.
        let last = self.low + self.range as u64 - 1;
        let mut value = self.low;
        for zeros in 1..=32 {
            let rounded = (self.low + (1u64 << zeros) - 1) >> zeros << zeros;
            if rounded <= last {
                value = rounded;
            }
        }
        self.low = value;
        for _ in 0..5 {
            self.shift();
        }
        let written = &self.out[..self.len.min(self.out.len())];
        let len = written.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        (!self.full).then_some(len)
    }

    /// Whether more came than the buffer holds: whatever follows is lost.
    pub fn is_full(&self) -> bool {
        self.full
    }

    fn narrow(&mut self, offset: u32, range: u32) {
        self.low += offset as u64;
        self.range = range;
        while self.range < LOW_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if top == 0xff && carry == 0 {
            self.pending += 1;
        } else {
            if self.started {
                self.push(self.held.wrapping_add(carry));
            }
            while self.pending > 0 {
                self.push(0xffu8.wrapping_add(carry));
                self.pending -= 1;
            }
            self.held = top;
            self.started = true;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn push(&mut self, byte: u8) {
        match self.out.get_mut(self.len) {
            Some(slot) => *slot = byte,
            None => self.full |= byte != 0,
        }
        self.len += 1;
    }
}

impl Coder for Encoder<'_> {
    #[inline]
    fn bit(&mut self, p: u32, want: bool) -> bool {
        let bound = split(self.range, p);
        if want {
            self.narrow(0, bound);
        } else {
            self.narrow(bound, self.range - bound);
        }
        want
    }

    fn symbol(&mut self, weights: &[u32], want: usize) -> usize {
        let total: u32 = weights.iter().sum();
        let below: u32 = weights[..want].iter().sum();
        let edge = |sum: u32| (self.range as u64 * sum as u64 / total as u64) as u32;
        let (from, to) = (edge(below), edge(below + weights[want]));
        self.narrow(from, to - from);
        want
    }
}

/// Reads decisions out of bytes; any bytes give some decisions.
pub struct Decoder<'a> {
    bytes: core::slice::Iter<'a, u8>,
    /// Where the stream lies above the lower end of the interval.
    code: u32,
    range: u32,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Decoder { bytes: bytes.iter(), code: 0, range: u32::MAX };
        for _ in 0..4 {
            decoder.pull();
        }
        decoder
    }

    fn pull(&mut self) {
        self.code = self.code << 8 | *self.bytes.next().unwrap_or(&0) as u32;
    }

    fn narrow(&mut self, offset: u32, range: u32) {
        self.code -= offset;
        self.range = range;
        while self.range < LOW_RANGE {
            self.range <<= 8;
            self.pull();
        }
    }
}

impl Coder for Decoder<'_> {
    #[inline]
    fn bit(&mut self, p: u32, _: bool) -> bool {
        let bound = split(self.range, p);
        let bit = self.code < bound;
        if bit {
            self.narrow(0, bound);
        } else {
            self.narrow(bound, self.range - bound);
        }
        bit
    }

    fn symbol(&mut self, weights: &[u32], _: usize) -> usize {
        let total: u32 = weights.iter().sum();
        // The last index whose lower edge, range * below / total rounded down, is not above the code.
        let bar = (self.code as u64 + 1) * total as u64;
        let (mut index, mut below) = (0, 0);
        while index + 1 < weights.len() && (below + weights[index]) as u64 * (self.range as u64) < bar {
            below += weights[index];
            index += 1;
        }
        let edge = |sum: u32| (self.range as u64 * sum as u64 / total as u64) as u32;
        let (from, to) = (edge(below), edge(below + weights[index]));
        self.narrow(from, to - from);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some thousand decisions of every skew, by a multiplicative generator.
    fn script(seed: u64) -> std::vec::Vec<(u32, bool, [u32; 5], usize)> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        (0..3000)
            .map(|_| {
                let p = match next() % 4 {
                    0 => 1,
                    1 => 65535,
                    _ => 1 + next() % 65535,
                };
                let weights = [1, 65535, 1 + next() % 65535, 1 + next() % 9, 1];
                (p, next() % 65536 < p, weights, next() as usize % 5)
            })
            .collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        for seed in 0..20 {
            let script = script(seed);
            let mut bytes = [0; 20_000];
            let mut encoder = Encoder::new(&mut bytes);
            for (p, bit, weights, symbol) in &script {
                encoder.bit(*p, *bit);
                encoder.symbol(weights, *symbol);
            }
            let len = encoder.finish().unwrap();
            let mut decoder = Decoder::new(&bytes[..len]);
            for (p, bit, weights, symbol) in &script {
                assert_eq!(decoder.bit(*p, false), *bit);
                assert_eq!(decoder.symbol(weights, 0), *symbol);
            }
        }
    }

    #[test]
    fn the_expected_costs_nothing() {
        let mut bytes = [0xaa; 16];
        let mut encoder = Encoder::new(&mut bytes);
        for _ in 0..10_000 {
            encoder.bit(65535, true);
        }
        assert_eq!(encoder.finish(), Some(0));
    }

    #[test]
    fn bytes_that_a_carry_may_still_change() {
        // The lower end climbs towards one: 0xff after 0xff, none of which can be written yet.
        let mut bytes = [0; 64];
        let mut encoder = Encoder::new(&mut bytes);
        for _ in 0..120 {
            encoder.bit(32767, false);
        }
        let len = encoder.finish().unwrap();
        let mut decoder = Decoder::new(&bytes[..len]);
        assert!((0..120).all(|_| !decoder.bit(32767, true)));
    }

    #[test]
    fn no_room_is_told() {
        let mut bytes = [0; 3];
        let mut encoder = Encoder::new(&mut bytes);
        for i in 0..100 {
            encoder.bit(20_000, i % 2 == 0);
        }
        assert!(encoder.is_full());
        assert_eq!(encoder.finish(), None);
    }
}
