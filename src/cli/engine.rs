//! `--engine`: what runs models.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Engine {
    /// semrx's own plan
    #[default]
    Plan,
    /// tract, in floats: the reference
    Tract,
}
