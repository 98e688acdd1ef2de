//! A cache whose turns are told step by step, as a search on data has found them.

use super::Turn;
use super::forecast::{ANSWERS, Forecast};
use crate::sampler::MAX_STEPS;
use alloc::vec::Vec;
use core::fmt;

/// What the last answers weigh, the newest first.
pub type Weights = heapless::Vec<f32, ANSWERS>;

/// What each step of a sample computes: `W` the whole model, `S` its shallow part, `-` nothing. The first is whole. Those that are not take a weighted sum:
/// a shallow step of the deep features of whole ones, one that computes nothing of the answers of both kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turns(Vec<Told>);

#[derive(Debug, Clone, PartialEq)]
struct Told {
    turn: Turn,
    weights: Weights,
}

impl Turns {
    /// Reads a letter a step, with the weights of the parabola through the last three answers, or of the line through the last two deep features.
    /// `None` if there are no letters or more than [`MAX_STEPS`], another letter is among them, or the first is not `W`.
    pub fn parse(text: &str) -> Option<Self> {
        let turn = |letter| match letter {
            b'W' => Some(Turn::Whole),
            b'S' => Some(Turn::Shallow),
            b'-' => Some(Turn::Nothing),
            _ => None,
        };
        let told = |letter| turn(letter).map(|turn| Told { turn, weights: Weights::new() });
        let told: Vec<Told> = text.bytes().take(MAX_STEPS + 1).map(told).collect::<Option<_>>()?;
        let mut turns = Turns(told);
        if turns.steps() > MAX_STEPS || turns.turn(0) != Some(Turn::Whole) {
            return None;
        }
        for step in 0..turns.steps() {
            let mut sources = turns.sources(step);
            sources.truncate(if turns.0[step].turn == Turn::Shallow { 2 } else { ANSWERS });
            turns.0[step].weights = polynomial(&sources, step);
        }
        Some(turns)
    }

    /// With other weights, of one step after another of those that are not whole. `None` if there are as many not, one has none or more than
    /// [sources](Turns::sources), or a weight is not finite.
    pub fn weighed(mut self, weights: &[Weights]) -> Option<Self> {
        let mut weights = weights.iter();
        for step in 0..self.steps() {
            if self.0[step].turn == Turn::Whole {
                continue;
            }
            let own = weights.next()?;
            let most = self.sources(step).len();
            if !(1..=most).contains(&own.len()) || own.iter().any(|weight| !weight.is_finite()) {
                return None;
            }
            self.0[step].weights.clone_from(own);
        }
        weights.next().is_none().then_some(self)
    }

    /// How many steps they are for.
    pub fn steps(&self) -> usize {
        self.0.len()
    }

    pub fn has_shallow(&self) -> bool {
        self.0.iter().any(|told| told.turn == Turn::Shallow)
    }

    /// The steps whose answers, or deep features for a shallow one, make up those of `step`, the newest first; none for a whole step.
    pub fn sources(&self, step: usize) -> heapless::Vec<usize, ANSWERS> {
        let serves = |before: &usize| match self.0[step].turn {
            Turn::Nothing => self.0[*before].turn != Turn::Nothing,
            Turn::Shallow => self.0[*before].turn == Turn::Whole,
            Turn::Whole | Turn::Conditioned => false,
        };
        (0..step).rev().filter(serves).take(ANSWERS).collect()
    }

    /// The weights of the steps that are not whole.
    pub fn weights(&self) -> impl Iterator<Item = &Weights> {
        self.0.iter().filter(|told| told.turn != Turn::Whole).map(|told| &told.weights)
    }

    fn turn(&self, step: usize) -> Option<Turn> {
        self.0.get(step).map(|told| told.turn)
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|told| {
            f.write_str(match told.turn {
                Turn::Shallow => "S",
                Turn::Nothing => "-",
                Turn::Whole | Turn::Conditioned => "W",
            })
        })
    }
}

/// Weights of values at `sources` with which their sum is that of the polynomial through them at `step`, after Lagrange.
fn polynomial(sources: &[usize], step: usize) -> Weights {
    let ratio = |own: usize, other: usize| (step as f32 - other as f32) / (own as f32 - other as f32);
    let others = |own: usize| sources.iter().filter(move |&&other| other != own);
    sources.iter().map(|&own| others(own).map(|&other| ratio(own, other)).product()).collect()
}

/// The turns in use, and the last answers.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Turned {
    turns: Turns,
    fits: bool,
    pub forecast: Forecast,
}

impl Turned {
    pub fn new(turns: Turns, outputs: usize) -> Self {
        Turned { turns, fits: false, forecast: Forecast::new(ANSWERS - 1, outputs) }
    }

    /// Begins a sample. One of another number of steps than the turns are for has whole steps alone.
    pub fn begin(&mut self, steps: usize) {
        self.fits = steps == self.turns.steps();
        self.forecast.begin();
    }

    pub fn turn(&self, step: usize) -> Turn {
        self.turns.turn(step).filter(|_| self.fits).unwrap_or(Turn::Whole)
    }

    pub fn weights(&self, step: usize) -> &[f32] {
        self.turns.0.get(step).map_or(&[], |told| &told.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn letters_are_turns() {
        let turns = Turns::parse("W-SW").unwrap();
        assert_eq!((turns.steps(), turns.has_shallow(), turns.to_string().as_str()), (4, true, "W-SW"));
        let mut turned = Turned::new(turns, 1);
        turned.begin(4);
        assert_eq!(
            [0, 1, 2, 3].map(|step| turned.turn(step)),
            [Turn::Whole, Turn::Nothing, Turn::Shallow, Turn::Whole]
        );
        turned.begin(3);
        assert_eq!([0, 1, 2].map(|step| turned.turn(step)), [Turn::Whole; 3]);
        let long = "W".repeat(MAX_STEPS + 1);
        for wrong in ["", "-W", "SW", "Ww", "W W", &long] {
            assert_eq!(Turns::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn answers_weigh_as_in_a_polynomial_or_as_told() {
        let turns = Turns::parse("W-WS-WS").unwrap();
        let sources: Vec<_> = (0..7).map(|step| turns.sources(step).to_vec()).collect();
        assert_eq!(sources, [&[][..], &[0], &[], &[2, 0], &[3, 2, 0], &[], &[5, 2, 0]]);
        // The line through 2 and 0 at 3, the parabola through 3, 2 and 0 at 4, the line through 5 and 2 at 6.
        let weights = [&[1.0][..], &[1.5, -0.5], &[8.0 / 3.0, -2.0, 1.0 / 3.0], &[4.0 / 3.0, -1.0 / 3.0]];
        for (own, right) in turns.weights().zip(weights) {
            assert!(own.len() == right.len() && own.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{own:?}");
        }
        let told = |weights: &[&[f32]]| {
            let weights: Vec<Weights> = weights.iter().map(|of| of.iter().copied().collect()).collect();
            turns.clone().weighed(&weights)
        };
        let fitted = told(&[&[0.9], &[1.0, 0.1], &[1.0], &[0.5, 0.25, 0.25]]).unwrap();
        assert_eq!(fitted.weights().map(|of| of.iter().sum::<f32>()).collect::<Vec<_>>(), [0.9, 1.1, 1.0, 1.0]);
        assert_eq!(told(&[&[0.9], &[1.0], &[1.0]]), None);
        assert_eq!(told(&[&[0.9], &[1.0], &[1.0], &[1.0], &[1.0]]), None);
        assert_eq!(told(&[&[0.9, 0.1], &[1.0], &[1.0], &[1.0]]), None);
        assert_eq!(told(&[&[0.9], &[], &[1.0], &[1.0]]), None);
        assert_eq!(told(&[&[f32::NAN], &[1.0], &[1.0], &[1.0]]), None);
    }
}
