//! The mind: the head's decision on the received scene, the gate, the refined scene, and the decision on both.
//!
//! [`Receiver::provisional`] first: its decision stands at once. Then [`Receiver::conclude`], which generates if the gate asks for it.

mod belief;
mod condition;
mod gate;
mod refine;

pub use belief::{Belief, Decision};
pub use condition::Condition;
pub use gate::{Gate, Pace};
pub use refine::{Refined, SamplerKind};

use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::scene::Scene;
use crate::scene::rule::{COLUMNS, PAIRS};
use crate::wire::{Grid, Header};
use refine::Refiner;
use std::fmt;
use std::time::Instant;

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
}

/// How the receiver works. `Default` leaves everything to the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Config {
    pub mode: Mode,
    /// Sampler steps of a refinement; the bundle's number if `None`.
    pub steps: Option<u16>,
    pub sampler: SamplerKind,
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
    /// `semantic_first` or `hybrid`.
    pub mode: &'static str,
    pub gate: Gate,
    /// Sampler steps taken.
    pub steps: u16,
    /// Multiply-accumulates of all models for this frame.
    pub macs: u64,
}

/// Decides frame after frame, with buffers and models laid out once.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    pace: Pace,
    bundle: Bundle,
    head: Session,
    refiner: Option<Refiner>,
    condition: Condition,
    belief: Belief,
}

impl Receiver {
    /// Loads what the mode needs of the bundle, to run on `engine`.
    ///
    /// # Errors
    /// [`BundleError`]: a missing role, a model that can't be loaded, or one whose inputs are not those of its role.
    pub fn open(bundle: &Bundle, config: Config, pace: Pace, engine: &Engine) -> Result<Self, BundleError> {
        let grid = bundle.grid();
        let ports = condition::ports(grid, bundle.labels().len());
        let inputs: Vec<(&str, &[usize])> = ports.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
        let outputs = [("free", &[1, COLUMNS][..]), ("hazard", &[1, PAIRS])];
        let interface = Interface { inputs: &inputs, lasting: inputs.len(), timestep: None, outputs: &outputs };
        let head = bundle.session("head", engine, &interface)?;
        let refiner = match config.mode {
            Mode::SemanticFirst => None,
            Mode::Auto | Mode::Hybrid => {
                Some(Refiner::open(bundle, config.sampler, config.steps.unwrap_or(bundle.steps), engine)?)
            }
        };
        Ok(Receiver {
            config,
            pace,
            head,
            refiner,
            condition: Condition::new(grid, bundle.labels()),
            belief: Belief::default(),
            bundle: bundle.clone(),
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

    /// Multiply-accumulates of the head, and of one sampler step (0 without a restore network).
    pub fn macs(&self) -> (u64, u64) {
        (self.head.macs().total(), self.refiner.as_ref().map_or(0, Refiner::macs))
    }

    /// Bytes of the models in memory and of the receiver's own buffers. What tract allocates while it runs is not counted.
    pub fn memory_bytes(&self) -> u64 {
        let restore = self.refiner.as_ref().map_or(0, Refiner::memory_bytes);
        self.head.memory_bytes() + self.condition.memory_bytes() + restore
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
        let step_us = match &mut self.refiner {
            Some(refiner) => {
                refiner.estimate_once(&self.condition)?;
                let start = Instant::now();
                refiner.estimate_once(&self.condition)?;
                start.elapsed().as_micros() as u64
            }
            None => 0,
        };
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

    /// Tells the receiver how fast its models run here, for the deadline.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The head's decision on the received scene. The scene's parameters are ones that the receiver [accepts](Receiver::accepts).
    ///
    /// # Errors
    /// What the head's run says.
    pub fn provisional(&mut self, scene: &Scene) -> Result<Decision, EngineError> {
        self.condition.fill(scene);
        self.ask_head()?;
        Ok(self.belief.decision())
    }

    fn ask_head(&mut self) -> Result<(), EngineError> {
        let Belief { free, hazard } = &mut self.belief;
        self.head.run(&self.condition.inputs(), &mut [free, hazard])
    }

    /// Decides the scene that [`provisional`](Receiver::provisional) was asked about, `elapsed_us` after its arrival. The noise of a
    /// refinement is a function of the configured seed and of `sequence`.
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
        let wanted = self.config.steps.unwrap_or(self.bundle.steps).max(1);
        let (gate, steps) = gate::choose(&gate::Question {
            mode: self.config.mode,
            thresholds: self.bundle.gate,
            known_permille: scene.known_permille(),
            soft_snr_cdb: scene.params().payload.soft_bits().map(|_| scene.snr_cdb()),
            confidence_permille: provisional.confidence_permille(),
            wanted,
            left_us: self.config.deadline_us.map(|deadline_us| deadline_us.saturating_sub(elapsed_us)),
            pace: self.pace,
        });
        let head_macs = self.head.macs().total();
        let (Some(refiner), 1..) = (&mut self.refiner, steps) else {
            return Ok(Conclusion { decision: *provisional, mode: "semantic_first", gate, steps: 0, macs: head_macs });
        };
        let received = self.belief;
        refiner.run(scene, &self.condition, steps, self.config.seed, sequence)?;
        self.condition.replace(refiner.posterior());
        let macs = 2 * head_macs + steps as u64 * refiner.macs();
        self.ask_head()?;
        let weight = match gate {
            Gate::Noise => self.bundle.fusion.noise_permille,
            _ => self.bundle.fusion.unknown_permille,
        };
        let fused = received.fused(&self.belief, weight);
        Ok(Conclusion { decision: fused.decision(), mode: "hybrid", gate, steps, macs })
    }

    /// The refined scene of the last [`conclude`](Receiver::conclude) whose mode was `hybrid`.
    pub fn refined(&self) -> Option<Refined<'_>> {
        self.refiner.as_ref().map(Refiner::refined)
    }
}
