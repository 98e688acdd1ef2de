//! The things of a street, as places and sizes.

use super::fixed::Dice;

/// A thing of the street. `near` and `far` are its first and last station; all lengths in cm, `side` from the middle line.
#[derive(Clone, Copy)]
pub struct Thing {
    pub near: i64,
    pub far: i64,
    pub side: i64,
    pub shape: Shape,
}

#[derive(Clone, Copy)]
pub enum Shape {
    /// A building whose front stands at `side` and which reaches `depth` (signed) away from the road.
    House {
        depth: i64,
        height: i64,
        gable: i64,
        chimney: bool,
    },
    /// Something long and thin along the road: fence, hedge, wall. `foot` leaves it open below.
    Barrier {
        foot: i64,
        height: i64,
        class: u8,
    },
    Tree {
        height: i64,
        bare: bool,
        dice: Dice,
    },
    /// A post, perhaps with an arm (signed length) and a plate.
    Post {
        height: i64,
        arm: i64,
        plate: Option<Plate>,
    },
    /// A car, van or lorry of this width and height; `cabin` is the share of the height, in a hundred, below the windows.
    Vehicle {
        width: i64,
        height: i64,
        cabin: i64,
    },
    /// Somebody on foot. `stride` is a phase of [`wave`]; `bulk` the shoulders' width.
    Walker {
        height: i64,
        bulk: i64,
        stride: i64,
    },
    /// Somebody on a bicycle, seen along the road or (`across`) from the side.
    Rider {
        height: i64,
        across: bool,
    },
    /// An upright panel facing the camera, from `foot` to `height`.
    Panel {
        width: i64,
        foot: i64,
        height: i64,
        class: u8,
    },
}

/// The plate of a sign: its breadth and height, hung so that its top is the post's top.
#[derive(Clone, Copy)]
pub struct Plate {
    pub width: i64,
    pub height: i64,
    pub round: bool,
}

impl Thing {
    /// A thing without length along the road.
    pub fn at(station: i64, side: i64, shape: Shape) -> Self {
        Thing { near: station, far: station, side, shape }
    }
}

/// A vehicle and its length.
pub fn vehicle(dice: Dice) -> (Shape, i64) {
    match dice.range(50, 0, 19) {
        0..=14 => {
            let shape = Shape::Vehicle { width: dice.range(51, 160, 182), height: dice.range(52, 138, 165), cabin: 60 };
            (shape, dice.range(53, 370, 460))
        }
        15..=18 => {
            let shape = Shape::Vehicle { width: 190, height: dice.range(52, 190, 240), cabin: 85 };
            (shape, dice.range(53, 430, 540))
        }
        _ => {
            let shape = Shape::Vehicle { width: 225, height: dice.range(52, 280, 380), cabin: 94 };
            (shape, dice.range(53, 560, 1_000))
        }
    }
}
