//! Transposed convolution: as many convolutions as the stride leaves remainders, each of which writes the outputs of one remainder.

use super::{Found, Lowering};
use crate::engine::kernel::View;
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv32::{Bounds, Weights};
use crate::engine::onnx::Node;
use crate::engine::plan::slot::Element;
use crate::engine::plan::step::{Conv32, Step};

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

impl Lowering<'_> {
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Found {
        let (input, name) = (node.input(0).ok_or("has no input")?, node.input(1).ok_or("has no weights")?);
        let (Some(&[depth, outputs, taps_y, taps_x]), Some(&[1, _, height, width])) =
            (self.shape(name), self.shape(node.output()))
        else {
            return Ok(false);
        };
        let Some(weights) = self.float_weights(name) else { return Ok(false) };
        let bias = match node.input(2) {
            None => Some(vec![0.0; outputs]),
            Some(name) => self.constant_floats(name).filter(|bias| bias.len() == outputs),
        };
        let (Some(bias), Some(real)) = (bias, self.real(input)) else { return Ok(false) };
        let numbers = |name: &str, default: Vec<i64>| node.ints(name).map_or(default, <[i64]>::to_vec);
        let (strides, dilations, pads) =
            (numbers("strides", vec![1; 2]), numbers("dilations", vec![1; 2]), numbers("pads", vec![0; 4]));
        let plain = node.int("group", 1) == 1
            && dilations == [1, 1]
            && node.ints("output_shape").is_none()
            && matches!(node.text("auto_pad").unwrap_or("NOTSET"), "NOTSET" | "VALID");
        let (&[stride_y @ 1..=64, stride_x @ 1..=64], &[top @ 0..=4096, left @ 0..=4096, ..], true) =
            (&strides[..], &pads[..], plain && depth == real.channels())
        else {
            return Ok(false);
        };
        let [stride_y, stride_x, top, left] = [stride_y, stride_x, top, left].map(|number| number as usize);
        let phases = |stride: usize, taps: usize, pad: usize, size: usize| {
            let all = (0..stride).map(|remainder| Phase::new(remainder, stride, taps, pad, size));
            all.filter(|phase| phase.count > 0).collect::<Vec<_>>()
        };
        let (rows, columns) = (phases(stride_y, taps_y, top, height), phases(stride_x, taps_x, left, width));
        if rows.iter().chain(&columns).any(|phase| phase.taps == 0) {
            return Ok(false);
        }
        let image = self.written(&real);
        let ring =
            rows.iter().map(|phase| phase.ring(real.height)).chain(columns.iter().map(|phase| phase.ring(real.width)));
        self.ask_ring(image, ring.max().unwrap_or(0));
        let output = self.image_slot([outputs, height, width], Element::Float, 0);
        let (from, to) = (self.image(image), self.image(output).view(0, 0, 0));
        for (y, x) in rows.iter().flat_map(|y| columns.iter().map(move |x| (y, x))) {
            self.macs.float += (y.count * x.count * outputs * depth * y.taps * x.taps) as u64;
            if self.trial {
                continue;
            }
            let mut own = Vec::with_capacity(outputs * y.taps * x.taps * depth);
            for (o, ky) in (0..outputs).flat_map(|o| (0..y.taps).rev().map(move |ky| (o, y.first + ky * stride_y))) {
                for kx in (0..x.taps).rev().map(|kx| x.first + kx * stride_x) {
                    own.extend((0..depth).map(|c| weights[((c * outputs + o) * taps_y + ky) * taps_x + kx]));
                }
            }
            let shape = Shape {
                taps: [y.taps, x.taps],
                stride: [1, 1],
                dilation: [1, 1],
                depth,
                outputs,
                width: x.count,
                input: from.view_from(y.start, x.start, 0),
                output: View {
                    origin: to.origin + y.remainder * to.row + x.remainder * to.pixel,
                    row: stride_y * to.row,
                    pixel: stride_x * to.pixel,
                },
            };
            let weights = Weights::pack(self.isa, &shape, &own, &bias);
            let step = Conv32 { input: image, output, rows: y.count, shape, weights, bounds: Bounds::NONE };
            self.draft.steps.push(Step::Conv32(Box::new(step)));
        }
        let real = self.plain(output);
        self.set_real(node, real)
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
