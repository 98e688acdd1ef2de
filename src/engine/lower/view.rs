//! Operators that only say where elements lie: most cost nothing, the others are copies.

use super::place::{Place, dense};
use super::quantize::Grid;
use super::real::{Order, Real};
use super::{Cells, Form, Found, Lowering};
use crate::engine::graph::{Datum, Node};
use crate::engine::kernel::tensor::walk::Walk;
use std::rc::Rc;

/// Axis `axis` of a tensor of rank `rank`, where a negative one counts from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

impl Lowering<'_> {
    /// The integers of a constant.
    pub(super) fn constant_ints(&self, name: &str) -> Option<Vec<i64>> {
        self.constants.get(name).map(|value| value.to_ints())
    }

    /// What a node says as input `index` or, in older operator sets, as attribute `name`.
    pub(super) fn ints(&self, node: &Node, index: usize, name: &str) -> Option<Vec<i64>> {
        match node.input(index) {
            Some(input) => self.constant_ints(input),
            None => node.ints(name).map(<[i64]>::to_vec),
        }
    }

    fn shape_of(&self, node: &Node) -> Result<Vec<usize>, String> {
        Ok(self.shape(node.output()).ok_or("its shape is not known")?.to_vec())
    }

    /// A computed input in the arena; `None` where it is a constant.
    fn view(&mut self, node: &Node, index: usize) -> Result<Option<Place>, String> {
        match node.input(index) {
            Some(name) if self.forms.contains_key(name) => self.tensor(name).map(Some),
            _ => Ok(None),
        }
    }

    fn set_place(&mut self, node: &Node, place: Place) -> Found {
        self.set(node, Form::Tensor(place))
    }

    pub(super) fn reshape(&mut self, node: &Node) -> Found {
        let input = node.input(0).ok_or("has no input")?;
        let shape = self.shape_of(node)?;
        let type_of = |name: &str| self.graph.facts.get(name).map(|fact| fact.datum_type);
        if type_of(input) != type_of(node.output()) {
            return Ok(false);
        }
        match self.forms.get(input).cloned() {
            Some(form) if self.shape(input) == Some(&shape) => self.set(node, form),
            Some(Form::Real(real, _)) => self.set(node, Form::Real(real, shape)),
            Some(Form::Sums(sums)) => {
                let real = Rc::new(self.end_float(&sums));
                self.forms.insert(input.to_owned(), Form::Real(real.clone(), sums.dims.clone()));
                self.set(node, Form::Real(real, shape))
            }
            Some(Form::Int8(cells)) => self.set(node, Form::Int8(Cells { shape, ..cells })),
            Some(_) => {
                let place = self.tensor(input)?;
                let place = self.reshaped(&place, &shape)?;
                self.set_place(node, place)
            }
            None => Ok(false),
        }
    }

    pub(super) fn transpose(&mut self, node: &Node) -> Found {
        let Some(place) = self.view(node, 0)? else { return Ok(false) };
        let rank = place.shape.len();
        let order: Option<Vec<usize>> = match node.ints("perm") {
            None => Some((0..rank).rev().collect()),
            Some(order) => order.iter().map(|&axis| axis_of(axis, rank)).collect(),
        };
        let order = order.filter(|order| order.len() == rank).ok_or("perm is no order of its axes")?;
        let view = place.permuted(&order);
        // What a step can't walk over.
        if Walk::new(&view.shape, &[&dense(&view.shape), &view.strides]).is_none() {
            return Ok(false);
        }
        self.set_place(node, view)
    }

    pub(super) fn slice(&mut self, node: &Node) -> Found {
        let Some(place) = self.view(node, 0)? else { return Ok(false) };
        let shape = self.shape_of(node)?;
        let Some(starts) = self.ints(node, 1, "starts") else { return Ok(false) };
        let axes = match (node.input(3), self.ints(node, 3, "axes")) {
            (Some(_), None) => return Ok(false),
            (_, axes) => axes.unwrap_or_else(|| (0..starts.len() as i64).collect()),
        };
        let steps = match node.input(4) {
            None => vec![1; starts.len()],
            Some(name) => match self.constant_ints(name) {
                Some(steps) if steps.iter().all(|&step| step > 0) => steps,
                _ => return Ok(false),
            },
        };
        if axes.len() != starts.len() || steps.len() != starts.len() {
            return Err("starts, axes and steps differ in length".into());
        }
        let mut view = place;
        for ((&start, &axis), &step) in starts.iter().zip(&axes).zip(&steps) {
            let axis = axis_of(axis, view.shape.len()).ok_or("an axis that its input doesn't have")?;
            let side = view.shape[axis] as i64;
            let start = if start < 0 { start.saturating_add(side) } else { start }.clamp(0, side) as usize;
            // How many are left is known from its output's shape.
            let step = if shape[axis] > 1 { step as usize } else { 1 };
            if shape[axis] > 0 && start + (shape[axis] - 1) * step >= view.shape[axis] {
                return Err("it reaches beyond its input".into());
            }
            view = view.sliced(axis, start, shape[axis], step);
        }
        self.set_place(node, view)
    }

    pub(super) fn split(&mut self, node: &Node) -> Found {
        let Some(place) = self.view(node, 0)? else { return Ok(false) };
        let axis = axis_of(node.int("axis", 0), place.shape.len()).ok_or("an axis that its input doesn't have")?;
        let mut start = 0;
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            let count = self.shape(name).ok_or("its shape is not known")?[axis];
            if start + count > place.shape[axis] {
                return Err("its parts are larger than its input".into());
            }
            let part = place.sliced(axis, start, count, 1);
            self.forms.insert(name.clone(), Form::Tensor(part));
            start += count;
        }
        Ok(true)
    }

    pub(super) fn gather(&mut self, node: &Node) -> Found {
        let Some(indices) = node.input(1).and_then(|name| self.constant_ints(name)) else { return Ok(false) };
        let Some(place) = self.view(node, 0)? else { return Ok(false) };
        let shape = self.shape_of(node)?;
        let axis = axis_of(node.int("axis", 0), place.shape.len()).ok_or("an axis that its input doesn't have")?;
        let side = place.shape[axis] as i64;
        let indices: Vec<i64> = indices.iter().map(|&index| if index < 0 { index + side } else { index }).collect();
        if indices.iter().any(|index| !(0..side).contains(index)) {
            return Err(format!("an index outside of 0..{side}"));
        }
        // Indices at one distance are a view.
        let [Some(&first), step] = [indices.first(), indices.get(1)] else { return Ok(false) };
        let step = step.map_or(1, |second| second - first);
        let even = indices.iter().enumerate().all(|(at, &index)| index == first + at as i64 * step);
        if !even || step < 1 {
            return Ok(false);
        }
        let view = place.sliced(axis, first as usize, indices.len(), step as usize);
        let view = self.reshaped(&view, &shape)?;
        self.set_place(node, view)
    }

    pub(super) fn expand(&mut self, node: &Node) -> Found {
        let Some(place) = self.view(node, 0)? else { return Ok(false) };
        let shape = self.shape_of(node)?;
        match place.broadcast(&shape) {
            Some(view) => self.set_place(node, view),
            None => Ok(false),
        }
    }

    pub(super) fn depth_to_space(&mut self, node: &Node) -> Found {
        let Some((place, grid)) = self.cells_or_view(node)? else { return Ok(false) };
        let (&[batch, channels, height, width], Ok(size)) =
            (&place.shape[..], usize::try_from(node.int("blocksize", 1)))
        else {
            return Ok(false);
        };
        if size == 0 || !channels.is_multiple_of(size * size) {
            return Err(format!("{channels} channels can't be dealt to blocks of {size} x {size}"));
        }
        let depth = channels / (size * size);
        let cut = match node.text("mode") {
            Some("CRD") => {
                place.reshaped(&[batch, depth, size, size, height, width]).map(|cut| cut.permuted(&[0, 1, 4, 2, 5, 3]))
            }
            _ => {
                place.reshaped(&[batch, size, size, depth, height, width]).map(|cut| cut.permuted(&[0, 3, 4, 1, 5, 2]))
            }
        };
        self.rearranged(node, cut, grid)
    }

    pub(super) fn space_to_depth(&mut self, node: &Node) -> Found {
        let Some((place, grid)) = self.cells_or_view(node)? else { return Ok(false) };
        let (&[batch, channels, height, width], Ok(size)) =
            (&place.shape[..], usize::try_from(node.int("blocksize", 1)))
        else {
            return Ok(false);
        };
        if size == 0 || !height.is_multiple_of(size) || !width.is_multiple_of(size) {
            return Err(format!("{height} x {width} pixels are no blocks of {size} x {size}"));
        }
        let cut = place.reshaped(&[batch, channels, height / size, size, width / size, size]);
        self.rearranged(node, cut.map(|cut| cut.permuted(&[0, 3, 5, 1, 2, 4])), grid)
    }

    /// Input 0: the stored cells of an image that is dequantized here, with their grid, else floats.
    fn cells_or_view(&mut self, node: &Node) -> Result<Option<(Place, Option<Grid>)>, String> {
        if let Some(real) = node.input(0).and_then(|name| self.real(name))
            && let Some((image, grid)) = real.cells()
        {
            let place = Place::image(image, &self.image(image), u8::datum_type(), real.order);
            return Ok(Some((place, Some(grid))));
        }
        Ok(self.view(node, 0)?.map(|place| (place, None)))
    }

    /// `cut` has the elements of the node's output, in more axes: floats, or stored cells of a grid.
    fn rearranged(&mut self, node: &Node, cut: Option<Place>, grid: Option<Grid>) -> Found {
        let Some(cut) = cut else { return Ok(false) };
        let shape = self.shape_of(node)?;
        if let (Some(grid), &[1, channels, height, width]) = (grid, &shape[..]) {
            let image = self.int8_slot([channels, height, width], grid.zero_point);
            let to = Place::image(image, &self.image(image), u8::datum_type(), Order::Planes);
            return match self.copy(&cut, &to) {
                Some(()) => {
                    let real = self.dequantized(image, grid);
                    self.set_real(node, real)
                }
                None => Ok(false),
            };
        }
        if cut.datum_type != f32::datum_type() {
            return Ok(false);
        }
        let (to, form) = self.destination(node.output(), &shape);
        match self.copy(&cut, &to) {
            Some(()) => self.set(node, form),
            None => Ok(false),
        }
    }

    pub(super) fn concat(&mut self, node: &Node) -> Found {
        let names: Vec<&str> = node.inputs.iter().map(String::as_str).collect();
        let shape = self.shape_of(node)?;
        let axis = axis_of(node.int("axis", 1), shape.len()).ok_or("an axis that its output doesn't have")?;
        let is_real = |name: &&str| matches!(self.forms.get(*name), Some(Form::Real(..) | Form::Sums(_)));
        let is_image = matches!(shape[..], [1, _, height, width] if height * width > 1);
        if axis == 1 && is_image && names.iter().all(is_real) && self.concat_images(node, &names)? {
            return Ok(true);
        }
        let is_float_image = |name: &&str| {
            self.forms.contains_key(*name)
                && self.graph.facts.get(*name).is_some_and(|fact| fact.datum_type == f32::datum_type())
        };
        let is_weights = |name: &&str| matches!(self.forms.get(*name), Some(Form::Weights(_)));
        let is_quantized = !names.iter().any(is_weights)
            && self.only_reader(node.output()).is_some_and(|reader| reader.op() == "QuantizeLinear");
        if axis == 1 && is_image && is_quantized && names.iter().all(is_float_image) {
            let names = names.into_iter().map(str::to_owned).collect();
            return self.set(node, Form::Parts(Rc::new(names)));
        }
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        match self.concat_written(node.output(), &names, &shape, axis)? {
            Some(form) => self.set(node, form),
            None => Ok(false),
        }
    }

    /// What `names` name, one after the other along an axis, as the value `name`.
    pub(super) fn concat_written(
        &mut self,
        name: &str,
        names: &[String],
        shape: &[usize],
        axis: usize,
    ) -> Result<Option<Form>, String> {
        let datum_type = self.graph.facts.get(name).ok_or("its type is not known")?.datum_type;
        let (to, form) = match datum_type == f32::datum_type() {
            true => self.destination(name, shape),
            false => {
                let place = self.tensor_slot(datum_type, shape.to_vec());
                (place.clone(), Form::Tensor(place))
            }
        };
        let mut start = 0;
        for name in names {
            let count = self.shape(name).ok_or("its shape is not known")?[axis];
            let part = to.sliced(axis, start, count, 1);
            start += count;
            if !self.write_part(name, &part)? {
                return Ok(None);
            }
        }
        Ok(Some(form))
    }

    /// Writes `name` to a part of something larger.
    fn write_part(&mut self, name: &str, part: &Place) -> Found {
        match self.forms.get(name).cloned() {
            Some(Form::Formula(formula)) => Ok(self.compute_to(&formula, part, None).is_some()),
            Some(_) => {
                let place = self.tensor(name)?;
                Ok(self.copy(&place, part).is_some())
            }
            None => match self.constant_floats(name) {
                Some(values) if part.datum_type == f32::datum_type() => Ok(self.write_constant(values, part).is_some()),
                _ => Ok(false),
            },
        }
    }

    /// One after the other, and nothing is written yet.
    fn concat_images(&mut self, node: &Node, names: &[&str]) -> Found {
        let mut whole: Option<Real> = None;
        for name in names {
            let Some(mut real) = self.real(name) else { return Ok(false) };
            if !real.is_linear() {
                let image = self.write(&real);
                real = Rc::new(self.plain(image));
            }
            match &mut whole {
                None => whole = Some((*real).clone()),
                Some(whole) => whole.pieces.extend(real.pieces.iter().cloned()),
            }
        }
        match whole {
            Some(whole) => self.set_real(node, Real { sigmoid_of: None, ..whole }),
            None => Ok(false),
        }
    }

    /// Nearest upsampling, where output pixel x shows input pixel x / factor.
    pub(super) fn resize(&mut self, node: &Node) -> Found {
        let (Some(input), Some(&[1, channels, height, width])) = (node.input(0), self.shape(node.output())) else {
            return Ok(false);
        };
        let Some(&[1, depth, low, narrow]) = self.shape(input) else { return Ok(false) };
        let way = (
            node.text("coordinate_transformation_mode").unwrap_or("half_pixel"),
            node.text("nearest_mode").unwrap_or("round_prefer_floor"),
        );
        let (up, across) = (height / low.max(1), width / narrow.max(1));
        // Operator set 10 has neither a region nor a way.
        let is_old = self.graph.opset < 11;
        let way = if is_old { ("asymmetric", "floor") } else { way };
        let scales = node.input(if is_old { 1 } else { 2 }).and_then(|name| self.constant_floats(name));
        let scales = scales.unwrap_or_default();
        let whole = scales == [1.0, 1.0, up as f32, across as f32] || (scales.is_empty() && !is_old);
        if is_old && !(whole && node.text("mode").unwrap_or("nearest") == "nearest") {
            return Err("of operator set 10, with other scales than whole ones or between pixels: write it with operator set 11 or later".into());
        }
        if !whole || depth != channels || (node.inputs.len() < 3 && !is_old) {
            return Ok(false);
        }
        // Pixel (x + ½) / 2 − ½ lies a quarter to the right or to the left of pixel x / 2.
        let is_floor =
            way == ("asymmetric", "floor") || way == ("half_pixel", "round_prefer_floor") && up.max(across) <= 2;
        if node.text("mode").unwrap_or("nearest") != "nearest"
            || !is_floor
            || (height, width) != (up * low, across * narrow)
        {
            return Ok(false);
        }
        if (up, across) == (2, 2)
            && let Some(real) = self.real(input)
        {
            let mut real = (*real).clone();
            if real.pieces.iter().any(|piece| piece.up == 1) {
                let image = self.write(&real);
                real = self.plain(image);
            }
            real.pieces.iter_mut().for_each(|piece| (piece.up, piece.grid) = (1, None));
            return self.set_real(node, Real { height, width, sigmoid_of: None, ..real });
        }
        let Some((place, grid)) = self.cells_or_view(node)? else { return Ok(false) };
        let cut = place.reshaped(&[1, channels, low, 1, narrow, 1]);
        let cut = cut.and_then(|cut| cut.broadcast(&[1, channels, low, up, narrow, across]));
        self.rearranged(node, cut, grid)
    }
}
