//! UDP: one packet a datagram, in its [`envelope`].
//!
//! A datagram may be lost, doubled or overtaken, and anybody may send one: what arrives is input, and the sequence
//! numbers of the frames put it in order.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::debug;

use super::feed::PATIENCE;
use super::{Counters, Interrupt, LinkError, Packet, Sink, Source, envelope};

/// The longest datagram, envelope included: it passes every ordinary path (Ethernet, Wi-Fi, tunnels) in one piece.
pub const MAX_DATAGRAM_BYTES: usize = 1200;

/// Sends each packet as one datagram, at once: pacing is the caller's.
pub struct UdpSink {
    socket: UdpSocket,
    to: SocketAddr,
    link: String,
    datagram: Vec<u8>,
    packets: u64,
}

impl UdpSink {
    /// Sends to `to`, whether or not somebody listens there; `link` names it in errors.
    pub fn open(to: SocketAddr, link: impl Into<String>) -> Result<Self, LinkError> {
        let link = link.into();
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // Not connected: a connected socket would report the refusal of one datagram as an error of the next.
        match UdpSocket::bind(from) {
            Ok(socket) => Ok(UdpSink { socket, to, link, datagram: Vec::new(), packets: 0 }),
            Err(cause) => Err(LinkError::Open { link, cause }),
        }
    }
}

impl Sink for UdpSink {
    fn send(&mut self, packet: &Packet) -> Result<(), LinkError> {
        let len = if packet.bytes.is_empty() { 0 } else { envelope::encoded_len(packet) };
        if len == 0 || len > MAX_DATAGRAM_BYTES {
            return Err(LinkError::Size { link: self.link.clone(), bytes: len, limit: MAX_DATAGRAM_BYTES });
        }
        self.datagram.clear();
        envelope::encode(packet, &mut self.datagram);
        match self.socket.send_to(&self.datagram, self.to) {
            Ok(_) => {
                self.packets += 1;
                Ok(())
            }
            Err(cause) => Err(LinkError::Write { link: self.link.clone(), packets: self.packets, cause }),
        }
    }

    fn heard(&mut self) -> Option<Packet> {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        self.socket.set_nonblocking(true).ok()?;
        let came = self.socket.recv_from(&mut buffer);
        self.socket.set_nonblocking(false).ok()?;
        let (info, bytes) = envelope::decode(&buffer[..came.ok()?.0]).ok()?;
        Some(Packet { bytes: bytes.to_vec(), info })
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        Ok(())
    }
}

/// Receives datagrams from anybody who sends to its port.
pub struct UdpSource {
    socket: UdpSocket,
    link: String,
    interrupt: Interrupt,
    idle: Option<Duration>,
    buffer: Box<[u8]>,
    /// Who sent the last packet.
    from: Option<SocketAddr>,
    counters: Counters,
}

impl UdpSource {
    /// Listens at the first of `addresses` that this machine lets it. The link ends when nothing comes for `idle`;
    /// without `idle` it never does. `link` names it in errors.
    pub fn bind(
        addresses: &[SocketAddr],
        link: impl Into<String>,
        idle: Option<Duration>,
        interrupt: Interrupt,
    ) -> Result<Self, LinkError> {
        let link = link.into();
        let opened =
            UdpSocket::bind(addresses).and_then(|socket| socket.set_read_timeout(Some(PATIENCE)).map(|()| socket));
        match opened {
            Ok(socket) => Ok(UdpSource {
                socket,
                link,
                interrupt,
                idle,
                // Longer than any datagram that is accepted, so that a longer one shows.
                buffer: vec![0; 65_536].into(),
                from: None,
                counters: Counters::default(),
            }),
            Err(cause) => Err(LinkError::Open { link, cause }),
        }
    }

    /// Where it listens: the port that the system chose when port 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn accept(&mut self, len: usize, from: SocketAddr) -> Option<Packet> {
        if len > MAX_DATAGRAM_BYTES {
            self.counters.oversized += 1;
            debug!("{}: datagram of {len} bytes from {from} dropped: above {MAX_DATAGRAM_BYTES}", self.link);
            return None;
        }
        match envelope::decode(&self.buffer[..len]) {
            Ok((info, bytes)) => {
                self.counters.received += 1;
                self.counters.bytes += len as u64;
                self.from = Some(from);
                Some(Packet { bytes: bytes.to_vec(), info })
            }
            Err(error) => {
                self.counters.malformed += 1;
                debug!(
                    "{}: datagram from {from} dropped: byte {}: {}: {}",
                    self.link, error.offset, error.field, error.reason
                );
                None
            }
        }
    }
}

impl Source for UdpSource {
    fn reply(&mut self, packet: &Packet) {
        let Some(to) = self.from else { return };
        let mut datagram = Vec::new();
        envelope::encode(packet, &mut datagram);
        if let Err(error) = self.socket.send_to(&datagram, to) {
            debug!("{}: no reply to {to}: {error}", self.link);
        }
    }

    fn next(&mut self) -> Result<Option<Packet>, LinkError> {
        let waiting_since = Instant::now();
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(LinkError::Interrupted);
            }
            match self.socket.recv_from(&mut self.buffer) {
                Ok((len, from)) => {
                    if let Some(packet) = self.accept(len, from) {
                        return Ok(Some(packet));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // A signal, or (on Windows) the refusal of something that this socket sent.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionReset) => {}
                Err(cause) => {
                    return Err(LinkError::Read { link: self.link.clone(), offset: self.counters.bytes, cause });
                }
            }
            if self.idle.is_some_and(|idle| waiting_since.elapsed() >= idle) {
                return Ok(None);
            }
        }
    }

    fn end_after(&mut self, idle: Duration) {
        self.idle = Some(idle);
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Erasures, LinkInfo};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    const LOOPBACK: [SocketAddr; 1] = [SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0)];

    fn pair(idle_ms: u64) -> (UdpSource, UdpSink) {
        let idle = Some(Duration::from_millis(idle_ms));
        let source = UdpSource::bind(&LOOPBACK, "udp://test", idle, Interrupt::default()).unwrap();
        let sink = UdpSink::open(source.local_addr().unwrap(), "udp://test").unwrap();
        (source, sink)
    }

    #[test]
    fn packets_cross_the_loopback_with_what_the_radio_said() {
        let (mut source, mut sink) = pair(2000);
        let mut erased = Erasures::NONE;
        erased.set(5);
        let sent = [
            Packet::new(vec![1; MAX_DATAGRAM_BYTES - 1]),
            Packet { bytes: vec![2], info: LinkInfo { snr_cdb: Some(-730), delay_us: 12_345, erased } },
        ];
        for packet in &sent {
            sink.send(packet).unwrap();
            assert_eq!(source.next().unwrap().as_ref(), Some(packet));
        }
        sink.finish().unwrap();
        let counters = source.counters();
        assert_eq!((counters.received, counters.oversized, counters.malformed), (2, 0, 0));
        assert_eq!(counters.bytes as usize, MAX_DATAGRAM_BYTES + envelope::encoded_len(&sent[1]));
    }

    #[test]
    fn a_reply_comes_back_to_the_sender() {
        let (mut source, mut sink) = pair(2000);
        source.reply(&Packet::new(vec![1]));
        sink.send(&Packet::new(vec![7])).unwrap();
        source.next().unwrap();
        let reply = Packet::new(vec![9, 9]);
        source.reply(&reply);
        let heard = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            sink.heard()
        });
        assert_eq!((heard, sink.heard()), (Some(reply), None));
    }

    #[test]
    fn what_no_sender_of_ours_sends_is_counted_and_dropped() {
        let (mut source, mut sink) = pair(2000);
        let stranger = UdpSocket::bind(LOOPBACK[0]).unwrap();
        let to = source.local_addr().unwrap();
        stranger.send_to(&[0; MAX_DATAGRAM_BYTES + 1], to).unwrap();
        stranger.send_to(b"\xffhello", to).unwrap();
        stranger.send_to(b"", to).unwrap();
        let good = Packet::new(b"good".to_vec());
        sink.send(&good).unwrap();
        assert_eq!(source.next().unwrap(), Some(good));
        assert_eq!(source.counters(), Counters { received: 1, bytes: 5, oversized: 1, malformed: 2, reopened: 0 });
    }

    #[test]
    fn a_packet_that_fits_no_datagram_is_refused() {
        let (_, mut sink) = pair(0);
        for (len, expected) in [(0, 0), (MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES + 1)] {
            let error = sink.send(&Packet::new(vec![0; len])).unwrap_err();
            assert!(matches!(error, LinkError::Size { bytes, .. } if bytes == expected), "{error}");
        }
    }

    #[test]
    fn a_silent_link_ends_after_its_idle_time() {
        let (mut source, _sink) = pair(150);
        let start = Instant::now();
        assert_eq!(source.next().unwrap(), None);
        assert!(start.elapsed() >= Duration::from_millis(150));
    }

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let (first, _) = pair(0);
        let taken = first.local_addr().unwrap();
        let Err(error) = UdpSource::bind(&[taken], format!("udp://{taken}"), None, Interrupt::default()) else {
            panic!("bound twice to {taken}");
        };
        let text = error.to_string();
        assert!(text.contains(&taken.to_string()) && text.contains("choose another port"), "{text}");
    }

    #[test]
    fn an_interrupt_ends_the_wait_within_200_ms() {
        let interrupt = Arc::new(AtomicBool::new(false));
        let mut source = UdpSource::bind(&LOOPBACK, "udp://test", None, interrupt.clone()).unwrap();
        let waiting = std::thread::spawn(move || (source.next(), Instant::now()));
        std::thread::sleep(Duration::from_millis(30));
        let set = Instant::now();
        interrupt.store(true, Ordering::Relaxed);
        let (result, returned) = waiting.join().unwrap();
        assert!(matches!(result, Err(LinkError::Interrupted)));
        assert!(returned - set < Duration::from_millis(200));
    }
}
