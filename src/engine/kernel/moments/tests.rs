use super::super::testing::Random;
use super::super::{SLACK, store};
use super::*;

/// Images of random sizes.
struct Case {
    channels: usize,
    width: usize,
    rows: usize,
    images: Vec<(Vec<u8>, View)>,
}

impl Case {
    fn new(random: &mut Random, channels: usize, width: usize, rows: usize, terms: usize) -> Self {
        let images = (0..terms)
            .map(|_| {
                let pixel = channels.next_multiple_of(4) + 4 * random.below(3);
                let view = View { origin: random.below(9), row: width * pixel + random.below(9), pixel };
                (random.many(view.origin + rows * view.row + SLACK, |r| store(r.any_i8().into())), view)
            })
            .collect();
        Case { channels, width, rows, images }
    }

    /// What is added to sums that are not zero, by the rows from the second on if there are two.
    fn sums(&self, isa: Isa, span: usize) -> Vec<i64> {
        let terms: Vec<(&[u8], View)> = self.images.iter().map(|(cells, view)| (&cells[..], *view)).collect();
        let mut sums = vec![5; groups(terms.len()) * (self.channels / span)];
        let rows = usize::from(self.rows > 1)..self.rows;
        int8(isa, self.channels, span, self.width, rows, &terms, &mut sums);
        sums
    }

    fn check(&self) {
        let spans: &[usize] = if self.channels.is_multiple_of(4) { &[1, 4] } else { &[1] };
        for &span in spans {
            let sums = self.sums(Isa::Scalar, span);
            for isa in Isa::available() {
                let size = (self.channels, self.width, self.rows, self.images.len());
                assert_eq!(self.sums(isa, span), sums, "{isa} span {span} {size:?}");
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_sums() {
    let mut random = Random::new(7);
    for _ in 0..200 {
        let channels = if random.below(2) == 0 { 1 + random.below(150) } else { 4 * (1 + random.below(40)) };
        let (width, rows, terms) = (1 + random.below(20), 1 + random.below(5), 1 + random.below(TERMS));
        Case::new(&mut random, channels, width, rows, terms).check();
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    let mut random = Random::new(8);
    for (width, rows) in [(PIXELS / 4, 9), (2 * PIXELS + 3, 1)] {
        let mut case = Case::new(&mut random, 4, width, rows, 2);
        for (a, b) in [(-128, -128), (-128, 127), (127, 127)] {
            case.images[0].0.fill(store(a));
            case.images[1].0.fill(store(b));
            case.check();
            let pixels = (width * (rows - usize::from(rows > 1))) as i64;
            let (a, b) = (i64::from(a), i64::from(b));
            let exact = [a, b, a * a, a * b, b * b].map(|one| 5 + 4 * one * pixels);
            assert_eq!(case.sums(Isa::best(), 4), exact);
        }
    }
}

#[test]
fn by_hand() {
    // Two pixels of four channels, 1 to 8, and another image of threes.
    let view = View { origin: 0, row: 8, pixel: 4 };
    let a: Vec<u8> = (1..=8).map(store).chain([store(99); SLACK]).collect();
    let b = [store(3); 8 + SLACK];
    for isa in Isa::available() {
        let mut sums = [0; 20];
        int8(isa, 4, 1, 2, 0..1, &[(&a, view), (&b, view)], &mut sums);
        let exact = [6, 8, 10, 12, 6, 6, 6, 6, 26, 40, 58, 80, 18, 24, 30, 36, 18, 18, 18, 18];
        assert_eq!(sums, exact, "{isa}");
        let mut sums = [0; 5];
        int8(isa, 4, 4, 2, 0..1, &[(&a, view), (&b, view)], &mut sums);
        assert_eq!(sums, [36, 24, 204, 108, 72], "{isa}");
    }
}

#[test]
fn float_sums_are_the_definition_s() {
    let mut random = Random::new(9);
    for _ in 0..60 {
        let (channels, width, rows) = (1 + random.below(100), 1 + random.below(20), 1 + random.below(5));
        let pixel = channels.next_multiple_of(4) + 4 * random.below(3);
        let view = View { origin: random.below(9), row: width * pixel + random.below(9), pixel };
        let cells = random.many(view.origin + rows * view.row + SLACK, |r| 8.0 * r.unit() - 3.0);
        let center = random.many(channels, |r| r.unit());
        let mut exact = vec![0.5; 2 * channels];
        for y in rows / 2..rows {
            for c in 0..channels {
                let (mut s, mut s2) = (0.0_f32, 0.0_f32);
                for x in 0..width {
                    let d = cells[view.origin + y * view.row + x * view.pixel + c] - center[c];
                    s += d;
                    s2 = d.mul_add(d, s2);
                }
                exact[c] += f64::from(s);
                exact[channels + c] += f64::from(s2);
            }
        }
        for isa in Isa::available() {
            let mut sums = vec![0.5; 2 * channels];
            float(isa, channels, width, rows / 2..rows, &cells, view, &center, &mut sums);
            assert_eq!(sums, exact, "{isa}");
        }
    }
}
