//! Frames at their times, as far as the link takes them.

use semrx::link::Address;
use std::time::{Duration, Instant};

/// How late a frame has to leave before that is said.
const NOTICED: Duration = Duration::from_secs(1);

/// When frames are due.
pub struct Pace {
    start: Instant,
    fps: f64,
    on_link: Duration,
    warned: bool,
}

/// Frames that fell behind.
pub struct Slowed {
    /// How many there were a second.
    pub fps: f64,
    /// Of the time, what the link took; the rest is this machine's.
    pub link_percent: f64,
}

impl Pace {
    /// The first frame is due now, and `fps` of them every second.
    pub fn new(fps: f64) -> Self {
        Pace { start: Instant::now(), fps, on_link: Duration::ZERO, warned: false }
    }

    /// Waits until frame `index` is due. Says once when the frames fall behind.
    pub fn wait(&mut self, index: usize, to: &Address) {
        let due = self.due(index);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let late = due.elapsed();
        if !self.warned && late > NOTICED {
            self.warned = true;
            log::warn!("{to}: frame {index} leaves {:.1} s late: slower than --fps {}", late.as_secs_f64(), self.fps);
        }
    }

    /// Counts `time` that the link took.
    pub fn spent_on_link(&mut self, time: Duration) {
        self.on_link += time;
    }

    /// What came of it, now that all `frames` are sent, if they fell behind.
    pub fn slowed(&self, frames: usize) -> Option<Slowed> {
        let behind = self.due(frames).elapsed();
        let is_noticed = behind > NOTICED.max(Duration::from_secs_f64(1.0 / self.fps));
        let took = self.start.elapsed().as_secs_f64();
        is_noticed
            .then(|| Slowed { fps: frames as f64 / took, link_percent: 100.0 * self.on_link.as_secs_f64() / took })
    }

    fn due(&self, index: usize) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.fps)
    }
}
