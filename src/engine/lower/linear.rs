//! QuantizeLinear and DequantizeLinear where no image is made: of any type, by axis and by block, with computed scales.

use super::place::{self, Place};
use super::quantize::check_scale;
use super::view::axis_of;
use super::{Form, Found, Lowering};
use crate::engine::graph::{DatumType, Node};
use crate::engine::kernel::tensor::walk::Walk;
use crate::engine::plan::step::Step;
use crate::engine::plan::tensor::{Linear, TensorStep, Type, Typed, TypedSource};

impl Lowering<'_> {
    pub(super) fn linear(&mut self, node: &Node) -> Found {
        let (Some(x), Some(scale)) = (node.input(0), node.input(1)) else { return Err("has not two inputs".into()) };
        let (Some(fact), Some(of)) = (self.graph.facts.get(node.output()).cloned(), self.shape(x)) else {
            return Ok(false);
        };
        // Of a computed scale nothing is known.
        self.constant_floats(scale).into_iter().flatten().try_for_each(check_scale)?;
        let (shape, scales) = (of.to_vec(), self.shape(scale).unwrap_or(&[]).to_vec());
        let axis = axis_of(node.int("axis", 1), shape.len());
        // The shape with its axis cut into blocks, and in which axes of it the scale lies.
        let Some((cut, lies)) = cut(&shape, &scales, axis, node.int("block_size", 0)) else {
            return Err(format!("scales of the shape {scales:?} for {shape:?}"));
        };
        let Some((x, x_strides)) = self.typed(x, &shape)? else { return Ok(false) };
        let Some((scale, scale_strides)) = self.typed(scale, &scales)? else { return Ok(false) };
        let zero_point = match node.input(2) {
            None => None,
            Some(name) if !self.stands_beside(name, &scales) => {
                let of = self.shape(name).unwrap_or(&[]);
                return Err(format!("a zero point of the shape {of:?} for scales of the shape {scales:?}"));
            }
            Some(name) => match self.typed(name, &scales)? {
                Some(found) => Some(found),
                None => return Ok(false),
            },
        };
        let to = self.tensor_slot(fact.datum_type, shape.clone());
        let Some(kind) = kind_of(fact.datum_type).filter(|&kind| kind != Type::I32) else { return Ok(false) };
        let spread =
            |strides: &[usize]| lies.iter().map(|axis| axis.map_or(0, |axis| strides[axis])).collect::<Vec<_>>();
        let mut strides =
            vec![place::dense(&cut), place::split(&shape, &x_strides, &parts(&cut)), spread(&scale_strides)];
        strides[1] = unsqueezed(&cut, &strides[1]);
        strides.extend(zero_point.as_ref().map(|(_, strides)| spread(strides)));
        let strides: Vec<&[usize]> = strides.iter().map(Vec::as_slice).collect();
        let Some(walk) = Walk::new(&cut, &strides) else { return Ok(false) };
        let zero_point = zero_point.map(|(zero_point, _)| zero_point);
        let step = Linear { walk, x, scale, zero_point, kind, output: to.slot };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Linear(step))));
        self.set(node, Form::Tensor(to))
    }

    /// Whether a zero point has a value for each of such scales.
    fn stands_beside(&self, zero_point: &str, scales: &[usize]) -> bool {
        let is_one = |shape: &[usize]| shape.iter().product::<usize>() == 1;
        self.shape(zero_point).is_some_and(|of| of == scales || (is_one(of) && is_one(scales)))
    }

    /// A dense tensor in another type: a dequantization with the scale 1.
    ///
    /// # Errors
    /// Types between which there is no step.
    pub(super) fn cast(&mut self, place: Place, datum_type: DatumType) -> Result<Place, String> {
        if place.datum_type == datum_type {
            return Ok(place);
        }
        let (Some(from), Some(kind), Some(walk)) =
            (kind_of(place.datum_type), kind_of(datum_type), Walk::new(&[place.len()], &[&[1], &[1], &[0]]))
        else {
            return Err(format!("{:?} can't become {datum_type:?}", place.datum_type));
        };
        let to = self.tensor_slot(datum_type, place.shape.clone());
        let x = Typed { kind: from, from: TypedSource::Slot(place.slot), at: place.at };
        let one = TypedSource::Constant([u64::from(1f32.to_bits())].into());
        let scale = Typed { kind: Type::F32, from: one, at: 0 };
        let step = Linear { walk, x, scale, zero_point: None, kind, output: to.slot };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Linear(step))));
        Ok(to)
    }

    /// A value of a type that is known, with its strides.
    pub(super) fn typed(&mut self, name: &str, shape: &[usize]) -> Result<Option<(Typed, Vec<usize>)>, String> {
        if let Some(value) = self.constants.get(name) {
            let Some(kind) = kind_of(value.datum_type()) else { return Ok(None) };
            let mut words = vec![0u64; value.as_bytes().len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut words)[..value.as_bytes().len()].copy_from_slice(value.as_bytes());
            let from = TypedSource::Constant(words.into());
            return Ok(Some((Typed { kind, from, at: 0 }, place::dense(shape))));
        }
        if !self.forms.contains_key(name) {
            return Ok(None);
        }
        let Place { slot, datum_type, at, strides, .. } = self.tensor(name)?;
        Ok(kind_of(datum_type).map(|kind| (Typed { kind, from: TypedSource::Slot(slot), at }, strides)))
    }
}

pub(super) fn kind_of(datum_type: DatumType) -> Option<Type> {
    Some(match datum_type {
        DatumType::F32 => Type::F32,
        DatumType::F16 => Type::F16,
        DatumType::I8 => Type::I8,
        DatumType::U8 => Type::U8,
        DatumType::I16 => Type::I16,
        DatumType::U16 => Type::U16,
        DatumType::I32 => Type::I32,
        _ => return None,
    })
}

/// `shape` with its axis cut into blocks, and for each of its axes that of the scale.
fn cut(shape: &[usize], scales: &[usize], axis: Option<usize>, block: i64) -> Option<(Vec<usize>, Vec<Option<usize>>)> {
    if scales.iter().product::<usize>() == 1 {
        return Some((shape.to_vec(), vec![None; shape.len()]));
    }
    let axis = axis?;
    let (mut cut, mut lies) = (Vec::new(), Vec::new());
    for (at, &size) in shape.iter().enumerate() {
        match usize::try_from(block).ok().filter(|&block| block > 0) {
            Some(block) if at == axis => {
                cut.extend([size / block, block]);
                lies.extend([Some(at), None]);
                (size.is_multiple_of(block) && scales.get(at) == Some(&(size / block))).then_some(())?;
            }
            Some(_) => {
                cut.push(size);
                lies.push(Some(at));
                (scales.get(at) == Some(&size)).then_some(())?;
            }
            None => {
                cut.push(size);
                lies.push((at == axis).then_some(0));
                (at != axis || scales == [size]).then_some(())?;
            }
        }
    }
    Some((cut, lies))
}

/// The sizes other than 1.
fn parts(cut: &[usize]) -> Vec<usize> {
    cut.iter().copied().filter(|&size| size != 1).collect()
}

/// Strides of the axes of `cut`, from those of its [`parts`].
fn unsqueezed(cut: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut own = strides.iter();
    cut.iter().map(|&size| if size == 1 { 0 } else { own.next().copied().unwrap_or(0) }).collect()
}
