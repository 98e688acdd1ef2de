//! A perceiver: the class map of a photograph, by a segmenter that knows nothing of channels.

use super::refine::likeliest;
use crate::bundle::{Bundle, BundleError};
use crate::engine::kernel::{Isa, softmax};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::scene::ClassMap;
use crate::wire::Grid;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// The role `perceive`, with its buffers.
#[derive(Debug)]
pub struct Perceiver {
    isa: Isa,
    session: Session,
    grid: Grid,
    /// Width and height of what it takes.
    size: [u32; 2],
    image: Vec<f32>,
    logits: Vec<f32>,
    posterior: Vec<f32>,
    cells: Vec<u8>,
}

impl Perceiver {
    /// Loads the bundle's perceiver.
    ///
    /// # Errors
    /// [`BundleError`]: a bundle without one, or a model that isn't what the role asks.
    pub fn open(bundle: &Bundle, engine: &Engine) -> Result<Self, BundleError> {
        let (grid, classes) = (bundle.grid(), bundle.labels().len());
        let missing = || BundleError::Role { dir: bundle.path().to_owned(), role: "perceive" };
        let size = bundle.perceive().ok_or_else(missing)?.map(u32::from);
        let image = [1, 3, size[1] as usize, size[0] as usize];
        let logits = [1, classes, grid.height as usize, grid.width as usize];
        let (inputs, outputs) = ([("image", &image[..])], [("logits", &logits[..])]);
        let interface = Interface { inputs: &inputs, lasting: 1, timestep: None, outputs: &outputs };
        let session = bundle.session("perceive", engine, &interface)?;
        let (values, logits) = (image.iter().product(), logits.iter().product());
        let (image, posterior, cells) = (vec![0.0; values], vec![0.0; logits], vec![0; grid.cells()]);
        let isa = engine.isa();
        Ok(Perceiver { isa, session, grid, size, image, logits: vec![0.0; logits], posterior, cells })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub fn macs(&self) -> u64 {
        self.session.macs().total()
    }

    pub fn memory_bytes(&self) -> u64 {
        let planes = [&self.image, &self.logits, &self.posterior].map(|plane| size_of_val(&plane[..]) as u64);
        self.session.memory_bytes() + planes.into_iter().sum::<u64>() + self.cells.len() as u64
    }

    /// Looks at a photograph of any size; it is scaled, without a border, to the size that the model takes.
    ///
    /// # Errors
    /// What the model's run says.
    pub fn look(&mut self, photograph: &RgbImage) -> Result<(), EngineError> {
        let [width, height] = self.size;
        let scaled = imageops::resize(photograph, width, height, FilterType::Triangle);
        let count = (width * height) as usize;
        for (place, pixel) in scaled.pixels().enumerate() {
            for (channel, &value) in pixel.0.iter().enumerate() {
                self.image[channel * count + place] = f32::from(value) / 255.0;
            }
        }
        self.session.run(&[&self.image], &mut [&mut self.logits])?;
        softmax::run(self.isa, &self.logits, self.grid.cells(), &mut self.posterior);
        likeliest(&self.posterior, &mut self.cells);
        Ok(())
    }

    /// Probability of each class in each cell, a plane a class, of what it looked at last. Not calibrated.
    pub fn posterior(&self) -> &[f32] {
        &self.posterior
    }

    /// The likeliest class of each cell of what it looked at last.
    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    /// [`Perceiver::cells`] as a map.
    pub fn map(&self) -> ClassMap {
        ClassMap { grid: self.grid, cells: self.cells.clone() }
    }
}
