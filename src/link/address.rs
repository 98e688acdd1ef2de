//! Link addresses: `drive.srx`, `-`, `udp://host:port`, `serial:/dev/ttyAMA0@921600`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::feed::Feed;
#[cfg(all(feature = "serial", target_os = "linux"))]
use super::serial::{SerialSink, SerialSource};
use super::srx::{SrxReader, SrxWriter};
use super::udp::{UdpSink, UdpSource};
use super::{Interrupt, LinkError, Sink, Source};

/// Where packets come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `-`: a capture on standard input or output.
    Standard,
    /// A capture in a file, or in anything else that has a path, such as a FIFO.
    File(PathBuf),
    /// `udp://host:port`: one packet a datagram. An IPv6 address stands in brackets, kept in `host` without them.
    Udp { host: String, port: u16 },
    /// `serial:device@baud`: 8N1, without flow control. Opens where the crate has its feature `serial`, on Linux.
    Serial { device: PathBuf, baud: u32 },
}

/// What `serial:` takes; within it, the device says what it has.
const BAUDS: RangeInclusive<u32> = 50..=4_000_000;

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: {}; give a capture (drive.srx), -, udp://host:port or serial:/dev/ttyAMA0@921600",
            self.text, self.reason
        )
    }
}

impl std::error::Error for AddressError {}

/// How a [`Source`] waits.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// A socket or a serial line ends when no packet came for so long, to within 100 ms, counted anew in each [`Source::next`];
    /// never if `None`.
    pub idle: Option<Duration>,
    pub interrupt: Interrupt,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |reason| Err(AddressError { text: text.to_owned(), reason });
        if let Some(place) = text.strip_prefix("serial:") {
            return match place.rsplit_once('@') {
                None => fail("the baud rate is missing"),
                Some(("", _)) => fail("the device is missing"),
                Some((device, _)) if device.contains('\0') => fail("a path holds no NUL"),
                Some((device, baud)) => match baud.parse() {
                    Ok(baud) if BAUDS.contains(&baud) => Ok(Address::Serial { device: device.into(), baud }),
                    _ => fail("the baud rate isn't a number in 50..=4000000; 115200 and 921600 are usual"),
                },
            };
        }
        match text.split_once("://") {
            None if text.is_empty() => fail("it is empty"),
            None if text == "-" => Ok(Address::Standard),
            None if text.contains('\0') => fail("a path holds no NUL"),
            None => Ok(Address::File(text.into())),
            Some(("udp", place)) => {
                let Some((host, port)) = place.rsplit_once(':') else {
                    return fail("the port is missing");
                };
                let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                    Some(inner) => inner,
                    None if host.contains(':') => {
                        return fail("an IPv6 address stands in brackets, udp://[::1]:9000");
                    }
                    None => host,
                };
                if host.is_empty() {
                    return fail("the host is missing; 0.0.0.0 listens on every address of this machine");
                }
                match port.parse() {
                    Ok(port) if port != 0 => Ok(Address::Udp { host: host.to_owned(), port }),
                    _ => fail("the port isn't a number in 1..=65535"),
                }
            }
            Some(_) => fail("this scheme isn't known"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Standard => f.write_str("-"),
            Address::File(path) => path.display().fmt(f),
            Address::Udp { host, port } if host.contains(':') => write!(f, "udp://[{host}]:{port}"),
            Address::Udp { host, port } => write!(f, "udp://{host}:{port}"),
            Address::Serial { device, baud } => write!(f, "serial:{}@{baud}", device.display()),
        }
    }
}

impl Address {
    /// Whether what comes too late is gone, and who listens late misses the beginning: sockets and serial lines.
    pub fn is_live(&self) -> bool {
        matches!(self, Address::Udp { .. } | Address::Serial { .. })
    }

    /// Opens the address to receive from. A file, a port or a device that can't be had fails here; a capture that isn't one, at
    /// the first packet.
    pub fn source(&self, options: &SourceOptions) -> Result<Box<dyn Source + Send>, LinkError> {
        let interrupt = options.interrupt.clone();
        let fail = |cause| LinkError::Open { link: self.name("standard input"), cause };
        match self {
            Address::Standard => {
                let feed = Feed::spawn(|| Ok(io::stdin())).map_err(fail)?;
                Ok(Box::new(SrxReader::new(feed, self.name("standard input"), interrupt)))
            }
            Address::File(path) => {
                let kind = fs::metadata(path).map_err(fail)?.file_type();
                if kind.is_dir() {
                    return Err(fail(ErrorKind::IsADirectory.into()));
                }
                if kind.is_file() {
                    let file = File::open(path).map_err(fail)?;
                    return Ok(Box::new(SrxReader::new(file, self.name(""), interrupt)));
                }
                let path = path.clone();
                let feed = Feed::spawn(|| File::open(path)).map_err(fail)?;
                Ok(Box::new(SrxReader::new(feed, self.name(""), interrupt)))
            }
            Address::Udp { host, port } => {
                let addresses = resolve(host, *port).map_err(fail)?;
                Ok(Box::new(UdpSource::bind(&addresses, self.name(""), options.idle, interrupt)?))
            }
            Address::Serial { device, baud } => serial_source(device, *baud, self.name(""), options),
        }
    }

    /// Opens the address to send to. An existing file is replaced.
    pub fn sink(&self) -> Result<Box<dyn Sink + Send>, LinkError> {
        let fail = |cause| LinkError::Open { link: self.name("standard output"), cause };
        let output: Box<dyn Write + Send> = match self {
            Address::Standard => Box::new(io::stdout()),
            Address::File(path) => Box::new(File::create(path).map_err(fail)?),
            Address::Udp { host, port } => {
                let to = resolve(host, *port).map_err(fail)?[0];
                return Ok(Box::new(UdpSink::open(to, self.name(""))?));
            }
            Address::Serial { device, baud } => return serial_sink(device, *baud, self.name("")),
        };
        Ok(Box::new(SrxWriter::new(output, self.name("standard output"))?))
    }

    fn name(&self, standard: &str) -> String {
        match self {
            Address::Standard => standard.to_owned(),
            _ => self.to_string(),
        }
    }
}

#[cfg(all(feature = "serial", target_os = "linux"))]
fn serial_source(
    device: &Path,
    baud: u32,
    link: String,
    options: &SourceOptions,
) -> Result<Box<dyn Source + Send>, LinkError> {
    Ok(Box::new(SerialSource::open(device, baud, link, options.idle, options.interrupt.clone())?))
}

#[cfg(all(feature = "serial", target_os = "linux"))]
fn serial_sink(device: &Path, baud: u32, link: String) -> Result<Box<dyn Sink + Send>, LinkError> {
    Ok(Box::new(SerialSink::open(device, baud, link)?))
}

#[cfg(not(all(feature = "serial", target_os = "linux")))]
fn serial_source(_: &Path, _: u32, link: String, _: &SourceOptions) -> Result<Box<dyn Source + Send>, LinkError> {
    Err(no_serial(link))
}

#[cfg(not(all(feature = "serial", target_os = "linux")))]
fn serial_sink(_: &Path, _: u32, link: String) -> Result<Box<dyn Sink + Send>, LinkError> {
    Err(no_serial(link))
}

#[cfg(not(all(feature = "serial", target_os = "linux")))]
fn no_serial(link: String) -> LinkError {
    let reason = "serial lines need a build for Linux with the feature serial";
    LinkError::Open { link, cause: io::Error::new(ErrorKind::Unsupported, reason) }
}

/// At least one address.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, "the host has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Packet;

    #[test]
    fn addresses_are_told_apart_and_print_as_they_were_given() {
        let udp = |host: &str| Address::Udp { host: host.into(), port: 9000 };
        for (text, expected) in [
            ("-", Address::Standard),
            ("drive.srx", Address::File("drive.srx".into())),
            ("/tmp/a b.srx", Address::File("/tmp/a b.srx".into())),
            ("udp://127.0.0.1:9000", udp("127.0.0.1")),
            ("udp://board.local:9000", udp("board.local")),
            ("udp://[::1]:9000", udp("::1")),
            ("serial:/dev/ttyAMA0@921600", Address::Serial { device: "/dev/ttyAMA0".into(), baud: 921_600 }),
            ("serial:/dev/by@id@50", Address::Serial { device: "/dev/by@id".into(), baud: 50 }),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, expected);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason_and_the_forms() {
        for (text, reason) in [
            ("", "empty"),
            ("tcp://127.0.0.1:9000", "scheme"),
            ("udp://127.0.0.1", "port is missing"),
            ("udp://:9000", "host is missing"),
            ("udp://host:0", "1..=65535"),
            ("udp://host:70000", "1..=65535"),
            ("udp://host:9000/x", "1..=65535"),
            ("udp://::1:9000", "brackets"),
            ("serial:/dev/ttyAMA0", "baud rate is missing"),
            ("serial:@921600", "device is missing"),
            ("serial:/dev/ttyAMA0@fast", "50..=4000000"),
            ("serial:/dev/ttyAMA0@0", "50..=4000000"),
            ("serial:/dev/ttyAMA0@4000001", "50..=4000000"),
            ("serial:/dev/tty\0@9600", "NUL"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("udp://host:port"), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_was_sunk_can_be_sourced() {
        let path = std::env::temp_dir().join(format!("semrx-address-{}.srx", std::process::id()));
        let address: Address = path.to_str().unwrap().parse().unwrap();
        let packet = Packet::new(b"one".to_vec());
        let mut sink = address.sink().unwrap();
        sink.send(&packet).unwrap();
        sink.finish().unwrap();
        let mut source = address.source(&SourceOptions::default()).unwrap();
        assert_eq!(source.next().unwrap(), Some(packet));
        assert_eq!(source.next().unwrap(), None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let nowhere: Address = "/nowhere/drive.srx".parse().unwrap();
        for result in [nowhere.source(&SourceOptions::default()).err(), nowhere.sink().err()] {
            let error = result.unwrap().to_string();
            assert!(error.starts_with("/nowhere/drive.srx: cannot open"), "{error}");
        }
        let directory = Address::File(std::env::temp_dir());
        assert!(matches!(directory.source(&SourceOptions::default()), Err(LinkError::Open { .. })));
    }
}
