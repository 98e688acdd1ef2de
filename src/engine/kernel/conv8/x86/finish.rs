//! From the sums of a tile to outputs in their places.

use super::super::super::store;
use super::super::super::tile::{BLOCK, HALF, Places, TILED, Tiled};
use super::super::Epilogue;

/// An epilogue for the outputs of a block, in sixteens; zeros behind the last one.
pub enum Finish {
    Int8(Rounding),
    /// Factors and addends.
    Float(Halves, Halves),
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

impl Finish {
    pub fn new(epilogue: &Epilogue<'_>, first: usize, outputs: usize) -> Self {
        let halves = |of: &[f32]| {
            let mut halves = Halves::default();
            halves.as_flattened_mut()[..outputs].copy_from_slice(&of[first..][..outputs]);
            halves
        };
        match *epilogue {
            Epilogue::Int8 { scale, zero_point, low, high } => {
                let scale = halves(scale);
                Finish::Int8(Rounding {
                    scale: std::array::from_fn(|at| scale[at % outputs.div_ceil(HALF)]),
                    high: (high - zero_point) as f32,
                    zero_point: (zero_point + 128) as i16,
                    low: store(low),
                })
            }
            Epilogue::Float { scale, bias } => Finish::Float(halves(scale), halves(bias)),
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
