//! From the sums of a tile to outputs in their places.

use super::super::super::store;
use super::super::super::tile::{BLOCK, HALF, Places, TILED, Tiled};
use super::super::Epilogue;

/// An epilogue for the outputs of a block, in sixteens; zeros behind the last one.
pub enum Finish {
    Int8(Rounding),
    /// Factors and addends.
    Float(Halves, Halves),
    Sums,
}

pub type Halves = [[f32; HALF]; BLOCK / HALF];

/// Of sums to cells. Cells are clamped from above as real numbers, which keeps the conversion from overflowing upwards, and from below as
/// bytes: what overflows downwards saturates.
#[repr(C, align(64))]
pub struct Rounding {
    /// Of four sixteens.
    pub scale: [[f32; HALF]; 4],
    /// Before the zero point is added.
    pub high: f32,
    /// Zero point and flip.
    pub zero_point: i16,
    pub low: u8,
}

/// What a tile does with its sums.
pub enum End<'a> {
    /// Leaves them, those of a pixel together.
    Sums(&'a mut Tiled<i32>),
    /// Rounds them while they are in registers.
    Cells(Stored<'a>),
}

/// Where a tile's cells go, and how they are rounded.
pub struct Stored<'a> {
    pub rounding: &'a Rounding,
    pub places: Places,
    pub cells: &'a mut [u8],
}

impl Stored<'_> {
    /// # Panics
    /// If there is no room for so many pixels, or the outputs of one are not in so many sixteens.
    pub fn check(&self, pixels: usize, halves: usize) {
        let Places { outputs, pixel, .. } = self.places;
        assert!((1..=halves * HALF).contains(&outputs) && (pixels - 1) * pixel + outputs <= self.cells.len());
    }
}

impl Finish {
    /// For the outputs `first..first + outputs`, where the sums of `sharing` pixels share sixteen lanes.
    pub fn new(epilogue: &Epilogue<'_>, first: usize, outputs: usize, sharing: usize) -> Self {
        let halves = |of: &[f32]| {
            let mut halves = Halves::default();
            halves.as_flattened_mut()[..outputs].copy_from_slice(&of[first..][..outputs]);
            halves
        };
        match *epilogue {
            Epilogue::Int8 { scale, zero_point, low, high } => {
                let mut scale = halves(scale);
                if sharing > 1 {
                    scale[0] = std::array::from_fn(|at| scale[0][at % (HALF / sharing)]);
                }
                Finish::Int8(Rounding {
                    scale: std::array::from_fn(|at| scale[at % outputs.div_ceil(HALF)]),
                    high: (high - zero_point) as f32,
                    zero_point: (zero_point + 128) as i16,
                    low: store(low),
                })
            }
            Epilogue::Float { scale, bias } => Finish::Float(halves(scale), halves(bias)),
            Epilogue::Sums => Finish::Sums,
        }
    }
}

pub fn float(sums: &Tiled<i32>, scale: &Halves, bias: &Halves, places: Places, to: &mut [f32]) {
    let mut reals = Tiled([[0.0; HALF]; TILED]);
    for (at, (reals, sums)) in reals.0.iter_mut().zip(&sums.0).take(places.pixels * places.halves).enumerate() {
        let (scale, bias) = (&scale[at % places.halves], &bias[at % places.halves]);
        *reals = std::array::from_fn(|lane| sums[lane] as f32 * scale[lane] + bias[lane]);
    }
    places.put(&reals, to);
}
