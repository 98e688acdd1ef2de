//! What the networks see of a scene, as planes of floats.

use crate::scene::{NEVER, Scene};
use crate::wire::{Grid, soft};

/// Analog bits of a class index, most significant first: 0 is -1, 1 is +1.
pub(super) const BITS: usize = 4;

/// Inputs that the head and the restore network share.
pub(super) const NAMES: [&str; 5] = ["cond", "mask", "held", "age", "present"];

/// These inputs with their shapes for a grid and a number of classes.
pub(super) fn ports(grid: Grid, classes: usize) -> [(&'static str, Vec<usize>); 5] {
    let plane = |planes| vec![1, planes, grid.height as usize, grid.width as usize];
    let [cond, mask, held, age, present] = NAMES;
    [(cond, plane(classes)), (mask, plane(1)), (held, plane(BITS)), (age, plane(1)), (present, vec![1, classes])]
}

/// The planes, laid out once for a grid.
#[derive(Debug, Clone)]
pub struct Condition {
    cells: usize,
    /// Probability of each class in each received cell, a plane a class; 0 where nothing came.
    cond: Vec<f32>,
    /// 1 where the cell was received.
    mask: Vec<f32>,
    /// Class bits of the held scene, a plane a bit; 0 where none is held.
    held: Vec<f32>,
    /// `2^(-age / 2)`, age in frames; 0 where nothing is held.
    age: Vec<f32>,
    /// 1 for each class of the present set.
    present: Vec<f32>,
    /// The mask of a scene in which nothing is unknown.
    whole: Vec<f32>,
}

impl Condition {
    pub fn new(grid: Grid, classes: usize) -> Self {
        let cells = grid.cells();
        Condition {
            cells,
            cond: vec![0.0; classes * cells],
            mask: vec![0.0; cells],
            held: vec![0.0; BITS * cells],
            age: vec![0.0; cells],
            present: vec![0.0; classes],
            whole: vec![1.0; cells],
        }
    }

    /// In the order of [`NAMES`].
    pub(super) fn inputs(&self) -> [&[f32]; 5] {
        [&self.cond, &self.mask, &self.held, &self.age, &self.present]
    }

    /// The same with a refined scene in the place of the received one: probabilities in every cell, so that nothing is unknown.
    pub(super) fn refined_inputs<'a>(&'a self, posterior: &'a [f32]) -> [&'a [f32]; 5] {
        [posterior, &self.whole, &self.held, &self.age, &self.present]
    }

    /// What the channel says: the probability of each class in each cell, a plane a class; 0 where nothing came.
    pub(super) fn channel(&self) -> &[f32] {
        &self.cond
    }

    /// Takes over the scene.
    pub(super) fn fill(&mut self, scene: &Scene) {
        self.present.fill(0.0);
        scene.present().iter().for_each(|&class| self.present[class as usize] = 1.0);
        for (mask, known) in self.mask.iter_mut().zip(scene.known()) {
            *mask = *known as u8 as f32;
        }
        self.cond.fill(0.0);
        match scene.params().payload.soft_bits() {
            Some(bits) => self.fill_posterior(scene, bits),
            None => {
                for cell in (0..self.cells).filter(|&cell| scene.known()[cell]) {
                    self.cond[scene.cells()[cell] as usize * self.cells + cell] = 1.0;
                }
            }
        }
        for cell in 0..self.cells {
            let class = scene.held()[cell];
            let bits = class_bits(class);
            for (bit, value) in bits.into_iter().enumerate() {
                self.held[bit * self.cells + cell] = if class == NEVER { 0.0 } else { value };
            }
            let age = scene.held_age()[cell];
            self.age[cell] = if class == NEVER { 0.0 } else { libm::exp2f(-(age as f32) / 2.0) };
        }
    }

    /// Takes `cells` as received in every cell, with nothing held.
    pub(super) fn fill_map(&mut self, cells: &[u8]) {
        self.present.fill(0.0);
        self.cond.fill(0.0);
        for (cell, &class) in cells.iter().enumerate() {
            self.present[class as usize] = 1.0;
            self.cond[class as usize * self.cells + cell] = 1.0;
        }
        self.mask.fill(1.0);
        self.held.fill(0.0);
        self.age.fill(0.0);
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.inputs().iter().chain([&&self.whole[..]]).map(|plane| size_of_val(*plane) as u64).sum()
    }

    /// Posterior of each class under white noise of the measured SNR: `softmax(score / sigma^2)` over the present classes, which have
    /// equal priors. An SNR that nobody measured counts as 0 dB.
    fn fill_posterior(&mut self, scene: &Scene, bits: u8) {
        let snr_db = scene.snr_cdb().unwrap_or(0) as f32 / 100.0;
        // 10^(snr / 10) = 1 / sigma^2; beyond 40 dB the posterior is 0 or 1 anyway.
        let precision = libm::powf(10.0, snr_db.clamp(-20.0, 40.0) / 10.0);
        let planes = scene.present();
        for cell in (0..self.cells).filter(|&cell| scene.known()[cell]) {
            let score = |plane: usize| precision * soft::score(scene.codes()[plane * self.cells + cell], bits);
            let highest = (0..planes.len()).map(score).fold(f32::MIN, f32::max);
            let mut sum = 0.0;
            for (plane, &class) in planes.iter().enumerate() {
                let weight = libm::expf(score(plane) - highest);
                self.cond[class as usize * self.cells + cell] = weight;
                sum += weight;
            }
            for &class in planes {
                self.cond[class as usize * self.cells + cell] /= sum;
            }
        }
    }
}

/// The analog bits of `class`.
pub(super) fn class_bits(class: u8) -> [f32; BITS] {
    core::array::from_fn(|bit| if class >> (BITS - 1 - bit) & 1 == 1 { 1.0 } else { -1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_most_significant_first() {
        assert_eq!(class_bits(0), [-1.0; 4]);
        assert_eq!(class_bits(9), [1.0, -1.0, -1.0, 1.0]);
    }
}
