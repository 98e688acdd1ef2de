use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;
use std::fs::File;
use std::io::{Read, Write};
use std::thread;

/// A pseudo-terminal: a serial device, and the line that hangs on it.
pub struct Pty {
    pub device: String,
    pub line: File,
    /// A line whose device nobody has open reads as hung up.
    _open: OwnedFd,
}

impl Pty {
    pub fn new() -> Self {
        let line = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&line).unwrap();
        unlockpt(&line).unwrap();
        let device = ptsname(&line, Vec::new()).unwrap().into_string().unwrap();
        let open = ioctl_tiocgptpeer(&line, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        Pty { device, line: File::from(line), _open: open }
    }

    /// As `--from` and `--to` take it.
    pub fn address(&self, baud: u32) -> String {
        format!("serial:{}@{baud}", self.device)
    }

    pub fn baud(&self) -> u32 {
        tcgetattr(&self.line).unwrap().output_speed()
    }
}

/// Carries bytes from one line to another, as `change` leaves them, until one of them is gone.
pub fn carry(from: &Pty, to: &Pty, mut change: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) {
    let (mut from, mut to) = (from.line.try_clone().unwrap(), to.line.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if to.write_all(&change(&buffer[..len])).is_err() {
                return;
            }
        }
    });
}
