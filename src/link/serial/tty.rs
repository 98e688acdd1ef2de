//! A serial device of the system: raw, 8N1, without flow control, for one program at a time.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, OptionalActions, QueueSelector, SpecialCodeIndex, ioctl_tiocexcl, tcdrain, tcflush,
    tcgetattr, tcsetattr,
};

/// How far from the baud rate that was asked for a device may be: with as much at the other end, a byte's last bit is still its own.
const BAUD_TOLERANCE_PERCENT: u64 = 3;
/// A line may take nothing for so long beyond the time that [`STALL_BYTES`] take.
const STALL: Duration = Duration::from_secs(2);
/// What the driver may hold back.
const STALL_BYTES: u64 = 4096;

/// An open device.
#[derive(Debug)]
pub struct Tty {
    file: File,
    stall: Duration,
}

impl Tty {
    /// Opens the device at `path`; what came before is thrown away.
    ///
    /// # Errors
    /// No such device, no permission, another program has it, or it has no such baud rate.
    pub fn open(path: &Path, baud: u32) -> io::Result<Tty> {
        // Without NONBLOCK the opening of some devices waits for a carrier.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(open(path, flags, Mode::empty()).map_err(refusal)?);
        let mut termios = tcgetattr(&file).map_err(refusal)?;
        // The flag keeps out programs that know nothing of locks, the lock those that may pass the flag.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => refusal(Errno::BUSY),
            TryLockError::Error(error) => error,
        })?;
        ioctl_tiocexcl(&file)?;
        termios.make_raw();
        termios.input_modes = InputModes::empty();
        termios.control_modes -= ControlModes::CSTOPB | ControlModes::CRTSCTS;
        termios.control_modes |= ControlModes::CREAD | ControlModes::CLOCAL;
        termios.special_codes[SpecialCodeIndex::VMIN] = 1;
        termios.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios.set_speed(baud)?;
        tcsetattr(&file, OptionalActions::Now, &termios)?;
        let given = tcgetattr(&file)?.output_speed();
        if u64::from(given.abs_diff(baud)) * 100 > u64::from(baud) * BAUD_TOLERANCE_PERCENT {
            let reason = format!("it gives {given} baud in place of {baud}; give a rate that it has");
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        tcflush(&file, QueueSelector::IOFlush)?;
        // A byte takes ten bits on the line.
        let stall = STALL + Duration::from_micros(STALL_BYTES * 10_000_000 / u64::from(baud.max(1)));
        Ok(Tty { file, stall })
    }

    /// How long a line may take nothing before something is wrong with it.
    pub fn stall(&self) -> Duration {
        self.stall
    }

    /// Waits at most `patience` for bytes; how many came, 0 if none did.
    ///
    /// # Errors
    /// The device has gone.
    pub fn read(&self, out: &mut [u8], patience: Duration) -> io::Result<usize> {
        let read = match self.wait(PollFlags::IN, patience) {
            Ok(false) => return Ok(0),
            Ok(true) => (&self.file).read(out),
            Err(error) => Err(error),
        };
        match read {
            // What hung up reads as the end of a file.
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the device has gone")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            read => read,
        }
    }

    /// Writes `bytes`; where the line is busy, waits at most `patience` for each room.
    ///
    /// # Errors
    /// The device has gone, or takes nothing. Some of the bytes may be on the line.
    pub fn write_all(&self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = (&self.file).write(bytes).or_else(|error| match error.kind() {
                ErrorKind::WouldBlock if self.wait(PollFlags::OUT, patience)? => Ok(0),
                ErrorKind::WouldBlock => {
                    let reason = format!("the line took nothing for {:.1} s", patience.as_secs_f64());
                    Err(io::Error::new(ErrorKind::TimedOut, reason))
                }
                _ => Err(error),
            });
            match written {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the last byte is on the line.
    pub fn drain(&self) -> io::Result<()> {
        Ok(tcdrain(&self.file)?)
    }

    /// Whether the device is ready for `flags` within `patience`, or has gone.
    fn wait(&self, flags: PollFlags, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).ok();
        Ok(poll(&mut [PollFd::new(&self.file, flags)], patience.as_ref())? > 0)
    }
}

/// Why a device can't be had, in words where the system's own say little.
fn refusal(error: Errno) -> io::Error {
    let reason = match error {
        Errno::NOTTY => "it is no serial device",
        Errno::BUSY => "another program has it; stop that program",
        Errno::IO => "there is a device file, but no device",
        _ => return error.into(),
    };
    io::Error::new(io::Error::from(error).kind(), reason)
}
