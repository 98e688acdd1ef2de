//! Packets between the threads that receive them and the loop that works on them.

use crate::link::{Counters, LinkError, Packet};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Packets of one source that wait at most.
pub const CAPACITY: usize = 256;

/// A packet, and when it came.
#[derive(Debug)]
pub struct Arrived {
    pub packet: Packet,
    pub at: Instant,
    /// Bytes that it took on the link, as the source counts them.
    pub link_bytes: usize,
}

/// A queue a source, each of them [`CAPACITY`] long.
#[derive(Debug)]
pub struct Queues {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    sources: Vec<Waiting>,
    /// Something came since the loop waited last.
    is_new: bool,
}

#[derive(Debug)]
struct Waiting {
    packets: VecDeque<Arrived>,
    dropped: u64,
    counters: Counters,
    ended: bool,
    error: Option<LinkError>,
}

impl Queues {
    pub fn new(sources: usize) -> Self {
        let waiting = |_| Waiting {
            packets: VecDeque::with_capacity(CAPACITY),
            dropped: 0,
            counters: Counters::default(),
            ended: false,
            error: None,
        };
        let state = State { sources: (0..sources).map(waiting).collect(), is_new: false };
        Queues { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a packet behind the others of its source. Where there is no room, who `waits` does until there is; else the oldest one is dropped, and
    /// counted. `counters` are what the source has counted so far.
    pub fn put(&self, source: usize, arrived: Arrived, waits: bool, counters: Counters) {
        let mut state = self.lock();
        while waits && state.sources[source].packets.len() == CAPACITY {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let waiting = &mut state.sources[source];
        if waiting.packets.len() == CAPACITY {
            waiting.packets.pop_front();
            waiting.dropped += 1;
        }
        waiting.packets.push_back(arrived);
        waiting.counters = counters;
        state.is_new = true;
        self.changed.notify_all();
    }

    /// No packet follows from this source.
    pub fn end(&self, source: usize, counters: Counters, error: Option<LinkError>) {
        let mut state = self.lock();
        let waiting = &mut state.sources[source];
        (waiting.counters, waiting.ended, waiting.error) = (counters, true, error);
        state.is_new = true;
        self.changed.notify_all();
    }

    /// The oldest packet of a source.
    pub fn take(&self, source: usize) -> Option<Arrived> {
        let mut state = self.lock();
        let arrived = state.sources[source].packets.pop_front()?;
        self.changed.notify_all();
        Some(arrived)
    }

    /// No packet of this source waits, and none will.
    pub fn has_ended(&self, source: usize) -> bool {
        let waiting = &self.lock().sources[source];
        waiting.ended && waiting.packets.is_empty()
    }

    /// What ended the source before its end, told once.
    pub fn error(&self, source: usize) -> Option<LinkError> {
        self.lock().sources[source].error.take()
    }

    /// What the source has counted, and how many of its packets were dropped here.
    pub fn counted(&self, source: usize) -> (Counters, u64) {
        let waiting = &self.lock().sources[source];
        (waiting.counters, waiting.dropped)
    }

    /// Waits until something comes, for `patience` at most.
    pub fn wait(&self, patience: Duration) {
        let is_old = |state: &mut State| !state.is_new;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_old);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_new = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn arrived(byte: u8) -> Arrived {
        Arrived { packet: Packet::new(vec![byte]), at: Instant::now(), link_bytes: 1 }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queues = Queues::new(2);
        for byte in 0..CAPACITY + 3 {
            queues.put(1, arrived(byte as u8), false, Counters::default());
        }
        assert_eq!((queues.counted(0).1, queues.counted(1).1), (0, 3));
        assert_eq!(queues.take(1).unwrap().packet.bytes, [3]);
        assert!(queues.take(0).is_none() && !queues.has_ended(0));
        queues.end(0, Counters::default(), Some(LinkError::Interrupted));
        assert!(queues.has_ended(0) && queues.error(0).is_some() && queues.error(0).is_none());
    }

    #[test]
    fn who_may_wait_loses_nothing() {
        let queues = Arc::new(Queues::new(1));
        let putting = queues.clone();
        let thread = std::thread::spawn(move || {
            (0..3 * CAPACITY).for_each(|byte| putting.put(0, arrived(byte as u8), true, Counters::default()));
            putting.end(0, Counters::default(), None);
        });
        let mut taken = 0;
        while !queues.has_ended(0) {
            match queues.take(0) {
                Some(arrived) => {
                    assert_eq!(arrived.packet.bytes, [taken as u8]);
                    taken += 1;
                }
                None => queues.wait(Duration::from_millis(10)),
            }
        }
        thread.join().unwrap();
        assert_eq!((taken, queues.counted(0).1), (3 * CAPACITY, 0));
    }
}
