//! Transposed convolution: as many convolutions as the stride leaves remainders, each of which writes the outputs of one remainder.

use super::conv::MAX_IMAGE;
use super::sums::{Filter, Reach};
use super::{Form, Found, Lowering, product_of};
use crate::engine::graph::Node;
use crate::engine::kernel::View;
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv32::{Bounds, Weights};
use crate::engine::plan::slot::{Image, SlotId};
use crate::engine::plan::step::{Conv32, Step};
use std::rc::Rc;

/// Along one axis, of the outputs s · q + r: which taps reach them, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phase {
    remainder: usize,
    /// Outputs.
    count: usize,
    /// Taps `first`, `first` + s, ...
    first: usize,
    taps: usize,
    /// Output q sums input q + `start` .. q + `start` + `taps`, the last tap first.
    start: isize,
}

impl Phase {
    fn new(remainder: usize, stride: usize, taps: usize, pad: usize, size: usize) -> Self {
        let first = (remainder + pad) % stride;
        let own = taps.saturating_sub(first).div_ceil(stride);
        let count = size.saturating_sub(remainder).div_ceil(stride);
        let base = ((remainder + pad - first) / stride) as isize;
        Phase { remainder, count, first, taps: own, start: base + 1 - own as isize }
    }

    /// Pixels beyond the border of an input of `size` that it reads.
    fn ring(&self, size: usize) -> usize {
        let behind = self.start + (self.count + self.taps) as isize - 1 - size as isize;
        (-self.start).max(behind).max(0) as usize
    }
}

/// The outputs of one remainder along both axes: a convolution without stride.
struct Piece {
    y: Phase,
    x: Phase,
    stride: [usize; 2],
}

impl Piece {
    /// Its weights in the order output channel, ky, kx, input channel, from the file's, where the input channel comes first.
    fn weights<T: Copy>(&self, weights: &[T], [depth, outputs, taps_y, taps_x]: [usize; 4]) -> Vec<T> {
        let (y, x) = (self.y, self.x);
        let mut own = Vec::with_capacity(outputs * y.taps * x.taps * depth);
        for (o, ky) in (0..outputs).flat_map(|o| (0..y.taps).rev().map(move |ky| (o, y.first + ky * self.stride[0]))) {
            for kx in (0..x.taps).rev().map(|kx| x.first + kx * self.stride[1]) {
                own.extend((0..depth).map(|c| weights[((c * outputs + o) * taps_y + ky) * taps_x + kx]));
            }
        }
        own
    }

    fn reach(&self) -> Reach {
        Reach {
            start: [self.y.start, self.x.start],
            stride: [1, 1],
            dilation: [1, 1],
            size: [self.y.count, self.x.count],
            first: [self.y.remainder, self.x.remainder],
            step: self.stride,
        }
    }
}

impl Lowering<'_> {
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Found {
        match self.transposed(node)? {
            // tract takes other pads from it.
            false if node.ints("output_shape").is_some() => {
                Err("an output_shape is planned for one image, without groups and dilations, alone".into())
            }
            found => Ok(found),
        }
    }

    fn transposed(&mut self, node: &Node) -> Found {
        let (input, name) = (node.input(0).ok_or("has no input")?, node.input(1).ok_or("has no weights")?);
        let (Some(&[depth, outputs, taps_y, taps_x]), Some(&[1, _, height, width])) =
            (self.shape(name), self.shape(node.output()))
        else {
            return Ok(false);
        };
        let (dims, taps, size) = ([depth, outputs, taps_y, taps_x], [taps_y, taps_x], [height, width]);
        let Some(real) = self.real(input).filter(|real| real.channels() == depth) else { return Ok(false) };
        let Some(pieces) = pieces(node, [real.height, real.width], taps, size) else { return Ok(false) };
        if let (Some((image, grid)), Some(Form::Weights(weights))) = (real.cells(), self.forms.get(name).cloned())
            && weights.lies_along(1)
        {
            let unit = |o: usize| f64::from(grid.scale) * f64::from(weights.scale(o));
            let Some(bias) = self.bias_in_sums(node, outputs, unit)? else { return Ok(false) };
            if !self.ask_pieces_ring(image, &pieces) {
                return Ok(false);
            }
            let filters: Vec<(Filter, Reach)> = (pieces.iter())
                .map(|piece| {
                    let factors = weights.factors.as_ref().map(|factors| piece.weights(factors, dims));
                    let (taps, weights) = ([piece.y.taps, piece.x.taps], piece.weights(&weights.values, dims));
                    (Filter { taps, depth, groups: 1, outputs, weights, factors, bias: bias.clone() }, piece.reach())
                })
                .collect();
            self.macs.int8 += macs(&pieces, depth * outputs);
            let units = (0..outputs).map(|o| grid.scale * weights.scale(o)).collect();
            let sums = self.sums(image, &filters, weights.zeros(outputs), units, size);
            self.forms.insert(node.output().to_owned(), Form::Sums(Rc::new(sums.clone())));
            return self.end_unless_quantized(node, &sums);
        }
        let halves = self.is_half(name);
        let (Some(weights), Some(bias)) = (self.float_weights(name), self.float_bias(node, outputs)) else {
            return Ok(false);
        };
        let image = self.written(&real);
        if !self.ask_pieces_ring(image, &pieces) {
            return Ok(false);
        }
        self.macs.float += macs(&pieces, depth * outputs);
        let output = self.float_slot([outputs, height, width]);
        let (from, to) = (self.image(image), self.image(output).view(0, 0, 0));
        for piece in pieces.iter().take_while(|_| !self.trial) {
            let Reach { start, stride, dilation, size, first, step } = piece.reach();
            let shape = Shape {
                taps: [piece.y.taps, piece.x.taps],
                stride,
                dilation,
                depth,
                outputs,
                width: size[1],
                input: from.view_from(start[0], start[1], 0),
                output: View {
                    origin: to.origin + first[0] * to.row + first[1] * to.pixel,
                    row: step[0] * to.row,
                    pixel: step[1] * to.pixel,
                },
            };
            let weights = Weights::pack(self.isa, &shape, &piece.weights(&weights, dims), &bias);
            let weights = if halves { weights.halved() } else { weights };
            let step = Conv32 { input: image, output, rows: size[0], shape, weights, bounds: Bounds::NONE };
            self.draft.steps.push(Step::Conv32(Box::new(step)));
        }
        let real = self.plain(output);
        self.set_real(node, real)
    }

    /// Whether the image gets the ring that the pieces need: not if it is too large.
    fn ask_pieces_ring(&mut self, image: SlotId, pieces: &[Piece]) -> bool {
        let from = self.image(image);
        let ring =
            pieces.iter().map(|piece| piece.y.ring(from.height).max(piece.x.ring(from.width))).max().unwrap_or(0);
        let fits = Image { ring, ..from }.fits(MAX_IMAGE);
        if fits {
            self.ask_ring(image, ring);
        }
        fits
    }
}

fn macs(pieces: &[Piece], each: usize) -> u64 {
    pieces.iter().map(|Piece { y, x, .. }| product_of([y.count, x.count, y.taps, x.taps, each])).sum()
}

/// The pieces of an output of `size`; `None` where the node says what is not planned.
fn pieces(node: &Node, input: [usize; 2], taps: [usize; 2], size: [usize; 2]) -> Option<Vec<Piece>> {
    let numbers = |name: &str, default: Vec<i64>| node.ints(name).map_or(default, <[i64]>::to_vec);
    let (strides, dilations) = (numbers("strides", vec![1; 2]), numbers("dilations", vec![1; 2]));
    let &[stride_y @ 1..=64, stride_x @ 1..=64] = &strides[..] else { return None };
    let stride = [stride_y as usize, stride_x as usize];
    if node.int("group", 1) != 1 || dilations != [1, 1] {
        return None;
    }
    let pad = pads(node, input, taps, stride, size)?;
    let phases = |axis: usize| {
        let all =
            (0..stride[axis]).map(|remainder| Phase::new(remainder, stride[axis], taps[axis], pad[axis], size[axis]));
        all.filter(|phase| phase.count > 0).collect::<Vec<_>>()
    };
    let (rows, columns) = (phases(0), phases(1));
    if rows.iter().chain(&columns).any(|phase| phase.taps == 0) {
        return None;
    }
    Some(rows.iter().flat_map(|&y| columns.iter().map(move |&x| Piece { y, x, stride })).collect())
}

/// What is cut off of the output above and on the left.
fn pads(node: &Node, input: [usize; 2], taps: [usize; 2], stride: [usize; 2], size: [usize; 2]) -> Option<[usize; 2]> {
    let two = |name: &str| match node.ints(name) {
        None => Some([0, 0]),
        Some(&[y @ 0..=4096, x @ 0..=4096, ..]) => Some([y as usize, x as usize]),
        Some(_) => None,
    };
    let auto = node.text("auto_pad").unwrap_or("NOTSET");
    match (node.ints("output_shape"), auto) {
        (None, "NOTSET") => two("pads"),
        (None, "VALID") => Some([0, 0]),
        _ => {
            // As much as leaves the size that is asked for, on both sides.
            let more = two("output_padding")?;
            Some([0, 1].map(|axis| {
                let whole = stride[axis] * (input[axis] - 1) + more[axis] + taps[axis];
                let all = whole.saturating_sub(size[axis]);
                if auto == "SAME_UPPER" { all / 2 } else { all.div_ceil(2) }
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition: input i adds tap k to output s · i + k − pad.
    #[test]
    fn phases_have_all_taps() {
        for (stride, taps, pad, input) in
            [(2, 4, 1, 5), (2, 2, 0, 7), (3, 5, 2, 4), (2, 3, 1, 6), (1, 3, 2, 5), (4, 4, 0, 3)]
        {
            let size = (input - 1) * stride + taps - 2 * pad;
            let mut right = vec![Vec::new(); size];
            for i in 0..input {
                for k in 0..taps {
                    if let Some(own) = (stride * i + k).checked_sub(pad).and_then(|at| right.get_mut(at)) {
                        own.push((i, k));
                    }
                }
            }
            for remainder in 0..stride {
                let phase = Phase::new(remainder, stride, taps, pad, size);
                for q in 0..phase.count {
                    let mut found: Vec<(usize, usize)> = (0..phase.taps)
                        .filter_map(|m| {
                            let i = q as isize + phase.start + m as isize;
                            let tap = phase.first + (phase.taps - 1 - m) * stride;
                            (0..input as isize).contains(&i).then_some((i as usize, tap))
                        })
                        .collect();
                    found.sort_unstable();
                    assert_eq!(found, right[stride * q + remainder], "{stride} {taps} {pad}: {q} {remainder}");
                }
            }
        }
    }
}
