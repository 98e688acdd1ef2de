//! How the things of a street look: each is a few shapes in one or two classes.

use super::camera::{Camera, NEAR};
use super::canvas::{CELL, Canvas};
use super::class;
use super::fixed::{Dice, TURN, wave};
use super::things::{Shape, Thing};

/// Labels show thin things at least this broad, in canvas units.
const THIN: i64 = CELL * 5 / 8;

impl Thing {
    pub fn paint(&self, canvas: &mut Canvas, camera: &Camera) {
        let near = self.near.max(camera.progress.station + NEAR);
        let Thing { far, side, .. } = *self;
        match self.shape {
            Shape::House { depth, height, gable, chimney } => {
                let back = side + depth;
                block(canvas, camera, (near, far), (side.min(back), side.max(back)), (0, height), class::BUILDING);
                if gable > 0 {
                    let ridge = side + depth / 2;
                    let roof = [
                        camera.point(near, side, height),
                        camera.point(near, ridge, height + gable),
                        camera.point(near, back, height),
                    ];
                    canvas.convex(&roof, class::BUILDING);
                    let slope = [
                        camera.point(near, side, height),
                        camera.point(near, ridge, height + gable),
                        camera.point(far, ridge, height + gable),
                        camera.point(far, side, height),
                    ];
                    canvas.convex(&slope, class::BUILDING);
                }
                if chimney {
                    let ridge = side + depth / 2;
                    let top = height + gable + 120;
                    block(canvas, camera, (near, near + 90), (ridge - 60, ridge + 60), (height, top), class::BUILDING);
                }
            }
            Shape::Barrier { foot, height, class } => {
                let front = [
                    camera.point(near, side, foot),
                    camera.point(near, side, height),
                    camera.point(far, side, height),
                    camera.point(far, side, foot),
                ];
                canvas.convex(&front, class);
            }
            Shape::Tree { height, bare, dice } => tree(canvas, camera, self, height, bare, dice),
            Shape::Post { height, arm, plate } => {
                let half = (camera.scale(14, camera.ahead(near)) / 2).max(THIN / 2);
                let top = camera.point(near, side, height);
                canvas.stroke(camera.point(near, side, 0), top, half, class::POLE);
                if arm != 0 {
                    canvas.stroke(top, camera.point(near, side + arm, height + 40), half / 2, class::POLE);
                }
                if let Some(plate) = plate {
                    let width = camera.scale(plate.width, camera.ahead(near)) / 2;
                    let drop = camera.scale(plate.height, camera.ahead(near));
                    if plate.round {
                        canvas.ellipse((top.0, top.1 + drop / 2), width, drop / 2, class::SIGN);
                    } else {
                        canvas.rectangle(top.0 - width, top.1, top.0 + width, top.1 + drop, class::SIGN);
                    }
                }
            }
            Shape::Vehicle { width, height, cabin } => vehicle(canvas, camera, self, width, height, cabin),
            Shape::Walker { height, bulk, stride } => {
                let swing = bulk * wave(stride) / TURN / 2;
                figure(canvas, camera, self, height, bulk, swing, class::PEDESTRIAN);
            }
            Shape::Rider { height, across } => {
                let wheel = |canvas: &mut Canvas, offset: i64, width: i64| {
                    let centre = camera.point(near, side + offset, 34);
                    let ahead = camera.ahead(near);
                    let half = camera.scale(width, ahead).max(THIN / 2);
                    canvas.ellipse(centre, half, camera.scale(34, ahead), class::BICYCLIST);
                };
                if across {
                    wheel(canvas, -52, 34);
                    wheel(canvas, 52, 34);
                } else {
                    wheel(canvas, 0, 6);
                }
                let lifted = Thing { side: side + if across { 10 } else { 0 }, ..*self };
                figure(canvas, camera, &lifted, height, 52, 12, class::BICYCLIST);
            }
            Shape::Panel { width, foot, height, class } => {
                let (left, top) = camera.point(near, side - width / 2, height);
                let (right, bottom) = camera.point(near, side + width / 2, foot);
                canvas.rectangle(left, top, right, bottom, class);
            }
        }
    }
}

/// A box between two stations, two sides (left first) and two heights (lower first).
fn block(canvas: &mut Canvas, camera: &Camera, along: (i64, i64), across: (i64, i64), up: (i64, i64), class: u8) {
    let corner = |station, side, height| camera.point(station, side, height);
    let face = |station: i64| {
        [
            corner(station, across.0, up.0),
            corner(station, across.0, up.1),
            corner(station, across.1, up.1),
            corner(station, across.1, up.0),
        ]
    };
    let (near, far) = (face(along.0), face(along.1));
    canvas.convex(&near, class);
    canvas.convex(&far, class);
    for edge in 0..4 {
        let next = (edge + 1) % 4;
        canvas.convex(&[near[edge], near[next], far[next], far[edge]], class);
    }
}

fn vehicle(canvas: &mut Canvas, camera: &Camera, thing: &Thing, width: i64, height: i64, cabin: i64) {
    let near = thing.near.max(camera.progress.station + NEAR);
    let (far, side) = (thing.far, thing.side);
    let length = far - near;
    let waist = height * cabin / 100;
    let (left, right) = (side - width / 2, side + width / 2);
    for wheel in [left, right - 22] {
        for axle in [near + length / 8, far - length / 4] {
            block(canvas, camera, (axle, axle + 60.min(length / 4)), (wheel, wheel + 22), (0, 45), class::CAR);
        }
    }
    block(canvas, camera, (near, far), (left, right), (24, waist), class::CAR);
    let windows = (near + length / 12, far - length * (100 - cabin).max(5) / 150);
    block(canvas, camera, windows, (left + 14, right - 14), (waist, height), class::CAR);
}

/// Legs, body and head of somebody whose feet are `swing` apart from each other's middle.
fn figure(canvas: &mut Canvas, camera: &Camera, thing: &Thing, height: i64, bulk: i64, swing: i64, class: u8) {
    let (station, side) = (thing.near, thing.side);
    let ahead = camera.ahead(station);
    let size = |length: i64| camera.scale(length, ahead);
    let hip = camera.point(station, side, height / 2);
    let leg = (size(bulk) / 6).max(THIN / 3);
    for foot in [-swing - 5, swing + 5] {
        canvas.stroke(camera.point(station, side + foot, 0), (hip.0 + size(foot) / 3, hip.1), leg, class);
    }
    let chest = camera.point(station, side, height * 67 / 100);
    canvas.ellipse(chest, (size(bulk) / 2).max(THIN / 2), size(height * 22 / 100), class);
    let head = camera.point(station, side, height * 93 / 100);
    canvas.ellipse(head, size(12).max(THIN / 2), size(15), class);
}

fn tree(canvas: &mut Canvas, camera: &Camera, thing: &Thing, height: i64, bare: bool, dice: Dice) {
    let (station, side) = (thing.near, thing.side);
    let ahead = camera.ahead(station);
    let size = |length: i64| camera.scale(length, ahead);
    let trunk = (size(height / 24) / 2).max(THIN / 2);
    let fork = height * dice.range(0, 25, 45) / 100;
    let foot = camera.point(station, side, 0);
    canvas.stroke(foot, camera.point(station, side, fork + height / 8), trunk, class::TREE);
    let limbs = if bare { 14 } else { 9 };
    for limb in 0..limbs {
        let up = dice.range(10 + limb, fork + height / 10, height * 9 / 10);
        // Broad in the middle of the crown, narrow at its top.
        let reach = (height - up).min(up - fork / 2) * 6 / 10;
        let out = dice.range(40 + limb, -reach, reach);
        let end = camera.point(station, side + out, up);
        if bare {
            let from = camera.point(station, side + out / 8, (fork + up) / 2);
            canvas.stroke(from, end, trunk / 2, class::TREE);
            canvas.ellipse(end, size(height / 26), size(height / 18), class::TREE);
        } else {
            let leaf = height * dice.range(70 + limb, 10, 19) / 100;
            canvas.ellipse(end, size(leaf), size(leaf * 9 / 10), class::TREE);
        }
    }
}
