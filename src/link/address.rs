//! Link addresses: `drive.srx`, `-`, `udp://host:port`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::feed::Feed;
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
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}; give a capture (drive.srx), - or udp://host:port", self.text, self.reason)
    }
}

impl std::error::Error for AddressError {}

/// How a [`Source`] waits.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// A UDP source ends when no packet came for so long, to within 100 ms, counted anew in each [`Source::next`];
    /// never if `None`.
    pub idle: Option<Duration>,
    pub interrupt: Interrupt,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |reason| Err(AddressError { text: text.to_owned(), reason });
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
        }
    }
}

impl Address {
    /// Opens the address to receive from. A file or a port that can't be had fails here; a capture that isn't one, at
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
