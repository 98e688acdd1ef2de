//! Products of int8 matrices: where the right one is constant, a convolution with one tap of an image of one row, whose pixels are the rows.

use super::place::Place;
use super::quantize::Grid;
use super::real::Order;
use super::sums::{Filter, Reach, Sums, ordered};
use super::weights::Weights;
use super::{Cells, Form, Found, Lowering, product_of};
use crate::engine::graph::Node;
use crate::engine::kernel::{View, compensate};
use crate::engine::plan::compensate::Compensate;
use crate::engine::plan::slot::SlotId;
use crate::engine::plan::step::{ConvEnd, Step};
use std::rc::Rc;

impl Lowering<'_> {
    /// A Gemm or MatMul of dequantized rows and int8 weights.
    pub(super) fn quantized_product(&mut self, node: &Node) -> Found {
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        let (Some(Form::Real(real, rows)), Some(Form::Weights(weights))) =
            (self.forms.get(a).cloned(), self.forms.get(b).cloned())
        else {
            return Ok(false);
        };
        let Some((input, grid)) = real.cells() else { return Ok(false) };
        let image = self.image(input);
        let is_rows = rows.last() == Some(&image.channels)
            && (real.order == Order::Rows || (image.height, image.width) == (1, 1));
        let transposed = node.int("transB", 0) != 0;
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let plain = alpha.is_normal() && alpha > 0.0 && beta.is_finite() && node.int("transA", 0) == 0;
        let Some(outputs) = product_outputs(&weights, transposed, image.channels) else { return Ok(false) };
        if !plain || !is_rows {
            return Ok(false);
        }
        let unit = |o: usize| f64::from(grid.scale) * f64::from(weights.scale(o)) * f64::from(alpha);
        let Some(bias) = self.bias_in_sums(node, outputs, |o| unit(o) / f64::from(beta))? else { return Ok(false) };
        let units = (0..outputs).map(|o| grid.scale * weights.scale(o) * alpha).collect();
        let sums = self.row_sums(node, input, &weights, transposed, bias, units)?;
        self.forms.insert(node.output().to_owned(), Form::Sums(Rc::new(sums.clone())));
        self.end_unless_quantized(node, &sums)
    }

    pub(super) fn matmul_integer(&mut self, node: &Node) -> Found {
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        if let Some((image, weights)) = self.constant_product(a, node.input(2), b, vec![1.0], node.input(3))?
            && let Some(outputs) = product_outputs(&weights, false, self.image(image).channels)
        {
            let sums = self.row_sums(node, image, &weights, false, vec![0; outputs], vec![1.0; outputs])?;
            return self.set(node, Form::Whole(Rc::new(sums)));
        }
        match self.whole_product(node, [a, b], [node.input(2), node.input(3)])? {
            Some(place) => self.set(node, Form::Tensor(place)),
            None => Ok(false),
        }
    }

    pub(super) fn qlinear_matmul(&mut self, node: &Node) -> Found {
        let (Some(a), Some(b)) = (node.input(0), node.input(3)) else { return Err("has not two matrices".into()) };
        let Some(grid) = self.grid(node.input(1), node.input(2))? else { return Ok(false) };
        let Some(to) = self.grid(node.input(6), node.input(7))? else { return Ok(false) };
        let Some(scale) = node.input(4).and_then(|name| self.constant_floats(name)) else { return Ok(false) };
        let unit = |scales: &[f32], o: usize| grid.scale * if scales.len() == 1 { scales[0] } else { scales[o] };
        let dims = self.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        let cells = |image: SlotId, shape| Cells { image, unsigned: to.unsigned, order: Order::Rows, shape };
        if let Some((image, weights)) = self.constant_product(a, node.input(2), b, scale.clone(), node.input(5))?
            && let Some(outputs) = product_outputs(&weights, false, self.image(image).channels)
        {
            let units = (0..outputs).map(|o| unit(&scale, o)).collect();
            let sums = self.row_sums(node, image, &weights, false, vec![0; outputs], units)?;
            let image = self.end_int8(&sums, to);
            return self.set(node, Form::Int8(cells(image, dims)));
        }
        scale.iter().try_for_each(|&scale| super::quantize::check_scale(scale))?;
        let Some(sums) = self.whole_product(node, [a, b], [node.input(2), node.input(5)])? else { return Ok(false) };
        let columns = dims.last().copied().unwrap_or(1);
        if scale.len() != 1 && scale.len() != columns {
            return Err(format!("{} scales for {columns} columns", scale.len()));
        }
        let image = self.quantized_rows(&sums, columns, (0..columns).map(|o| unit(&scale, o) / to.scale).collect(), to);
        self.set(node, Form::Int8(cells(image, dims)))
    }

    /// Rows of whole numbers in the cells of a grid.
    fn quantized_rows(&mut self, sums: &Place, columns: usize, scale: Vec<f32>, grid: Grid) -> SlotId {
        let rows = sums.len() / columns.max(1);
        let output = self.int8_slot([columns, 1, rows], grid.zero_point);
        let input = View { origin: sums.at, row: rows * columns, pixel: columns };
        let shape = compensate::Shape {
            outputs: columns,
            each: columns,
            width: rows,
            input,
            output: self.image(output).view(0, 0, 0),
        };
        self.draft.steps.push(Step::Compensate(Box::new(Compensate {
            shape,
            rows: 1,
            sums: sums.slot,
            weights_zero: Vec::new(),
            zero_point: None,
            end: ConvEnd::Int8 { scale, zero_point: grid.zero_point, low: -128, high: 127 },
            output,
        })));
        output
    }

    /// The rows of `a` as an image and `b` as weights, where one is a matrix of 8 bits and the other one constant.
    fn constant_product(
        &mut self,
        a: &str,
        a_zero: Option<&str>,
        b: &str,
        scale: Vec<f32>,
        b_zero: Option<&str>,
    ) -> Result<Option<(SlotId, Weights)>, String> {
        if !self.constants.get(b).is_some_and(|value| value.rank() == 2 && !value.is_empty()) {
            return Ok(None);
        }
        let Some(weights) = self.weights(b, scale, b_zero, 1)? else { return Ok(None) };
        let Some(border) = self.border(a, a_zero)? else { return Ok(None) };
        let image = self.int8_image(a, Order::Rows, border)?;
        Ok(image.map(|image| (image, weights)))
    }

    /// The sums of the rows of `input` times a matrix, which is transposed or not.
    fn row_sums(
        &mut self,
        node: &Node,
        input: SlotId,
        weights: &Weights,
        transposed: bool,
        bias: Vec<i32>,
        unit: Vec<f32>,
    ) -> Result<Sums, String> {
        let (width, depth, outputs) = (self.image(input).width, self.image(input).channels, unit.len());
        let by_output = |of: &Vec<i8>| if transposed { of.clone() } else { ordered(of, depth, outputs) };
        let (values, factors) = (by_output(&weights.values), weights.factors.as_ref().map(by_output));
        let filter = Filter { taps: [1, 1], depth, groups: 1, outputs, weights: values, factors, bias };
        let dims = self.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        self.macs.int8 += product_of([width, outputs, depth]);
        let filters = [(filter, Reach::pixels(width))];
        Ok(self.sums(input, &filters, weights.zeros(outputs), unit, [1, width]).with_rows(dims))
    }
}

/// The columns of a product with rows of `depth`; `None` where the weights are no matrix of such columns with a scale for each.
fn product_outputs(weights: &Weights, transposed: bool, depth: usize) -> Option<usize> {
    let &[first, second] = &weights.shape[..] else { return None };
    let (rows, columns) = if transposed { (second, first) } else { (first, second) };
    (rows == depth && columns > 0 && weights.lies_along(usize::from(!transposed))).then_some(columns)
}
