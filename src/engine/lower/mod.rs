//! From a graph to a plan: which nodes become which steps.

mod conv;
mod dynamic;
mod fold;
mod formula;
mod image;
mod linear;
#[cfg(all(test, feature = "onnx"))]
mod networks;
mod norm;
#[cfg(all(test, feature = "onnx"))]
mod operators;
mod place;
mod pool;
mod product;
mod quantize;
mod real;
mod rows;
mod softmax;
mod sums;
mod transposed;
mod view;
mod weights;

use super::graph::{Datum, DatumType, Graph, Node, Tensor};
use super::kernel::Isa;
use super::kernel::tensor::walk::Walk;
use super::plan::foreign::{Dense, Foreign, Operator};
use super::plan::slot::{Border, Element, Image, Slot, SlotId};
use super::plan::step::Step;
use super::plan::tensor::{Constant, Copy, TensorStep};
use super::plan::{Draft, Port};
use formula::Formula;
use place::Place;
use real::{Order, Real};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// What a value of the graph is in the plan.
#[derive(Debug, Clone)]
enum Form {
    /// In the arena.
    Tensor(Place),
    Int8(Cells),
    Weights(Rc<weights::Weights>),
    /// Not written yet. Its shape may be another one with the same elements.
    Real(Rc<Real>, Vec<usize>),
    /// A convolution whose sums have nowhere to go yet.
    Sums(Rc<sums::Sums>),
    /// One whose value is the sums themselves, in 32 bits.
    Whole(Rc<sums::Sums>),
    /// Not computed yet: one node alone reads it.
    Formula(Rc<Formula>),
    /// Floats of images, one after the other along the channels, which are not brought together yet: one QuantizeLinear alone reads them.
    Parts(Rc<Vec<String>>),
}

/// Quantized cells.
#[derive(Debug, Clone)]
struct Cells {
    image: SlotId,
    /// Whether the bytes of the tensor are.
    unsigned: bool,
    order: Order,
    /// Of the tensor.
    shape: Vec<usize>,
}

/// Multiply-accumulates of one run, as the loaded graph needs them: convolutions and matrix products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Macs {
    pub float: u64,
    pub int8: u64,
    /// Some node's count depends on shapes that are only known when it runs, or on who runs it: the sums are too low.
    pub incomplete: bool,
}

impl Macs {
    pub fn total(self) -> u64 {
        self.float + self.int8
    }
}

/// Who runs the nodes that no step was found for.
pub trait Elsewhere {
    /// The node with the `constants` that it reads inside, which are the graph's or what is left of them, and [`computed_inputs`] to be given.
    ///
    /// # Errors
    /// Why it can't be run.
    fn operator(
        &self,
        node: &Node,
        graph: &Graph,
        constants: &HashMap<String, Arc<Tensor>>,
    ) -> Result<Arc<Operator>, String>;
}

/// The inputs of a node that are not constant, each once.
pub fn computed_inputs<'n>(node: &'n Node, constants: &HashMap<String, Arc<Tensor>>) -> Vec<&'n str> {
    let mut inputs: Vec<&str> = Vec::new();
    for name in node.inputs.iter().filter(|name| !name.is_empty() && !constants.contains_key(*name)) {
        if !inputs.contains(&name.as_str()) {
            inputs.push(name);
        }
    }
    inputs
}

/// A node that no step was found for, and so runs through tract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub node: String,
    pub op: String,
    /// Why it has no step.
    pub reason: &'static str,
}

/// What a graph becomes.
#[derive(Debug)]
pub struct Lowered {
    pub draft: Draft,
    pub fallbacks: Vec<Fallback>,
    pub macs: Macs,
}

/// # Errors
/// Names the node and says why it can't be planned: among others, that there is no step for it, and nobody `elsewhere` who runs it.
pub fn lower(mut graph: Graph, isa: Isa, elsewhere: Option<&dyn Elsewhere>) -> Result<Lowered, String> {
    // Convolutions say late how wide the ring of an image has to be which other steps wrote before: what was asked for is there the next time.
    let mut rings = Vec::new();
    loop {
        let mut trial = Lowering::new(&graph, (isa, elsewhere), graph.constants.clone(), rings.clone(), true);
        trial.lower()?;
        if trial.rings == rings {
            break;
        }
        rings = trial.rings;
    }
    // Constants go as soon as their last reader has packed them.
    let constants = std::mem::take(&mut graph.constants);
    let mut lowering = Lowering::new(&graph, (isa, elsewhere), constants, rings, false);
    lowering.lower()?;
    let bytes: u64 = lowering.draft.slots.iter().map(|slot| slot.bytes() as u64).sum();
    if bytes > isize::MAX as u64 {
        return Err(format!("its values take {bytes} bytes, more than a machine of {} bits has", usize::BITS));
    }
    Ok(Lowered { draft: lowering.draft, fallbacks: lowering.fallbacks, macs: lowering.macs })
}

/// In 64 bits where `usize` has 32 too: a convolution multiplies more often than memory has cells.
fn product_of<const N: usize>(sides: [usize; N]) -> u64 {
    sides.iter().map(|&side| side as u64).product()
}

struct Lowering<'a> {
    graph: &'a Graph,
    isa: Isa,
    elsewhere: Option<&'a dyn Elsewhere>,
    constants: HashMap<String, Arc<Tensor>>,
    /// Nodes that have not read a value yet, by its name.
    readers: HashMap<&'a str, usize>,
    /// Nothing is packed or made ready: only the rings are wanted.
    trial: bool,
    /// Of each slot; grows where a wider one is asked for than the image has.
    rings: Vec<usize>,
    forms: HashMap<String, Form>,
    draft: Draft,
    fallbacks: Vec<Fallback>,
    macs: Macs,
    /// Outputs of convolutions that keep the bounds of the Relu behind them.
    bounded: HashSet<String>,
}

/// Why a node has no step.
const NO_STEP: &str = "there is no step for this operator";
const NO_FORM: &str = "there are steps for this operator, but not for these types, shapes or attributes";

/// Whether there is a step for a node; an error where the node can never run.
type Found = Result<bool, String>;

impl<'a> Lowering<'a> {
    fn new(
        graph: &'a Graph,
        (isa, elsewhere): (Isa, Option<&'a dyn Elsewhere>),
        constants: HashMap<String, Arc<Tensor>>,
        rings: Vec<usize>,
        trial: bool,
    ) -> Self {
        let (forms, draft, fallbacks, bounded) = (HashMap::new(), Draft::default(), Vec::new(), HashSet::new());
        let mut readers = HashMap::new();
        let read = graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs);
        read.for_each(|name| *readers.entry(name.as_str()).or_default() += 1);
        let macs = Macs::default();
        Lowering { graph, isa, elsewhere, constants, readers, trial, rings, forms, draft, fallbacks, macs, bounded }
    }

    /// The shape of a value.
    fn shape(&self, name: &str) -> Option<&[usize]> {
        let constant = || self.constants.get(name).map(|value| value.shape());
        self.graph.facts.get(name).map(|fact| fact.shape.as_slice()).or_else(constant)
    }

    /// Forgets what no node reads any more.
    fn release(&mut self, node: &'a Node) {
        for name in &node.inputs {
            let left = self.readers.entry(name).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.constants.remove(name);
                if let Some(Form::Weights(_) | Form::Sums(_) | Form::Whole(_)) = self.forms.get(name) {
                    self.forms.remove(name);
                }
            }
        }
    }

    fn lower(&mut self) -> Result<(), String> {
        for name in &self.graph.inputs {
            let fact = &self.graph.facts[name];
            let outside = if self.graph.halves.contains(name) { DatumType::F16 } else { fact.datum_type };
            let place = self.tensor_slot(outside, fact.shape.clone());
            self.draft.inputs.push(port(name, &place));
            let place = self.cast(place, fact.datum_type)?;
            self.draft.labels.resize(self.draft.steps.len(), format!("input {name:?}"));
            self.forms.insert(name.clone(), Form::Tensor(place));
        }
        for node in &self.graph.nodes {
            let failed = |reason: String| format!("{}: {reason}", node.label());
            if let Some(reason) = self.node(node).map_err(failed)? {
                self.fall_back(node, reason).map_err(failed)?;
            }
            self.draft.labels.resize(self.draft.steps.len(), node.label());
            self.release(node);
        }
        for name in &self.graph.outputs {
            let place = match self.constants.get(name).cloned() {
                Some(value) if !self.forms.contains_key(name) => self.constant_place(&value),
                _ => self.dense(name)?,
            };
            let outside = if self.graph.halves.contains(name) { DatumType::F16 } else { place.datum_type };
            let place = self.cast(place, outside)?;
            self.draft.outputs.push(port(name, &place));
            self.draft.labels.resize(self.draft.steps.len(), format!("output {name:?}"));
        }
        Ok(())
    }

    /// Finds steps for a node, or says why there are none.
    fn node(&mut self, node: &Node) -> Result<Option<&'static str>, String> {
        // Images that nobody has written yet come first: their steps do more at once.
        let found = match node.op() {
            "QuantizeLinear" => self.quantize(node),
            "DequantizeLinear" => self.dequantize(node),
            "Conv" => self.conv(node),
            "ConvTranspose" => self.conv_transpose(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "QLinearConv" => self.qlinear_conv(node),
            "ConvInteger" => self.conv_integer(node),
            "DynamicQuantizeLinear" => self.dynamic_quantize(node),
            "Cast" => self.cast_node(node),
            "InstanceNormalization" => self.instance_norm(node),
            "Identity" | "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "Slice" => self.slice(node),
            "Split" => self.split(node),
            "Gather" => self.gather(node),
            "Expand" => self.expand(node),
            "DepthToSpace" => self.depth_to_space(node),
            "SpaceToDepth" => self.space_to_depth(node),
            "Add" => self.add(node),
            "Sub" => self.subtract(node),
            "Mul" => self.multiply(node),
            "Relu" => self.clip(node, 0.0, f32::INFINITY),
            "Sigmoid" => self.sigmoid(node),
            "Concat" => self.concat(node),
            "Resize" => self.resize(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "LayerNormalization" => self.layer_norm(node),
            "GroupNormalization" => self.group_norm(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "MatMulInteger" => self.matmul_integer(node),
            "QLinearMatMul" => self.qlinear_matmul(node),
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceSumSquare" | "GlobalAveragePool"
            | "GlobalMaxPool" => self.fold(node),
            _ if self.function(node).is_some() => Ok(false),
            _ => return Ok(Some(NO_STEP)),
        }?;
        let found = match node.op() {
            _ if found => true,
            "QuantizeLinear" | "DequantizeLinear" => self.linear(node)?,
            _ => self.elementwise(node)?,
        };
        Ok((!found).then_some(NO_FORM))
    }

    fn set(&mut self, node: &Node, form: Form) -> Found {
        self.forms.insert(node.output().to_owned(), form);
        Ok(true)
    }

    fn set_real(&mut self, node: &Node, real: Real) -> Found {
        let shape = real.shape();
        self.set(node, Form::Real(Rc::new(real), shape))
    }

    fn slot(&mut self, slot: Slot) -> SlotId {
        self.draft.slots.push(slot);
        self.rings.resize(self.rings.len().max(self.draft.slots.len()), 0);
        self.draft.slots.len() - 1
    }

    /// An image with the ring that will be asked for, filled.
    fn image_slot(&mut self, [channels, height, width]: [usize; 3], element: Element, border: Border) -> SlotId {
        let ring = self.rings.get(self.draft.slots.len()).copied().unwrap_or(0);
        let slot = self.slot(Slot::Image(Image { height, width, channels, element, ring, border }));
        if ring > 0 {
            self.draft.steps.push(Step::Ring(slot, border));
        }
        slot
    }

    fn float_slot(&mut self, size: [usize; 3]) -> SlotId {
        self.image_slot(size, Element::Float, Border::Byte(0))
    }

    /// Has the image get a ring that wide, in the next trial if not in this one.
    fn ask_ring(&mut self, image: SlotId, ring: usize) {
        self.rings[image] = self.rings[image].max(ring);
    }

    fn image(&self, slot: SlotId) -> Image {
        match self.draft.slots[slot] {
            Slot::Image(image) => image,
            Slot::Tensor { .. } => unreachable!("forms say which slots are images"),
        }
    }

    fn tensor_slot(&mut self, datum_type: DatumType, shape: Vec<usize>) -> Place {
        let bytes = shape.iter().product::<usize>() * datum_type.size_of();
        let slot = self.slot(Slot::Tensor { bytes });
        Place::dense(slot, datum_type, shape)
    }

    fn floats_slot(&mut self, len: usize) -> SlotId {
        self.slot(Slot::Tensor { bytes: len * 4 })
    }

    /// Where a computed value of `shape` goes that `name` names: images are where convolutions want them.
    fn destination(&mut self, name: &str, shape: &[usize]) -> (Place, Form) {
        match *shape {
            [1, channels, height, width] if height * width > 1 && self.is_wanted_as_image(name, channels) => {
                let slot = self.float_slot([channels, height, width]);
                let real = Form::Real(Rc::new(self.plain(slot)), shape.to_vec());
                (Place::image(slot, &self.image(slot), f32::datum_type(), Order::Planes), real)
            }
            _ => {
                let place = self.tensor_slot(f32::datum_type(), shape.to_vec());
                (place.clone(), Form::Tensor(place))
            }
        }
    }

    fn is_wanted_as_image(&self, name: &str, channels: usize) -> bool {
        let on_images = |node: &Node| {
            matches!(
                node.op(),
                "Conv"
                    | "ConvTranspose"
                    | "QuantizeLinear"
                    | "Resize"
                    | "InstanceNormalization"
                    | "MaxPool"
                    | "AveragePool"
            )
        };
        channels > 1 || self.graph.readers(name).any(on_images)
    }

    /// Whether one node alone reads `name`, and which.
    fn only_reader(&self, name: &str) -> Option<&'a Node> {
        let mut readers = self.graph.readers(name);
        let first = readers.next()?;
        (readers.next().is_none() && self.graph.outputs.iter().all(|output| output != name)).then_some(first)
    }

    /// `name` as real numbers, if it is a batch of one image.
    fn real(&mut self, name: &str) -> Option<Rc<Real>> {
        match self.forms.get(name)?.clone() {
            Form::Real(real, shape) => (real.order == Order::Planes && shape == real.shape()).then_some(real),
            Form::Sums(sums) => {
                let real = Rc::new(self.end_float(&sums));
                self.forms.insert(name.to_owned(), Form::Real(real, sums.dims.clone()));
                self.real(name)
            }
            Form::Tensor(place) => {
                let &[1, channels, height, width] = place.shape.as_slice() else { return None };
                if place.datum_type != f32::datum_type() || height * width == 1 {
                    return None;
                }
                let slot = self.float_slot([channels, height, width]);
                let image = Place::image(slot, &self.image(slot), place.datum_type, Order::Planes);
                self.copy(&place, &image)?;
                let real = Rc::new(self.plain(slot));
                self.forms.insert(name.to_owned(), Form::Real(real.clone(), place.shape));
                Some(real)
            }
            Form::Formula(formula) => {
                let form = self.compute(&formula, name)?;
                self.forms.insert(name.to_owned(), form);
                self.real(name)
            }
            Form::Parts(_) => {
                self.tensor(name).ok()?;
                self.real(name)
            }
            Form::Int8(_) | Form::Weights(_) | Form::Whole(_) => None,
        }
    }

    /// A step that copies `from` to `to`: two views with as many elements, in the same order. `None` where one step can't.
    fn copy(&mut self, from: &Place, to: &Place) -> Option<()> {
        self.copy_flipped(from, to, 0)
    }

    fn copy_flipped(&mut self, from: &Place, to: &Place, flip: u8) -> Option<()> {
        if from.len() == 0 && to.len() == 0 {
            return Some(());
        }
        let parts = place::refined(&from.shape, &to.shape)?;
        let strides = [to, from].map(|place| place::split(&place.shape, &place.strides, &parts));
        let walk = Walk::new(&parts, &[&strides[0], &strides[1]])?;
        let (bytes, source, output) = (from.datum_type.size_of(), from.slot, to.slot);
        let step = Copy { walk, bytes, source, from: from.at, output, at: to.at, flip };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Copy(step))));
        Some(())
    }

    /// `name` in the arena, as a view.
    fn tensor(&mut self, name: &str) -> Result<Place, String> {
        let Some(form) = self.forms.get(name).cloned() else {
            return Err(format!("{name:?} is a constant where a computed value is needed"));
        };
        let place = match form {
            Form::Tensor(place) => return Ok(place),
            Form::Weights(weights) => {
                // Another operator than a planned one wants them as floats.
                let place = self.tensor_slot(f32::datum_type(), weights.shape.clone());
                self.write_constant(weights.floats(), &place).ok_or("too many axes")?;
                place
            }
            Form::Int8(Cells { image, unsigned, order, shape }) => {
                let datum_type = if unsigned { u8::datum_type() } else { i8::datum_type() };
                let from = Place::image(image, &self.image(image), datum_type, order);
                let to = self.tensor_slot(datum_type, shape);
                self.copy_flipped(&from, &to, dynamic::flip(unsigned)).ok_or("too many axes")?;
                to
            }
            Form::Whole(sums) => self.end_whole(&sums)?,
            Form::Sums(sums) => {
                let real = self.end_float(&sums);
                return self.view_of(&real, name, &sums.dims);
            }
            Form::Real(real, shape) => return self.view_of(&real, name, &shape),
            Form::Formula(formula) => {
                let form = self.compute(&formula, name).ok_or("too many axes")?;
                self.forms.insert(name.to_owned(), form);
                return self.tensor(name);
            }
            Form::Parts(names) => {
                let shape = self.shape(name).ok_or("its shape is not known")?.to_vec();
                let form = self.concat_written(name, &names, &shape, 1)?.ok_or("too many axes")?;
                self.forms.insert(name.to_owned(), form);
                return self.tensor(name);
            }
        };
        self.forms.insert(name.to_owned(), Form::Tensor(place.clone()));
        Ok(place)
    }

    /// A real, which `name` names, as a view of the image that it is or is written to, in a shape with the same elements.
    fn view_of(&mut self, real: &Real, name: &str, shape: &[usize]) -> Result<Place, String> {
        let slot = self.written(real);
        let plain = Real { order: real.order, ..self.plain(slot) };
        self.forms.insert(name.to_owned(), Form::Real(Rc::new(plain), shape.to_vec()));
        let place = Place::image(slot, &self.image(slot), f32::datum_type(), real.order);
        self.reshaped(&place, shape)
    }

    /// A view of `place` in another shape, or of a copy.
    fn reshaped(&mut self, place: &Place, shape: &[usize]) -> Result<Place, String> {
        if let Some(view) = place.reshaped(shape) {
            return Ok(view);
        }
        let copy = self.tensor_slot(place.datum_type, shape.to_vec());
        if self.copy(place, &copy).is_some() {
            return Ok(copy);
        }
        let flat = Place::dense(copy.slot, place.datum_type, place.shape.clone());
        self.copy(place, &flat).ok_or("too many axes")?;
        Ok(copy)
    }

    /// A constant in the arena.
    fn constant_place(&mut self, value: &Tensor) -> Place {
        let place = self.tensor_slot(value.datum_type(), value.shape().to_vec());
        let step = Constant { bytes: value.as_bytes().into(), output: place.slot };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Constant(step))));
        place
    }

    /// `name` in the arena, in the order of its shape.
    fn dense(&mut self, name: &str) -> Result<Place, String> {
        let place = self.tensor(name)?;
        if place.is_dense() {
            return Ok(place);
        }
        let dense = self.tensor_slot(place.datum_type, place.shape.clone());
        self.copy(&place, &dense).ok_or("too many axes")?;
        Ok(dense)
    }

    fn fall_back(&mut self, node: &Node, reason: &'static str) -> Result<(), String> {
        let Some(elsewhere) = self.elsewhere else { return Err(format!("{reason}, and tract is not there to run it")) };
        let inputs = computed_inputs(node, &self.constants);
        let inputs = inputs.into_iter().map(|name| self.dense(name)).collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<Dense> = inputs.iter().map(in_bytes).collect();
        let operator = if self.trial { None } else { Some(elsewhere.operator(node, self.graph, &self.constants)?) };
        for (result, name) in node.outputs.iter().filter(|name| !name.is_empty()).enumerate() {
            let fact = &self.graph.facts[name];
            let to = self.tensor_slot(fact.datum_type, fact.shape.clone());
            if let Some(operator) = operator.clone() {
                let step = Foreign { label: node.label(), operator, inputs: inputs.clone(), result, to: in_bytes(&to) };
                self.draft.steps.push(Step::Foreign(Box::new(step)));
            }
            self.forms.insert(name.clone(), Form::Tensor(to));
        }
        self.macs.incomplete |= matches!(
            node.op(),
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "QLinearMatMul" | "MatMulInteger" | "ConvInteger"
        );
        self.fallbacks.push(Fallback { node: node.name().to_owned(), op: node.op().to_owned(), reason });
        Ok(())
    }
}

/// A dense place in bytes.
fn in_bytes(place: &Place) -> Dense {
    let size = place.datum_type.size_of();
    Dense { slot: place.slot, at: place.at * size, bytes: place.len() * size }
}

fn port(name: &str, place: &Place) -> Port {
    let size = place.datum_type.size_of();
    let (datum_type, at, bytes) = (format!("{:?}", place.datum_type), place.at * size, place.len() * size);
    Port { name: name.to_owned(), shape: place.shape.clone(), datum_type, slot: place.slot, at, bytes }
}

#[cfg(all(test, feature = "onnx"))]
mod tests;
