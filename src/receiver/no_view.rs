//! Without tract there is no mode `view`: the view network is sampled through it, and photographs are scaled by a crate that is left out too.

use super::condition::Condition;
use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError, Planned};
use crate::noise::Noise;
use crate::sampler::Broken;

/// There is none.
#[derive(Debug)]
pub(super) enum View {}

impl View {
    /// # Errors
    /// Always: [`BundleError::Field`].
    pub fn open(bundle: &Bundle, _: Option<u16>, _: &Engine) -> Result<Self, BundleError> {
        let reason = "this build of semrx can't generate photographs: take another mode, or the whole program".into();
        Err(BundleError::Field { file: bundle.path().to_owned(), field: "view", reason })
    }

    pub fn plans(&self) -> [Option<&Planned>; 2] {
        match *self {}
    }

    pub fn steps(&self) -> u16 {
        match *self {}
    }

    pub fn macs(&self) -> u64 {
        match *self {}
    }

    pub fn memory_bytes(&self) -> u64 {
        match *self {}
    }

    /// # Errors
    /// None.
    pub fn run(&mut self, _: &Condition, _: &Noise) -> Result<(), Broken<EngineError>> {
        match *self {}
    }

    pub fn posterior(&self) -> &[f32] {
        match *self {}
    }

    pub fn cells(&self) -> &[u8] {
        match *self {}
    }
}
