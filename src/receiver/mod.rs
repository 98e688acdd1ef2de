//! The mind: the head's decision on the received scene, the gate, the refined scene, and the decision on both.
//!
//! [`Receiver::provisional`] first: its decision stands at once. Then [`Receiver::conclude`], which generates if the gate asks for it; or, step by step,
//! [`Receiver::begin`] and [`Receiver::step`].

mod arrived;
mod belief;
mod condition;
mod depth;
mod gate;
mod head;
mod latent;
mod networks;
#[cfg(feature = "onnx")]
mod perceiver;
mod refine;
mod steady;
#[cfg_attr(not(feature = "onnx"), path = "no_view.rs")]
mod view;

pub use belief::{Belief, Decision};
pub use condition::Condition;
pub use depth::Depth;
pub use gate::{Gate, Pace};
#[cfg(feature = "onnx")]
pub use perceiver::Perceiver;
pub use refine::{Refined, SamplerKind, Spent, Watched};
pub use steady::Steady;

use crate::bundle::{Bundle, BundleError, FusionWeights};
use crate::engine::{Engine, EngineError};
use crate::noise::Noise;
use crate::sampler::{Broken, Cache, Taken};
use crate::scene::Scene;
use crate::wire::{Grid, Header, Payload};
use head::Head;
use heapless::String;
use latent::Latent;
use refine::Refiner;
use std::fmt::{self, Write};
use std::time::Instant;
use view::View;

/// Which of the modes may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The gate chooses, frame by frame.
    #[default]
    Auto,
    /// The head alone; nothing is generated.
    SemanticFirst,
    /// Every frame that is not wholly and surely known is refined, whatever the gate thinks.
    Hybrid,
    /// As hybrid, but the sampler ends in the restore network's deep feature, which a head of its own reads: one step, and no map.
    Latent,
    /// Every frame is regenerated as a photograph, and decided on what a perceiver sees in it.
    View,
}

/// How the receiver works. `Default` leaves everything to the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Config {
    pub mode: Mode,
    /// Sampler steps of a refinement, or of a photograph; the bundle's number if `None`. The mode latent has one.
    pub steps: Option<u16>,
    pub sampler: SamplerKind,
    /// Any but [`Cache::Difference`]: steps that don't ask the restore network, or its shallow part alone.
    pub cache: Option<Cache>,
    pub depth: Depth,
    /// Time from the arrival of a frame to its decision, in µs.
    pub deadline_us: Option<u64>,
    /// Seed of the sampler's noise.
    pub seed: u64,
}

/// Why a frame is not decided, though it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    LabelSet { frame: u16, classes: u8, bundle: u16 },
    Grid { frame: Grid, bundle: Grid },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::LabelSet { frame, classes, bundle } => {
                write!(
                    f,
                    "label set {frame} with {classes} classes is not the bundle's, {bundle}: run with a bundle for it"
                )
            }
            Refusal::Grid { frame, bundle } => {
                write!(f, "grid {frame} is not the bundle's {bundle}: send with --grid {bundle}")
            }
        }
    }
}

/// How a frame was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    pub decision: Decision,
    /// `semantic_first`, `hybrid`, `latent` or `view`.
    pub mode: &'static str,
    pub gate: Gate,
    /// Of 1000 frames on such channels, how many at most are decided worse for what wasn't generated. `None` where nothing is promised.
    pub risk_permille: Option<u16>,
    /// Why the gate is [`Gate::Failed`] or [`Gate::Preempted`]; else empty.
    pub reason: Reason,
    /// Sampler steps taken, those of a refinement that failed included.
    pub steps: u16,
    /// Steps among them that a cache made cheaper.
    pub cached_steps: u16,
    /// Multiply-accumulates of all models for this frame: what was spent.
    pub macs: u64,
    /// What the cache saved.
    pub saved_macs: u64,
}

/// Why a refinement failed, or was given up, as far as it fits.
pub type Reason = String<200>;

/// A conclusion on its way: [`Receiver::begin`] makes it, [`Receiver::step`] carries it on.
#[derive(Debug, Clone)]
pub struct Concluding {
    /// As it would be if nothing more were generated.
    conclusion: Conclusion,
    /// Steps that are left, and how many it began with.
    left: u16,
    steps: u16,
    noise: Noise,
    /// What the head said of the received scene, its share and its weight beside what it says of the refined one.
    received: Belief,
    share: f32,
    weights: [f32; 2],
    /// Decided after the last step that the head was asked after.
    latest: Decision,
    /// How often the head was asked.
    looks: u64,
}

impl Concluding {
    /// Nothing is left to be generated.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    pub fn conclusion(self) -> Conclusion {
        self.conclusion
    }

    /// Ends it with the provisional decision, for this `reason`.
    pub fn give_up(self, reason: &str) -> Conclusion {
        let mut conclusion = self.conclusion;
        (conclusion.gate, conclusion.risk_permille) = (Gate::Preempted, None);
        // What doesn't fit is left out.
        let _ = write!(conclusion.reason, "refinement: after {} of {} steps, {reason}", conclusion.steps, self.steps);
        conclusion
    }
}

/// What generates, by the mode.
#[derive(Debug)]
enum Generates {
    Nothing,
    Refined(Box<Refiner>),
    Latent(Box<Latent>),
    View(Box<View>),
}

/// Decides frame after frame, with buffers and models laid out once.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    /// See [`Receiver::set_generating`].
    generates: bool,
    pace: Pace,
    bundle: Bundle,
    head: Head,
    generator: Generates,
    condition: Condition,
    belief: Belief,
}

impl Receiver {
    /// Loads what the mode needs of the bundle, to run on `engine`, with the head that decides where none is asked for.
    ///
    /// # Errors
    /// [`BundleError`]: a missing role, a model that can't be loaded, or one whose inputs are not those of its role.
    pub fn open(bundle: &Bundle, config: Config, pace: Pace, engine: &Engine) -> Result<Self, BundleError> {
        Self::open_with_head(bundle, None, config, pace, engine)
    }

    /// [`Receiver::open`] with the head of this name.
    ///
    /// # Errors
    /// As `open`; [`BundleError::Head`] where the bundle has no such head.
    pub fn open_with_head(
        bundle: &Bundle,
        head: Option<&str>,
        config: Config,
        pace: Pace,
        engine: &Engine,
    ) -> Result<Self, BundleError> {
        let grid = bundle.grid();
        let mut own = bundle.clone();
        if head.is_some() {
            // What is calibrated is so for the other head.
            (own.calibrated_gate, own.fusion.calibrated) = (None, None);
        }
        let head = Head::open(bundle, head, engine)?;
        let generator = match config.mode {
            Mode::SemanticFirst => Generates::Nothing,
            Mode::Auto | Mode::Hybrid => {
                let steps = config.steps.unwrap_or(bundle.steps);
                Generates::Refined(Box::new(Refiner::open(bundle, config.sampler, steps, config.cache, engine)?))
            }
            Mode::Latent => Generates::Latent(Box::new(Latent::open(bundle, engine)?)),
            Mode::View => Generates::View(Box::new(View::open(bundle, config.steps, engine)?)),
        };
        Ok(Receiver {
            config,
            generates: true,
            pace,
            head,
            generator,
            condition: Condition::new(grid, bundle.labels().len(), bundle.held),
            belief: Belief::default(),
            bundle: own,
        })
    }

    /// Whether frames like that of `header` can be decided.
    ///
    /// # Errors
    /// [`Refusal`] says what doesn't fit.
    pub fn accepts(&self, header: &Header) -> Result<(), Refusal> {
        let params = &header.params;
        let labels = self.bundle.labels();
        if params.label_set != labels.id || params.classes as usize != labels.len() {
            return Err(Refusal::LabelSet { frame: params.label_set, classes: params.classes, bundle: labels.id });
        }
        if params.grid != self.bundle.grid() {
            return Err(Refusal::Grid { frame: params.grid, bundle: self.bundle.grid() });
        }
        Ok(())
    }

    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What the head's own tasks are called.
    pub fn tasks(&self) -> &[std::string::String] {
        self.head.tasks()
    }

    fn refiner(&self) -> Option<&Refiner> {
        match &self.generator {
            Generates::Refined(refiner) => Some(refiner),
            _ => None,
        }
    }

    /// Multiply-accumulates of the head, and of the least that can be generated: a sampler step, or a whole photograph and the look at it (0 where
    /// the mode does not generate).
    pub fn macs(&self) -> (u64, u64) {
        let least = match &self.generator {
            Generates::Nothing => 0,
            Generates::Refined(refiner) => refiner.macs(),
            Generates::Latent(latent) => latent.macs(),
            Generates::View(view) => view.macs(),
        };
        (self.head.macs(), least)
    }

    /// Bytes of the models in memory and of the receiver's own buffers. What tract allocates while it runs is not counted.
    pub fn memory_bytes(&self) -> u64 {
        let generator = match &self.generator {
            Generates::Nothing => 0,
            Generates::Refined(refiner) => refiner.memory_bytes(),
            Generates::Latent(latent) => latent.memory_bytes(),
            Generates::View(view) => view.memory_bytes(),
        };
        self.head.memory_bytes() + self.condition.memory_bytes() + generator
    }

    /// Runs each model on an empty scene, twice, and times the second run.
    ///
    /// # Errors
    /// What a model's run says.
    pub fn measure_pace(&mut self) -> Result<Pace, EngineError> {
        self.ask_head()?;
        let start = Instant::now();
        self.ask_head()?;
        let head_us = start.elapsed().as_micros() as u64;
        let mut step_us = 0;
        for _ in 0..2 {
            let (start, noise) = (Instant::now(), refine::noise(0, 0));
            let ran = match &mut self.generator {
                Generates::Nothing => break,
                Generates::Refined(refiner) => refiner.run(&self.condition, 1, noise, &mut |_| ()),
                Generates::Latent(latent) => {
                    latent.run(&self.condition, noise, &mut Belief::default()).map_err(Broken::Check)
                }
                Generates::View(view) => view.run(&self.condition, &noise),
            };
            match ran {
                // A network that breaks is the refinement's matter, frame by frame.
                Ok(()) | Err(Broken::NotFinite { .. }) => step_us = start.elapsed().as_micros() as u64,
                Err(Broken::Model { error, .. } | Broken::Check(error)) => return Err(error),
            }
        }
        Ok(Pace { head_us, step_us })
    }

    /// The head's decision on a map that is taken as received in every cell, with nothing held: how other ways of filling in are judged.
    ///
    /// # Errors
    /// What the head's run says.
    pub fn judge(&mut self, cells: &[u8]) -> Result<Decision, EngineError> {
        self.condition.fill_map(cells);
        self.ask_head()?;
        Ok(self.belief.decision())
    }

    /// Time from the arrival of a frame to its decision, as configured.
    pub fn deadline_us(&self) -> Option<u64> {
        self.config.deadline_us
    }

    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Tells the receiver how fast its models run here, for the deadline.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Whether the mode may generate, as it may from the start on. Where it may not, frames are decided as in [`Mode::SemanticFirst`].
    pub fn set_generating(&mut self, is_on: bool) {
        self.generates = is_on;
    }

    /// The head's decision on the received scene. The scene's parameters are ones that the receiver [accepts](Receiver::accepts).
    ///
    /// # Errors
    /// What the head's run says.
    pub fn provisional(&mut self, scene: &Scene) -> Result<Decision, EngineError> {
        self.condition.fill(scene);
        self.head.take_vector(scene.vector());
        self.ask_head()?;
        let [alone, _] = self.temperatures(scene);
        Ok(self.belief.weighed(alone).decision())
    }

    /// What the head said last, before anything was weighed.
    pub fn belief(&self) -> &Belief {
        &self.belief
    }

    /// Whether the scene's soft values are noisy by the bundle's threshold.
    pub fn is_noisy(&self, scene: &Scene) -> bool {
        gate::is_noisy(soft_snr_cdb(scene), &self.bundle.gate)
    }

    /// Share of the refined scene's decision in both.
    pub fn refined_share(&self, scene: &Scene) -> f32 {
        let FusionWeights { unknown_permille, noise_permille, .. } = self.bundle.fusion;
        f32::from(if self.is_noisy(scene) { noise_permille } else { unknown_permille }) / 1000.0
    }

    /// What log-odds are multiplied with: the head's alone, and the pool's of both decisions.
    fn temperatures(&self, scene: &Scene) -> [f32; 2] {
        // Nothing was calibrated on tokens.
        let calibrated = self.bundle.fusion.calibrated.filter(|_| scene.params().payload != Payload::Tokens);
        let permille = match calibrated {
            Some(calibrated) if self.is_noisy(scene) => calibrated.noise_permille,
            Some(calibrated) => calibrated.unknown_permille,
            None => [1000, 1000],
        };
        permille.map(|permille| f32::from(permille) / 1000.0)
    }

    fn ask_head(&mut self) -> Result<(), EngineError> {
        self.head.run(self.condition.inputs(), &mut self.belief)
    }

    /// Decides the scene that [`provisional`](Receiver::provisional) was asked about, `elapsed_us` after its arrival: [`begin`](Receiver::begin), and
    /// [`step`](Receiver::step) to the end.
    ///
    /// # Errors
    /// What a model's run says.
    pub fn conclude(
        &mut self,
        scene: &Scene,
        provisional: &Decision,
        sequence: u32,
        elapsed_us: u64,
    ) -> Result<Conclusion, EngineError> {
        let mut concluding = self.begin(scene, provisional, sequence, elapsed_us, u16::MAX);
        while !concluding.is_done() {
            self.step(&mut concluding)?;
        }
        Ok(concluding.conclusion)
    }

    /// Asks the gate about the scene that [`provisional`](Receiver::provisional) was asked about, `elapsed_us` after its arrival. What it wants is
    /// generated by [`step`](Receiver::step)s, `most` of them at most; no other scene may be asked about before they are done, or given up. The
    /// noise of a refinement is a function of the configured seed and of `sequence`.
    pub fn begin(
        &mut self,
        scene: &Scene,
        provisional: &Decision,
        sequence: u32,
        elapsed_us: u64,
        most: u16,
    ) -> Concluding {
        let mode = if self.generates { self.config.mode } else { Mode::SemanticFirst };
        let mut wanted = match mode {
            // What is generated at once, or not at all.
            Mode::Latent | Mode::View => 1,
            _ => self.config.steps.unwrap_or(self.bundle.steps).max(1),
        };
        let (known_permille, mut pace) = (scene.known_permille(), self.pace);
        let soft_snr_cdb = soft_snr_cdb(scene);
        if self.config.depth == Depth::Adaptive {
            wanted = depth::budget(wanted, 1000 - known_permille, soft_snr_cdb, &self.bundle.gate);
            // Every step is looked at by the head.
            pace.step_us += pace.head_us;
        }
        wanted = wanted.min(most);
        let gate::Choice { gate, steps, risk_permille } = gate::choose(&gate::Question {
            mode,
            thresholds: self.bundle.gate,
            calibrated: self.bundle.calibrated_gate.as_ref().filter(|_| scene.params().payload != Payload::Tokens),
            known_permille,
            soft_snr_cdb,
            confidence_permille: provisional.confidence_permille(),
            doubt_permille: provisional.doubt_permille(),
            wanted,
            left_us: self.config.deadline_us.map(|deadline_us| deadline_us.saturating_sub(elapsed_us)),
            pace,
        });
        // What the bundle promises holds for refinements as it asks for them.
        let is_as_calibrated = wanted == self.bundle.steps
            && self.config.sampler == SamplerKind::default()
            && self.config.cache.is_none()
            && self.config.depth == Depth::Fixed;
        let ([_, pooled], share) = (self.temperatures(scene), self.refined_share(scene));
        let noise = refine::noise(self.config.seed, sequence);
        if let Generates::Refined(refiner) = &mut self.generator
            && steps > 0
        {
            refiner.begin(&self.condition, steps, noise);
        }
        Concluding {
            conclusion: Conclusion {
                decision: *provisional,
                mode: "semantic_first",
                gate,
                risk_permille: risk_permille.filter(|_| is_as_calibrated),
                reason: Reason::new(),
                steps: 0,
                cached_steps: 0,
                macs: self.head.macs(),
                saved_macs: 0,
            },
            left: steps,
            steps,
            noise,
            received: self.belief,
            share,
            weights: [pooled * (1.0 - share), pooled * share],
            latest: *provisional,
            looks: 1,
        }
    }

    /// Generates on: a sampler step, or all that there is where the mode has no steps. Does nothing where it [is done](Concluding::is_done).
    ///
    /// # Errors
    /// What the run of another model than the one that generates says.
    pub fn step(&mut self, concluding: &mut Concluding) -> Result<(), EngineError> {
        if concluding.is_done() {
            return Ok(());
        }
        let generated = match self.config.mode {
            Mode::SemanticFirst => Ok(None),
            Mode::Auto | Mode::Hybrid => self.refine(concluding).map(|done| done.map(|decision| (decision, "hybrid"))),
            Mode::Latent => self.read_deep(concluding).map(|decision| Some((decision, "latent"))),
            Mode::View => self.regenerate(concluding).map(|decision| Some((decision, "view"))),
        };
        concluding.left -= 1;
        let steps = concluding.steps;
        let conclusion = &mut concluding.conclusion;
        match generated {
            Ok(None) => return Ok(()),
            Ok(Some((decision, mode))) => (conclusion.decision, conclusion.mode) = (decision, mode),
            Err(Broken::Check(error)) => return Err(error),
            Err(broken) => {
                (conclusion.gate, conclusion.risk_permille) = (Gate::Failed, None);
                conclusion.reason = reason(&broken, steps);
            }
        }
        concluding.left = 0;
        Ok(())
    }

    /// A step of the refinement. Its decision on both scenes, once it is the last: by number, or because the decision has settled.
    fn refine(&mut self, concluding: &mut Concluding) -> Result<Option<Decision>, Broken<EngineError>> {
        let Receiver { config, head, generator: Generates::Refined(refiner), condition, belief, .. } = self else {
            return Ok(Some(concluding.conclusion.decision));
        };
        let mut refine = || {
            let mut is_last = refiner.advance(condition, &mut |_| ())?;
            if !is_last && config.depth == Depth::Fixed {
                return Ok(None);
            }
            concluding.looks += 1;
            head.run(condition.refined_inputs(refiner.posterior()), belief).map_err(Broken::Check)?;
            let decision = concluding.received.fused(belief, concluding.share, concluding.weights).decision();
            is_last |= depth::is_settled(&concluding.latest, &decision);
            concluding.latest = decision;
            if is_last {
                refiner.end();
            }
            Ok(is_last.then_some(decision))
        };
        let refined = refine();
        let (taken, conclusion) = (refiner.taken(), &mut concluding.conclusion);
        let spent = refiner.spent(taken);
        (conclusion.steps, conclusion.cached_steps) = (taken.steps as u16, (taken.shallow + taken.cached) as u16);
        conclusion.macs = concluding.looks * head.macs() + spent.macs;
        conclusion.saved_macs = spent.saved_macs;
        refined
    }

    /// Corrects the provisional decision by the restore network's deep feature, counting in `conclusion` what that takes.
    fn read_deep(&mut self, concluding: &mut Concluding) -> Result<Decision, Broken<EngineError>> {
        let (noise, conclusion) = (concluding.noise, &mut concluding.conclusion);
        let Receiver { generator: Generates::Latent(latent), condition, belief, .. } = self else {
            return Ok(conclusion.decision);
        };
        (conclusion.steps, conclusion.macs) = (1, conclusion.macs + latent.macs());
        latent.run(condition, noise, belief).map_err(Broken::Check)?;
        match belief.free.iter().chain(&belief.hazard).all(|value| value.is_finite()) {
            true => Ok(belief.decision()),
            false => Err(Broken::NotFinite { step: 0 }),
        }
    }

    /// Decides on what the perceiver sees in a regenerated photograph, counting in `conclusion` what that takes.
    fn regenerate(&mut self, concluding: &mut Concluding) -> Result<Decision, Broken<EngineError>> {
        let (noise, conclusion) = (concluding.noise, &mut concluding.conclusion);
        let Receiver { head, generator: Generates::View(view), condition, belief, .. } = self else {
            return Ok(conclusion.decision);
        };
        (conclusion.steps, conclusion.macs) = (view.steps(), conclusion.macs + view.macs() + head.macs());
        view.run(condition, &noise)?;
        head.run(condition.refined_inputs(view.posterior()), belief).map_err(Broken::Check)?;
        Ok(belief.decision())
    }

    /// A sample of the refined scene, whatever the gate says, and no decision: as many steps as are configured. The noise is a function of the
    /// configured seed and of `sequence`. Takes nothing where the mode does not generate.
    ///
    /// # Errors
    /// [`Broken`]: there is no sample then.
    pub fn sample(&mut self, scene: &Scene, sequence: u32) -> Result<Taken, Broken<EngineError>> {
        self.sample_watched(scene, sequence, &mut |_| ())
    }

    /// [`Receiver::sample`], where `watch` is shown each whole step.
    ///
    /// # Errors
    /// [`Broken`]: there is no sample then.
    pub fn sample_watched(
        &mut self,
        scene: &Scene,
        sequence: u32,
        watch: &mut dyn FnMut(Watched<'_>),
    ) -> Result<Taken, Broken<EngineError>> {
        let Generates::Refined(refiner) = &mut self.generator else { return Ok(Taken::default()) };
        self.condition.fill(scene);
        let steps = self.config.steps.unwrap_or(self.bundle.steps).max(1);
        let noise = refine::noise(self.config.seed, sequence);
        refiner.run(&self.condition, steps, noise, watch)?;
        Ok(refiner.taken())
    }

    /// What the head would be given after a [`sample`](Receiver::sample), by the names of its inputs: the scene that was received, or the refined one
    /// where there is one.
    pub fn head_inputs(&self, refined: bool) -> [(&'static str, &[f32]); 5] {
        let inputs = match self.refiner() {
            Some(refiner) if refined => self.condition.refined_inputs(refiner.posterior()),
            _ => self.condition.inputs(),
        };
        let mut values = inputs.into_iter();
        condition::NAMES.map(|name| (name, values.next().unwrap_or_default()))
    }

    /// Multiply-accumulates of a [`sample`](Receiver::sample).
    pub fn spent(&self, taken: Taken) -> Spent {
        self.refiner().map_or(Spent::default(), |refiner| refiner.spent(taken))
    }

    /// The map that the last [`sample`](Receiver::sample), or [`conclude`](Receiver::conclude) whose mode was `hybrid` or `view`, has generated: the
    /// refined scene, or what the perceiver saw.
    pub fn refined(&self) -> Option<Refined<'_>> {
        let (cells, posterior, lost_temperature) = match &self.generator {
            Generates::Refined(refiner) => (refiner.cells(), refiner.posterior(), self.bundle.restore.lost_temperature),
            Generates::View(view) => (view.cells(), view.posterior(), 1.0),
            Generates::Nothing | Generates::Latent(_) => return None,
        };
        let [_, mask, ..] = self.condition.inputs();
        Some(Refined { cells, posterior, mask, lost_temperature })
    }
}

/// `None` for map payloads; the SNR, if there is one, for soft ones.
fn soft_snr_cdb(scene: &Scene) -> Option<Option<i16>> {
    scene.params().payload.soft_bits().map(|_| scene.snr_cdb())
}

fn reason(broken: &Broken<EngineError>, steps: u16) -> Reason {
    let mut reason = Reason::new();
    // What doesn't fit is left out.
    let _ = match broken {
        Broken::NotFinite { step } => {
            write!(reason, "refinement: step {} of {steps}: the model's output is not finite", step + 1)
        }
        Broken::Model { step, error } => write!(reason, "refinement: step {} of {steps}: {error}", step + 1),
        Broken::Check(error) => write!(reason, "refinement: {error}"),
    };
    reason
}
