//! Elementwise operators with broadcasting: chains of them become one formula.

use super::place::{self, Place};
use super::quantize::Grid;
use super::real::{Order, Real};
use super::{Form, Found, Lowering};
use crate::engine::graph::{Datum, DatumType, Node, computed};
use crate::engine::kernel::table8::{self, Table};
use crate::engine::kernel::tensor::formula::{Binary, DEPTH, Instruction, Unary, depth};
use crate::engine::kernel::tensor::map;
use crate::engine::kernel::tensor::walk::{Strided, Walk};
use crate::engine::kernel::{Isa, load};
use crate::engine::plan::slot::{Computed, SlotId, Vector};
use crate::engine::plan::step::{Quantize, Step, Table8};
use crate::engine::plan::tensor::{Map, SOURCES, Source, TensorStep};
use std::rc::Rc;

/// Longest program of a formula.
const LENGTH: usize = 32;

/// What a formula reads.
#[derive(Debug, Clone)]
enum Operand {
    /// With its strides along the shape.
    Ready(Source, Vec<usize>),
    /// The dequantized image of that name, whose shape is the formula's.
    Cells(String, Rc<Real>),
}

/// A tensor that is computed where it is read.
#[derive(Debug, Clone)]
pub struct Formula {
    pub shape: Vec<usize>,
    operands: Vec<Operand>,
    program: Vec<Instruction>,
}

impl Formula {
    fn of(source: Source, strides: Vec<usize>, shape: &[usize]) -> Formula {
        Formula::read(Operand::Ready(source, strides), shape)
    }

    /// A tensor in the arena.
    pub(super) fn at(place: &Place) -> Formula {
        Formula::of(Source::Slot { slot: place.slot, at: place.at }, place.strides.clone(), &place.shape)
    }

    pub(super) fn constant(value: f32, shape: &[usize]) -> Formula {
        Formula { shape: shape.to_vec(), operands: Vec::new(), program: vec![Instruction::Constant(value)] }
    }

    pub(super) fn then(mut self, function: Unary) -> Formula {
        self.program.push(Instruction::Unary(function));
        self
    }

    pub(super) fn with(mut self, function: Binary, other: &Formula) -> Formula {
        self.append(other);
        self.program.push(Instruction::Binary(function));
        self
    }

    fn read(operand: Operand, shape: &[usize]) -> Formula {
        Formula { shape: shape.to_vec(), operands: vec![operand], program: vec![Instruction::Read(0)] }
    }

    /// Read as a tensor of a larger shape.
    fn broadcast(&self, shape: &[usize]) -> Option<Formula> {
        let operands = self.operands.iter().map(|operand| match operand {
            Operand::Ready(source, strides) => {
                Some(Operand::Ready(source.clone(), place::broadcast(&self.shape, strides, shape)?))
            }
            Operand::Cells(..) => (self.shape == shape).then(|| operand.clone()),
        });
        let operands = operands.collect::<Option<_>>()?;
        Some(Formula { shape: shape.to_vec(), operands, program: self.program.clone() })
    }

    /// The one image whose cells alone it is a function of, with what they stand for.
    fn argument(&self) -> Option<&Rc<Real>> {
        let mut reals = self.operands.iter().map(|operand| match operand {
            Operand::Cells(_, real) => Some(real),
            Operand::Ready(..) => None,
        });
        let first = reals.next()??;
        reals.all(|real| real.is_some_and(|real| Rc::ptr_eq(real, first))).then_some(first)
    }

    fn append(&mut self, other: &Formula) {
        let first = self.operands.len();
        self.operands.extend(other.operands.iter().cloned());
        self.program.extend(other.program.iter().map(|instruction| match *instruction {
            Instruction::Read(source) => Instruction::Read(first + source),
            other => other,
        }));
    }

    fn is_small(&self) -> bool {
        let deep = depth(&self.program).is_none_or(|depth| depth > DEPTH);
        !deep && self.program.len() <= LENGTH && self.operands.len() <= SOURCES
    }
}

/// What a node does to its inputs: functions of one number in their order, or one of two.
pub enum Function {
    Unary(Vec<Unary>),
    Binary(Binary),
}

impl Lowering<'_> {
    pub(super) fn function(&self, node: &Node) -> Option<Function> {
        let alpha = |default| node.float("alpha", default);
        let unary = match node.op() {
            "Abs" => Unary::Abs,
            "Ceil" => Unary::Ceil,
            "Clip" => self.bounds(node)?,
            "Cos" => Unary::Cos,
            "Elu" => Unary::Elu { alpha: alpha(1.0) },
            "Erf" => Unary::Erf,
            "Exp" => Unary::Exp,
            "Floor" => Unary::Floor,
            "HardSigmoid" => Unary::HardSigmoid { alpha: alpha(0.2), beta: node.float("beta", 0.5) },
            "HardSwish" => Unary::HardSwish,
            "LeakyRelu" => Unary::LeakyRelu { alpha: alpha(0.01) },
            "Log" => Unary::Log,
            "Neg" => Unary::Negative,
            "Reciprocal" => Unary::Reciprocal,
            "Relu" => Unary::Clip { low: 0.0, high: f32::INFINITY },
            "Round" => Unary::Round,
            "Sigmoid" => Unary::Sigmoid,
            "Sign" => Unary::Sign,
            "Sin" => Unary::Sin,
            "Softplus" => Unary::Softplus,
            "Softsign" => Unary::Softsign,
            "Sqrt" => Unary::SquareRoot,
            "Tanh" => Unary::Tanh,
            "Identity" | "Dropout" => return Some(Function::Unary(Vec::new())),
            "Add" | "Sum" => return Some(Function::Binary(Binary::Add)),
            "Sub" => return Some(Function::Binary(Binary::Subtract)),
            "Mul" => return Some(Function::Binary(Binary::Multiply)),
            "Div" => return Some(Function::Binary(Binary::Divide)),
            "Max" => return Some(Function::Binary(Binary::Maximum)),
            "Min" => return Some(Function::Binary(Binary::Minimum)),
            "Pow" => return Some(Function::Binary(Binary::Power)),
            _ => return None,
        };
        Some(Function::Unary(vec![unary]))
    }

    fn bounds(&self, node: &Node) -> Option<Unary> {
        let bound = |index: usize, attribute: &str, default: f32| match node.input(index) {
            None => Some(node.float(attribute, default)),
            Some(name) => match self.constant_floats(name)?[..] {
                [value] => Some(value),
                _ => None,
            },
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        Some(Unary::Clip { low, high })
    }

    /// A node whose output has an element for each place of its inputs, broadcast to one shape.
    pub(super) fn elementwise(&mut self, node: &Node) -> Found {
        let Some(function) = self.function(node) else { return Ok(false) };
        let Some(fact) = self.graph.facts.get(node.output()).cloned() else { return Ok(false) };
        let names: Vec<&str> = match function {
            Function::Unary(_) => node.input(0).into_iter().collect(),
            Function::Binary(_) => node.inputs.iter().map(String::as_str).collect(),
        };
        let is_float = |name: &&str| self.type_of(name) == Some(f32::datum_type());
        if fact.datum_type != f32::datum_type() || !names.iter().all(is_float) {
            return Ok(false);
        }
        let Some(mut formula) = self.operand(names[0], &fact.shape, true)? else { return Ok(false) };
        match function {
            Function::Unary(functions) => formula.program.extend(functions.into_iter().map(Instruction::Unary)),
            Function::Binary(function) => {
                for name in &names[1..] {
                    let Some(operand) = self.operand(name, &fact.shape, true)? else { return Ok(false) };
                    let mut both = formula.with(function, &operand);
                    if !both.is_small() {
                        // What was put off is computed first.
                        let operands =
                            [self.operand(names[0], &fact.shape, false)?, self.operand(name, &fact.shape, false)?];
                        let [Some(first), Some(second)] = operands else { return Ok(false) };
                        if names.len() > 2 {
                            return Ok(false);
                        }
                        both = first.with(function, &second);
                    }
                    formula = both;
                }
            }
        }
        self.set_formula(node, formula)
    }

    /// What a node gives: a formula that its only reader computes, or a step.
    pub(super) fn set_formula(&mut self, node: &Node, formula: Formula) -> Found {
        let is_put_off = self.only_reader(node.output()).is_some_and(|reader| {
            let computes = self.function(reader).is_some() || matches!(reader.op(), "Concat" | "QuantizeLinear");
            computes && formula.program.len() < LENGTH
        });
        if is_put_off {
            return self.set(node, Form::Formula(Rc::new(formula)));
        }
        match self.compute(&formula, node.output()) {
            Some(form) => self.set(node, form),
            None => Ok(false),
        }
    }

    pub(super) fn type_of(&self, name: &str) -> Option<DatumType> {
        let constant = || self.constants.get(name).map(|value| value.datum_type());
        self.graph.facts.get(name).map(|fact| fact.datum_type).or_else(constant).map(computed)
    }

    /// `name` as it is read in a formula over `shape`. What was put off may stay so if `lazy`.
    pub(super) fn operand(&mut self, name: &str, shape: &[usize], lazy: bool) -> Result<Option<Formula>, String> {
        if let Some(value) = self.constants.get(name) {
            let of = value.shape().to_vec();
            let Some(values) = self.constant_floats(name) else { return Ok(None) };
            if let [first, rest @ ..] = &values[..]
                && rest.iter().all(|value| value.to_bits() == first.to_bits())
            {
                return Ok(Some(Formula::constant(*first, shape)));
            }
            let strides = place::broadcast(&of, &place::dense(&of), shape);
            let source = Source::Constant(values.into());
            return Ok(strides.map(|strides| Formula::of(source, strides, shape)));
        }
        if let (true, Some(Form::Formula(formula))) = (lazy, self.forms.get(name))
            && formula.shape.iter().product::<usize>() == shape.iter().product::<usize>()
            && let Some(formula) = formula.broadcast(shape)
        {
            return Ok(Some(formula));
        }
        if let (true, Some(Form::Real(real, own))) = (lazy, self.forms.get(name))
            && own == shape
            && real.cells().is_some()
        {
            return Ok(Some(Formula::read(Operand::Cells(name.to_owned(), real.clone()), shape)));
        }
        let place = self.tensor(name)?;
        let Some(view) = place.broadcast(shape) else { return Ok(None) };
        Ok(Some(Formula::at(&view)))
    }

    /// A step that computes a formula, for the value that `name` names. `None` if it has too many axes.
    pub(super) fn compute(&mut self, formula: &Formula, name: &str) -> Option<Form> {
        let (to, form) = self.destination(name, &formula.shape);
        self.compute_to(formula, &to, None)?;
        Some(form)
    }

    pub(super) fn compute_to(&mut self, formula: &Formula, to: &Place, quantize: Option<Quantize>) -> Option<()> {
        let mut ready = Vec::new();
        for operand in &formula.operands {
            ready.push(match operand {
                Operand::Ready(source, strides) => (source.clone(), strides.clone()),
                Operand::Cells(name, _) => {
                    let place = self.tensor(name).ok()?;
                    (Source::Slot { slot: place.slot, at: place.at }, place.strides)
                }
            });
        }
        let operands: Vec<&[usize]> =
            std::iter::once(&to.strides[..]).chain(ready.iter().map(|(_, strides)| &strides[..])).collect();
        let walk = Walk::new(&to.shape, &operands)?;
        let sources = ready.into_iter().map(|(source, _)| source).collect();
        let program = formula.program.clone();
        let step = Map { walk, program, sources, output: to.slot, at: to.at, quantize, zero_point: None };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Map(step))));
        Some(())
    }

    /// Quantizes floats with a scale and a zero point that the plan computes: divided by the scale, as onnxruntime does.
    pub(super) fn quantize_by(&mut self, from: &Place, scale: &Place, zero_point: Computed, to: &Place) -> Option<()> {
        let walk = Walk::new(&to.shape, &[&to.strides, &from.strides, &vec![0; to.shape.len()]])?;
        let program = vec![Instruction::Read(0), Instruction::Read(1), Instruction::Binary(Binary::Divide)];
        let sources = [from, scale].map(|of| Source::Slot { slot: of.slot, at: of.at }).to_vec();
        let quantize = Some(Quantize { per_unit: 1.0, zero_point: 0, low: -128, high: 127 });
        let step = Map { walk, program, sources, output: to.slot, at: to.at, quantize, zero_point: Some(zero_point) };
        self.draft.steps.push(Step::Tensor(Box::new(TensorStep::Map(step))));
        Some(())
    }

    /// The numbers with the other sign. `None` is for more axes than there are.
    pub(super) fn negated(&mut self, vector: Vector) -> Option<Vector> {
        match vector {
            Vector::Constant(values) => Some(Vector::Constant(values.iter().map(|value| -value).collect())),
            Vector::Slot { slot, at, len } => {
                let formula = Formula::of(Source::Slot { slot, at }, vec![1], &[len]).then(Unary::Negative);
                let to = self.tensor_slot(f32::datum_type(), vec![len]);
                self.compute_to(&formula, &to, None)?;
                Some(Vector::Slot { slot: to.slot, at: to.at, len })
            }
        }
    }

    pub(super) fn write_constant(&mut self, values: Vec<f32>, to: &Place) -> Option<()> {
        let formula = Formula::of(Source::Constant(values.into()), place::dense(&to.shape), &to.shape);
        self.compute_to(&formula, to, None)
    }

    /// The image of a formula of one int8 image, quantized: each of 256 cells is looked up. `None` where it is no such formula.
    pub(super) fn looked_up(&mut self, formula: &Formula, grid: Grid) -> Option<(SlotId, Order)> {
        let real = formula.argument()?.clone();
        let (input, own) = real.cells()?;
        let reals: Vec<f32> = (-128..=127).map(|value| (value - own.zero_point) as f32 * own.scale).collect();
        let sources = vec![Strided { cells: &reals[..], at: 0, strides: &[0, 1] }; formula.operands.len()];
        let (program, mut cells) = (&formula.program, [0u8; 256]);
        let job = map::Job { sizes: &[1, 256], program, sources: &sources, at: 0, strides: &[0, 1] };
        let Quantize { per_unit, zero_point, low, high } = grid.quantize();
        map::run(Isa::Scalar, &job, map::Target::Int8 { cells: &mut cells, per_unit, zero_point, low, high });
        let table = Table::new(|value| load(cells[(value + 128) as usize]));
        let output = self.int8_slot([real.channels(), real.height, real.width], grid.zero_point);
        let (from, to) = (self.image(input).view(0, 0, 0), self.image(output).view(0, 0, 0));
        let shape = table8::Shape { channels: real.channels(), width: real.width, input: from, output: to };
        self.draft.steps.push(Step::Table8(Box::new(Table8 { shape, rows: real.height, table, input, output })));
        Some((output, real.order))
    }
}
