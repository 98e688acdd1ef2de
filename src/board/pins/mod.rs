//! Pins: what was decided, on wires. The outputs hazard, heartbeat and fault, and the input mode, over embedded-hal's traits.
//!
//! Three things put the fail-safe levels when nothing else does: [`Pins`] at its start and when it goes, a panic hook, and a thread of its
//! own once the work loop hasn't fed it for so long. `docs/pins.md` has the table of levels and the wiring.

mod backend;
mod config;
mod corridor;
mod error;
mod line;
mod on_panic;
mod panel;

pub use config::{BackendName, Bias, Config, InputLine, OutputLine};
pub use corridor::{Corridor, Reach};
pub use error::PinsError;
pub use line::{Active, Input, Output};
pub use panel::{Lines, Rules};

use crate::report::record::Record;
use crate::scene::rule::{COLUMNS, HazardSet};
use panel::Panel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The pins of one receiver. They show the fail-safe levels from the start on, until the first decision; and again once this is dropped.
pub struct Pins {
    shared: Arc<Shared>,
    dead_man: Option<JoinHandle<()>>,
}

/// What the work loop, the dead-man and the panic hook share.
struct Shared {
    panel: Mutex<Panel>,
    /// Something is due earlier than the dead-man thinks.
    earlier: Condvar,
}

impl Pins {
    /// The lines that `config` names.
    ///
    /// # Errors
    /// [`PinsError`] names the line, or the backend, and the reason.
    pub fn open(config: &Config) -> Result<Self, PinsError> {
        Self::over(backend::open(config)?, config.rules)
    }

    /// Any pins that embedded-hal's traits can set and read.
    ///
    /// # Errors
    /// [`PinsError::Thread`], if the system gives no thread.
    pub fn over(lines: Lines, rules: Rules) -> Result<Self, PinsError> {
        let shared = Arc::new(Shared { panel: Mutex::new(Panel::new(lines, rules)), earlier: Condvar::new() });
        shared.act(|_, _| ());
        on_panic::watch(&shared);
        let theirs = shared.clone();
        let dead_man =
            thread::Builder::new().name("pins".into()).spawn(move || theirs.keep()).map_err(PinsError::Thread)?;
        Ok(Pins { shared, dead_man: Some(dead_man) })
    }

    /// The work loop is alive. To be called in each of its turns, more often than every [`Rules::starve`].
    pub fn feed(&self) {
        self.shared.act(Panel::feed);
    }

    /// The head's decision on the newest frame, which its record may take back. It feeds too.
    pub fn provisional(&self, free_permille: &[u16; COLUMNS], hazards: HazardSet) {
        self.shared.act(|panel, now| panel.provisional(free_permille, hazards, now));
    }

    /// How a frame or a gap ended. It feeds too.
    pub fn record(&self, record: &Record<'_>) {
        self.shared.act(|panel, now| panel.record(record, now));
    }

    /// What a station makes known: the one call that a work loop needs for each of its frames.
    pub fn observe(&self, published: &crate::station::Published<'_>) {
        use crate::station::Published;
        match published {
            Published::Provisional { is_late: false, decision, .. } => {
                self.provisional(&decision.free_permille, decision.hazards());
            }
            Published::Provisional { .. } => self.feed(),
            Published::Record { record, .. } => self.record(record),
            Published::Dropped(_) => self.feed(),
        }
    }

    /// Whether the program knows of anything else that a supervisor should look at: over-temperature, a full disk. It asserts fault.
    pub fn set_alarm(&self, is_on: bool) {
        self.shared.act(|panel, _| panel.alarm(is_on));
    }

    /// Whether the input mode is at its active level: then nothing is to be generated. So it is while the input can't be read, and never
    /// where there is no such input.
    pub fn is_mode_held(&self) -> bool {
        self.shared.act(|panel, _| panel.is_mode_held())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.shared.act(|panel, _| panel.end());
        self.shared.earlier.notify_one();
        if let Some(dead_man) = self.dead_man.take() {
            // Had it panicked, the levels would be those of the end all the same.
            let _ = dead_man.join();
        }
    }
}

impl Shared {
    /// Changes what the panel knows, and puts the levels that follow.
    fn act<T>(&self, change: impl FnOnce(&mut Panel, Instant) -> T) -> T {
        let mut panel = self.lock();
        let now = Instant::now();
        let outcome = change(&mut panel, now);
        let told = panel.put(now);
        let is_earlier = panel.is_due_earlier(now);
        drop(panel);
        if is_earlier {
            self.earlier.notify_one();
        }
        tell(told);
        outcome
    }

    /// The dead-man: puts what time alone changes, until the end.
    fn keep(&self) {
        loop {
            let mut panel = self.lock();
            let now = Instant::now();
            let told = panel.put(now);
            if panel.has_ended() {
                return;
            }
            if told.is_some() {
                // Whoever reads the log may keep it waiting: not with the lock.
                drop(panel);
                tell(told);
                continue;
            }
            match panel.sleep(now) {
                Some(time) => drop(self.earlier.wait_timeout(panel, time)),
                None => drop(self.earlier.wait(panel)),
            }
        }
    }

    /// A panic under the lock leaves nothing that could be relied on.
    fn lock(&self) -> MutexGuard<'_, Panel> {
        self.panel.lock().unwrap_or_else(|poisoned| {
            let mut panel = poisoned.into_inner();
            panel.end();
            panel
        })
    }
}

fn tell(told: Option<String>) {
    if let Some(told) = told {
        log::warn!("pins: {told}");
    }
}
