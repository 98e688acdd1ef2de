//! `--engine` and `--threads`: what runs models.

use super::exit::Failure;
use clap::{Args, ValueEnum};
use semrx::engine::Engine;
use semrx::engine::kernel::threads::MAX_THREADS;
use semrx::engine::plan::Machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EngineName {
    /// semrx's own plan
    #[default]
    Plan,
    /// tract, in floats: the reference
    Tract,
}

impl EngineName {
    /// The engine, with so many threads where it takes more than one.
    pub fn open(self, threads: usize) -> Result<Engine, Failure> {
        match self {
            EngineName::Plan => {
                let machine = Machine::new(threads);
                machine.map(Engine::Plan).map_err(|error| Failure::failed(format!("{threads} threads: {error}")))
            }
            EngineName::Tract => Ok(Engine::Tract),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct EngineOptions {
    /// What runs the models; plan if not given
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// Threads of the plan, 1 to 16; as many as the machine has, at most 4, if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_THREADS as i64))]
    threads: Option<u8>,
}

impl EngineOptions {
    /// With these where nothing else was asked for.
    pub fn or(self, engine: Option<EngineName>, threads: Option<u8>) -> Self {
        EngineOptions { engine: self.engine.or(engine), threads: self.threads.or(threads) }
    }

    pub fn open(&self) -> Result<Engine, Failure> {
        self.engine.unwrap_or_default().open(self.threads())
    }

    pub fn threads(&self) -> usize {
        let machine = || std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
        self.threads.map_or_else(machine, usize::from)
    }
}
