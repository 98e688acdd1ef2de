//! A cache whose turns are told step by step, as a search on data has found them.

use super::Turn;
use super::forecast::Forecast;
use crate::sampler::MAX_STEPS;
use alloc::vec::Vec;
use core::fmt;

/// What each step of a sample computes: `W` the whole model, `S` its shallow part, `-` nothing. The first is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns(Vec<Turn>);

impl Turns {
    /// Reads a letter a step. `None` if there are none or more than [`MAX_STEPS`], another letter is among them, or the first is not `W`.
    pub fn parse(text: &str) -> Option<Self> {
        let turn = |letter| match letter {
            b'W' => Some(Turn::Whole),
            b'S' => Some(Turn::Shallow),
            b'-' => Some(Turn::Nothing),
            _ => None,
        };
        let turns: Vec<Turn> = text.bytes().take(MAX_STEPS + 1).map(turn).collect::<Option<_>>()?;
        (turns.len() <= MAX_STEPS && turns.first() == Some(&Turn::Whole)).then_some(Turns(turns))
    }

    /// How many steps they are for.
    pub fn steps(&self) -> usize {
        self.0.len()
    }

    pub fn has_shallow(&self) -> bool {
        self.0.contains(&Turn::Shallow)
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|turn| {
            f.write_str(match turn {
                Turn::Shallow => "S",
                Turn::Nothing => "-",
                Turn::Whole | Turn::Conditioned => "W",
            })
        })
    }
}

/// The turns, and a parabola for the steps that compute nothing.
#[derive(Debug, Clone)]
pub(in crate::sampler) struct Told {
    turns: Turns,
    fits: bool,
    pub forecast: Forecast,
}

impl Told {
    pub fn new(turns: Turns, outputs: usize) -> Self {
        Told { turns, fits: false, forecast: Forecast::new(2, outputs) }
    }

    /// Begins a sample. One of another number of steps than the turns are for has whole steps alone.
    pub fn begin(&mut self, steps: usize) {
        self.fits = steps == self.turns.steps();
        self.forecast.begin();
    }

    pub fn turn(&self, step: usize) -> Turn {
        self.turns.0.get(step).filter(|_| self.fits).copied().unwrap_or(Turn::Whole)
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
        let mut told = Told::new(turns, 1);
        told.begin(4);
        assert_eq!([0, 1, 2, 3].map(|step| told.turn(step)), [Turn::Whole, Turn::Nothing, Turn::Shallow, Turn::Whole]);
        told.begin(3);
        assert_eq!([0, 1, 2].map(|step| told.turn(step)), [Turn::Whole; 3]);
        let long = "W".repeat(MAX_STEPS + 1);
        for wrong in ["", "-W", "SW", "Ww", "W W", &long] {
            assert_eq!(Turns::parse(wrong), None, "{wrong}");
        }
    }
}
