//! `semrx pins`: the fail-safe levels, when nobody else can put them.

use super::Done;
use super::config::Settings;
use super::fits;
use clap::Args;
use semrx::board::pins::{Config, Pins};
use std::path::PathBuf;

/// Put the pins' fail-safe levels, and end.
///
/// For whoever sees that `semrx run` is gone, however it went: systemd runs it as ExecStopPost. Where the configuration names no pins it does nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  semrx pins --config /etc/semrx/semrx.json\n  semrx pins --pins pins.json --board raspberry-pi-5"
)]
pub struct Options {
    /// The service's configuration, which names the pins
    #[arg(long, value_name = "FILE", required_unless_present = "pins")]
    config: Option<PathBuf>,
    /// The board's pins, see docs/pins.md
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pins: Option<PathBuf>,
    /// The board whose header the pins are on: a name, a profile's path, or auto, this machine
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
}

pub fn run(options: &Options) -> Done {
    let settings = options.config.as_deref().map(Settings::read).transpose()?;
    let board = options.board.as_deref().or_else(|| settings.as_ref()?.board.as_deref());
    let file = options.pins.as_ref().or_else(|| settings.as_ref()?.pins.as_ref());
    if let Some(file) = file {
        // Its levels from the start to the first decision, which never comes.
        drop(Pins::open(&Config::read(file, || fits::header(board))?)?);
    }
    Ok(())
}
