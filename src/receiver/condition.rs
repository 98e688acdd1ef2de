//! What the networks see of a scene, as planes of floats.

use crate::bundle::HeldScene;
use crate::scene::{NEVER, Nearest, Scene};
use crate::wire::{Grid, Payload, soft};

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
    /// Class bits of the held scene, a plane a bit; where none is held, as [`HeldScene`] says.
    held: Vec<f32>,
    /// `2^(-age / 2)`, age in seconds; where nothing is held, as [`HeldScene`] says.
    age: Vec<f32>,
    /// 1 for each class of the present set.
    present: Vec<f32>,
    /// The mask of a scene in which nothing is unknown.
    whole: Vec<f32>,
    /// For [`HeldScene::Filled`].
    nearest: Option<Nearest>,
}

impl Condition {
    pub fn new(grid: Grid, classes: usize, held: HeldScene) -> Self {
        let cells = grid.cells();
        Condition {
            cells,
            cond: vec![0.0; classes * cells],
            mask: vec![0.0; cells],
            held: vec![0.0; BITS * cells],
            age: vec![0.0; cells],
            present: vec![0.0; classes],
            whole: vec![1.0; cells],
            nearest: (held == HeldScene::Filled).then(|| Nearest::new(grid)),
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
            None if scene.params().payload == Payload::Tokens => self.fill_told(scene),
            None => {
                for cell in (0..self.cells).filter(|&cell| scene.known()[cell]) {
                    self.cond[scene.cells()[cell] as usize * self.cells + cell] = 1.0;
                }
            }
        }
        for cell in 0..self.cells {
            let (class, age_us) = (scene.held()[cell], scene.held_age_us()[cell]);
            self.hold(cell, (class != NEVER).then(|| (class, libm::exp2f(-(age_us as f32) / 2e6))));
        }
        self.fill_held(scene);
    }

    /// Cell `cell` of the held scene: class and freshness, `None` where nothing is held.
    fn hold(&mut self, cell: usize, shown: Option<(u8, f32)>) {
        let (bits, freshness) = shown.map_or(([0.0; BITS], 0.0), |(class, freshness)| (class_bits(class), freshness));
        for (bit, value) in bits.into_iter().enumerate() {
            self.held[bit * self.cells + cell] = value;
        }
        self.age[cell] = freshness;
    }

    /// Where nothing is held, what the nearest cell shows.
    fn fill_held(&mut self, scene: &Scene) {
        let Some(mut nearest) = self.nearest.take() else { return };
        // What lies beside a box is not of its class.
        let shows = scene.params().payload != Payload::Tokens;
        if nearest.find(|cell| scene.held()[cell] != NEVER || shows && scene.known()[cell]) {
            for cell in (0..self.cells).filter(|&cell| scene.held()[cell] == NEVER) {
                let from = nearest.of(cell);
                let class = if scene.held()[from] != NEVER { scene.held()[from] } else { scene.cells()[from] };
                let distance = (nearest.distance2(cell) as f32).sqrt();
                self.hold(cell, Some((class, -libm::exp2f(-distance / 8.0))));
            }
        }
        self.nearest = Some(nearest);
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
        let is_filled = self.nearest.is_some();
        for (cell, &class) in cells.iter().enumerate() {
            self.hold(cell, is_filled.then_some((class, -1.0)));
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let planes =
            self.inputs().iter().chain([&&self.whole[..]]).map(|plane| size_of_val(*plane) as u64).sum::<u64>();
        planes + self.nearest.as_ref().map_or(0, |nearest| nearest.memory_bytes() as u64)
    }

    /// The class that a token says with its confidence, the other present ones with the rest.
    fn fill_told(&mut self, scene: &Scene) {
        let others = scene.present().len().saturating_sub(1).max(1) as f32;
        for cell in (0..self.cells).filter(|&cell| scene.known()[cell]) {
            let sure = f32::from(scene.confidence()[cell]) / 255.0;
            for &class in scene.present() {
                let share = if class == scene.cells()[cell] { sure } else { (1.0 - sure) / others };
                self.cond[usize::from(class) * self.cells + cell] = share;
            }
        }
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
    fn what_is_not_held_is_filled_where_the_bundle_says_so() {
        use crate::wire::codec::Scratch;
        use crate::wire::{ClassSet, Cut, Header, Packet, Params, TileSet, Tiling, buffer_len, emit_frame};
        let params = Params {
            grid: Grid::new(8, 1),
            tiling: Tiling { rows: 1, cols: 4 },
            cut: Cut::Blocks,
            parity: 0,
            payload: Payload::Map,
            label_set: 1,
            classes: 12,
        };
        let mut scene = Scene::new(params);
        let mut scratch = Scratch::new();
        // Tiles of two cells: 3 was shown in the second one a second ago, 9 is shown in the third one now.
        for (sequence, class, tile) in [(0, 3, 1), (1, 9, 2)] {
            let header = Header {
                stream: 1,
                sequence,
                capture_us: u64::from(sequence) * 1_000_000,
                key: true,
                reference: None,
                params,
                present: ClassSet(1 << class),
            };
            let mut bytes = vec![0; buffer_len(&header)];
            let len = emit_frame(&header, TileSet::all(4), &[class; 8], &mut scratch, &mut bytes).unwrap();
            let Ok(Packet::Frame(frame)) = Packet::parse(&bytes[..len], None) else { panic!() };
            scene.begin(&header);
            scene.put_tile(&header, tile, frame.tile(tile).unwrap(), &mut scratch).unwrap();
            scene.finish(None);
        }
        let read = |held| {
            let mut condition = Condition::new(params.grid, 12, held);
            condition.fill(&scene);
            let class = |cell| (0..BITS).map(|bit| condition.held[bit * 8 + cell]).collect::<Vec<_>>();
            ((0..8).map(class).collect::<Vec<_>>(), condition.age)
        };
        let (bare, age) = read(HeldScene::Bare);
        assert_eq!(
            (bare[2].clone(), bare[0].clone(), bare[4].clone()),
            (class_bits(3).to_vec(), vec![0.0; 4], vec![0.0; 4])
        );
        assert_eq!(age[..5], [0.0, 0.0, libm::exp2f(-0.5), libm::exp2f(-0.5), 0.0]);
        let (filled, age) = read(HeldScene::Filled);
        let classes = [3, 3, 3, 3, 9, 9, 9, 9].map(|class| class_bits(class).to_vec());
        assert_eq!(filled, classes);
        let near = |distance: f32| -libm::exp2f(-distance / 8.0);
        assert_eq!(
            age[..],
            [near(2.0), near(1.0), libm::exp2f(-0.5), libm::exp2f(-0.5), -1.0, -1.0, near(1.0), near(2.0)]
        );
    }

    #[test]
    fn bits_are_most_significant_first() {
        assert_eq!(class_bits(0), [-1.0; 4]);
        assert_eq!(class_bits(9), [1.0, -1.0, -1.0, 1.0]);
    }
}
