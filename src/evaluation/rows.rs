//! The rows of the table: ways of dealing with what is missing.

use crate::bundle::{Bundle, BundleError};
use crate::engine::EngineError;
use crate::receiver::{Decision, Depth, Mode, Receiver, Steady};
use crate::scene::rule::{HazardSet, Reading};
use crate::scene::{ClassMap, Decider, LabelSet, NEVER, Rule, Scene, Soft, nearest_fill};
use crate::wire::{Grid, soft};

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The rule on the received map; what is unknown says nothing.
    LayoutOnly,
    /// Unknown cells take the most common class of their place in the training maps.
    Prior,
    /// Unknown cells take the class of the nearest known one.
    NearestFill,
    /// Unknown cells take what the stream showed there last; the prior where it never did.
    Hold,
    /// Unknown cells take what the stream showed there last, else the class of the nearest cell that is known or was shown.
    HoldNearest,
    /// Soft payloads: the best score of each cell.
    Argmax,
    /// Soft payloads: Fast Denoising Semantic.
    Fds,
    /// The head on the received scene.
    SemanticFirst,
    /// The head on the received and on the refined scene, fused; where the mode is auto, on the latter if the gate asks for it. In the mode latent, the
    /// latent head; in the mode view, the head on what the perceiver sees.
    Hybrid(Refining),
    /// The same, its hazards called with hysteresis over the stream.
    Steady(Refining),
}

/// How a row refines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refining {
    /// Any but [`Mode::SemanticFirst`].
    pub mode: Mode,
    pub depth: Depth,
    /// Sampler steps, or the most of them.
    pub steps: u16,
}

impl Refining {
    const fn always(depth: Depth, steps: u16) -> Self {
        Refining { mode: Mode::Hybrid, depth, steps }
    }
}

const GATE: Refining = Refining { mode: Mode::Auto, depth: Depth::Fixed, steps: 1 };

const LATENT: Refining = Refining { mode: Mode::Latent, depth: Depth::Fixed, steps: 1 };

/// In the order of the table, those that the bundle has the models for.
///
/// # Errors
/// What its view network's contract lacks.
pub fn rows(bundle: &Bundle) -> Result<Vec<Row>, BundleError> {
    let mut rows = ROWS.to_vec();
    if bundle.file("latent").is_some() {
        rows.push(Row::Hybrid(LATENT));
    }
    if bundle.file("view").is_some() && bundle.file("perceive").is_some() {
        let steps = bundle.view()?.contract.view_steps();
        rows.push(Row::Hybrid(Refining { mode: Mode::View, depth: Depth::Fixed, steps }));
    }
    Ok(rows)
}

const ROWS: [Row; 14] = [
    Row::LayoutOnly,
    Row::Prior,
    Row::NearestFill,
    Row::Hold,
    Row::HoldNearest,
    Row::Argmax,
    Row::Fds,
    Row::SemanticFirst,
    Row::Hybrid(Refining::always(Depth::Fixed, 1)),
    Row::Hybrid(Refining::always(Depth::Fixed, 2)),
    Row::Hybrid(Refining::always(Depth::Fixed, 4)),
    Row::Hybrid(Refining::always(Depth::Adaptive, 4)),
    Row::Hybrid(GATE),
    Row::Steady(GATE),
];

impl Row {
    pub fn name(self) -> String {
        match self {
            Row::LayoutOnly => "layout-only".into(),
            Row::Prior => "prior".into(),
            Row::NearestFill => "nearest-fill".into(),
            Row::Hold => "hold".into(),
            Row::HoldNearest => "hold-nearest".into(),
            Row::Argmax => "argmax".into(),
            Row::Fds => "fds".into(),
            Row::SemanticFirst => "semantic_first".into(),
            Row::Steady(refining) => format!("{} steady", Row::Hybrid(refining).name()),
            Row::Hybrid(Refining { mode: Mode::Latent, .. }) => "latent".into(),
            Row::Hybrid(Refining { mode: Mode::View, steps, .. }) => format!("view {steps}"),
            Row::Hybrid(Refining { mode, depth, steps }) => {
                let name = match (mode, depth) {
                    (Mode::Auto, Depth::Fixed) => "gate",
                    (Mode::Auto, Depth::Adaptive) => "gate adaptive",
                    (_, Depth::Fixed) => "hybrid",
                    (_, Depth::Adaptive) => "adaptive",
                };
                format!("{name} {steps}")
            }
        }
    }

    fn is_for_soft(self) -> Option<bool> {
        match self {
            Row::Prior | Row::NearestFill | Row::Hold | Row::HoldNearest => Some(false),
            Row::Argmax | Row::Fds => Some(true),
            _ => None,
        }
    }
}

/// What a row says of a frame.
#[derive(Clone)]
pub(super) struct Judged {
    pub map: Option<Vec<u8>>,
    /// Probability of each cell's class, 0..=255, where the row has one.
    pub confidence: Option<Vec<u8>>,
    pub reading: Option<Reading>,
    pub decision: Option<Decision>,
    /// What is called in the place of the decision's hazards.
    pub steady: Option<HazardSet>,
    pub macs: u64,
    /// Sampler steps.
    pub steps: u16,
    pub generated: bool,
}

pub(super) struct Judges {
    pub rule: Rule,
    pub prior: ClassMap,
    pub labels: &'static LabelSet,
    /// For the hybrid rows; the first one also serves as the head alone.
    pub hybrids: Vec<(Refining, Receiver)>,
    pub steady: Steady,
}

impl Judges {
    /// Each of the `rows` on one scene; `None` where it doesn't apply to the payload.
    pub fn judge(
        &mut self,
        rows: &[Row],
        scene: &Scene,
        truth: &ClassMap,
        sequence: u32,
    ) -> Result<Vec<Option<Judged>>, EngineError> {
        let is_soft = scene.params().payload.soft_bits().is_some();
        let mut judged: Vec<Option<Judged>> = Vec::new();
        for &row in rows {
            let before = |row| rows.iter().position(|other| *other == row).and_then(|index| judged.get(index)?.clone());
            judged.push(match (row, row.is_for_soft()) {
                (_, Some(soft)) if soft != is_soft => None,
                (Row::Steady(refining), _) => {
                    // The row that it follows mostly comes before it.
                    let followed = match before(Row::Hybrid(refining)) {
                        Some(judged) => judged,
                        None => self.judge_row(Row::Hybrid(refining), scene, truth, sequence)?,
                    };
                    let steady = followed.decision.as_ref().map(|decision| self.steady.follow(sequence, decision));
                    Some(Judged { steady, ..followed })
                }
                _ => Some(self.judge_row(row, scene, truth, sequence)?),
            });
        }
        Ok(judged)
    }

    fn judge_row(&mut self, row: Row, scene: &Scene, truth: &ClassMap, sequence: u32) -> Result<Judged, EngineError> {
        match row {
            Row::LayoutOnly => {
                let nothing = self.labels.unlabelled().unwrap_or(0);
                let map = fill(scene, |_| nothing);
                let reading = self.rule.read(scene.cells(), scene.known());
                Ok(Judged {
                    map: Some(map),
                    confidence: None,
                    reading: Some(reading),
                    decision: None,
                    steady: None,
                    macs: 0,
                    steps: 0,
                    generated: false,
                })
            }
            Row::Prior => self.judge_map(fill(scene, |cell| self.prior.cells[cell])),
            Row::NearestFill => self.judge_nearest(truth.grid, scene.cells().to_vec(), scene.known()),
            Row::Hold => {
                let held = |cell: usize| match scene.held()[cell] {
                    NEVER => self.prior.cells[cell],
                    class => class,
                };
                self.judge_map(fill(scene, held))
            }
            Row::HoldNearest => {
                let shown = |cell: usize| scene.known()[cell] || scene.held()[cell] != NEVER;
                let map = fill(scene, |cell| scene.held()[cell]);
                let known: Vec<bool> = (0..map.len()).map(shown).collect();
                self.judge_nearest(truth.grid, map, &known)
            }
            Row::Argmax => self.judge_map(denoised(scene, Decider::argmax)),
            Row::Fds => self.judge_map(denoised(scene, Decider::fast_denoise)),
            Row::SemanticFirst => {
                let head = self.head();
                let decision = head.provisional(scene)?;
                let (macs, _) = head.macs();
                let decision = Some(decision);
                Ok(Judged {
                    map: None,
                    confidence: None,
                    reading: None,
                    decision,
                    steady: None,
                    macs,
                    steps: 0,
                    generated: false,
                })
            }
            Row::Hybrid(refining) | Row::Steady(refining) => {
                let index = self.hybrids.iter().position(|(other, _)| *other == refining).unwrap_or(0);
                let receiver = &mut self.hybrids[index].1;
                let provisional = receiver.provisional(scene)?;
                let conclusion = receiver.conclude(scene, &provisional, sequence, 0)?;
                let generated = conclusion.mode != "semantic_first";
                let map = match receiver.refined().filter(|_| generated) {
                    _ if refining.mode == Mode::Latent => None,
                    Some(refined) => Some(refined.cells.to_vec()),
                    None => Some(fill(scene, |cell| self.prior.cells[cell])),
                };
                let confidence = receiver.refined().filter(|_| generated).map(|refined| refined.confidence());
                let reading = map.as_ref().map(|map| self.rule.read_all(map));
                let decision = Some(conclusion.decision);
                let (macs, steps) = (conclusion.macs, conclusion.steps);
                Ok(Judged { map, confidence, reading, decision, steady: None, macs, steps, generated })
            }
        }
    }

    /// A map whose other cells are filled from the nearest known one; the prior where none is known.
    fn judge_nearest(&mut self, grid: Grid, mut map: Vec<u8>, known: &[bool]) -> Result<Judged, EngineError> {
        let filled = nearest_fill(grid, &mut map, known);
        self.judge_map(if filled { map } else { self.prior.cells.clone() })
    }

    /// A map through the rule and through the head.
    fn judge_map(&mut self, map: Vec<u8>) -> Result<Judged, EngineError> {
        let reading = Some(self.rule.read_all(&map));
        let decision = Some(self.head().judge(&map)?);
        let (macs, _) = self.head().macs();
        Ok(Judged {
            map: Some(map),
            confidence: None,
            reading,
            decision,
            steady: None,
            macs,
            steps: 0,
            generated: false,
        })
    }

    fn head(&mut self) -> &mut Receiver {
        &mut self.hybrids[0].1
    }
}

fn fill(scene: &Scene, unknown: impl Fn(usize) -> u8) -> Vec<u8> {
    let cells = scene.cells().iter().zip(scene.known()).enumerate();
    cells.map(|(cell, (&class, &known))| if known { class } else { unknown(cell) }).collect()
}

fn denoised(scene: &Scene, method: fn(&mut Decider, &Soft<'_>, &mut [u8], &mut [u8])) -> Vec<u8> {
    let mut map = scene.cells().to_vec();
    let soft = Soft {
        grid: scene.params().grid,
        codes: scene.codes(),
        classes: scene.present(),
        known: scene.known(),
        unit: soft::unit_steps(scene.params().payload.soft_bits().unwrap_or(8)),
    };
    let mut confidence = vec![0; map.len()];
    method(&mut Decider::default(), &soft, &mut map, &mut confidence);
    map
}
