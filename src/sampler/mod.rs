//! Few-step sampling: from noise to an estimate of what was sent, asking a model for values and a projection for what is known.
//!
//! A [`Scheduler`] is what a `scheduler_config.json` of diffusers says, a [`Sampler`] its steps with their buffers (`docs/samplers.md`).
//! [`Exploding`] is the loop of the shipped restore network, which needs neither.

mod betas;
mod bound;
mod cache;
mod cm_stochastic_iterative;
pub(crate) mod config;
mod ddim;
mod ddpm;
mod dpm_solver_multistep;
mod error;
mod euler_discrete;
mod exploding;
mod flow_map_euler_discrete;
mod flow_match_euler_discrete;
mod guided;
mod karras;
mod lcm;
mod levels;
mod noise;
mod prediction;
mod request;
mod run;
mod scheduler;
mod spacing;
mod tcd;
mod transition;

pub use cache::{Cache, Learned, MAX_LEVELS, Profile, Turns, Weights};
pub use cm_stochastic_iterative::CmStochasticIterativeScheduler;
pub use config::{MAX_KEYS, Unknown};
pub use ddim::DdimScheduler;
pub use ddpm::DdpmScheduler;
pub use dpm_solver_multistep::DpmSolverMultistepScheduler;
pub use error::{Found, SchedulerError};
pub use euler_discrete::EulerDiscreteScheduler;
pub use exploding::{Broken, Ddim, Exploding, MultistepConsistency, Part, Restorer, Step, Taken};
pub use flow_map_euler_discrete::FlowMapEulerDiscreteScheduler;
pub use flow_match_euler_discrete::FlowMatchEulerDiscreteScheduler;
pub use guided::{Branch, Depth, Guidance, Guided, Network, Question, Spent};
pub use karras::Karras;
pub use lcm::LcmScheduler;
pub use noise::{Normals, Recorded};
pub use prediction::Prediction;
pub use request::{Request, Start};
pub use run::{RunError, Sampler};
pub use scheduler::{CLASSES, Scheduler};
pub use tcd::TcdScheduler;
pub use transition::Times;

/// Most steps that a schedule can have.
pub const MAX_STEPS: usize = 100;
