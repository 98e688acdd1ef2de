//! What stands at the kerb and on the pavement: parked cars, lamps, signs, bollards, railings, bins, traffic lights.

use alloc::vec::Vec;

use super::class;
use super::plan::Plan;
use super::plots::{add_tree, plot_line};
use super::things::{Plate, Shape, Thing, vehicle};

/// Room for one parked car.
const BAY: i64 = 620;
/// Room for one lamp.
const LAMPS: i64 = 2_900;
/// Room for one piece of furniture.
const STEP: i64 = 850;

/// Streams of [`Dice`](super::fixed::Dice), by the kind of thing; two numbers each, left and right.
mod kind {
    pub const BAY: u64 = 14;
    pub const LAMP: u64 = 16;
    pub const FURNITURE: u64 = 18;
    pub const STOP: u64 = 20;
}

/// Adds all that stands at stations `from..to`.
pub fn collect(plan: &Plan, from: i64, to: i64, things: &mut Vec<Thing>) {
    for (side, sign) in [(0, -1), (1, 1)] {
        if plan.parking[side] > 0 {
            for bay in from.div_euclid(BAY)..=to.div_euclid(BAY) {
                add_parked(plan, side, sign, bay, things);
            }
        }
        for lamp in from.div_euclid(LAMPS)..=to.div_euclid(LAMPS) {
            add_lamp(plan, side, sign, lamp, things);
        }
        for place in from.div_euclid(STEP)..=to.div_euclid(STEP) {
            add_furniture(plan, side, sign, place, things);
        }
    }
    let leg = plan.journey.distance();
    for leg in from.div_euclid(leg) - 2..=to.div_euclid(leg) {
        add_lights(plan, leg, things);
    }
}

fn add_parked(plan: &Plan, side: usize, sign: i64, bay: i64, things: &mut Vec<Thing>) {
    let dice = plan.dice.of(kind::BAY + side as u64, bay);
    let near = bay * BAY + dice.range(0, 20, 90);
    // Nobody parks all along: one stretch in three stays free.
    let kept_free = plan.dice.of(kind::BAY + side as u64, bay.div_euclid(9) - (1 << 40)).chance(0, 33);
    if kept_free || !dice.chance(1, plan.parking[side]) || plan.in_side_street(near - 600, near + 1_000) {
        return;
    }
    let (shape, length) = vehicle(dice);
    let side = sign * (plan.kerb[side] - 105);
    things.push(Thing { near, far: near + length, side, shape });
}

fn add_lamp(plan: &Plan, side: usize, sign: i64, lamp: i64, things: &mut Vec<Thing>) {
    let kerb = plan.kerb[side] + 45;
    let dice = plan.dice.of(kind::LAMP + side as u64, lamp);
    let arm = if dice.chance(0, 50) { -sign * dice.range(1, 80, 200) } else { 0 };
    let shape = Shape::Post { height: dice.range(2, 500, 900), arm, plate: None };
    things.push(Thing::at(lamp * LAMPS + dice.range(3, 0, 1_200), sign * (kerb + 20), shape));
}

fn add_furniture(plan: &Plan, side: usize, sign: i64, place: i64, things: &mut Vec<Thing>) {
    let kerb = plan.kerb[side] + 45;
    let back = plot_line(plan, side) - 30;
    let dice = plan.dice.of(kind::FURNITURE + side as u64, place);
    let station = place * STEP + dice.range(0, 0, 500);
    if plan.in_side_street(station, station + 1) {
        return;
    }
    let bollard = Shape::Post { height: 100, arm: 0, plate: None };
    match dice.range(1, 0, 99) {
        0..=19 => {
            let size = dice.range(2, 45, 75);
            let plate = Plate { width: size, height: size * dice.range(3, 80, 180) / 100, round: dice.chance(4, 50) };
            let shape = Shape::Post { height: dice.range(5, 230, 330), arm: 0, plate: Some(plate) };
            things.push(Thing::at(station, sign * kerb, shape));
        }
        20..=26 => {
            for post in 0..4 {
                things.push(Thing::at(station + post * 160, sign * kerb, bollard));
            }
        }
        27..=34 => add_tree(dice, station, sign * (kerb + 30), 400, 1_000, things),
        35..=42 => {
            let shape = Shape::Barrier { foot: 15, height: 110, class: class::FENCE };
            things.push(Thing { near: station, far: station + STEP, side: sign * kerb, shape });
        }
        43..=52 => {
            let bin = Shape::Panel {
                width: dice.range(2, 50, 160),
                foot: 0,
                height: dice.range(3, 90, 190),
                class: class::UNLABELLED,
            };
            things.push(Thing::at(station, sign * back, bin));
        }
        53..=56 => {
            let board = Shape::Panel { width: 120, foot: 30, height: dice.range(2, 180, 300), class: class::SIGN };
            things.push(Thing::at(station, sign * back, board));
        }
        _ => {}
    }
}

/// Traffic lights or a pair of signs at a stop line.
fn add_lights(plan: &Plan, leg: i64, things: &mut Vec<Thing>) {
    let dice = plan.dice.of(kind::STOP, leg);
    if !dice.chance(0, 65) {
        return;
    }
    let plate = Plate { width: 36, height: 100, round: false };
    let shape = Shape::Post { height: 330, arm: 0, plate: Some(plate) };
    for (side, sign) in [(0, -1), (1, 1)] {
        things.push(Thing::at(plan.stop(leg) - 60, sign * (plan.kerb[side] + 40), shape));
    }
}
