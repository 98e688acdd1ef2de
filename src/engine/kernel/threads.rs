//! A small fixed pool of threads, which share the rows of one kernel after the other. It allocates nothing once it is there.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most threads of a pool.
pub const MAX_THREADS: usize = 16;

/// How long a thread looks for the next job before it sleeps: the kernels of a plan follow one another within it.
const PATIENCE: Duration = Duration::from_micros(100);

/// What every thread of the pool does, with its own number.
type Job = &'static (dyn Fn(usize) + Sync);

/// The thread that asks, and workers beside it.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held while a job runs: one at a time.
    turn: Mutex<()>,
}

struct Shared {
    /// Of the epoch; `None` ends the workers.
    job: Mutex<Option<Job>>,
    /// How many jobs there were.
    epoch: AtomicU32,
    /// Workers that have not done the job of the epoch.
    busy: AtomicUsize,
    /// Workers that sleep, or are about to.
    asleep: AtomicUsize,
    panicked: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Threads {
    /// `count` threads in all, 1..=[`MAX_THREADS`]: that which asks is one of them.
    ///
    /// # Errors
    /// What the operating system says where it starts no more threads.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            job: Mutex::new(None),
            epoch: AtomicU32::new(0),
            busy: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let mut threads = Threads { shared, workers: Vec::new(), turn: Mutex::new(()) };
        for index in 1..count.clamp(1, MAX_THREADS) {
            let shared = threads.shared.clone();
            let worker = thread::Builder::new().name(format!("semrx-{index}")).spawn(move || shared.work(index))?;
            threads.workers.push(worker);
        }
        Ok(threads)
    }

    /// The thread that asks alone.
    pub fn one() -> Self {
        Threads::new(1).expect("no thread is started")
    }

    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work` once on each thread of the pool with its number, from 0 on, and returns when all are done.
    ///
    /// # Panics
    /// If `work` does, on any of them.
    pub fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return work(0);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: workers call it only until they are no longer busy, and `Wait` keeps this function, even if it unwinds, until none is.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(work) };
        let wait = Wait(&self.shared);
        self.shared.start(Some(job), &self.workers);
        work(0);
        drop(wait);
        drop(turn);
        assert!(!self.shared.panicked.swap(false, Ordering::Relaxed), "a thread of the pool panicked");
    }

    /// Cuts `rows` rows into parts, no more than there are threads and, but for one, of `least` rows at least, and calls `work` with each part's
    /// range, its piece of `output`, where a row takes `pitch` elements, and its piece of `scratch`, of which each thread has as much.
    ///
    /// # Panics
    /// If `output` is shorter than all rows but the last, or `work` panics.
    pub fn rows<T: Send, S: Send>(
        &self,
        rows: usize,
        least: usize,
        (output, pitch): (&mut [T], usize),
        scratch: &mut [S],
        work: impl Fn(Range<usize>, &mut [T], &mut [S]) + Sync,
    ) {
        let parts = (rows / least.max(1)).clamp(1, self.count());
        if parts == 1 {
            return work(0..rows, output, scratch);
        }
        let each = scratch.len() / self.count();
        let (mut output, mut scratch) = (output, scratch);
        let mut pieces = [const { Mutex::new(None) }; MAX_THREADS];
        for (part, piece) in pieces.iter_mut().enumerate().take(parts) {
            let range = rows * part / parts..rows * (part + 1) / parts;
            let own = if part + 1 < parts { range.len() * pitch } else { output.len() };
            let (own, rest) = std::mem::take(&mut output).split_at_mut(own);
            let (mine, others) = std::mem::take(&mut scratch).split_at_mut(each);
            (output, scratch) = (rest, others);
            *piece = Mutex::new(Some((range, own, mine)));
        }
        self.run(&|index| {
            let piece = pieces[index].lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((range, output, scratch)) = piece {
                work(range, output, scratch);
            }
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.start(None, &self.workers);
        for worker in self.workers.drain(..) {
            // A worker catches what a job does; it has nothing to say.
            let _ = worker.join();
        }
    }
}

/// Waits, when it goes, until no worker is busy.
struct Wait<'a>(&'a Shared);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut turns = 0u32;
        while self.0.busy.load(Ordering::Acquire) > 0 {
            pause(&mut turns);
        }
    }
}

/// Lets a little time pass; more often, it lets others run.
fn pause(turns: &mut u32) {
    *turns = turns.wrapping_add(1);
    if turns.is_multiple_of(64) { thread::yield_now() } else { std::hint::spin_loop() }
}

impl Shared {
    fn start(&self, job: Option<Job>, workers: &[JoinHandle<()>]) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
        self.busy.store(workers.len(), Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            workers.iter().for_each(|worker| worker.thread().unpark());
        }
    }

    fn work(&self, index: usize) {
        let mut done = 0;
        loop {
            self.await_epoch(done);
            done = done.wrapping_add(1);
            let Some(job) = *self.job.lock().unwrap_or_else(PoisonError::into_inner) else { return };
            if catch_unwind(AssertUnwindSafe(|| job(index))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns when more than `done` jobs were started.
    fn await_epoch(&self, done: u32) {
        let (start, mut turns) = (Instant::now(), 0);
        while self.epoch.load(Ordering::Acquire) == done {
            pause(&mut turns);
            if turns.is_multiple_of(256) && start.elapsed() > PATIENCE {
                self.asleep.fetch_add(1, Ordering::SeqCst);
                while self.epoch.load(Ordering::SeqCst) == done {
                    thread::park();
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_done_once_whatever_the_number_of_threads() {
        for count in [1, 2, 3, 5] {
            let threads = Threads::new(count).unwrap();
            assert_eq!(threads.count(), count);
            for rows in [0, 1, 2, 7, 100] {
                for pause in [false, true] {
                    // The last row is shorter.
                    let mut output = vec![0; (rows * 3usize).saturating_sub(1)];
                    let mut scratch = vec![0u8; count * 2];
                    threads.rows(rows, 2, (&mut output, 3), &mut scratch, |range, output, scratch| {
                        assert!(scratch.len() >= 2);
                        for (at, cell) in output.iter_mut().enumerate() {
                            *cell += range.start * 3 + at + 1;
                        }
                    });
                    assert!(
                        output.iter().enumerate().all(|(at, &cell)| cell == at + 1),
                        "{count} threads, {rows} rows"
                    );
                    if pause {
                        thread::sleep(2 * PATIENCE);
                    }
                }
            }
        }
    }

    #[test]
    fn a_panic_of_a_worker_comes_out_and_the_pool_lives_on() {
        let threads = Threads::new(3).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| threads.run(&|index| assert_ne!(index, 2))));
        assert!(result.is_err());
        let seen = AtomicUsize::new(0);
        threads.run(&|index| {
            seen.fetch_add(1 << (8 * index), Ordering::Relaxed);
        });
        assert_eq!(seen.into_inner(), 0x1_01_01);
    }
}
