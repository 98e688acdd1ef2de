use semrx::link::{Counters, LinkError, Packet, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The near end of a link: what is given comes out of the other one.
pub struct Fed {
    sender: Sender<Packet>,
    given: AtomicU64,
    asked: Arc<AtomicU64>,
}

/// The far end.
pub struct FedSource {
    packets: Receiver<Packet>,
    asked: Arc<AtomicU64>,
    counters: Counters,
}

pub fn feed() -> (Fed, FedSource) {
    let (sender, packets) = channel();
    let asked = Arc::new(AtomicU64::new(0));
    let fed = Fed { sender, given: AtomicU64::new(0), asked: asked.clone() };
    (fed, FedSource { packets, asked, counters: Counters::default() })
}

impl Fed {
    pub fn give(&self, packet: Packet) {
        self.given.fetch_add(1, Ordering::SeqCst);
        self.sender.send(packet).unwrap();
    }

    /// Who reads has asked for another packet since the last one.
    pub fn is_taken(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > self.given.load(Ordering::SeqCst)
    }
}

impl Source for FedSource {
    fn next(&mut self) -> Result<Option<Packet>, LinkError> {
        // What was delivered before is with the reader now.
        self.asked.store(self.counters.received + 1, Ordering::SeqCst);
        match self.packets.recv_timeout(Duration::from_millis(50)) {
            Ok(packet) => {
                self.counters.received += 1;
                Ok(Some(packet))
            }
            Err(RecvTimeoutError::Timeout) => Err(LinkError::Interrupted),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
