//! Standard output, where the reader may go away.

use super::Done;
use super::exit::Failure;
use std::io::{self, ErrorKind, Write};

/// Writes to standard output until its reader closes it, as `head` does; the work goes on without.
#[derive(Debug, Default)]
pub struct Printer {
    closed: bool,
}

impl Printer {
    pub fn print(&mut self, text: &[u8]) -> Done {
        if self.closed {
            return Ok(());
        }
        match io::stdout().write_all(text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.map_err(|error| Failure::failed(format!("standard output: {error}"))),
        }
    }
}

/// Prints what a command has to say at its end.
pub fn print(text: &str) -> Done {
    Printer::default().print(text.as_bytes())
}

/// A line on standard error, which nothing hangs on.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
