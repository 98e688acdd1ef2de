//! What a step of a plan asks of a core, in units that each take the same number of instructions every time.
//!
//! The units are those of the kernels for aarch64: a tile of a convolution, sixteen cells of a sum. What one takes is counted, not guessed:
//! see `docs/cost-model.md`.

use super::cost::Instructions;
use crate::engine::kernel::conv::Shape;
use crate::engine::kernel::conv8;
use crate::engine::kernel::pointwise::Activation;
use crate::engine::kernel::table8;
use crate::engine::kernel::tensor::formula::{Binary, Instruction, Unary};
use crate::engine::kernel::tensor::walk::{Block, Blocks, Walk, is_upright};
use crate::engine::plan::slot::{Element, Image, Slot, SlotId};
use crate::engine::plan::step::{Conv8, ConvEnd, Kernel8, Pointwise, Step};
use crate::engine::plan::tensor::{Map, TensorStep};
use std::fmt;

/// What is counted. The names say of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Unit {
    /// A step of a plan.
    Step,
    /// Rows of an output by eight of its channels.
    ConvRow,
    /// Sixteen channels under three taps in a row, of eight pixels by eight outputs, with SDOT.
    DotShared,
    /// Sixteen channels under a tap, of eight pixels by eight outputs, with SDOT.
    DotTap,
    /// A tap of such a tile.
    DotRun,
    /// Eight pixels by eight outputs, written.
    DotTileInt8,
    DotTileFloat,
    DotTileSums,
    /// Sixteen channels under a tap, of a pixel by eight outputs, in rows of fewer than eight pixels.
    DotNarrowTap,
    DotNarrowTile,
    /// The same with widening multiplies, of four pixels.
    MlalShared,
    MlalTap,
    MlalRun,
    MlalTileInt8,
    MlalTileFloat,
    MlalTileSums,
    MlalNarrowTap,
    MlalNarrowTile,
    /// Eight channels of the cells of a tile, transformed.
    WinogradTransform,
    /// A channel of the weights of eight outputs, transformed.
    WinogradSpread,
    /// Eight channels of a transformed cell, of eight tiles by eight outputs.
    WinogradMultiply,
    /// A transformed cell of eight tiles by eight outputs.
    WinogradSum,
    /// A tile of sixteen pixels by eight outputs, written.
    WinogradTileInt8,
    WinogradTileFloat,
    WinogradTileSums,
    /// A tap of four pixels by sixteen channels, each of its own.
    DepthwiseTap,
    DepthwiseTile,
    /// A channel under a tap, of four pixels by four outputs, in floats.
    FloatMac,
    /// A tap of eight pixels by eight outputs.
    FloatRun,
    FloatTile,
    /// Sixteen channels of a pixel.
    PointwiseInt8Term,
    PointwiseFloatTerm,
    /// Where terms are not up to three int8 images.
    PointwiseAnyTerms,
    PointwiseLinear,
    PointwiseClip,
    PointwiseSilu,
    PointwiseSigmoid,
    PointwiseToInt8,
    PointwiseToFloat,
    /// Where the last strip has fewer channels.
    PointwiseToPartInt8,
    PointwiseToPartFloat,
    /// Each of the three other pixels that a pixel becomes.
    PointwiseOther,
    /// Sixteen channels of a row.
    PointwiseStrip,
    /// Sixteen channels of a pixel that are looked up, and each of the three others that it becomes.
    LookUp,
    LookUpOther,
    /// Elements of formulas, by what is done to them.
    MapConstant,
    MapPlain,
    MapDivide,
    MapPower,
    MapExp,
    MapLog,
    MapOther,
    MapQuantize,
    /// An operation of a formula on the elements of a block.
    MapOperation,
    /// Elements that are worked on together.
    Block,
    /// What is read or written of a block: all of it with one value, or end to end.
    MoveBlock,
    MoveWhole,
    /// Elements whose rows become columns.
    MoveTurned,
    /// Rows, elements of rows that lie end to end, and of those that don't.
    MoveRow,
    MoveElement,
    MoveElementApart,
    /// Elements that are folded, and results.
    FoldElement,
    FoldResult,
    /// Sixteen products of matrices, and rows of results.
    ProductMac,
    ProductRow,
    /// Sixteen channels of a pixel: of an image, and of a pair of images.
    MomentsTerm,
    MomentsSum,
    MomentsEntry,
    NormChannel,
    NormTerm,
    FloatNormCell,
    FloatNormChannel,
    AffineValue,
    RingByte,
    /// Cells end to end, sixteen of them, and those that are left.
    TableRun,
    TableBlock,
    TableCell,
    CompensateCell,
    PoolTap,
    PoolPixel,
    LinearElement,
    RangeElement,
    ConstantByte,
    /// Beside the networks: a cell of a frame, received and shown to the head.
    FrameCell,
    /// A class of a cell, in a step of the sampler; and a value of the noise that it starts from.
    StepValue,
    NoiseValue,
}

/// How many units there are.
pub const UNITS: usize = Unit::NoiseValue as usize + 1;

/// All of them, in their order.
const ALL: [Unit; UNITS] = [
    Unit::Step,
    Unit::ConvRow,
    Unit::DotShared,
    Unit::DotTap,
    Unit::DotRun,
    Unit::DotTileInt8,
    Unit::DotTileFloat,
    Unit::DotTileSums,
    Unit::DotNarrowTap,
    Unit::DotNarrowTile,
    Unit::MlalShared,
    Unit::MlalTap,
    Unit::MlalRun,
    Unit::MlalTileInt8,
    Unit::MlalTileFloat,
    Unit::MlalTileSums,
    Unit::MlalNarrowTap,
    Unit::MlalNarrowTile,
    Unit::WinogradTransform,
    Unit::WinogradSpread,
    Unit::WinogradMultiply,
    Unit::WinogradSum,
    Unit::WinogradTileInt8,
    Unit::WinogradTileFloat,
    Unit::WinogradTileSums,
    Unit::DepthwiseTap,
    Unit::DepthwiseTile,
    Unit::FloatMac,
    Unit::FloatRun,
    Unit::FloatTile,
    Unit::PointwiseInt8Term,
    Unit::PointwiseFloatTerm,
    Unit::PointwiseAnyTerms,
    Unit::PointwiseLinear,
    Unit::PointwiseClip,
    Unit::PointwiseSilu,
    Unit::PointwiseSigmoid,
    Unit::PointwiseToInt8,
    Unit::PointwiseToFloat,
    Unit::PointwiseToPartInt8,
    Unit::PointwiseToPartFloat,
    Unit::PointwiseOther,
    Unit::PointwiseStrip,
    Unit::LookUp,
    Unit::LookUpOther,
    Unit::MapConstant,
    Unit::MapPlain,
    Unit::MapDivide,
    Unit::MapPower,
    Unit::MapExp,
    Unit::MapLog,
    Unit::MapOther,
    Unit::MapQuantize,
    Unit::MapOperation,
    Unit::Block,
    Unit::MoveBlock,
    Unit::MoveWhole,
    Unit::MoveTurned,
    Unit::MoveRow,
    Unit::MoveElement,
    Unit::MoveElementApart,
    Unit::FoldElement,
    Unit::FoldResult,
    Unit::ProductMac,
    Unit::ProductRow,
    Unit::MomentsTerm,
    Unit::MomentsSum,
    Unit::MomentsEntry,
    Unit::NormChannel,
    Unit::NormTerm,
    Unit::FloatNormCell,
    Unit::FloatNormChannel,
    Unit::AffineValue,
    Unit::RingByte,
    Unit::TableRun,
    Unit::TableBlock,
    Unit::TableCell,
    Unit::CompensateCell,
    Unit::PoolTap,
    Unit::PoolPixel,
    Unit::LinearElement,
    Unit::RangeElement,
    Unit::ConstantByte,
    Unit::FrameCell,
    Unit::StepValue,
    Unit::NoiseValue,
];

/// How often each unit is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    counts: [u64; UNITS],
    /// What tract runs is not among them.
    pub is_complete: bool,
}

impl Default for Work {
    fn default() -> Self {
        Work { counts: [0; UNITS], is_complete: true }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Work {
    /// That of a step, with the kernels that `instructions` has (those of NEON, where they weren't counted), whose weights leave every kernel its
    /// choice.
    pub fn of(step: &Step, slots: &[Slot], instructions: Instructions) -> Work {
        let mut work = Work::default();
        work.add(Unit::Step, 1);
        match step {
            Step::Conv8(step) => work.conv8(step, instructions),
            Step::Conv32(step) => work.conv32(&step.shape, step.rows),
            Step::Pointwise(step) => work.pointwise(step, slots),
            Step::Ring(slot, _) => {
                if let Some(image) = image(slots, *slot) {
                    let inside = image.height * image.width * image.pixel();
                    let whole = (image.height + 2 * image.ring) * image.row();
                    work.add(Unit::RingByte, (whole - inside) * image.element.bytes());
                }
            }
            Step::Moments(step) => {
                if let Some(image) = image(slots, step.terms[0].0) {
                    let (terms, strips) = (step.terms.len(), image.height * image.width * step.channels.div_ceil(16));
                    work.add(Unit::MomentsTerm, terms * strips);
                    work.add(Unit::MomentsSum, terms * (terms + 1) / 2 * strips);
                    work.add(Unit::MomentsEntry, step.scratch());
                }
            }
            Step::Norm(step) => {
                work.add(Unit::NormChannel, step.channels);
                let terms = step.parts.iter().map(|part| part.bias.channels() * part.factors.len());
                work.add(Unit::NormTerm, terms.sum());
            }
            Step::FloatNorm(step) => {
                if let Some(image) = image(slots, step.image) {
                    work.add(Unit::FloatNormCell, image.height * image.width * step.channels);
                    work.add(Unit::FloatNormChannel, step.channels);
                }
            }
            Step::Affine(step) => work.add(Unit::AffineValue, step.bias.channels() * (step.factors.len() + 1)),
            Step::Table8(step) => {
                let table8::Shape { channels, width, input, output } = step.shape;
                let dense = input.pixel == channels && output.pixel == channels;
                let (runs, length) = if dense { (step.rows, width * channels) } else { (step.rows * width, channels) };
                work.add(Unit::TableRun, runs);
                work.add(Unit::TableBlock, runs * (length / 16));
                work.add(Unit::TableCell, runs * (length % 16));
            }
            Step::Pool(step) => {
                let (shape, pixels) = (&step.shape, step.rows * step.shape.width);
                work.add(Unit::PoolTap, pixels * shape.taps[0] * shape.taps[1] * shape.channels);
                work.add(Unit::PoolPixel, pixels);
            }
            Step::Compensate(step) => {
                work.add(Unit::CompensateCell, step.rows * step.shape.width * step.shape.outputs);
            }
            Step::Tensor(step) => work.tensor(step),
            Step::Foreign(_) => work.is_complete = false,
        }
        work
    }

    pub fn count(&self, unit: Unit) -> u64 {
        self.counts[unit as usize]
    }

    /// Those that are asked for at all.
    pub fn units(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Takes `times` as much as `other` on.
    pub fn take(&mut self, other: &Work, times: u64) {
        self.counts.iter_mut().zip(other.counts).for_each(|(own, count)| *own += times * count);
        self.is_complete &= other.is_complete;
    }

    pub fn add(&mut self, unit: Unit, count: usize) {
        self.counts[unit as usize] += count as u64;
    }

    fn conv8(&mut self, step: &Conv8, instructions: Instructions) {
        let (shape, rows) = match &step.kernel {
            Kernel8::Dense(shape, _) => (shape, step.rows),
            Kernel8::Depthwise(shape, _) => {
                let tiles = step.rows * shape.width.div_ceil(4) * shape.outputs.div_ceil(16);
                self.add(Unit::DepthwiseTap, tiles * shape.taps[0] * shape.taps[1]);
                return self.add(Unit::DepthwiseTile, tiles);
            }
        };
        let blocks = shape.outputs.div_ceil(8);
        let end = |units: [Unit; 3]| match step.end {
            ConvEnd::Int8 { .. } => units[0],
            ConvEnd::Float { .. } => units[1],
            ConvEnd::Sums => units[2],
        };
        // That weights are too large for it is rare.
        if instructions == Instructions::Neon && conv8::may_be_transformed(shape, rows) {
            let (tiles, steps) = (rows.div_ceil(4) * shape.width.div_ceil(4), shape.depth.div_ceil(8));
            let groups = tiles.div_ceil(8);
            // As many as fit the second cache: `winograd::band`.
            let band = ((192 << 10) / (2 * 36 * steps * 64)).next_multiple_of(4).max(4);
            self.add(Unit::WinogradTransform, groups * 8 * steps);
            self.add(Unit::WinogradSpread, groups.div_ceil(band) * blocks * steps * 8);
            self.add(Unit::WinogradMultiply, blocks * groups * 36 * steps);
            self.add(Unit::WinogradSum, blocks * groups * 36);
            let units = [Unit::WinogradTileInt8, Unit::WinogradTileFloat, Unit::WinogradTileSums];
            return self.add(end(units), blocks * tiles);
        }
        let [shared, tap, run, narrow_tap, narrow_tile] = match instructions {
            Instructions::NeonDot => {
                [Unit::DotShared, Unit::DotTap, Unit::DotRun, Unit::DotNarrowTap, Unit::DotNarrowTile]
            }
            _ => [Unit::MlalShared, Unit::MlalTap, Unit::MlalRun, Unit::MlalNarrowTap, Unit::MlalNarrowTile],
        };
        let (pixels, units) = match instructions {
            Instructions::NeonDot => (8, [Unit::DotTileInt8, Unit::DotTileFloat, Unit::DotTileSums]),
            _ => (4, [Unit::MlalTileInt8, Unit::MlalTileFloat, Unit::MlalTileSums]),
        };
        let ([high, wide], depth) = (shape.taps, shape.depth.div_ceil(16).max(1));
        self.add(Unit::ConvRow, rows * blocks);
        if shape.width < pixels {
            let tiles = rows * blocks * shape.width;
            self.add(narrow_tap, tiles * high * wide * depth);
            return self.add(narrow_tile, tiles);
        }
        let tiles = rows * blocks * shape.width.div_ceil(pixels);
        self.add(end(units), tiles);
        if wide == 3 && shape.dilation[1] == shape.stride[1] {
            self.add(shared, tiles * high * depth);
            self.add(run, tiles * high);
        } else {
            self.add(tap, tiles * high * wide * depth);
            self.add(run, tiles * high * wide);
        }
    }

    fn conv32(&mut self, shape: &Shape, rows: usize) {
        let taps = shape.taps[0] * shape.taps[1];
        let fours = rows * shape.width.div_ceil(4) * shape.outputs.div_ceil(4);
        self.add(Unit::FloatMac, fours * taps * shape.depth);
        let tiles = rows * shape.width.div_ceil(8) * shape.outputs.div_ceil(8);
        self.add(Unit::FloatRun, tiles * taps);
        self.add(Unit::FloatTile, tiles);
    }

    fn pointwise(&mut self, step: &Pointwise, slots: &[Slot]) {
        let mut images = step.terms.iter().filter_map(|term| image(slots, term.image));
        let Some(first) = images.next() else { return };
        let (pixels, channels) = (first.height * first.width, step.bias.channels());
        let strips = channels.div_ceil(16);
        let is_int8 = |image: &Image| image.element == Element::Int8;
        let is_exponential = matches!(step.activation, Activation::Silu | Activation::Sigmoid);
        // What becomes of each value of a cell is looked up where that pays: `pointwise::neon::table`.
        let looked_up = match step.terms.len() == 1 && is_int8(&first) && step.quantize.is_some() && pixels >= 512 {
            true if is_exponential => channels / 16,
            _ => 0,
        };
        let others = step.up as usize * 3;
        self.add(Unit::LookUp, pixels * looked_up);
        self.add(Unit::LookUpOther, others * pixels * looked_up);
        let strips = strips - looked_up;
        self.add(Unit::PointwiseStrip, first.height * strips);
        let strips = pixels * strips;
        let mut all_int8 = true;
        for image in [first].into_iter().chain(images) {
            all_int8 &= is_int8(&image);
            let unit = if is_int8(&image) { Unit::PointwiseInt8Term } else { Unit::PointwiseFloatTerm };
            self.add(unit, strips);
        }
        if !all_int8 || step.terms.len() > 3 {
            self.add(Unit::PointwiseAnyTerms, strips);
        }
        let activation = match step.activation {
            Activation::Linear => Unit::PointwiseLinear,
            Activation::Clip { .. } => Unit::PointwiseClip,
            Activation::Silu => Unit::PointwiseSilu,
            Activation::Sigmoid => Unit::PointwiseSigmoid,
        };
        self.add(activation, strips);
        // A table is made of 256 cells' values.
        self.add(activation, 256 * looked_up);
        self.add(Unit::PointwiseToInt8, 256 * looked_up);
        let is_whole = channels.is_multiple_of(16);
        let to = match (step.quantize.is_some(), is_whole) {
            (true, true) => Unit::PointwiseToInt8,
            (true, false) => Unit::PointwiseToPartInt8,
            (false, true) => Unit::PointwiseToFloat,
            (false, false) => Unit::PointwiseToPartFloat,
        };
        self.add(to, strips);
        self.add(Unit::PointwiseOther, others * strips);
    }

    fn tensor(&mut self, step: &TensorStep) {
        match step {
            TensorStep::Linear(step) => self.add(Unit::LinearElement, elements(&step.walk)),
            TensorStep::Range(step) => self.add(Unit::RangeElement, elements(&step.walk)),
            TensorStep::Map(step) => self.map(step),
            TensorStep::Fold(step) => {
                let inner = step.inner.0.iter().product::<usize>();
                let [to, from] = [&step.walk.strides[0], &step.walk.strides[1]];
                for block in Blocks::new(&step.walk.sizes, is_upright(to) || is_upright(from)) {
                    self.add(Unit::Block, 1);
                    self.moves(&block, from, inner);
                    self.moves(&block, to, 1);
                }
                let results = elements(&step.walk);
                self.add(Unit::FoldElement, results * inner);
                self.add(Unit::FoldResult, results);
            }
            TensorStep::Product(step) => {
                let shape = &step.shape;
                self.add(Unit::ProductMac, step.batch * shape.rows * shape.columns.div_ceil(16) * shape.depth);
                self.add(Unit::ProductRow, step.batch * shape.rows * shape.columns.div_ceil(512));
            }
            TensorStep::Copy(step) => {
                let [to, from] = [&step.walk.strides[0], &step.walk.strides[1]];
                for block in Blocks::new(&step.walk.sizes, is_upright(to) || is_upright(from)) {
                    self.add(Unit::Block, 1);
                    if step.flip == 0 && is_turned(&block, from, to) {
                        self.add(Unit::MoveTurned, block.count());
                    } else {
                        self.moves(&block, from, 1);
                        self.moves(&block, to, 1);
                    }
                }
            }
            TensorStep::Constant(step) => self.add(Unit::ConstantByte, step.bytes.len()),
        }
    }

    fn map(&mut self, step: &Map) {
        let count = elements(&step.walk);
        for instruction in &step.program {
            let unit = match instruction {
                Instruction::Read(_) => continue,
                Instruction::Constant(_) => Unit::MapConstant,
                Instruction::Binary(Binary::Divide) => Unit::MapDivide,
                Instruction::Binary(Binary::Power) => Unit::MapPower,
                Instruction::Binary(_) => Unit::MapPlain,
                Instruction::Unary(Unary::Abs | Unary::Clip { .. } | Unary::Negative | Unary::LeakyRelu { .. }) => {
                    Unit::MapPlain
                }
                Instruction::Unary(Unary::SquareRoot | Unary::Reciprocal) => Unit::MapDivide,
                Instruction::Unary(Unary::Exp | Unary::Sigmoid) => Unit::MapExp,
                Instruction::Unary(Unary::Log) => Unit::MapLog,
                Instruction::Unary(_) => Unit::MapOther,
            };
            self.add(unit, count);
        }
        if step.quantize.is_some() {
            self.add(Unit::MapQuantize, count);
        }
        let (to, sources) = (&step.walk.strides[0], &step.walk.strides[1..]);
        let upright = step.walk.strides.iter().any(|strides| is_upright(strides));
        for block in Blocks::new(&step.walk.sizes, upright) {
            self.add(Unit::Block, 1);
            self.add(Unit::MapOperation, step.program.len());
            for instruction in &step.program {
                if let Instruction::Read(source) = instruction {
                    self.moves(&block, &sources[*source], 1);
                }
            }
            self.moves(&block, to, 1);
        }
    }

    /// What it takes to read or to write a block: as `Block::read` and `Block::write` tell cases apart.
    fn moves(&mut self, block: &Block, strides: &[usize], times: usize) {
        let (_, row, column) = block.place(0, strides);
        match column {
            0 if row == 0 => self.add(Unit::MoveWhole, times * block.count()),
            1 if row == block.columns => self.add(Unit::MoveWhole, times * block.count()),
            2.. if row == 1 && block.rows >= 4 && block.columns >= 4 => {
                self.add(Unit::MoveTurned, times * block.count());
            }
            _ => {
                self.add(Unit::MoveRow, times * block.rows);
                let unit = if column > 1 { Unit::MoveElementApart } else { Unit::MoveElement };
                self.add(unit, times * block.count());
            }
        }
        self.add(Unit::MoveBlock, times);
    }
}

/// As `Block::turn`.
fn is_turned(block: &Block, from: &[usize], to: &[usize]) -> bool {
    let ((_, row, column), (_, to_row, to_column)) = (block.place(0, from), block.place(0, to));
    block.rows >= 4
        && block.columns >= 4
        && matches!((row, column, to_row, to_column), (1, 2.., 1.., 1) | (1.., 1, 1, 2..))
}

fn image(slots: &[Slot], slot: SlotId) -> Option<Image> {
    match slots[slot] {
        Slot::Image(image) => Some(image),
        Slot::Tensor { .. } => None,
    }
}

fn elements(walk: &Walk) -> usize {
    walk.sizes.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plan::slot::Vector;
    use crate::engine::plan::step::Affine;

    #[test]
    fn units_are_in_their_order() {
        assert!(ALL.iter().enumerate().all(|(index, unit)| *unit as usize == index));
    }

    #[test]
    fn counts_are_of_the_step() {
        let vector = |channels| Vector::Constant(vec![0.0; channels]);
        let affine = Affine { factors: vec![vector(24); 2], bias: vector(24), scale: None, shift: None, output: 0 };
        let work = Work::of(&Step::Affine(Box::new(affine)), &[Slot::Tensor { bytes: 288 }], Instructions::Neon);
        assert_eq!((work.count(Unit::Step), work.count(Unit::AffineValue), work.is_complete), (1, 72, true));
        assert_eq!(work.counts.iter().sum::<u64>(), 73);
    }
}
