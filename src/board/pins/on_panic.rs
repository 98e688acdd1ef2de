//! Fail-safe levels when a thread of the process panics, whichever it is, and whether the panic unwinds or aborts.

use super::Shared;
use super::panel::Panel;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// All pins that are open.
static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();
/// The thread that panics may hold the lock itself: then there is nothing to wait for.
const PATIENCE: Duration = Duration::from_millis(100);

/// From now on a panic ends these pins.
pub(super) fn watch(shared: &Arc<Shared>) {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            end_all();
            before(panicked);
        }));
    });
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|pins| pins.strong_count() > 0);
    open.push(Arc::downgrade(shared));
}

fn end_all() {
    let Some(open) = patiently(&OPEN) else { return };
    for shared in open.iter().filter_map(Weak::upgrade) {
        if let Some(mut panel) = patiently(&shared.panel) {
            end(&mut panel);
        }
    }
}

fn end(panel: &mut Panel) {
    panel.end();
    // What can't be put can't be told either: the panic is.
    let _ = panel.put(Instant::now());
}

fn patiently<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    let since = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            Err(TryLockError::WouldBlock) => return None,
        }
    }
}
