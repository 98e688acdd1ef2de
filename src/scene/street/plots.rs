//! The plots along the road: houses, gardens, boundaries, trees.

use alloc::vec::Vec;

use super::class;
use super::fixed::Dice;
use super::plan::Plan;
use super::things::{Shape, Thing};

/// Frontage of a plot.
const PLOT: i64 = 1_150;
/// Length of a stretch of one character.
const STRETCH: i64 = 8_000;

/// Streams of [`Dice`], by the kind of thing; two numbers each, left and right.
mod kind {
    pub const STRETCH: u64 = 10;
    pub const PLOT: u64 = 12;
}

#[derive(Clone, Copy, PartialEq)]
enum Character {
    Terrace,
    Houses,
    Green,
    Open,
}

/// Adds the plots at stations `from..to`.
pub fn collect(plan: &Plan, from: i64, to: i64, things: &mut Vec<Thing>) {
    for (side, sign) in [(0, -1), (1, 1)] {
        for plot in from.div_euclid(PLOT)..=to.div_euclid(PLOT) {
            add_plot(plan, side, sign, plot, things);
        }
    }
}

fn character(plan: &Plan, side: usize, station: i64) -> Character {
    let dice = plan.dice.of(kind::STRETCH + side as u64, station.div_euclid(STRETCH));
    let pick = dice.range(0, 0, 99);
    let [terrace, houses, green] = plan.mix;
    if pick < terrace {
        Character::Terrace
    } else if pick < terrace + houses {
        Character::Houses
    } else if pick < terrace + houses + green {
        Character::Green
    } else {
        Character::Open
    }
}

/// Where the plots begin, from the middle line.
pub fn plot_line(plan: &Plan, side: usize) -> i64 {
    plan.kerb[side] + plan.pavement[side]
}

/// Class of the ground behind the pavement.
pub fn ground(plan: &Plan, side: usize, station: i64) -> u8 {
    match character(plan, side, station) {
        Character::Terrace => class::PAVEMENT,
        Character::Houses | Character::Green | Character::Open => class::TREE,
    }
}

fn add_plot(plan: &Plan, side: usize, sign: i64, plot: i64, things: &mut Vec<Thing>) {
    let (near, far) = (plot * PLOT, (plot + 1) * PLOT);
    if plan.in_side_street(near, far) {
        return;
    }
    let dice = plan.dice.of(kind::PLOT + side as u64, plot);
    let line = plot_line(plan, side);
    match character(plan, side, near) {
        Character::Terrace => {
            let storeys = dice.range(0, 2, 5);
            let house = Shape::House {
                depth: sign * 900,
                height: storeys * 320 + dice.range(1, 0, 200),
                gable: if dice.chance(2, 60) { dice.range(3, 150, 350) } else { 0 },
                chimney: dice.chance(4, 35),
            };
            let front = line + dice.range(5, 0, 60);
            things.push(Thing { near, far, side: sign * front, shape: house });
            if dice.chance(6, 45) {
                let width = dice.range(7, 60, 110);
                let sign_foot = dice.range(8, 230, 330);
                let shop = Shape::Panel {
                    width,
                    foot: sign_foot,
                    height: sign_foot + dice.range(9, 60, 130),
                    class: class::SIGN,
                };
                things.push(Thing::at(near + dice.range(10, 100, 900), sign * (front - width / 2), shop));
            }
        }
        Character::Houses => {
            let garden = dice.range(0, 250, 700);
            let house = Shape::House {
                depth: sign * 850,
                height: dice.range(1, 320, 850),
                gable: dice.range(2, 120, 320),
                chimney: dice.chance(3, 50),
            };
            let gap = dice.range(4, 60, 320);
            things.push(Thing { near: near + gap, far: far - 60, side: sign * (line + garden), shape: house });
            add_boundary(dice, near, far, sign * line, things);
            if dice.chance(11, 50) {
                add_tree(dice, near + gap / 2, sign * (line + garden / 2), 400, 1_100, things);
            }
        }
        Character::Green => {
            add_boundary(dice, near, far, sign * line, things);
            for tree in 0..3 {
                let dice = dice.of(1, tree);
                let side = sign * (line + dice.range(20, 80, 700));
                add_tree(dice, near + PLOT * tree / 3, side, 550, 1_400, things);
            }
        }
        Character::Open => {
            if dice.chance(11, 30) {
                add_boundary(dice, near, far, sign * line, things);
            }
            if dice.chance(12, 75) {
                add_tree(dice, near, sign * (line + dice.range(13, 100, 1_200)), 500, 1_300, things);
            }
        }
    }
}

/// A fence, hedge or wall along the front of a plot.
fn add_boundary(dice: Dice, near: i64, far: i64, side: i64, things: &mut Vec<Thing>) {
    let height = dice.range(30, 80, 190);
    let shape = match dice.range(31, 0, 9) {
        0..=3 => Shape::Barrier { foot: 0, height, class: class::FENCE },
        4..=5 => Shape::Barrier { foot: 0, height, class: class::TREE },
        6 => Shape::Barrier { foot: 0, height: height * 2 / 3, class: class::BUILDING },
        7 => Shape::Barrier { foot: 0, height, class: class::UNLABELLED },
        _ => return,
    };
    things.push(Thing { near, far, side, shape });
}

/// A tree between `low` and `high` cm tall.
pub fn add_tree(dice: Dice, station: i64, side: i64, low: i64, high: i64, things: &mut Vec<Thing>) {
    let shape = Shape::Tree { height: dice.range(21, low, high), bare: dice.chance(22, 20), dice: dice.of(2, 0) };
    things.push(Thing::at(station, side, shape));
}
