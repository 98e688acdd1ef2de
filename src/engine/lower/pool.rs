//! MaxPool and AveragePool.

use super::{Cells, Form, Found, Lowering};
use crate::engine::graph::Node;
use crate::engine::kernel::pool::Shape;
use crate::engine::plan::pool::{Kind, Pool};
use crate::engine::plan::slot::{Border, Element, SlotId};
use crate::engine::plan::step::Step;

impl Lowering<'_> {
    pub(super) fn pool(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        let &[1, _, height, width] = self.shape(node.output()).unwrap_or(&[]) else { return Ok(false) };
        let is_largest = node.op() == "MaxPool";
        // The indices of the largest cells are nothing that a plan gives.
        if node.outputs.len() > 1 || node.int("storage_order", 0) != 0 {
            return Ok(false);
        }
        let kind = match is_largest {
            true => Kind::Largest,
            false => Kind::Mean { whole: node.int("count_include_pad", 0) != 0 },
        };
        if let (true, Some(Form::Int8(cells))) = (is_largest, self.forms.get(input).cloned()) {
            if !self.is_whole(&cells) {
                return Ok(false);
            }
            let border = self.image(cells.image).border;
            let Some(image) = self.pooled(node, kind, cells.image, [height, width], border) else { return Ok(false) };
            let shape = vec![1, self.image(image).channels, height, width];
            return self.set(node, Form::Int8(Cells { image, shape, ..cells }));
        }
        let Some(real) = self.real(input) else { return Ok(false) };
        if let (true, Some((image, grid))) = (is_largest, real.cells()) {
            // The largest of quantized cells is one of them.
            let border = self.image(image).border;
            let Some(output) = self.pooled(node, kind, image, [height, width], border) else { return Ok(false) };
            let real = self.dequantized(output, grid);
            return self.set_real(node, real);
        }
        let image = self.written(&real);
        let Some(output) = self.pooled(node, kind, image, [height, width], Border::Byte(0)) else { return Ok(false) };
        let real = self.plain(output);
        self.set_real(node, real)
    }

    fn pooled(&mut self, node: &Node, kind: Kind, input: SlotId, size: [usize; 2], border: Border) -> Option<SlotId> {
        let from = self.image(input);
        let taps: [usize; 2] = node
            .ints("kernel_shape")?
            .iter()
            .map(|&tap| usize::try_from(tap).ok())
            .collect::<Option<Vec<_>>>()?
            .try_into()
            .ok()?;
        let walk = self.walk(node, [from.height, from.width], taps, size)?;
        let (stride, dilation, pad) = (walk.stride, walk.dilation, walk.pad);
        // A window beyond the border has nothing to say; and a mean over taps that are not there is left to tract.
        let covers = (0..2).all(|axis| {
            let side = [from.height, from.width][axis];
            pad[axis] < (taps[axis] - 1) * dilation[axis] + 1 && (size[axis] - 1) * stride[axis] < side + pad[axis]
        });
        let fits = (0..2).all(|axis| {
            let side = [from.height, from.width][axis] + pad[axis] + walk.pad_behind[axis];
            (size[axis] - 1) * stride[axis] + (taps[axis] - 1) * dilation[axis] < side
        });
        if !covers || (kind == Kind::Mean { whole: true } && !fits) {
            return None;
        }
        let output = self.image_slot([from.channels, size[0], size[1]], from.element, border);
        let shape = Shape {
            taps,
            stride,
            dilation,
            pad,
            size: [from.height, from.width],
            channels: from.channels,
            width: size[1],
            input: from.view(0, 0, 0),
            output: self.image(output).view(0, 0, 0),
        };
        debug_assert!(from.element == Element::Float || kind == Kind::Largest);
        self.draft.steps.push(Step::Pool(Box::new(Pool { kind, input, output, rows: size[0], shape })));
        Some(output)
    }
}
