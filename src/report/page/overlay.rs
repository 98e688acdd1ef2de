//! The decision drawn over a map, as SVG: zones, hazards by letter, free space.

use std::fmt::Write;

use super::{Decision, Truth};
use crate::scene::rule::{COLUMNS, TYPE_NAMES, TYPES, ZONES, zone_of};
use crate::wire::Grid;

/// Letter of each hazard type.
pub const LETTERS: [char; TYPES] = ['V', 'P', 'S'];

/// The rule's zones of a grid as shapes that every overlay refers to, and where their letters go.
pub struct Zones {
    grid: Grid,
    anchors: [Option<(f32, f32)>; ZONES],
}

impl Zones {
    pub fn new(grid: Grid) -> Self {
        let mut sums = [(0.0f32, 0.0f32, 0.0f32); ZONES];
        for (x, y) in cells(grid) {
            if let Some(zone) = zone_of(grid, x, y) {
                let sum = &mut sums[zone];
                *sum = (sum.0 + f32::from(x) + 0.5, sum.1 + f32::from(y) + 0.5, sum.2 + 1.0);
            }
        }
        let anchors = sums.map(|(x, y, n)| (n > 0.0).then(|| (x / n, y / n)));
        Zones { grid, anchors }
    }

    /// Definitions to put once on the page: a shape `z0`..`z8` a zone.
    pub fn definitions(&self) -> String {
        let mut paths: [String; ZONES] = Default::default();
        for y in 0..self.grid.height {
            let mut x = 0;
            while x < self.grid.width {
                let zone = zone_of(self.grid, x, y);
                let start = x;
                while x < self.grid.width && zone_of(self.grid, x, y) == zone {
                    x += 1;
                }
                if let Some(zone) = zone {
                    let run = x - start;
                    let _ = write!(paths[zone], "M{start} {y}h{run}v1h-{run}z");
                }
            }
        }
        let mut svg = String::from("<svg class=\"defs\" aria-hidden=\"true\"><defs>");
        for (zone, path) in paths.iter().enumerate() {
            let _ = write!(svg, "<path id=\"z{zone}\" d=\"{path}\"/>");
        }
        let _ = write!(svg, "<path id=\"zo\" d=\"{}\"/></defs></svg>", self.outline());
        svg
    }

    /// The borders between zones, as one path of cell edges.
    fn outline(&self) -> String {
        let at = |x: i32, y: i32| {
            let inside = x >= 0 && y >= 0 && x < i32::from(self.grid.width) && y < i32::from(self.grid.height);
            if inside { zone_of(self.grid, x as u16, y as u16) } else { None }
        };
        let mut path = String::new();
        let (width, height) = (i32::from(self.grid.width), i32::from(self.grid.height));
        let mut runs =
            |along: i32, across: i32, edge: &dyn Fn(i32, i32) -> bool, draw: &dyn Fn(i32, i32, i32) -> String| {
                for line in 0..=across {
                    let mut place = 0;
                    while place < along {
                        let start = place;
                        while place < along && edge(line, place) {
                            place += 1;
                        }
                        if place > start {
                            path.push_str(&draw(line, start, place - start));
                        } else {
                            place += 1;
                        }
                    }
                }
            };
        runs(width, height, &|y, x| at(x, y - 1) != at(x, y), &|y, x, run| format!("M{x} {y}h{run}"));
        runs(height, width, &|x, y| at(x - 1, y) != at(x, y), &|x, y, run| format!("M{x} {y}v{run}"));
        path
    }

    /// The overlay of one decision, with the truth beside it where it is known.
    pub fn overlay(&self, decision: &Decision, truth: Option<&Truth>) -> String {
        let Grid { width, height } = self.grid;
        let mut svg = format!(
            "<svg class=\"over\" viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}</title>",
            spoken(decision, truth)
        );
        let _ = write!(svg, "<path class=\"area\" d=\"{}\"/>", self.area(&decision.free));
        svg.push_str("<use href=\"#zo\" class=\"zo\"/>");
        for zone in 0..ZONES {
            let wrong = truth.is_some_and(|truth| {
                (0..TYPES).any(|kind| {
                    truth.present.contains(zone * TYPES + kind) != decision.present.contains(zone * TYPES + kind)
                })
            });
            let any = (0..TYPES).any(|kind| decision.present.contains(zone * TYPES + kind));
            if wrong || any {
                let class = if wrong { "zw" } else { "zh" };
                let _ = write!(svg, "<use href=\"#z{zone}\" class=\"{class}\"/>");
            }
        }
        if let Some(truth) = truth {
            let _ = write!(svg, "<path class=\"ft\" d=\"{}\"/>", self.curve(&truth.free));
        }
        let curve = self.curve(&decision.free);
        let _ = write!(svg, "<path class=\"fb\" d=\"{curve}\"/><path class=\"fd\" d=\"{curve}\"/>");
        for zone in 0..ZONES {
            self.letters(&mut svg, zone, decision, truth);
        }
        svg.push_str("</svg>");
        svg
    }

    fn letters(&self, svg: &mut String, zone: usize, decision: &Decision, truth: Option<&Truth>) {
        let Some((x, y)) = self.anchors[zone] else { return };
        let mut spans = String::new();
        let mut length = 0;
        for (kind, letter) in LETTERS.into_iter().enumerate() {
            let pair = zone * TYPES + kind;
            let said = decision.present.contains(pair);
            let (mark, class) = match truth.map(|truth| truth.present.contains(pair)) {
                Some(true) if !said => ("−", "miss"),
                Some(false) if said => ("+", "false"),
                _ if said => ("", "hit"),
                _ => continue,
            };
            length += 1 + mark.chars().count();
            let _ = write!(spans, "<tspan class=\"{class}\">{mark}{letter}</tspan>");
        }
        if length == 0 {
            return;
        }
        // Bands get smaller with the distance, and so do their letters; long texts shrink, as long as they stay legible.
        let height = f32::from(self.grid.height);
        let room = [0.24, 0.18, 0.13][zone / 3] * f32::from(self.grid.width);
        let size = ([0.115, 0.095, 0.08][zone / 3] * height).min(room / (0.68 * length as f32)).max(0.05 * height);
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{size:.1}\">{spans}</text>", y + 0.36 * size);
    }

    fn level(&self, free: u16) -> f32 {
        f32::from(self.grid.height) * (1.0 - f32::from(free.min(1000)) / 1000.0)
    }

    /// Left edge of a free-space column.
    fn edge(&self, column: usize) -> usize {
        column * usize::from(self.grid.width) / COLUMNS
    }

    fn curve(&self, free: &[u16; COLUMNS]) -> String {
        let mut path = String::new();
        for (column, &value) in free.iter().enumerate() {
            let step = if column == 0 { 'M' } else { 'L' };
            let level = self.level(value);
            let _ = write!(path, "{step}{} {level:.1}H{}", self.edge(column), self.edge(column + 1));
        }
        path
    }

    fn area(&self, free: &[u16; COLUMNS]) -> String {
        let Grid { width, height } = self.grid;
        format!("{}L{width} {height}H0z", self.curve(free))
    }
}

/// The decision in words, for the tooltip and for who cannot see the drawing.
fn spoken(decision: &Decision, truth: Option<&Truth>) -> String {
    use crate::scene::rule::ZONE_NAMES;
    let mut words = String::from("Hazards:");
    for (zone, name) in ZONE_NAMES.iter().enumerate() {
        for (kind, type_name) in TYPE_NAMES.iter().enumerate() {
            let pair = zone * TYPES + kind;
            let said = decision.present.contains(pair);
            let verdict = match truth.map(|truth| truth.present.contains(pair)) {
                Some(true) if !said => " missed",
                Some(false) if said => " false alarm",
                _ if said => "",
                _ => continue,
            };
            let probability = decision.probability[pair] / 10;
            let _ = write!(words, " {name} {type_name}{verdict} ({probability} %);");
        }
    }
    if words.ends_with(':') {
        words.push_str(" none");
    }
    words
}

fn cells(grid: Grid) -> impl Iterator<Item = (u16, u16)> {
    (0..grid.height).flat_map(move |y| (0..grid.width).map(move |x| (x, y)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::rule::{HazardSet, PAIRS};

    const GRID: Grid = Grid::new(128, 96);

    fn decision(pairs: &[usize]) -> Decision {
        let mut present = HazardSet::default();
        pairs.iter().for_each(|&pair| present.insert(pair));
        Decision { free: [500; COLUMNS], probability: [900; PAIRS], present }
    }

    #[test]
    fn letters_say_what_was_right_missed_and_false() {
        let mut present = HazardSet::default();
        present.insert(3);
        present.insert(13);
        let truth = Truth { free: [250; COLUMNS], present };
        let svg = Zones::new(GRID).overlay(&decision(&[3, 23]), Some(&truth));
        assert!(svg.contains("<tspan class=\"hit\">V</tspan>"));
        assert!(svg.contains("<tspan class=\"miss\">−P</tspan>"));
        assert!(svg.contains("<tspan class=\"false\">+S</tspan>"));
        assert!(svg.contains("near centre vehicle (90 %)"));
        assert!(svg.contains("middle centre person missed"));
        assert!(svg.contains("far centre structure false alarm"));
        // Half of the height is free, a quarter in truth.
        assert!(svg.contains("class=\"fd\" d=\"M0 48.0H8"));
        assert!(svg.contains("class=\"ft\" d=\"M0 72.0H8"));
        let alone = Zones::new(GRID).overlay(&decision(&[]), None);
        assert!(alone.contains("Hazards: none") && !alone.contains("<text") && !alone.contains("class=\"ft\""));
    }

    #[test]
    fn zone_shapes_cover_the_zones_cells() {
        let definitions = Zones::new(GRID).definitions();
        let covered: usize = definitions
            .split("<path id=\"z")
            .filter(|path| !path.starts_with('o'))
            .flat_map(|path| path.split("h-").skip(1))
            .map(|run| run.split('z').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(covered, cells(GRID).filter(|&(x, y)| zone_of(GRID, x, y).is_some()).count());
    }
}
