//! Products of matrices: Gemm and MatMul of floats, and those of integers where both are computed.

use super::place::{Place, dense};
use super::{Form, Found, Lowering, product_of};
use crate::engine::graph::{Datum, Node};
use crate::engine::kernel::tensor::product::{COLUMNS, Shape};
use crate::engine::plan::step::Step;
use crate::engine::plan::tensor::{Product, Source, TensorStep};

/// A matrix, or as many as `batch` says, all at one distance.
struct Matrix {
    source: Source,
    rows: usize,
    columns: usize,
    /// From a row to the next, and from a column to the next.
    strides: [usize; 2],
    batch: usize,
    step: usize,
}

impl Lowering<'_> {
    pub(super) fn gemm(&mut self, node: &Node) -> Found {
        if self.quantized_product(node)? {
            return Ok(true);
        }
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        let columns =
            self.shape(node.output()).and_then(|shape| shape.get(1).copied()).ok_or("its shape is not known")?;
        let beta = node.float("beta", 1.0);
        let bias = match node.input(2) {
            None => Vec::new(),
            Some(name) => match self.constant_floats(name) {
                Some(values) if values.len() == 1 => vec![values[0] * beta; columns],
                Some(values)
                    if values.len() == columns && self.shape(name).is_some_and(|of| of.last() == Some(&columns)) =>
                {
                    values.iter().map(|value| value * beta).collect()
                }
                _ => return Ok(false),
            },
        };
        let transposed = |name: &str| node.int(name, 0) != 0;
        let (Some(a), Some(b)) = (
            self.matrix(a, transposed("transA"), 1.0, false)?,
            self.matrix(b, transposed("transB"), node.float("alpha", 1.0), true)?,
        ) else {
            return Ok(false);
        };
        match self.product(node, a, b, Some(bias))? {
            Some(place) => self.set(node, Form::Tensor(place)),
            None => Ok(false),
        }
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Found {
        if self.quantized_product(node)? {
            return Ok(true);
        }
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        let (Some(a), Some(b)) = (self.matrix(a, false, 1.0, false)?, self.matrix(b, false, 1.0, true)?) else {
            return Ok(false);
        };
        match self.product(node, a, b, Some(Vec::new()))? {
            Some(place) => self.set(node, Form::Tensor(place)),
            None => Ok(false),
        }
    }

    /// The product of two matrices of 8 bits, without their zero points, in 32 bits.
    pub(super) fn whole_product(
        &mut self,
        node: &Node,
        names: [&str; 2],
        zeros: [Option<&str>; 2],
    ) -> Result<Option<Place>, String> {
        let [a, b] = names;
        let (Some(a), Some(b)) = (self.whole_matrix(a, zeros[0], false)?, self.whole_matrix(b, zeros[1], true)?) else {
            return Ok(None);
        };
        self.product(node, a, b, None)
    }

    /// The last two axes of `name` without their zero point, or one for each row, on the right for each column.
    fn whole_matrix(&mut self, name: &str, zero: Option<&str>, right: bool) -> Result<Option<Matrix>, String> {
        let mut shape = self.shape(name).ok_or("its shape is not known")?.to_vec();
        // A vector is a row on the left and a column on the right.
        let is_vector = shape.len() == 1;
        if is_vector {
            shape.insert(usize::from(right), 1);
        }
        let &[ref outer @ .., rows, columns] = &shape[..] else { return Ok(None) };
        let batch: usize = outer.iter().product();
        let own = if right { columns } else { rows };
        let zero = match zero {
            None => None,
            Some(zero) if self.type_of(zero) != self.type_of(name) => {
                return Err(format!("the types of {name:?} and its zero point differ"));
            }
            Some(zero) => {
                let of = self.shape(zero).unwrap_or(&[]).to_vec();
                let count: usize = of.iter().product();
                if count != 1 && count != own {
                    return Err(format!("zero points of the shape {of:?} for {shape:?}"));
                }
                let Some((typed, strides)) = self.typed(zero, &of)? else { return Ok(None) };
                let stride = (of.iter().zip(strides)).find(|&(&size, _)| size > 1).map_or(0, |(_, stride)| stride);
                let mut strides = vec![0; shape.len()];
                strides[shape.len() - if right { 1 } else { 2 }] = stride;
                Some((typed, if is_vector { vec![0] } else { strides }))
            }
        };
        if batch * rows * columns == 0 {
            return Ok(None);
        }
        let pitch = if right { columns.next_multiple_of(COLUMNS) } else { columns };
        let whole = self.tensor_slot(i32::datum_type(), vec![batch, rows, pitch]);
        let mut to = Place { strides: pitched(&shape, pitch), shape, ..whole.clone() };
        if is_vector {
            let axis = usize::from(!right);
            (to.shape, to.strides) = (vec![to.shape[axis]], vec![to.strides[axis]]);
        }
        if !self.write_whole(name, zero, &to)? {
            return Ok(None);
        }
        let source = Source::Slot { slot: whole.slot, at: 0 };
        Ok(Some(Matrix { source, rows, columns, strides: [pitch, 1], batch, step: rows * pitch }))
    }

    /// The product of floats with a bias for each column or none, or of whole numbers.
    fn product(
        &mut self,
        node: &Node,
        mut a: Matrix,
        b: Matrix,
        bias: Option<Vec<f32>>,
    ) -> Result<Option<Place>, String> {
        let shape = self.shape(node.output()).ok_or("its shape is not known")?.to_vec();
        if b.batch == 1 && a.batch > 1 && a.step == a.rows * a.strides[0] {
            (a.rows, a.batch) = (a.rows * a.batch, 1);
        }
        if a.columns != b.rows || (a.batch != b.batch && a.batch != 1 && b.batch != 1) {
            return Ok(None);
        }
        let batch = a.batch.max(b.batch);
        let whole = bias.is_none();
        let to = self.tensor_slot(if whole { i32::datum_type() } else { f32::datum_type() }, shape);
        if to.len() != batch * a.rows * b.columns {
            return Ok(None);
        }
        let shape =
            Shape { rows: a.rows, columns: b.columns, depth: a.columns, a: a.strides, b: b.strides[0], y: b.columns };
        *(if whole { &mut self.macs.int8 } else { &mut self.macs.float }) += product_of([to.len(), a.columns]);
        let step_of = |of: &Matrix| if of.batch == 1 { 0 } else { of.step };
        let steps = [step_of(&a), step_of(&b), a.rows * b.columns];
        let bias = bias.unwrap_or_default();
        let step = Product { shape, whole, a: a.source, b: b.source, bias, batch, steps, output: to.slot };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Product(step))));
        Ok(Some(to))
    }

    /// The last two axes of `name`, times `factor`. On the right its columns lie end to end, with some more to read behind the last row.
    fn matrix(&mut self, name: &str, transposed: bool, factor: f32, right: bool) -> Result<Option<Matrix>, String> {
        if let Some(value) = self.constants.get(name) {
            let mut shape = value.shape().to_vec();
            if shape.len() == 1 {
                shape.insert(usize::from(right), 1);
            }
            let (Some(values), true) = (self.constant_floats(name), value.datum_type().is_float()) else {
                return Ok(None);
            };
            let &[ref batch @ .., rows, columns] = &shape[..] else { return Ok(None) };
            if batch.iter().any(|&size| size != 1) || rows * columns == 0 {
                return Ok(None);
            }
            let (rows, columns, strides) =
                if transposed { (columns, rows, [1, columns]) } else { (rows, columns, [columns, 1]) };
            let pitch = columns.next_multiple_of(COLUMNS);
            let mut packed = vec![0.0; rows * pitch];
            for (y, packed) in packed.chunks_exact_mut(pitch).enumerate() {
                packed
                    .iter_mut()
                    .take(columns)
                    .enumerate()
                    .for_each(|(x, to)| *to = factor * values[y * strides[0] + x * strides[1]]);
            }
            return Ok(Some(Matrix {
                source: Source::Constant(packed.into()),
                rows,
                columns,
                strides: [pitch, 1],
                batch: 1,
                step: 0,
            }));
        }
        if !self.forms.contains_key(name) || factor != 1.0 {
            return Ok(None);
        }
        let mut place = self.tensor(name)?;
        // A vector is a row on the left and a column on the right.
        if place.shape.len() == 1 {
            place.shape.insert(usize::from(right), 1);
            place.strides.insert(usize::from(right), 0);
        }
        if place.datum_type != f32::datum_type() || place.shape.len() < 2 || place.len() == 0 {
            return Ok(None);
        }
        let rank = place.shape.len();
        let place = match transposed {
            true => {
                let mut order: Vec<usize> = (0..rank).collect();
                order.swap(rank - 2, rank - 1);
                place.permuted(&order)
            }
            false => place,
        };
        let (rows, columns) = (place.shape[rank - 2], place.shape[rank - 1]);
        let batch = place.shape[..rank - 2].iter().product();
        let place = match place.reshaped(&[batch, rows, columns]) {
            Some(view) if !right || (view.strides[2] == 1 && columns.is_multiple_of(COLUMNS)) => view,
            _ => {
                // A copy, with rows as long as they are read.
                let pitch = if right { columns.next_multiple_of(COLUMNS) } else { columns };
                let whole = self.tensor_slot(f32::datum_type(), vec![batch, rows, pitch]);
                let own = Place { shape: place.shape.clone(), strides: pitched(&place.shape, pitch), ..whole.clone() };
                self.copy(&place, &own).ok_or("too many axes")?;
                whole.sliced(2, 0, columns, 1)
            }
        };
        let source = Source::Slot { slot: place.slot, at: place.at };
        let strides = [place.strides[1], place.strides[2]];
        Ok(Some(Matrix { source, rows, columns, strides, batch, step: place.strides[0] }))
    }
}

/// Strides of a dense tensor whose rows are `pitch` long.
fn pitched(shape: &[usize], pitch: usize) -> Vec<usize> {
    let mut long = shape.to_vec();
    if let Some(last) = long.last_mut() {
        *last = pitch;
    }
    dense(&long)
}
