//! `semrx street`: label maps of a procedural drive, as files.

use super::Done;
use super::exit::Failure;
use super::output::tell;
use clap::Args;
use semrx::maps;
use semrx::scene::{CAMVID12, Street};
use semrx::wire::Grid;
use std::path::PathBuf;

/// Write label maps of a drive through a procedural street, as index PNGs.
///
/// The maps can be sent with `semrx send --maps DIR`, and the training recipe mixes them in. The same seed gives the same street on every
/// machine.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for the maps; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Frames of each drive, 10 a second
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Drives, with seeds counted up from the first one; file names are SEED_FRAME.png, as 001_0000.png
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    drives: u64,
    /// Cells of a map
    #[arg(long, value_name = "WxH", default_value = "128x96")]
    grid: Grid,
}

pub fn run(options: &Options) -> Done {
    std::fs::create_dir_all(&options.out)
        .map_err(|error| Failure::failed(format!("{}: {error}", options.out.display())))?;
    for seed in options.seed..options.seed.saturating_add(options.drives) {
        let street = Street::new(seed, options.grid);
        for frame in 0..options.frames {
            let file = options.out.join(format!("{seed:03}_{frame:04}.png"));
            maps::write(&file, &street.frame(frame), &CAMVID12).map_err(Failure::failed)?;
        }
    }
    tell(&format!("wrote {} maps to {}", options.drives * options.frames as u64, options.out.display()));
    Ok(())
}
