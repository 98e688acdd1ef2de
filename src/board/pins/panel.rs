//! What the outputs show: a function of what was decided, of what broke, and of the time since.

use super::corridor::Corridor;
use super::line::{Input, Output};
use crate::report::record::{Outcome, PAIR_NAMES, Record};
use crate::scene::rule::{COLUMNS, HazardSet};
use std::time::{Duration, Instant};

/// The gate of a frame whose refinement failed, as records name it.
const FAILED: &str = "failed";

/// The lines that there are; each may be missing.
#[derive(Default)]
pub struct Lines {
    /// Asserted while the way ahead isn't known to be free. Fails asserted.
    pub hazard: Option<Output>,
    /// Changes its level with each decided frame. Fails standing still.
    pub heartbeat: Option<Output>,
    /// Asserted while the receiver isn't to be relied on. Fails asserted.
    pub fault: Option<Output>,
    /// Held: nothing is to be generated.
    pub mode: Option<Input>,
}

/// More than any time needs, and no more than an [`Instant`] can be moved by.
const MOST: Duration = Duration::from_secs(3600);

/// When hazard and fault are asserted. Times above an hour count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub corridor: Corridor,
    /// A decision stands for so long, from the capture of its frame on as far as the link tells its delay, from its arrival on elsewhere.
    pub stale: Duration,
    /// The work loop may be silent for so long.
    pub starve: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let half_a_second = Duration::from_millis(500);
        Rules { corridor: Corridor::default(), stale: half_a_second, starve: half_a_second }
    }
}

/// The newest decision.
#[derive(Debug, Clone, Copy)]
struct Sight {
    is_blocked: bool,
    stands_until: Instant,
}

/// The outputs with all that their levels hang on. Time is told to it.
pub(super) struct Panel {
    lines: Lines,
    rules: Rules,
    /// `None` until the work loop has begun.
    fed: Option<Instant>,
    sight: Option<Sight>,
    /// The heartbeat's level.
    beat: bool,
    /// The newest frame was refused, or its refinement failed.
    is_frame_bad: bool,
    alarm: bool,
    is_mode_unread: bool,
    /// What is to be told at the next put.
    untold: Option<String>,
    /// An output couldn't be put the last time.
    is_output_stuck: bool,
    was_starved: bool,
    has_ended: bool,
    /// Until when the dead-man sleeps; `None`: until it is woken.
    sleeps_until: Option<Instant>,
}

impl Panel {
    pub fn new(lines: Lines, rules: Rules) -> Self {
        let rules = Rules { stale: rules.stale.min(MOST), starve: rules.starve.min(MOST), ..rules };
        Panel {
            lines,
            rules,
            fed: None,
            sight: None,
            beat: false,
            is_frame_bad: false,
            alarm: false,
            is_mode_unread: false,
            untold: None,
            is_output_stuck: false,
            was_starved: false,
            has_ended: false,
            sleeps_until: None,
        }
    }

    pub fn feed(&mut self, now: Instant) {
        self.fed = Some(now);
    }

    /// Of the newest frame. It can assert hazard at once, and never releases it: the record may.
    pub fn provisional(&mut self, free_permille: &[u16; COLUMNS], hazards: HazardSet, now: Instant) {
        self.feed(now);
        if self.rules.corridor.is_blocked(free_permille, |pair| hazards.contains(pair))
            && let Some(sight) = &mut self.sight
        {
            sight.is_blocked = true;
        }
    }

    pub fn record(&mut self, record: &Record<'_>, now: Instant) {
        self.feed(now);
        if record.outcome == Outcome::Refused {
            self.is_frame_bad = true;
        }
        // A frame behind a later one has nothing steady, and nothing new to say.
        let (Some(decision), Some(steady)) = (&record.decision, &record.steady) else { return };
        let is_blocked = self.rules.corridor.is_blocked(&decision.free_permille, |pair| {
            decision.hazards.contains(&PAIR_NAMES[pair]) || steady.contains(&PAIR_NAMES[pair])
        });
        let age = Duration::from_micros(u64::from(record.delay_us).saturating_add(record.timing.decision_us));
        self.sight = Some(Sight { is_blocked, stands_until: now + self.rules.stale.saturating_sub(age) });
        self.is_frame_bad = record.gate == FAILED;
        self.beat = !self.beat;
    }

    pub fn alarm(&mut self, is_on: bool) {
        self.alarm = is_on;
    }

    pub fn is_mode_held(&mut self) -> bool {
        let held = self.lines.mode.as_mut().map_or(Ok(false), Input::is_held);
        if let (Err(error), false) = (&held, self.is_mode_unread) {
            self.untold = Some(format!("mode can't be read: {error}"));
        }
        self.is_mode_unread = held.is_err();
        held.unwrap_or(true)
    }

    /// The fail-safe levels from now on, whatever comes.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_starved(&self, now: Instant) -> bool {
        self.fed.is_some_and(|fed| now >= fed + self.rules.starve)
    }

    /// Puts the levels that are right at `now`, and tells what became wrong.
    pub fn put(&mut self, now: Instant) -> Option<String> {
        let is_starved = self.is_starved(now);
        let is_out = self.has_ended || is_starved;
        let is_free = self.sight.is_some_and(|sight| !sight.is_blocked && now < sight.stands_until);
        let is_broken = self.is_frame_bad || self.alarm || self.is_mode_unread || self.is_output_stuck;

        let mut stuck = None;
        let mut show = |name: &str, line: &mut Option<Output>, is_asserted: bool| {
            if let Some(Err(error)) = line.as_mut().map(|line| line.show(is_asserted)) {
                stuck.get_or_insert_with(|| format!("{name} can't be put: {error}"));
            }
            stuck.is_some()
        };
        let is_stuck = show("hazard", &mut self.lines.hazard, is_out || !is_free);
        let is_fault = is_out || self.sight.is_none() || is_broken || is_stuck;
        let is_stuck = show("fault", &mut self.lines.fault, is_fault);
        // Whoever watches the heartbeat relies on the other two.
        if !is_out && !is_stuck {
            show("heartbeat", &mut self.lines.heartbeat, self.beat);
        }

        let (was_stuck, was_starved) = (self.is_output_stuck, self.was_starved);
        (self.is_output_stuck, self.was_starved) = (stuck.is_some(), is_starved);
        if was_stuck {
            stuck = None;
        }
        let hungry = (is_starved && !was_starved && !self.has_ended)
            .then(|| format!("nothing was heard of the work loop for {} ms: fail-safe", self.rules.starve.as_millis()));
        stuck.or(hungry).or_else(|| self.untold.take())
    }

    /// When time alone changes a level next.
    fn due(&self, now: Instant) -> Option<Instant> {
        let starves = self.fed.map(|fed| fed + self.rules.starve);
        let stales = self.sight.map(|sight| sight.stands_until);
        starves.into_iter().chain(stales).filter(|&at| at > now).min()
    }

    /// How long the dead-man has nothing to do; `None`: until something changes.
    pub fn sleep(&mut self, now: Instant) -> Option<Duration> {
        self.sleeps_until = self.due(now);
        self.sleeps_until.map(|until| until - now)
    }

    /// Whether the dead-man would sleep too long.
    pub fn is_due_earlier(&self, now: Instant) -> bool {
        self.due(now).is_some_and(|due| self.sleeps_until.is_none_or(|until| due < until))
    }
}

#[cfg(test)]
mod tests;
