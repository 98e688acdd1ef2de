//! Signals that `run` and `front` hear: SIGINT and SIGTERM to end, and once more to end at once; SIGHUP to load anew.

use super::exit::Failure;
use semrx::link::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub struct Signals {
    /// Set by one of the two that end.
    pub(super) ends: Interrupt,
    terminated: Arc<AtomicBool>,
    hung_up: Arc<AtomicBool>,
}

impl Signals {
    /// `reloads`: SIGHUP does not end.
    pub fn hear(reloads: bool) -> Result<Self, Failure> {
        let signals = Signals::default();
        signals.register(reloads).map_err(|error| Failure::failed(format!("signal handler: {error}")))?;
        Ok(signals)
    }

    fn register(&self, reloads: bool) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // The second one ends at once.
            flag::register_conditional_shutdown(signal, 130, self.ends.clone())?;
            flag::register(signal, self.ends.clone())?;
        }
        flag::register(SIGTERM, self.terminated.clone())?;
        if reloads {
            flag::register(SIGHUP, self.hung_up.clone())?;
        }
        Ok(())
    }

    /// Somebody wants it to end.
    pub fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// It was SIGTERM, the service manager's.
    pub fn terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }

    /// Somebody wants it to load anew; told once.
    pub fn reloads(&self) -> bool {
        self.hung_up.swap(false, Ordering::Relaxed)
    }
}
