//! What a seed decides once: the run of the road, its width, its surroundings' mix, and how the camera drives along it.
//!
//! Lengths are centimetres, times milliseconds, angles and waves in units of [`TURN`].

use super::fixed::{Dice, TURN, wave};

/// The character of one street.
pub struct Plan {
    pub dice: Dice,
    /// From the middle line to the left and right kerb.
    pub kerb: [i64; 2],
    /// Breadth of the pavement, left and right.
    pub pavement: [i64; 2],
    /// Where the camera drives, from the middle line: negative, to the left of it.
    pub lane: i64,
    /// In a hundred: stretches that are built up, built up loosely, green; the rest lies open.
    pub mix: [i64; 3],
    /// In a hundred: plots with a parked car at the kerb, left and right.
    pub parking: [i64; 2],
    /// Distance between oncoming vehicles, walkers, cyclists.
    pub spacing: Spacing,
    pub journey: Journey,
    /// In a hundred: junctions that are crossings of streets.
    pub crossings: i64,
    bends: [Bend; 3],
    pub camera: CameraPlan,
    /// True for a street of a country that drives on the right.
    pub mirrored: bool,
}

pub struct Spacing {
    pub oncoming: i64,
    pub walkers: i64,
    pub cyclists: i64,
}

pub struct CameraPlan {
    /// Height above the road.
    pub height: i64,
    /// Focal length in thousandths of the map's width.
    pub focal: i64,
    /// Horizon in thousandths of the map's height, from the top.
    pub horizon: i64,
    /// How much of the map's height the own bonnet covers, in thousandths, at the left and right edge.
    pub bonnet: [i64; 2],
}

struct Bend {
    /// Sideways swing, to either side.
    swing: i64,
    length: i64,
    phase: i64,
}

/// Driving from stop to stop: pull away, cruise, brake, wait, over and over.
pub struct Journey {
    speed: i64,
    ramp: i64,
    cruise: i64,
    wait: i64,
    start: i64,
}

/// Where the drive is at one time.
#[derive(Clone, Copy)]
pub struct Progress {
    /// Station of the camera along the road.
    pub station: i64,
    /// Number of the leg between two stops.
    pub leg: i64,
    /// Time into the leg.
    pub into: i64,
}

impl Plan {
    pub fn new(dice: Dice) -> Self {
        let own = dice.of(0, 0);
        let city = own.range(0, 0, 100);
        let lane = own.range(1, 290, 360 + city / 2);
        let parking = [
            if own.chance(6, 55) { own.range(7, 10, 75) } else { 0 },
            if own.chance(8, 65) { own.range(9, 10, 85) } else { 0 },
        ];
        let straight = own.chance(2, 25);
        let bend = |index: u64, length: i64| {
            let length = length * own.range(10 + index, 80, 130) / 100;
            // Keeps the radius above 110 m for each wave of its own.
            let most = length * length / if straight { 3_000_000 } else { 450_000 };
            Bend { swing: own.range(13 + index, most / 4, most), length, phase: own.range(16 + index, 0, TURN - 1) }
        };
        let busy = own.range(20, 0, 100);
        let bonnet = if own.chance(30, 35) { [own.range(31, 0, 90), own.range(32, 20, 170)] } else { [0, 0] };
        Plan {
            dice,
            kerb: parking.map(|percent| lane + if percent > 0 { 190 } else { 0 }),
            pavement: [own.range(3, 140, 380), own.range(4, 140, 380)],
            lane: -lane / 2 + own.range(5, -20, 30),
            mix: [city * 3 / 4, 5 + (100 - city) / 2, 25],
            parking,
            spacing: Spacing {
                oncoming: 9_000 - busy * 70,
                walkers: 4_200 - own.range(21, 0, 100) * 34,
                cyclists: 9_000 - own.range(22, 0, 100) * 65,
            },
            journey: Journey::new(own),
            crossings: own.range(23, 30, 90),
            bends: [bend(0, 9_000), bend(1, 17_000), bend(2, 40_000)],
            camera: CameraPlan {
                height: own.range(33, 125, 165),
                focal: own.range(34, 880, 1150),
                horizon: own.range(35, 430, 505),
                bonnet,
            },
            mirrored: own.chance(36, 20),
        }
    }

    /// Sideways position of the middle line at a station, in 1/`TURN` cm, against a straight line.
    fn swerve(&self, station: i64) -> i64 {
        self.bends.iter().map(|bend| bend.swing * wave(station * TURN / bend.length + bend.phase)).sum()
    }

    /// How far the middle line has turned off sideways `ahead` cm in front of `station`, seen along the road there.
    pub fn turn_off(&self, station: i64, ahead: i64) -> i64 {
        const BASE: i64 = 200;
        let slope = self.swerve(station + BASE) - self.swerve(station - BASE);
        (self.swerve(station + ahead) - self.swerve(station)) / TURN - slope / (2 * BASE) * ahead / TURN
    }

    /// Heading of the road at a station, in 1/1000 of a radian.
    pub fn heading(&self, station: i64) -> i64 {
        (self.swerve(station + 200) - self.swerve(station - 200)) * 1000 / 400 / TURN
    }

    /// Station of the far side of the stop line that ends a leg: crossings and junctions begin here.
    pub fn stop(&self, leg: i64) -> i64 {
        (leg + 1) * self.journey.distance() + 600
    }

    /// The side street behind stop number `leg`, if there is one: its first and last station.
    pub fn side_street(&self, leg: i64) -> Option<(i64, i64)> {
        let place = self.dice.of(1, leg);
        let from = self.stop(leg) + 350;
        place.chance(0, self.crossings).then(|| (from, from + place.range(1, 550, 900)))
    }

    /// Whether a station, or a stretch of it, lies in a side street.
    pub fn in_side_street(&self, from: i64, to: i64) -> bool {
        let leg = (from - 600).div_euclid(self.journey.distance()) - 1;
        (leg - 1..=leg + 1).filter_map(|leg| self.side_street(leg)).any(|(first, last)| from < last && first < to)
    }
}

impl Journey {
    fn new(dice: Dice) -> Self {
        let mut journey = Journey {
            speed: dice.range(40, 600, 1250),
            ramp: dice.range(41, 2_600, 4_000),
            cruise: dice.range(42, 3_000, 11_000),
            wait: if dice.chance(43, 75) { dice.range(44, 1_500, 6_000) } else { 0 },
            start: 0,
        };
        journey.start = dice.range(45, 0, journey.leg_time() - 1);
        journey
    }

    /// Distance from stop to stop.
    pub fn distance(&self) -> i64 {
        self.speed * (self.ramp + self.cruise) / 1000
    }

    /// Time from pulling away to pulling away again.
    pub fn leg_time(&self) -> i64 {
        2 * self.ramp + self.cruise + self.wait
    }

    /// Time into a leg at which the camera comes to a stop.
    pub fn arrival(&self) -> i64 {
        2 * self.ramp + self.cruise
    }

    pub fn at(&self, time: i64) -> Progress {
        let total = time + self.start;
        let leg = total.div_euclid(self.leg_time());
        let into = total.rem_euclid(self.leg_time());
        Progress { station: leg * self.distance() + self.covered(into), leg, into }
    }

    /// Distance covered `into` milliseconds after pulling away.
    fn covered(&self, into: i64) -> i64 {
        let left = self.arrival() - into;
        if into < self.ramp {
            self.speed * into * into / (2 * self.ramp) / 1000
        } else if left > self.ramp {
            self.speed * (into - self.ramp / 2) / 1000
        } else {
            let left = left.max(0);
            self.distance() - self.speed * left * left / (2 * self.ramp) / 1000
        }
    }
}
