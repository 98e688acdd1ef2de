//! Milliseconds since the start.

use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Of mps2-an386.
const CORE_HZ: u32 = 25_000_000;

static MS: AtomicU32 = AtomicU32::new(0);

pub struct Clock(());

impl Clock {
    /// To be called once.
    pub fn start() -> Self {
        if let Some(mut core) = cortex_m::Peripherals::take() {
            core.SYST.set_clock_source(SystClkSource::Core);
            core.SYST.set_reload(CORE_HZ / 1000 - 1);
            core.SYST.clear_current();
            core.SYST.enable_interrupt();
            core.SYST.enable_counter();
        }
        Clock(())
    }

    /// Begins at 0 again after 49 days.
    pub fn ms(&self) -> u32 {
        MS.load(Ordering::Relaxed)
    }
}

#[exception]
fn SysTick() {
    MS.fetch_add(1, Ordering::Relaxed);
}
