//! What the service manager is told: `sd_notify`, where `$NOTIFY_SOCKET` says that somebody listens.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Time between two lines of status.
const STATUS: Duration = Duration::from_secs(5);

/// Tells the service manager. Nothing where there is none.
pub struct Notifier {
    /// Time after which the manager gives the service up, where it watches.
    watchdog: Option<Duration>,
    pinged: Instant,
    told: Option<Instant>,
    is_deaf: bool,
}

impl Notifier {
    pub fn new() -> Self {
        Notifier { watchdog: sd_notify::watchdog_enabled(), pinged: Instant::now(), told: None, is_deaf: false }
    }

    /// It receives, with all models loaded.
    pub fn ready(&mut self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Others are loaded beside them.
    pub fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// It works off what came, and ends.
    pub fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// To be called between two pieces of work: who does not come back is given up by the manager.
    pub fn ping(&mut self) {
        if self.watchdog.is_some_and(|watchdog| self.pinged.elapsed() * 3 >= watchdog) {
            self.pinged = Instant::now();
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// A line for people, from time to time.
    pub fn status(&mut self, line: impl FnOnce() -> String) {
        if self.told.is_none_or(|told| told.elapsed() >= STATUS) {
            self.told = Some(Instant::now());
            self.tell(&[NotifyState::Status(&line())]);
        }
    }

    fn tell(&mut self, state: &[NotifyState<'_>]) {
        // Who isn't listened to goes on.
        if let Err(error) = sd_notify::notify(state)
            && !std::mem::replace(&mut self.is_deaf, true)
        {
            log::warn!("the service manager does not listen: {error}");
        }
    }
}
