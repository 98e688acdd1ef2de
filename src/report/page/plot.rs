//! The drive over time: one lane a quantity, one column a frame.
//!
//! The lanes are stretched to the page's width, so they hold shapes alone; names and scales are text beside them and stay
//! readable on a phone.

use std::fmt::Write;

use super::html::escaped;
use super::summary::{colour, groups};
use super::{Outcome, PageFrame};
use crate::scene::rule::PAIRS;

/// Height of a lane in its own units.
const TALL: f64 = 100.0;

/// Where each frame's column begins, in columns from the left: by capture time, or by order where times do not rise.
fn columns(frames: &[PageFrame]) -> Vec<f64> {
    let rises = frames.windows(2).all(|pair| pair[0].time_us < pair[1].time_us);
    let (first, last) = (frames[0].time_us, frames[frames.len() - 1].time_us);
    let period = last.saturating_sub(first) as f64 / (frames.len() - 1).max(1) as f64;
    let place = |(index, frame): (usize, &PageFrame)| {
        if rises && period > 0.0 { (frame.time_us - first) as f64 / period } else { index as f64 }
    };
    frames.iter().enumerate().map(place).collect()
}

struct Lane<'a> {
    frames: &'a [PageFrame],
    starts: &'a [f64],
    html: &'a mut String,
}

impl Lane<'_> {
    fn open(&mut self, name: &str, scale: &str, keys: &[(&str, &str)], height: u32) {
        let _ = write!(self.html, "<div class=\"lane\"><div class=\"lane-head\"><b>{name}</b>");
        for (class, key) in keys {
            let _ = write!(self.html, "<span class=\"key\"><i class=\"dot {class}\"></i>{}</span>", escaped(key));
        }
        let _ = write!(
            self.html,
            "<span class=\"scale\">{scale}</span></div><svg style=\"height:{height}px\" viewBox=\"0 0 {:.2} {TALL}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}\">",
            self.end(self.starts.len())
        );
    }

    fn close(&mut self) {
        self.html.push_str("</svg></div>");
    }

    /// Right edge of the column before `index`, which is where column `index` begins.
    fn end(&self, index: usize) -> f64 {
        self.starts.get(index).copied().unwrap_or_else(|| self.starts[self.starts.len() - 1] + 1.0)
    }

    /// A stepped line of the values, as shares of the lane's height; it breaks where there is none.
    fn line(&mut self, class: &str, value: impl Fn(&PageFrame) -> Option<f64>) {
        let mut path = String::new();
        let mut drawing = false;
        for (index, frame) in self.frames.iter().enumerate() {
            let Some(share) = value(frame) else {
                drawing = false;
                continue;
            };
            let y = TALL * (0.96 - 0.92 * share.clamp(0.0, 1.0));
            let (left, right) = (self.starts[index], self.end(index + 1));
            let step = if drawing { 'L' } else { 'M' };
            let _ = write!(path, "{step}{left:.2} {y:.1}H{right:.2}");
            drawing = true;
        }
        let _ = write!(self.html, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// Bars that grow from `base` (a share of the height, from the bottom) by a share of the height.
    fn bars(&mut self, class: &str, base: f64, value: impl Fn(&PageFrame) -> Option<f64>) {
        let mut path = String::new();
        for (index, frame) in self.frames.iter().enumerate() {
            let Some(share) = value(frame).filter(|share| *share != 0.0) else { continue };
            let (left, right) = (self.starts[index], self.end(index + 1));
            let _ = write!(path, "M{left:.2} {:.1}H{right:.2}v{:.1}H{left:.2}z", TALL * (1.0 - base), -TALL * share);
        }
        let _ = write!(self.html, "<path class=\"bar {class}\" d=\"{path}\"/>");
    }
}

pub fn lanes(frames: &[PageFrame]) -> String {
    let starts = columns(frames);
    let mut html = String::from("<section class=\"plot\"><h2>Over the drive</h2>");
    let mut lane = Lane { frames, starts: &starts, html: &mut html };

    if frames.iter().any(|frame| frame.snr_db.is_some()) {
        let values = || frames.iter().filter_map(|frame| frame.snr_db);
        let low = values().fold(0.0f32, f32::min).floor();
        let high = values().fold(low + 10.0, f32::max).ceil();
        lane.open("Channel", &format!("{low:.0} to {high:.0} dB SNR").replace('-', "−"), &[], 44);
        lane.line("c-snr", |frame| frame.snr_db.map(|snr| f64::from((snr - low) / (high - low))));
        lane.close();
    }

    lane.open("Reception", "0 to 100 %", &[("c-known", "cells known"), ("c-lost", "tiles lost")], 60);
    lane.bars("c-lost", 0.0, |frame| Some(f64::from(frame.lost_share)));
    lane.line("c-known", |frame| Some(f64::from(frame.known_share)));
    lane.close();

    let keys: Vec<(&str, &str)> = groups(frames).into_iter().map(|group| (colour(group), group)).collect();
    lane.open("Mode", "click: the frame", &keys, 30);
    strip(&mut lane);
    lane.close();

    if frames.iter().any(|frame| frame.hazard_errors().is_some()) {
        let most = frames.iter().filter_map(PageFrame::hazard_errors).map(|(missed, called)| missed.max(called)).max();
        let most = most.unwrap_or(0).max(3);
        let scale = format!("up to {most} of {PAIRS} pairs, each way");
        lane.open("Hazards wrong", &scale, &[("c-miss", "missed (down)"), ("c-false", "false alarm (up)")], 56);
        lane.html.push_str("<path class=\"axis\" d=\"M0 50H9999\"/>");
        let share = |pairs: u32| f64::from(pairs) / f64::from(most) / 2.0;
        lane.bars("c-false", 0.5, |frame| frame.hazard_errors().map(|(_, called)| share(called)));
        lane.bars("c-miss", 0.5, |frame| frame.hazard_errors().map(|(missed, _)| -share(missed)));
        lane.close();

        let most = frames.iter().filter_map(PageFrame::free_error).fold(0.05, f64::max);
        lane.open("Free-space error", &format!("0 to {:.0} % of the height", most * 100.0), &[], 44);
        lane.line("c-free", |frame| frame.free_error().map(|error| error / most));
        lane.close();
    }

    if frames.iter().any(|frame| frame.decision_us.is_some()) {
        deadlines(&mut lane);
    }
    let seconds = frames[frames.len() - 1].time_us.saturating_sub(frames[0].time_us) as f64 / 1e6;
    let _ = write!(
        html,
        "<div class=\"time\"><span>0 s</span><span>{:.1} s</span><span>{seconds:.1} s</span></div></section>",
        seconds / 2.0
    );
    html
}

/// Mode of each frame as a strip of colours; a column leads to its card.
fn strip(lane: &mut Lane) {
    for (index, frame) in lane.frames.iter().enumerate() {
        let (left, right) = (lane.starts[index], lane.end(index + 1));
        let _ = write!(
            lane.html,
            "<a href=\"#f{index}\"><rect class=\"{}\" x=\"{left:.2}\" y=\"0\" width=\"{:.2}\" height=\"{TALL}\"><title>frame {}: {}, {:.0} % known</title></rect></a>",
            colour(frame.group()),
            right - left,
            frame.sequence,
            escaped(frame.group()),
            frame.known_share * 100.0
        );
    }
}

/// Time to the decision against the deadline, on a scale on which both are seen.
fn deadlines(lane: &mut Lane) {
    let times = || lane.frames.iter().flat_map(|frame| [frame.decision_us, frame.deadline_us]).flatten();
    let most = times().max().unwrap_or(1).max(1) as f64;
    let scale = format!("0 to {:.0} ms", (most / 1e3).ceil());
    let keys = [("c-time", "time to decide"), ("c-deadline", "deadline"), ("c-late", "missed")];
    lane.open("Deadline", &scale, &keys, 44);
    lane.bars("c-late", 0.0, |frame| (frame.outcome == Outcome::DecidedLate).then_some(1.0));
    lane.line("c-deadline", |frame| frame.deadline_us.map(|time| time as f64 / most));
    lane.line("c-time", |frame| frame.decision_us.map(|time| time as f64 / most));
    lane.close();
}
