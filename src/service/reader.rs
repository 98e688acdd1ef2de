//! A thread that receives from one source.

use super::queue::{Arrived, Queues};
use crate::link::{Interrupt, LinkError, Packet, Source};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Replies that wait to be sent at most; more are left out, as if the air had lost them.
const REPLIES: usize = 4;

/// What the loop tells the thread. The thread hears it within 200 ms, as [`Interrupt`] promises.
pub(super) struct Reader {
    interrupt: Interrupt,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    stops: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    replies: heapless::Vec<Packet, REPLIES>,
    idle: Option<Duration>,
}

impl Reader {
    /// Receives from `source`, which was opened with this `interrupt`, into the queue of this number. A live one drops what the queue has no room for.
    ///
    /// # Errors
    /// What the operating system says where it starts no more threads.
    pub fn spawn(
        mut source: Box<dyn Source + Send>,
        interrupt: Interrupt,
        number: usize,
        is_live: bool,
        queues: Arc<Queues>,
    ) -> io::Result<Self> {
        let told = Arc::new(Told::default());
        let reader = Reader { interrupt: interrupt.clone(), told: told.clone() };
        thread::Builder::new().name(format!("source-{number}")).spawn(move || {
            let error = loop {
                let heard_bytes = source.counters().bytes;
                match source.next() {
                    Ok(Some(packet)) => {
                        let counters = source.counters();
                        let link_bytes = (counters.bytes - heard_bytes) as usize;
                        let arrived = Arrived { packet, at: Instant::now(), link_bytes };
                        queues.put(number, arrived, !is_live, counters);
                    }
                    Ok(None) => break None,
                    Err(LinkError::Interrupted) if told.stops.load(Ordering::Acquire) => break None,
                    Err(LinkError::Interrupted) => interrupt.store(false, Ordering::Release),
                    Err(error) => {
                        // The run ends with the error; but that may be long after, where other links go on.
                        if is_live {
                            log::warn!("{error}; nothing more comes from this link");
                        }
                        break Some(error);
                    }
                }
                let orders = std::mem::take(&mut *told.orders.lock().unwrap_or_else(PoisonError::into_inner));
                orders.replies.iter().for_each(|reply| source.reply(reply));
                if let Some(idle) = orders.idle {
                    source.end_after(idle);
                }
            };
            queues.end(number, source.counters(), error);
        })?;
        Ok(reader)
    }

    /// Nothing more is received.
    pub fn stop(&self) {
        self.told.stops.store(true, Ordering::Release);
        self.interrupt.store(true, Ordering::Release);
    }

    /// See [`Source::reply`].
    pub fn reply(&self, packet: Packet) {
        // One that finds no room is asked for again with the next frame that lacks it.
        let _ = self.orders(|orders| orders.replies.push(packet));
    }

    /// See [`Source::end_after`].
    pub fn end_after(&self, idle: Duration) {
        self.orders(|orders| orders.idle = Some(idle));
    }

    fn orders<T>(&self, give: impl FnOnce(&mut Orders) -> T) -> T {
        let given = give(&mut self.told.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.interrupt.store(true, Ordering::Release);
        given
    }
}
