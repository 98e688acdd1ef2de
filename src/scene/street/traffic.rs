//! What moves: oncoming traffic, the car ahead, cyclists, walkers, and whoever crosses at a stop.
//!
//! Every position is a function of the time alone, so that any moment of a drive can be painted by itself. Traffic runs
//! on conveyors: thing number k of a conveyor is at `k * spacing + speed * time`, with a shift of its own.

use alloc::vec::Vec;

use super::fixed::{Dice, TURN, wave};
use super::plan::{Plan, Progress};
use super::things::{Shape, Thing, vehicle};

/// Streams of [`Dice`], by the kind of thing.
mod kind {
    pub const ONCOMING: u64 = 30;
    pub const WALKERS: u64 = 31;
    pub const CYCLISTS: u64 = 35;
    pub const STOP: u64 = 37;
}

/// Things in a row that move along the road at one speed.
struct Conveyor {
    kind: u64,
    spacing: i64,
    /// cm/s, along the road.
    speed: i64,
    /// In a hundred: places that are taken.
    share: i64,
}

impl Conveyor {
    /// Calls `place` with the dice and the station of all that is at stations `from..to` at `time` (ms).
    fn run(&self, plan: &Plan, time: i64, from: i64, to: i64, mut place: impl FnMut(Dice, i64)) {
        let moved = self.speed * time / 1000;
        let first = (from - moved).div_euclid(self.spacing) - 1;
        let last = (to - moved).div_euclid(self.spacing);
        for index in first..=last {
            let dice = plan.dice.of(self.kind, index);
            if dice.chance(0, self.share) {
                place(dice, index * self.spacing + moved + dice.range(1, 0, self.spacing * 2 / 3));
            }
        }
    }
}

/// Adds all that moves at stations `from..to` at `time` (ms).
pub fn collect(plan: &Plan, time: i64, progress: Progress, from: i64, to: i64, things: &mut Vec<Thing>) {
    let oncoming = Conveyor { kind: kind::ONCOMING, spacing: plan.spacing.oncoming, speed: -900, share: 70 };
    oncoming.run(plan, time, from, to, |dice, station| {
        let (shape, length) = vehicle(dice);
        let side = -plan.lane + dice.range(2, -25, 25);
        things.push(Thing { near: station, far: station + length, side, shape });
    });
    for (side, sign, speed) in [(0, -1, 420), (1, 1, -480)] {
        let cyclists =
            Conveyor { kind: kind::CYCLISTS + side as u64, spacing: plan.spacing.cyclists, speed, share: 45 };
        cyclists.run(plan, time, from, to, |dice, station| {
            let room = if plan.parking[side] > 0 { 250 } else { 60 };
            let weave = 20 * wave(time * TURN / 3_000 + dice.range(2, 0, TURN)) / TURN;
            let shape = Shape::Rider { height: dice.range(3, 160, 185), across: false };
            things.push(Thing::at(station, sign * (plan.kerb[side] - room) + weave, shape));
        });
    }
    for (side, sign) in [(0, -1), (1, 1)] {
        for (way, speed) in [(0, 130), (1, -120)] {
            let walkers = Conveyor {
                kind: kind::WALKERS + 2 * side as u64 + way,
                spacing: plan.spacing.walkers,
                speed,
                share: 55,
            };
            walkers.run(plan, time, from, to, |dice, station| {
                add_walkers(plan, dice, time, station, side, sign, things);
            });
        }
    }
    add_car_ahead(plan, progress, things);
    for leg in progress.leg - 1..=progress.leg + 1 {
        add_crossing(plan, progress, leg, things);
    }
}

/// One walker or a pair; some of them step onto the road for a while.
fn add_walkers(plan: &Plan, dice: Dice, time: i64, station: i64, side: usize, sign: i64, things: &mut Vec<Thing>) {
    let kerb = plan.kerb[side];
    let mut across = kerb + dice.range(2, 40, plan.pavement[side] - 40);
    if dice.chance(3, 14) {
        let out = wave(time * TURN / 9_000 + dice.range(4, 0, TURN)).max(0);
        across -= (across - kerb + dice.range(5, 60, 320)) * out / TURN;
    }
    let company = if dice.chance(6, 30) { 2 } else { 1 };
    for one in 0..company {
        let own = dice.of(1, one);
        let shape = walker(own, time);
        things.push(Thing::at(station + one * own.range(8, 10, 60), sign * (across + one * 55), shape));
    }
}

fn walker(dice: Dice, time: i64) -> Shape {
    let child = dice.chance(10, 10);
    Shape::Walker {
        height: if child { dice.range(11, 105, 140) } else { dice.range(11, 158, 188) },
        bulk: if child { 34 } else { dice.range(12, 44, 62) },
        stride: time * TURN / 1_100 + dice.range(13, 0, TURN),
    }
}

/// Who is met at the stop that ends a leg.
#[derive(PartialEq)]
enum Meeting {
    CarAhead,
    Walkers,
    SideTraffic,
    Nobody,
}

fn meeting(plan: &Plan, leg: i64) -> Meeting {
    match plan.dice.of(kind::STOP, leg).range(0, 0, 99) {
        0..=34 => Meeting::CarAhead,
        35..=64 => Meeting::Walkers,
        65..=84 => Meeting::SideTraffic,
        _ => Meeting::Nobody,
    }
}

/// The car ahead comes closer until both stand at the stop, and pulls away afterwards.
fn add_car_ahead(plan: &Plan, progress: Progress, things: &mut Vec<Thing>) {
    const CLOSE: i64 = 550;
    const AWAY: i64 = 14_000;
    let arrival = plan.journey.arrival();
    let apart = |share: i64| CLOSE + AWAY * share / arrival * share / arrival;
    let mut add = |leg: i64, gap: i64| {
        let (shape, length) = vehicle(plan.dice.of(kind::STOP, leg).of(1, 0));
        let near = progress.station + gap;
        things.push(Thing { near, far: near + length, side: plan.lane, shape });
    };
    if meeting(plan, progress.leg) == Meeting::CarAhead {
        add(progress.leg, apart((arrival - progress.into).max(0)));
    }
    if meeting(plan, progress.leg - 1) == Meeting::CarAhead {
        add(progress.leg - 1, apart(progress.into));
    }
}

/// People or vehicles that cross in front of the stop line while the camera arrives and waits.
fn add_crossing(plan: &Plan, progress: Progress, leg: i64, things: &mut Vec<Thing>) {
    let dice = plan.dice.of(kind::STOP, leg);
    // Time since the camera's arrival at this stop.
    let since = progress.into - plan.journey.arrival() + (progress.leg - leg) * plan.journey.leg_time();
    match meeting(plan, leg) {
        Meeting::Walkers => {
            let (left, right) = (-plan.kerb[0] - 90, plan.kerb[1] + 90);
            for one in 0..dice.range(1, 1, 4) {
                let own = dice.of(2, one);
                let walked = (135 * (since + 3_500 - 900 * one) / 1000).clamp(0, right - left);
                let side = if own.chance(2, 50) { left + walked } else { right - walked };
                let station = plan.stop(leg) + own.range(3, 0, 220);
                things.push(Thing::at(station, side, walker(own, since)));
            }
        }
        Meeting::SideTraffic => {
            let Some((from, to)) = plan.side_street(leg) else {
                return;
            };
            for one in 0..3 {
                let own = dice.of(3, one);
                let side = 650 * (since - 2_200 * one - 300) / 1000;
                let station = from + (to - from) / 3;
                if side.abs() > 6_000 {
                    continue;
                }
                if own.chance(2, 25) {
                    let shape = Shape::Rider { height: 172, across: true };
                    things.push(Thing::at(station, side * 2 / 3, shape));
                } else {
                    let (_, length) = vehicle(own);
                    let shape = Shape::Vehicle { width: length, height: own.range(3, 140, 230), cabin: 58 };
                    things.push(Thing { near: station, far: station + 175, side, shape });
                }
            }
        }
        Meeting::CarAhead | Meeting::Nobody => {}
    }
}
