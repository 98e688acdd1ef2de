//! The mode `view`, as GESCO has it: a photograph is regenerated of what arrived of a scene, and a perceiver looks at it.

use super::condition::{self, Condition};
use super::perceiver::Perceiver;
use crate::bundle::{Bundle, BundleError, Layout};
use crate::engine::{Arrays, Engine, EngineError, Planned};
use crate::generate::{GenerateError, Generator, Given, Settings};
use crate::noise::Noise;
use crate::sampler::{Broken, Request, SchedulerError};
use image::{Rgb, RgbImage};

/// The view network and the perceiver, with their buffers.
#[derive(Debug)]
pub(super) struct View {
    generator: Generator,
    perceiver: Perceiver,
    /// Conditions that the view network takes, by their places in [`condition::NAMES`].
    takes: Vec<usize>,
    photograph: RgbImage,
}

impl View {
    /// `steps`: the bundle's number if `None`.
    ///
    /// # Errors
    /// [`BundleError`]: a missing role, a model that isn't what its role asks, or an engine that has no plans.
    pub fn open(bundle: &Bundle, steps: Option<u16>, engine: &Engine) -> Result<Self, BundleError> {
        let field = |reason: String| BundleError::Field { file: bundle.path().to_owned(), field: "view", reason };
        let Engine::Plan(machine) = engine else {
            return Err(field("photographs are generated on plans alone: leave --engine tract away".into()));
        };
        let view = bundle.view()?;
        if view.contract.layout != Layout::Nchw {
            return Err(field("layout: a photograph is NCHW".into()));
        }
        let ports = condition::ports(bundle.grid(), bundle.labels().len());
        let (mut arrays, mut takes) = (Arrays::default(), Vec::new());
        for (place, (name, shape)) in ports.iter().enumerate() {
            if view.contract.condition.iter().any(|taken| taken == name) {
                arrays.insert_floats(name, shape, &vec![0.0; shape.iter().product()]);
                takes.push(place);
            }
        }
        let steps = steps.unwrap_or_else(|| view.contract.view_steps());
        let settings = Settings { request: Request::steps(steps.into()), guidance: vec![1.0], cache: None };
        let scheduler = view.scheduler(None)?;
        let generator =
            Generator::open(&view, &scheduler, &settings, &arrays, machine).map_err(|error| match error {
                GenerateError::Bundle(error) => error,
                GenerateError::Engine(error) => BundleError::Engine(error),
                error => field(error.to_string()),
            })?;
        let &[1, 3, height, width] = generator.shape() else {
            let shape = generator.shape();
            return Err(field(format!("x is {shape:?}, a photograph is [1, 3, height, width]")));
        };
        Ok(View {
            perceiver: Perceiver::open(bundle, engine)?,
            photograph: RgbImage::new(width as u32, height as u32),
            generator,
            takes,
        })
    }

    /// The plans of the view network and of the perceiver; `None` where tract runs it.
    pub fn plans(&self) -> [Option<&Planned>; 2] {
        [Some(self.generator.planned()), self.perceiver.session().planned()]
    }

    /// Sampler steps of a photograph.
    pub fn steps(&self) -> u16 {
        self.generator.steps() as u16
    }

    /// Multiply-accumulates of a photograph and of the look at it.
    pub fn macs(&self) -> u64 {
        self.generator.macs() + self.perceiver.macs()
    }

    pub fn memory_bytes(&self) -> u64 {
        let photograph = self.photograph.as_raw().len() as u64;
        self.generator.memory_bytes() + self.perceiver.memory_bytes() + photograph
    }

    /// Regenerates a photograph of the scene that `condition` was filled from, and looks at it.
    ///
    /// # Errors
    /// [`Broken`]: there is none then.
    pub fn run(&mut self, condition: &Condition, noise: &Noise) -> Result<(), Broken<EngineError>> {
        let last = usize::from(self.steps().saturating_sub(1));
        let broken = |error: GenerateError| match error {
            GenerateError::Scheduler { error: SchedulerError::NotFinite { step }, .. } => Broken::NotFinite { step },
            GenerateError::Engine(error) => Broken::Model { step: last, error },
            // Nothing else can fail once it is open.
            _ => Broken::NotFinite { step: last },
        };
        let inputs = condition.inputs();
        for &place in &self.takes {
            self.generator.set_condition(condition::NAMES[place], inputs[place]).map_err(broken)?;
        }
        let sample = self.generator.run(noise, Given::default(), || ()).map_err(broken)?;
        let count = sample.len() / 3;
        for (place, pixel) in self.photograph.pixels_mut().enumerate() {
            let value = |channel: usize| ((sample[channel * count + place] + 1.0) * 127.5).round().clamp(0.0, 255.0);
            *pixel = Rgb(std::array::from_fn(|channel| value(channel) as u8));
        }
        self.perceiver.look(&self.photograph).map_err(Broken::Check)
    }

    /// What the perceiver saw in the last photograph: the probability of each class in each cell, a plane a class.
    pub fn posterior(&self) -> &[f32] {
        self.perceiver.posterior()
    }

    /// The likeliest class of each cell.
    pub fn cells(&self) -> &[u8] {
        self.perceiver.cells()
    }
}
