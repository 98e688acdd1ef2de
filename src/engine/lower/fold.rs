//! Reductions.

use super::place::Place;
use super::view::axis_of;
use super::{Found, Lowering};
use crate::engine::graph::{Datum, Node};
use crate::engine::kernel::tensor::fold::Kind;
use crate::engine::kernel::tensor::walk::{AXES, Walk};
use crate::engine::plan::step::Step;
use crate::engine::plan::tensor::{Fold, Source, TensorStep};

impl Lowering<'_> {
    pub(super) fn fold(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        let kind = match node.op() {
            "ReduceSum" => Kind::Sum,
            "ReduceMean" | "GlobalAveragePool" => Kind::Mean,
            "ReduceMax" | "GlobalMaxPool" => Kind::Maximum,
            "ReduceMin" => Kind::Minimum,
            "ReduceSumSquare" => Kind::SumSquare,
            _ => return Ok(false),
        };
        let place = match self.forms.contains_key(input) {
            true => self.tensor(input)?,
            false => return Ok(false),
        };
        let rank = place.shape.len();
        let axes: Vec<usize> = match node.op() {
            "GlobalAveragePool" | "GlobalMaxPool" => (2..rank).collect(),
            _ => match self.ints(node, 1, "axes") {
                None if node.input(1).is_some() => return Ok(false),
                None if node.int("noop_with_empty_axes", 0) == 1 => return Ok(false),
                None => (0..rank).collect(),
                Some(axes) => {
                    let axes: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
                    axes.ok_or("an axis that its input doesn't have")?
                }
            },
        };
        let shape = self.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        if place.datum_type != f32::datum_type() || place.shape.contains(&0) || axes.is_empty() {
            return Ok(false);
        }
        let (to, form) = self.destination(node.output(), &shape);
        match self.fold_to(kind, &place, &axes, &to) {
            Some(()) => self.set(node, form),
            None => Ok(false),
        }
    }

    /// A step that folds `place` over `axes`. `to` may have those with a size of 1. `None` where there are too many axes.
    pub(super) fn fold_to(&mut self, kind: Kind, place: &Place, axes: &[usize], to: &Place) -> Option<()> {
        let rank = place.shape.len();
        let (goes, stays): (Vec<usize>, Vec<usize>) = (0..rank).partition(|axis| axes.contains(axis));
        // The output in the axes that stay, of which its own shape may have more, of size 1.
        let pick = |of: &[usize], axes: &[usize]| axes.iter().map(|&axis| of[axis]).collect::<Vec<usize>>();
        let sizes = pick(&place.shape, &stays);
        let own = to.reshaped(&sizes)?;
        let walk = Walk::new(&sizes, &[&own.strides, &pick(&place.strides, &stays)])?;
        // In the order of memory.
        let strides = pick(&place.strides, &goes);
        let inner = Walk::new(&pick(&place.shape, &goes), &[&strides]).filter(|inner| inner.sizes.len() <= AXES)?;
        let source = Source::Slot { slot: place.slot, at: place.at };
        let inner = (inner.sizes, inner.strides[0].clone());
        let step = Fold { kind, walk, inner, source, output: to.slot, at: to.at };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Fold(step))));
        Some(())
    }
}
