//! Reading a stream that may block for ever, without blocking the reader for ever.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// How long a read waits before it lets the caller look at its interrupt flag.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that may wait; the thread stops reading when the consumer is this far behind.
const CHUNKS_WAITING: usize = 2;

/// A stream (standard input, a FIFO) read by a thread of its own.
///
/// `read` fails with [`io::ErrorKind::Interrupted`] each time nothing came for 100 ms. Dropping the feed
/// doesn't wait for the thread, which ends at its next read.
pub(super) struct Feed {
    chunks: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    taken: usize,
}

impl Feed {
    /// Calls `open` and reads what it gives on the thread, since opening a FIFO blocks too.
    pub(super) fn spawn<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<Feed> {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        thread::Builder::new().name("link-feed".into()).spawn(move || {
            let mut input = match open() {
                Ok(input) => input,
                Err(error) => {
                    // Nobody listens any more: there's nobody to tell.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let message = match input.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(len) => {
                        chunk.truncate(len);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = message.is_err();
                if sender.send(message).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Feed { chunks, current: Vec::new(), taken: 0 })
    }
}

impl Read for Feed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.current.len() {
            match self.chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => {
                    self.current = chunk?;
                    self.taken = 0;
                }
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::Interrupted.into()),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let len = out.len().min(self.current.len() - self.taken);
        out[..len].copy_from_slice(&self.current[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Silent;

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_secs(3));
            Ok(0)
        }
    }

    #[test]
    fn a_silent_stream_gives_the_caller_a_turn() {
        let mut feed = Feed::spawn(|| Ok(Silent)).unwrap();
        let start = Instant::now();
        let error = feed.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn bytes_arrive_in_order_and_the_end_is_seen() {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let input = bytes.clone();
        let mut feed = Feed::spawn(move || Ok(io::Cursor::new(input))).unwrap();
        let mut seen = Vec::new();
        feed.read_to_end(&mut seen).unwrap();
        assert!(seen == bytes);
    }

    #[test]
    fn a_stream_that_cannot_be_opened_says_so() {
        let open = || Err::<io::Empty, _>(io::ErrorKind::PermissionDenied.into());
        let error = Feed::spawn(open).unwrap().read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
