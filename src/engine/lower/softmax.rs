//! Operators made of folds and formulas: Softmax, LogSoftmax, LayerNormalization.

use super::formula::Formula;
use super::place::Place;
use super::view::axis_of;
use super::{Found, Lowering};
use crate::engine::graph::{Datum, Node};
use crate::engine::kernel::tensor::fold::Kind;
use crate::engine::kernel::tensor::formula::{Binary, Unary};
use std::ops::Range;

impl Lowering<'_> {
    /// e^(x − max) / Σ e^(x − max), and for LogSoftmax x − max − ln Σ e^(x − max).
    pub(super) fn softmax(&mut self, node: &Node) -> Found {
        // Before operator set 13, over all axes from the one named on.
        let (default, is_old) = if self.graph.opset < 13 { (1, true) } else { (-1, false) };
        let Some((x, axes)) = self.input_and_axes(node, default)? else { return Ok(false) };
        let axes = if is_old { axes } else { axes.start..axes.start + 1 };
        let Some(largest) = self.folded(Kind::Maximum, &x, &axes) else { return Ok(false) };
        let shifted = Formula::at(&x).with(Binary::Subtract, &self.spread(&largest, &x)?);
        let name = node.output();
        let Some(powers) = self.written_formula(&shifted.clone().then(Unary::Exp), name) else { return Ok(false) };
        let Some(sum) = self.folded(Kind::Sum, &powers, &axes) else { return Ok(false) };
        let sum = self.spread(&sum, &x)?;
        let formula = match node.op() {
            "LogSoftmax" => shifted.with(Binary::Subtract, &sum.then(Unary::Log)),
            _ => Formula::at(&powers).with(Binary::Divide, &sum),
        };
        self.set_formula(node, formula)
    }

    /// (x − mean) / √(variance + epsilon) · gain + offset, over the last axes.
    pub(super) fn layer_norm(&mut self, node: &Node) -> Found {
        let Some((x, axes)) = self.input_and_axes(node, -1)? else { return Ok(false) };
        if node.outputs.len() > 1 {
            return Ok(false);
        }
        let count: usize = x.shape[axes.clone()].iter().product();
        let Some(mean) = self.folded(Kind::Mean, &x, &axes) else { return Ok(false) };
        let centered = Formula::at(&x).with(Binary::Subtract, &self.spread(&mean, &x)?);
        let name = node.output();
        let Some(centered) = self.written_formula(&centered, name) else { return Ok(false) };
        let Some(squares) = self.folded(Kind::SumSquare, &centered, &axes) else { return Ok(false) };
        let of = |value| Formula::constant(value, &squares.shape);
        let deviation = Formula::at(&squares)
            .with(Binary::Divide, &of(count as f32))
            .with(Binary::Add, &of(node.float("epsilon", 1e-5)))
            .then(Unary::SquareRoot)
            .then(Unary::Reciprocal);
        let to = self.tensor_slot(f32::datum_type(), squares.shape.clone());
        if self.compute_to(&deviation, &to, None).is_none() {
            return Ok(false);
        }
        let mut formula = Formula::at(&centered).with(Binary::Multiply, &self.spread(&to, &x)?);
        for (index, function) in [(1, Binary::Multiply), (2, Binary::Add)] {
            if let Some(name) = node.input(index) {
                let Some(operand) = self.operand(name, &x.shape, false)? else { return Ok(false) };
                formula = formula.with(function, &operand);
            }
        }
        self.set_formula(node, formula)
    }

    /// A computed input of floats, and its axes from the one that the node names on.
    fn input_and_axes(&mut self, node: &Node, default: i64) -> Result<Option<(Place, Range<usize>)>, String> {
        let input = node.input(0).ok_or("has no input")?;
        if !self.forms.contains_key(input) {
            return Ok(None);
        }
        let x = self.tensor(input)?;
        let rank = x.shape.len();
        let axis = axis_of(node.int("axis", default), rank).ok_or("an axis that its input doesn't have")?;
        Ok((x.datum_type == f32::datum_type() && !x.shape.contains(&0)).then_some((x, axis..rank)))
    }

    /// A fold over `axes`, which keep a size of 1.
    fn folded(&mut self, kind: Kind, x: &Place, axes: &Range<usize>) -> Option<Place> {
        let mut shape = x.shape.clone();
        shape[axes.clone()].fill(1);
        let to = self.tensor_slot(f32::datum_type(), shape);
        self.fold_to(kind, x, &axes.clone().collect::<Vec<_>>(), &to)?;
        Some(to)
    }

    fn spread(&self, of: &Place, to: &Place) -> Result<Formula, String> {
        Ok(Formula::at(&of.broadcast(&to.shape).ok_or("shapes that can't be broadcast")?))
    }

    /// A step that computes a formula where what `name` names would lie.
    fn written_formula(&mut self, formula: &Formula, name: &str) -> Option<Place> {
        let (to, _) = self.destination(name, &formula.shape);
        self.compute_to(formula, &to, None)?;
        Some(to)
    }
}
