//! A procedural street: label maps of a drive, from a seed and without any data.
//!
//! A pinhole camera drives along a road with bends, pavements and side streets. Houses, trees, fences, posts and signs
//! stand beside it; cars, cyclists and people move on it and now and then get in the way. All of it is integer arithmetic
//! on counter-based noise, so that a seed gives the same maps on every CPU, and any moment can be painted by itself.
//! Classes are those of the label set `camvid12`.

mod camera;
mod canvas;
mod fixed;
mod kerbside;
mod plan;
mod plots;
mod shapes;
mod things;
mod traffic;

use alloc::vec::Vec;

use crate::noise::Noise;
use crate::scene::ClassMap;
use crate::wire::Grid;

use camera::{Camera, FAR, NEAR};
use canvas::{CELL, Canvas};
use fixed::{Dice, TURN, wave};
use plan::Plan;

/// Classes of `camvid12`.
mod class {
    pub const SKY: u8 = 0;
    pub const BUILDING: u8 = 1;
    pub const POLE: u8 = 2;
    pub const ROAD: u8 = 3;
    pub const PAVEMENT: u8 = 4;
    pub const TREE: u8 = 5;
    pub const SIGN: u8 = 6;
    pub const FENCE: u8 = 7;
    pub const CAR: u8 = 8;
    pub const PEDESTRIAN: u8 = 9;
    pub const BICYCLIST: u8 = 10;
    pub const UNLABELLED: u8 = 11;
}

/// Stream of [`Noise`] that belongs to the street.
const STREAM: u64 = 0x5374_7265_6574;

/// One street and the drive along it.
pub struct Street {
    grid: Grid,
    plan: Plan,
}

impl Street {
    /// Time between frames of [`Street::frame`], in µs: 10 frames a second.
    pub const PERIOD_US: u64 = 100_000;

    /// The street of a seed, seen on a grid of any size. Seeds differ in width, density, bends, surroundings and traffic.
    #[must_use]
    pub fn new(seed: u64, grid: Grid) -> Self {
        Street { grid, plan: Plan::new(Dice::new(Noise::new(seed, STREAM))) }
    }

    /// Frame number `index` of the drive at 10 frames a second.
    #[must_use]
    pub fn frame(&self, index: u32) -> ClassMap {
        self.at(u64::from(index) * Self::PERIOD_US)
    }

    /// The map at `time_us` after the start of the drive, in steps of a millisecond. A drive has no end.
    #[must_use]
    pub fn at(&self, time_us: u64) -> ClassMap {
        // Far beyond any drive, and far from where positions in i64 would overflow.
        const LONGEST_MS: u64 = 1 << 36;
        let time = (time_us / 1000).min(LONGEST_MS) as i64;
        let plan = &self.plan;
        let mut canvas = Canvas::new(self.grid, class::SKY);
        let camera = Camera::new(plan, &canvas, time);
        paint_distance(&mut canvas, &camera, plan.dice);
        paint_ground(&mut canvas, &camera, plan);

        let (from, to) = (camera.progress.station, camera.progress.station + FAR);
        let mut things = Vec::new();
        plots::collect(plan, from, to, &mut things);
        kerbside::collect(plan, from, to, &mut things);
        traffic::collect(plan, time, camera.progress, from, to, &mut things);
        things.retain(|thing| thing.far > from + NEAR && thing.near < to);
        // Far things first; a stable sort, so that equals keep the order in which they were collected.
        things.sort_by_key(|thing| -thing.far);
        for thing in &things {
            thing.paint(&mut canvas, &camera);
        }
        paint_bonnet(&mut canvas, plan);

        let mut cells = canvas.into_cells();
        if plan.mirrored {
            cells.chunks_mut(usize::from(self.grid.width).max(1)).for_each(<[u8]>::reverse);
        }
        ClassMap { grid: self.grid, cells }
    }
}

/// What lies beyond everything: tree tops and roofs along the horizon, fixed to the bearing.
fn paint_distance(canvas: &mut Canvas, camera: &Camera, dice: Dice) {
    let tall = canvas.height();
    for column in 0..i64::from(canvas.grid.width) {
        let left = column * CELL;
        let bearing = camera.bearing(left + CELL / 2);
        let rise =
            tall / 22 + tall / 35 * wave(bearing * TURN / 170) / TURN + tall / 70 * wave(bearing * TURN / 43) / TURN;
        let block = dice.of(2, bearing.div_euclid(60));
        let class = [class::TREE, class::BUILDING, class::TREE, class::UNLABELLED][block.range(0, 0, 3) as usize];
        let roof = if class == class::BUILDING { tall / 35 + tall * block.range(1, 0, 60) / 1000 } else { rise };
        canvas.rectangle(left, camera.horizon - roof.max(0), left + CELL, camera.horizon, class);
    }
}

fn paint_ground(canvas: &mut Canvas, camera: &Camera, plan: &Plan) {
    let right_edge = canvas.width();
    for row in 0..i64::from(canvas.grid.height) {
        let Some(station) = camera.station_of_row(row) else {
            continue;
        };
        let station = station.min(camera.progress.station + FAR);
        if plan.in_side_street(station, station + 1) {
            canvas.span(row, 0, right_edge, class::ROAD);
            continue;
        }
        let kerb = [camera.x(station, -plan.kerb[0]), camera.x(station, plan.kerb[1])];
        let plots = [camera.x(station, -plots::plot_line(plan, 0)), camera.x(station, plots::plot_line(plan, 1))];
        canvas.span(row, 0, plots[0], plots::ground(plan, 0, station));
        canvas.span(row, plots[0], kerb[0], class::PAVEMENT);
        canvas.span(row, kerb[0], kerb[1], class::ROAD);
        canvas.span(row, kerb[1], plots[1], class::PAVEMENT);
        canvas.span(row, plots[1], right_edge, plots::ground(plan, 1, station));
    }
}

/// The camera's own bonnet, which labels leave out.
fn paint_bonnet(canvas: &mut Canvas, plan: &Plan) {
    let (width, height) = (canvas.width(), canvas.height());
    let [left, right] = plan.camera.bonnet.map(|share| height - height * share / 1000);
    canvas.convex(&[(0, left), (width, right), (width, height), (0, height)], class::UNLABELLED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::CAMVID12;
    use crate::scene::rule::{PAIRS, Rule, TYPES};

    const GRID: Grid = Grid::new(128, 96);

    fn checksum(cells: &[u8]) -> u64 {
        // FNV-1a.
        cells
            .iter()
            .fold(0xCBF2_9CE4_8422_2325, |sum, &cell| (sum ^ u64::from(cell)).wrapping_mul(0x0000_0100_0000_01B3))
    }

    #[test]
    fn a_seed_is_a_street() {
        let sums = [1, 2, 3].map(|seed| {
            let street = Street::new(seed, GRID);
            let drive: Vec<u8> = (0..20).flat_map(|index| street.frame(index * 7).cells).collect();
            checksum(&drive)
        });
        assert_eq!(sums, [0xCA34_F40B_7EE0_8523, 0x906E_E784_D67E_C56E, 0x0ACF_4FE2_13F2_72F4]);
        let street = Street::new(1, GRID);
        assert_eq!(street.frame(50).cells, street.at(5_000_999).cells);
    }

    #[test]
    fn drives_show_all_twelve_classes_and_nothing_else() {
        let mut frames_with = [0; 12];
        let mut frames = 0;
        for seed in 0..40 {
            let street = Street::new(seed, GRID);
            for index in 0..6 {
                let map = street.frame(index * 23);
                assert_eq!(map.cells.len(), 128 * 96);
                let mut seen = [false; 12];
                map.cells.iter().for_each(|&cell| seen[usize::from(cell)] = true);
                frames_with.iter_mut().zip(seen).for_each(|(count, seen)| *count += u32::from(seen));
                frames += 1;
            }
        }
        for (class, &count) in frames_with.iter().enumerate() {
            assert!(count * 2 > frames, "class {class} in {count} of {frames} frames");
        }
    }

    #[test]
    fn hazards_of_every_type_come_and_go_in_every_band() {
        let rule = Rule::new(GRID, &CAMVID12);
        let mut frames_with = [0; PAIRS];
        let mut frames = 0;
        for seed in 0..100 {
            let street = Street::new(seed, GRID);
            for index in 0..3 {
                let hazards = rule.read_all(&street.frame(index * 70).cells).hazards;
                hazards.iter().for_each(|pair| frames_with[pair] += 1);
                frames += 1;
            }
        }
        let at_times: Vec<usize> = (0..PAIRS)
            .filter(|&pair| frames_with[pair] * 50 >= frames && frames_with[pair] * 50 <= 49 * frames)
            .collect();
        for band in 0..3 {
            for kind in 0..TYPES {
                let found = at_times.iter().any(|&pair| pair / TYPES / 3 == band && pair % TYPES == kind);
                assert!(found, "type {kind} in band {band}: {frames_with:?} of {frames}");
            }
        }
        assert!(at_times.len() >= 20, "{frames_with:?} of {frames}");
    }

    #[test]
    fn consecutive_frames_resemble_each_other_and_distant_ones_differ() {
        let changed = |a: &ClassMap, b: &ClassMap| a.cells.iter().zip(&b.cells).filter(|(a, b)| a != b).count();
        let (mut soon, mut late, mut most) = (0, 0, 0);
        for seed in 0..20 {
            let street = Street::new(seed, GRID);
            for index in 0..8 {
                let now = street.frame(index * 10);
                let next = changed(&now, &street.frame(index * 10 + 1));
                most = most.max(next);
                soon += next;
                late += changed(&now, &street.frame(index * 10 + 40));
            }
        }
        let cells = 128 * 96;
        assert!(most * 3 < cells, "{most} cells of one frame change in 0.1 s");
        assert!(soon > 0 && soon * 3 < late, "{soon} cells change in 0.1 s, {late} in 4 s");
    }

    #[test]
    fn any_grid_and_any_time_can_be_painted() {
        for grid in [Grid::new(1, 1), Grid::new(7, 300), Grid::new(480, 360), Grid::new(0, 5)] {
            let map = Street::new(5, grid).at(u64::MAX);
            assert_eq!(map.cells.len(), usize::from(grid.width) * usize::from(grid.height));
        }
    }

    /// Sky above and road below, of the same shares on a fine grid as on a coarse one.
    #[test]
    fn a_finer_grid_shows_the_same_street() {
        let count = |grid: Grid, class: u8| {
            let cells = Street::new(9, grid).frame(30).cells;
            cells.iter().filter(|&&cell| cell == class).count() * 1000 / cells.len()
        };
        for class in [class::SKY, class::ROAD, class::BUILDING] {
            let (coarse, fine) = (count(GRID, class), count(Grid::new(512, 384), class));
            assert!(coarse.abs_diff(fine) < 15, "class {class}: {coarse} and {fine} thousandths");
        }
    }
}
