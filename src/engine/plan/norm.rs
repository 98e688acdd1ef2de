//! Group normalization of sums of int8 images: exact integer sums first, then one factor and one offset for each channel.

use super::arena::Rest;
use super::slot::{SlotId, Vector};
use super::step::{CELL, Layout};
use crate::engine::kernel::moments;

/// Sums over the pixels of images: see [`moments::int8`].
#[derive(Debug)]
pub struct Moments {
    /// Images of one size, each from a channel on.
    pub terms: Vec<(SlotId, usize)>,
    pub channels: usize,
    /// Adjacent channels that are summed together.
    pub span: usize,
    pub output: SlotId,
    /// First of its sums in the output, in numbers of 8 bytes.
    pub at: usize,
    /// The first of those that write to this output clears it.
    pub clears: bool,
}

impl Moments {
    /// Numbers that it writes.
    pub fn len(terms: usize, channels: usize, span: usize) -> usize {
        moments::groups(terms) * (channels / span)
    }

    /// Numbers that each thread needs beside.
    pub fn scratch(&self) -> usize {
        Self::len(self.terms.len(), self.channels, self.span)
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8], scratch: &mut [i64]) {
        let sums: &mut [i64] = bytemuck::cast_slice_mut(own);
        if self.clears {
            sums.fill(0);
        }
        let first = layout.image(self.terms[0].0);
        let mut terms = [(&[][..], first.view(0, 0, 0)); 4];
        for (term, &(slot, channel)) in terms.iter_mut().zip(&self.terms) {
            *term = (layout.bytes(rest, slot), layout.image(slot).view(0, 0, channel));
        }
        let sums = &mut sums[self.at..][..self.scratch()];
        let terms = &terms[..self.terms.len()];
        // Each thread sums on its own; the sums are whole numbers, so it doesn't matter how they are brought together.
        let each = scratch.len() / layout.threads.count();
        scratch.chunks_exact_mut(each).for_each(|own| own[..sums.len()].fill(0));
        layout.rows(
            (first.height, 0),
            CELL * self.channels * first.width,
            (&mut [0u8; 0], 0),
            scratch,
            |rows, _, own| {
                moments::int8(
                    layout.isa,
                    self.channels,
                    self.span,
                    first.width,
                    rows,
                    terms,
                    &mut own[..self.scratch()],
                );
            },
        );
        for own in scratch.chunks_exact(each) {
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
    }
}

/// Some channels of what is normalized: a sum of images.
#[derive(Debug)]
pub struct Part {
    pub factors: Vec<Vector>,
    pub bias: Vector,
    pub span: usize,
    /// Of its sums in the moments, in numbers of 8 bytes.
    pub at: usize,
    /// Pixels of its images, and how often each stands in the normalized image: 1, or 4 where it is upsampled.
    pub pixels: usize,
    pub times: usize,
}

/// (x − mean) / √(variance + epsilon) · gain + offset over groups of channels: from the moments of its parts their new factors and bias, part by part.
#[derive(Debug)]
pub struct Norm {
    pub moments: SlotId,
    pub parts: Vec<Part>,
    pub groups: usize,
    pub epsilon: f32,
    /// For each group, or for each channel.
    pub gain: Vector,
    pub offset: Vector,
    pub output: SlotId,
    pub channels: usize,
}

impl Norm {
    pub fn vectors(&self) -> impl Iterator<Item = &Vector> {
        let parts = self.parts.iter().flat_map(|part| part.factors.iter().chain([&part.bias]));
        parts.chain([&self.gain, &self.offset])
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) {
        let sums: &[i64] = bytemuck::cast_slice(layout.bytes(rest, self.moments));
        let (gain, offset) = (layout.vector(rest, &self.gain), layout.vector(rest, &self.offset));
        let own: &mut [f32] = bytemuck::cast_slice_mut(own);
        let size = self.channels / self.groups;
        for group in 0..self.groups {
            let channels = group * size..(group + 1) * size;
            let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
            self.walk(channels.clone(), &mut |part, channel, _| {
                if channel.is_multiple_of(part.span) {
                    let (a, b) = self.part_sums(layout, rest, part, channel, sums);
                    count += (part.pixels * part.times * part.span) as f64;
                    sum += a * part.times as f64;
                    squares += b * part.times as f64;
                }
            });
            let mean = sum / count;
            let variance = (squares / count - mean * mean).max(0.0);
            let inverse = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            let each = |values: &[f32], channel: usize| {
                f64::from(values[if values.len() == self.groups { group } else { channel }])
            };
            let mut whole = channels.start;
            self.walk(channels, &mut |part, channel, place| {
                let gain = each(gain, whole) * inverse;
                let width = part.bias.channels();
                for (term, factor) in part.factors.iter().enumerate() {
                    own[place + term * width + channel] =
                        (f64::from(layout.vector(rest, factor)[channel]) * gain) as f32;
                }
                let bias = f64::from(layout.vector(rest, &part.bias)[channel]);
                own[place + part.factors.len() * width + channel] = ((bias - mean) * gain + each(offset, whole)) as f32;
                whole += 1;
            });
        }
    }

    /// The channels in order, each with its part, its channel there, and where the part's output begins.
    fn walk(&self, channels: std::ops::Range<usize>, visit: &mut dyn FnMut(&Part, usize, usize)) {
        let (mut first, mut place) = (0, 0);
        for part in &self.parts {
            let width = part.bias.channels();
            for channel in channels.start.max(first)..channels.end.min(first + width) {
                visit(part, channel - first, place);
            }
            first += width;
            place += (part.factors.len() + 1) * width;
        }
    }

    /// Sum and sum of squares over the pixels of `span` channels from `channel` on, whose factors and bias are the same.
    fn part_sums(&self, layout: &Layout<'_>, rest: &Rest<'_>, part: &Part, channel: usize, sums: &[i64]) -> (f64, f64) {
        let (terms, entries) = (part.factors.len(), part.bias.channels() / part.span);
        let at = |group: usize| sums[part.at + group * entries + channel / part.span] as f64;
        let factor = |term: usize| f64::from(layout.vector(rest, &part.factors[term])[channel]);
        let bias = f64::from(layout.vector(rest, &part.bias)[channel]);
        let count = (part.pixels * part.span) as f64;
        let (mut linear, mut squares) = (0.0, 0.0);
        let mut product = terms;
        for t in 0..terms {
            linear += factor(t) * at(t);
            for u in t..terms {
                squares += factor(t) * factor(u) * at(product) * if t == u { 1.0 } else { 2.0 };
                product += 1;
            }
        }
        (linear + count * bias, squares + 2.0 * bias * linear + count * bias * bias)
    }
}

/// As [`Norm`], of one float image: the mean first, then the squares round it.
#[derive(Debug)]
pub struct FloatNorm {
    pub image: SlotId,
    pub groups: usize,
    pub epsilon: f32,
    /// For each group.
    pub gain: Vector,
    pub offset: Vector,
    pub output: SlotId,
    pub channels: usize,
}

impl FloatNorm {
    /// Floats of its output: sums in 64 bits, centers, factors, biases.
    pub fn floats(channels: usize) -> usize {
        7 * channels
    }

    /// The first factor and the first bias in its output.
    pub fn places(channels: usize) -> (usize, usize) {
        (5 * channels, 6 * channels)
    }

    /// Numbers that each thread needs beside.
    pub fn scratch(&self) -> usize {
        2 * self.channels
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8], scratch: &mut [i64]) {
        let (image, channels) = (layout.image(self.image), self.channels);
        let (gain, offset) = (layout.vector(rest, &self.gain), layout.vector(rest, &self.offset));
        let cells = layout.floats(rest, self.image);
        let (sums, own) = own.split_at_mut(16 * channels);
        let sums: &mut [f64] = bytemuck::cast_slice_mut(sums);
        let own: &mut [f32] = bytemuck::cast_slice_mut(own);
        let (center, own) = own.split_at_mut(channels);
        let (factor, bias) = own.split_at_mut(channels);
        let size = channels / self.groups;
        let count = (image.height * image.width * size) as f64;
        // Over a group: of its sums, which stand in pairs, the first or the second ones.
        let total = |sums: &[f64], group: usize, which: usize| {
            sums[2 * group * size..][..2 * size].iter().skip(which).step_by(2).sum::<f64>() / count
        };
        center.fill(0.0);
        self.take(layout, cells, center, sums, scratch);
        for (group, center) in center.chunks_exact_mut(size).enumerate() {
            center.fill(total(sums, group, 0) as f32);
        }
        self.take(layout, cells, center, sums, scratch);
        for group in 0..self.groups {
            let own = group * size..(group + 1) * size;
            let rest = total(sums, group, 0);
            let variance = total(sums, group, 1) - rest * rest;
            let gain = f64::from(gain[group]) / (variance.max(0.0) + f64::from(self.epsilon)).sqrt();
            let mean = f64::from(center[own.start]) + rest;
            factor[own.clone()].fill(gain as f32);
            bias[own].fill((f64::from(offset[group]) - mean * gain) as f32);
        }
    }

    /// For each channel its sum round `center` and that of the squares. Threads share the channels: those of one are summed in one order.
    fn take(&self, layout: &Layout<'_>, cells: &[f32], center: &[f32], sums: &mut [f64], scratch: &mut [i64]) {
        let image = layout.image(self.image);
        let work = CELL * VECTOR * image.height * image.width;
        let rows = (self.channels.div_ceil(VECTOR), 2 * VECTOR);
        layout.rows(rows, work, (sums, 0), scratch, |rows, sums, own| {
            let part = rows.start * VECTOR..self.channels.min(rows.end * VECTOR);
            let own: &mut [f64] = bytemuck::cast_slice_mut(&mut own[..2 * part.len()]);
            own.fill(0.0);
            let view = image.view(0, 0, part.start);
            let center = &center[part];
            moments::float(layout.isa, center.len(), image.width, 0..image.height, cells, view, center, own);
            let (first, second) = own.split_at(center.len());
            for (pair, (&first, &second)) in sums.chunks_exact_mut(2).zip(first.iter().zip(second)) {
                pair.copy_from_slice(&[first, second]);
            }
        });
    }
}

/// Channels that go to one thread: those of the widest vector.
const VECTOR: usize = 16;
