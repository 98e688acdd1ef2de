//! What the convolutions of x86 share: tiles of some pixels of a row by 32 outputs, whose sums stay in registers over the whole kernel.

/// Outputs of a block: their weights lie together, in the order in which a tile reads them.
pub const BLOCK: usize = 32;
/// Outputs of which a block has a whole number.
pub const HALF: usize = 16;
/// Most pixels of a tile.
pub const PIXELS: usize = 14;

/// Sixteens of outputs that a tile has at most.
pub const TILED: usize = PIXELS * BLOCK / HALF;

/// What a tile computes: sixteens of outputs, those of a pixel together.
#[repr(C, align(64))]
pub struct Tiled<T>(pub [[T; HALF]; TILED]);

/// Pixels of the tiles of a row, at most `most`: as even as can be, since a narrow last one would not keep the multipliers busy.
pub fn even(width: usize, most: usize) -> usize {
    width.div_ceil(width.div_ceil(most))
}

/// Where the outputs of a tile's pixels belong.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub pixels: usize,
    /// Of each pixel.
    pub outputs: usize,
    /// Sixteens that hold them.
    pub halves: usize,
    /// From a pixel to the next, in elements.
    pub pixel: usize,
}

impl Places {
    /// The outputs of each pixel of a tile, a pixel's sixteens together, and where they go.
    pub fn pairs<'a, T>(self, tile: &'a Tiled<T>, to: &'a mut [T]) -> impl Iterator<Item = (&'a [T], &'a mut [T])> {
        let from = tile.0.chunks_exact(self.halves).take(self.pixels);
        from.zip(to.chunks_mut(self.pixel)).map(move |(from, to)| (from.as_flattened(), &mut to[..self.outputs]))
    }

    /// Puts the outputs there.
    pub fn put<T: Copy>(self, tile: &Tiled<T>, to: &mut [T]) {
        for (mut from, mut to) in self.pairs(tile, to) {
            put_chunk::<T, 32>(&mut from, &mut to);
            put_chunk::<T, 16>(&mut from, &mut to);
            put_chunk::<T, 8>(&mut from, &mut to);
            put_chunk::<T, 4>(&mut from, &mut to);
            put_chunk::<T, 2>(&mut from, &mut to);
            put_chunk::<T, 1>(&mut from, &mut to);
        }
    }
}

/// Moves and takes off the first `N` elements, if there are as many: a length that the compiler knows is a move or two, and not a call.
fn put_chunk<T: Copy, const N: usize>(from: &mut &[T], to: &mut &mut [T]) {
    if to.len() >= N {
        let (head, rest) = std::mem::take(to).split_at_mut(N);
        head.copy_from_slice(&from[..N]);
        (*from, *to) = (&from[N..], rest);
    }
}
