//! The pinhole camera: places along the road become canvas coordinates.

use super::canvas::{CELL, Canvas};
use super::fixed::{TURN, wave};
use super::plan::{Plan, Progress};

/// Nothing is drawn nearer than this, in cm.
pub const NEAR: i64 = 150;
/// Nothing is drawn farther than this, in cm.
pub const FAR: i64 = 16_000;

/// The camera at one time. Places are given as station along the road, sideways distance from the middle line (right is
/// positive) and height above the road, all in cm.
pub struct Camera<'a> {
    plan: &'a Plan,
    pub progress: Progress,
    /// Focal length in canvas units.
    focal: i64,
    centre: i64,
    pub horizon: i64,
    sideways: i64,
}

impl<'a> Camera<'a> {
    pub fn new(plan: &'a Plan, canvas: &Canvas, time: i64) -> Self {
        let progress = plan.journey.at(time);
        // The body rocks with the road, not with the clock: it rests while the car does.
        let rock = wave(progress.station * TURN / 900) * canvas.height() / 400 / TURN;
        Camera {
            plan,
            progress,
            focal: canvas.width() * plan.camera.focal / 1000,
            centre: canvas.width() / 2,
            horizon: canvas.height() * plan.camera.horizon / 1000 + rock,
            sideways: plan.lane + 25 * wave(progress.station * TURN / 6_000) / TURN,
        }
    }

    /// Distance ahead of a station.
    pub fn ahead(&self, station: i64) -> i64 {
        station - self.progress.station
    }

    /// Canvas length of `length` cm at a distance ahead.
    pub fn scale(&self, length: i64, ahead: i64) -> i64 {
        self.focal * length / ahead.max(NEAR)
    }

    pub fn x(&self, station: i64, side: i64) -> i64 {
        let ahead = self.ahead(station).max(NEAR);
        let across = side - self.sideways + self.plan.turn_off(self.progress.station, ahead);
        self.centre + self.scale(across, ahead)
    }

    pub fn y(&self, station: i64, height: i64) -> i64 {
        self.horizon + self.scale(self.plan.camera.height - height, self.ahead(station))
    }

    pub fn point(&self, station: i64, side: i64, height: i64) -> (i64, i64) {
        (self.x(station, side), self.y(station, height))
    }

    /// Station that the road shows at the centre of a row, or `None` at and above the horizon.
    pub fn station_of_row(&self, row: i64) -> Option<i64> {
        let drop = row * CELL + CELL / 2 - self.horizon;
        (drop > 0).then(|| self.progress.station + self.focal * self.plan.camera.height / drop)
    }

    /// Direction that a canvas column looks in, in 1/1000 of a radian (small angles), for what lies beyond everything.
    pub fn bearing(&self, x: i64) -> i64 {
        self.plan.heading(self.progress.station) + (x - self.centre) * 1000 / self.focal
    }
}
