//! A scheduler as `scheduler_config.json` describes it, by its class.

use super::cm_stochastic_iterative::CmStochasticIterativeScheduler;
use super::config::{Keys, Unknown};
use super::ddim::DdimScheduler;
use super::ddpm::DdpmScheduler;
use super::dpm_solver_multistep::DpmSolverMultistepScheduler;
use super::error::found;
use super::euler_discrete::EulerDiscreteScheduler;
use super::flow_map_euler_discrete::FlowMapEulerDiscreteScheduler;
use super::flow_match_euler_discrete::FlowMatchEulerDiscreteScheduler;
use super::lcm::LcmScheduler;
use super::prediction::Prediction;
use super::tcd::TcdScheduler;
use super::transition::Plan;
use super::{MAX_STEPS, Request, SchedulerError};

/// The classes that can be built, by their names in diffusers.
pub const CLASSES: [&str; 9] = [
    "LCMScheduler",
    "TCDScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "CMStochasticIterativeScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMapEulerDiscreteScheduler",
];

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Scheduler {
    Lcm(LcmScheduler),
    Tcd(TcdScheduler),
    Ddim(DdimScheduler),
    Ddpm(DdpmScheduler),
    DpmSolverMultistep(DpmSolverMultistepScheduler),
    EulerDiscrete(EulerDiscreteScheduler),
    CmStochasticIterative(CmStochasticIterativeScheduler),
    FlowMatchEulerDiscrete(FlowMatchEulerDiscreteScheduler),
    FlowMapEulerDiscrete(FlowMapEulerDiscreteScheduler),
}

impl Scheduler {
    /// Reads the text of a `scheduler_config.json`, and says which of its keys the class doesn't have: diffusers warns of those.
    /// Missing keys take diffusers' defaults. `class` is built in the place of `_class_name`, from the same keys: the way to one of
    /// `_compatibles`.
    ///
    /// # Errors
    /// [`SchedulerError`] names the key and what was expected.
    pub fn parse<'a>(text: &'a [u8], class: Option<&str>) -> Result<(Self, Unknown<'a>), SchedulerError> {
        let mut keys = Keys::parse(text)?;
        let class = class.or(keys.string("_class_name")).unwrap_or("");
        let keys_of = &mut keys;
        let scheduler = match class {
            "LCMScheduler" => Scheduler::Lcm(LcmScheduler::read(keys_of)?),
            "TCDScheduler" => Scheduler::Tcd(TcdScheduler::read(keys_of)?),
            "DDIMScheduler" => Scheduler::Ddim(DdimScheduler::read(keys_of)?),
            "DDPMScheduler" => Scheduler::Ddpm(DdpmScheduler::read(keys_of)?),
            "DPMSolverMultistepScheduler" => Scheduler::DpmSolverMultistep(DpmSolverMultistepScheduler::read(keys_of)?),
            "EulerDiscreteScheduler" => Scheduler::EulerDiscrete(EulerDiscreteScheduler::read(keys_of)?),
            "CMStochasticIterativeScheduler" => {
                Scheduler::CmStochasticIterative(CmStochasticIterativeScheduler::read(keys_of)?)
            }
            "FlowMatchEulerDiscreteScheduler" => {
                Scheduler::FlowMatchEulerDiscrete(FlowMatchEulerDiscreteScheduler::read(keys_of)?)
            }
            "FlowMapEulerDiscreteScheduler" => {
                Scheduler::FlowMapEulerDiscrete(FlowMapEulerDiscreteScheduler::read(keys_of)?)
            }
            _ => return Err(SchedulerError::Class { found: found(class) }),
        };
        let unknown = keys.unknown(scheduler.has_compatibles());
        Ok((scheduler, unknown))
    }

    /// Name of the class in diffusers.
    pub fn class(&self) -> &'static str {
        match self {
            Scheduler::Lcm(_) => CLASSES[0],
            Scheduler::Tcd(_) => CLASSES[1],
            Scheduler::Ddim(_) => CLASSES[2],
            Scheduler::Ddpm(_) => CLASSES[3],
            Scheduler::DpmSolverMultistep(_) => CLASSES[4],
            Scheduler::EulerDiscrete(_) => CLASSES[5],
            Scheduler::CmStochasticIterative(_) => CLASSES[6],
            Scheduler::FlowMatchEulerDiscrete(_) => CLASSES[7],
            Scheduler::FlowMapEulerDiscrete(_) => CLASSES[8],
        }
    }

    /// Whether the model's second half of channels is a variance that the steps need, not one to leave alone.
    pub fn learns_variance(&self) -> bool {
        matches!(self, Scheduler::Ddpm(scheduler) if scheduler.learns_variance())
    }

    /// What it takes the model's output for; `None` where that is neither noise, velocity, x0 nor flow: consistency models'
    /// `CMStochasticIterativeScheduler`.
    pub fn prediction(&self) -> Option<Prediction> {
        match self {
            Scheduler::Lcm(scheduler) => Some(scheduler.prediction()),
            Scheduler::Tcd(scheduler) => Some(scheduler.prediction()),
            Scheduler::Ddim(scheduler) => Some(scheduler.prediction()),
            Scheduler::Ddpm(scheduler) => Some(scheduler.prediction()),
            Scheduler::DpmSolverMultistep(scheduler) => Some(scheduler.prediction()),
            Scheduler::EulerDiscrete(scheduler) => Some(scheduler.prediction()),
            Scheduler::CmStochasticIterative(_) => None,
            Scheduler::FlowMatchEulerDiscrete(_) | Scheduler::FlowMapEulerDiscrete(_) => Some(Prediction::Flow),
        }
    }

    /// Whether the model is told two times, t and r.
    pub fn tells_two_times(&self) -> bool {
        matches!(self, Scheduler::FlowMapEulerDiscrete(_))
    }

    /// The training timestep whose signal-to-noise ratio is nearest to `snr`, a power ratio above 0: `abar = snr / (1 + snr)`. `None`
    /// where timesteps don't belong to a variance-preserving process; there a channel's noise level is `1 / sqrt(snr)`.
    pub fn timestep_at(&self, snr: f64) -> Option<usize> {
        match self {
            Scheduler::Lcm(scheduler) => Some(scheduler.process().timestep_at(snr)),
            Scheduler::Tcd(scheduler) => Some(scheduler.process().timestep_at(snr)),
            Scheduler::Ddim(scheduler) => Some(scheduler.process().timestep_at(snr)),
            Scheduler::Ddpm(scheduler) => Some(scheduler.process().timestep_at(snr)),
            _ => None,
        }
    }

    /// Whether diffusers lists other classes under `_compatibles`.
    fn has_compatibles(&self) -> bool {
        matches!(
            self,
            Scheduler::Ddim(_) | Scheduler::Ddpm(_) | Scheduler::DpmSolverMultistep(_) | Scheduler::EulerDiscrete(_)
        )
    }

    /// The steps of `request`, and the index of the one to begin with.
    pub(super) fn plan(&self, request: &Request) -> Result<(Plan, usize), SchedulerError> {
        request.check()?;
        let plan = self.plan_from(request, 0)?;
        let steps = plan.transitions.len();
        if steps > MAX_STEPS {
            return Err(SchedulerError::Steps { steps, most: MAX_STEPS, limit: "any sampler" });
        }
        let begin = request.start.index(&plan.transitions)?;
        let plan = if begin == 0 { plan } else { self.plan_from(request, begin)? };
        Ok((plan.checked()?, begin))
    }

    fn plan_from(&self, request: &Request, begin: usize) -> Result<Plan, SchedulerError> {
        match self {
            Scheduler::Lcm(scheduler) => scheduler.plan(request),
            Scheduler::Tcd(scheduler) => scheduler.plan(request),
            Scheduler::Ddim(scheduler) => scheduler.plan(request),
            Scheduler::Ddpm(scheduler) => scheduler.plan(request),
            Scheduler::DpmSolverMultistep(scheduler) => scheduler.plan(request, begin),
            Scheduler::EulerDiscrete(scheduler) => scheduler.plan(request),
            Scheduler::CmStochasticIterative(scheduler) => scheduler.plan(request),
            Scheduler::FlowMatchEulerDiscrete(scheduler) => scheduler.plan(request),
            Scheduler::FlowMapEulerDiscrete(scheduler) => scheduler.plan(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_by_its_name_and_one_of_its_compatibles() {
        let text =
            br#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.42.1", "skip_prk_steps": true, "mine": [1]}"#;
        let refused = Scheduler::parse(text, None).unwrap_err();
        assert!(std::format!("{refused}").contains("PNDMScheduler"));
        let (scheduler, unknown) = Scheduler::parse(text, Some("DDIMScheduler")).unwrap();
        assert_eq!((scheduler.class(), &unknown[..]), ("DDIMScheduler", &["mine"][..]));
        let (_, unknown) = Scheduler::parse(text, Some("LCMScheduler")).unwrap();
        assert_eq!(unknown[..], ["skip_prk_steps", "mine"]);
        for class in CLASSES {
            assert_eq!(Scheduler::parse(b"{}", Some(class)).unwrap().0.class(), class);
        }
        assert!(matches!(Scheduler::parse(b"{}", None), Err(SchedulerError::Class { .. })));
    }
}
