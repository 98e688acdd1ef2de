//! Small networks, planned and run, beside the same file run by tract in f32.

mod integers;
mod refused;
mod unusual;

use super::super::{Bound, Model, Planned};
use crate::engine::kernel::Isa;
use crate::engine::kernel::testing::Random;
use crate::engine::plan::Machine;
use half::f16;
use std::path::Path;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::{IntoTValue, Tensor, tvec};

/// Writes ONNX files node by node.
#[derive(Default)]
struct Writer {
    graph: pb::GraphProto,
    names: usize,
    /// Writes floats, and quantizes nothing.
    float: bool,
}

impl Writer {
    fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        self.constant(dims, DataType::Float, bytemuck::cast_slice(values))
    }

    fn constant(&mut self, dims: &[i64], data_type: DataType, bytes: &[u8]) -> String {
        let (name, dims) = (self.name(), dims.to_vec());
        let raw_data = bytes.to_vec();
        let tensor =
            pb::TensorProto { name: name.clone(), dims, data_type: data_type as i32, raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        name
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<pb::AttributeProto>) -> String {
        let output = self.name();
        self.graph.node.push(pb::NodeProto {
            name: format!("{op} {output}"),
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        });
        output
    }

    fn ports(names: &[&str], shape: &[usize]) -> Vec<pb::ValueInfoProto> {
        use pb::tensor_shape_proto::{Dimension, dimension};
        let dim =
            |&side: &usize| Dimension { value: Some(dimension::Value::DimValue(side as i64)), ..Default::default() };
        let shape = pb::TensorShapeProto { dim: shape.iter().map(dim).collect() };
        let tensor = pb::type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
        let declared = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
        let port = |&name: &&str| pb::ValueInfoProto {
            name: name.into(),
            r#type: Some(declared.clone()),
            ..Default::default()
        };
        names.iter().map(port).collect()
    }

    fn file(self) -> Vec<u8> {
        use prost::Message;
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        pb::ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(self.graph), ..Default::default() }
            .encode_to_vec()
    }

    fn quantized(&mut self, from: &str, scale: f32, zero_point: i8) -> String {
        if self.float {
            return from.to_owned();
        }
        let scale = self.floats(&[], &[scale]);
        let zero = self.constant(&[], DataType::Int8, &[zero_point as u8]);
        let cells = self.node("QuantizeLinear", &[from, &scale, &zero], vec![]);
        self.node("DequantizeLinear", &[&cells, &scale, &zero], vec![])
    }

    /// A 3 x 3 convolution of what was quantized with scale `unit`, with int8 weights and, as quantizers write it, a bias in whole sums; its output
    /// is quantized.
    fn conv(
        &mut self,
        random: &mut Random,
        from: &str,
        unit: f32,
        depth: usize,
        outputs: usize,
        stride: i64,
    ) -> String {
        let weights = random.many(outputs * depth * 9, |random| random.any_i8() as u8);
        let scale = random.many(outputs, |random| (0.5 + random.unit()) / (depth as f32 * 9.0).sqrt() / 73.0);
        let bias: Vec<f32> =
            scale.iter().map(|scale| (random.below(20_000) as f32 - 10_000.0) * (unit * scale)).collect();
        let dims = [outputs as i64, depth as i64, 3, 3];
        let weights = if self.float {
            let real = |(at, &weight): (usize, &u8)| f32::from(weight as i8) * scale[at / (depth * 9)];
            let weights: Vec<f32> = weights.iter().enumerate().map(real).collect();
            self.floats(&dims, &weights)
        } else {
            let weights = self.constant(&dims, DataType::Int8, &weights);
            let scale = self.floats(&[outputs as i64], &scale);
            let zero = self.constant(&[outputs as i64], DataType::Int8, &vec![0; outputs]);
            self.node("DequantizeLinear", &[&weights, &scale, &zero], vec![ints("axis", &[0])])
        };
        let bias = self.floats(&[outputs as i64], &bias);
        let attributes = vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[stride, stride])];
        let sums = self.node("Conv", &[from, &weights, &bias], attributes);
        self.quantized(&sums, CONV, 5)
    }

    /// Group normalization as exporters write it, a gain and an offset for each channel, SiLU, quantized.
    fn norm(
        &mut self,
        random: &mut Random,
        from: &str,
        [channels, height, width]: [usize; 3],
        groups: usize,
    ) -> String {
        let shape = |sides: &[usize]| sides.iter().flat_map(|&side| (side as i64).to_le_bytes()).collect::<Vec<u8>>();
        let flat = self.constant(&[3], DataType::Int64, &shape(&[1, groups, channels / groups * height * width]));
        let full = self.constant(&[4], DataType::Int64, &shape(&[1, channels, height, width]));
        let (ones, zeros) =
            (self.floats(&[groups as i64], &vec![1.0; groups]), self.floats(&[groups as i64], &vec![0.0; groups]));
        let flat = self.node("Reshape", &[from, &flat], vec![]);
        let normal = self.node("InstanceNormalization", &[&flat, &ones, &zeros], vec![]);
        let normal = self.node("Reshape", &[&normal, &full], vec![]);
        let gain = random.many(channels, |random| 0.5 + random.unit());
        let offset = random.many(channels, |random| random.unit() - 0.5);
        let (gain, offset) =
            (self.floats(&[channels as i64, 1, 1], &gain), self.floats(&[channels as i64, 1, 1], &offset));
        let scaled = self.node("Mul", &[&normal, &gain], vec![]);
        let shifted = self.node("Add", &[&scaled, &offset], vec![]);
        let gate = self.node("Sigmoid", &[&shifted], vec![]);
        let silu = self.node("Mul", &[&shifted, &gate], vec![]);
        self.quantized(&silu, SILU, -40)
    }

    fn doubled(&mut self, from: &str) -> String {
        let scales = self.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
        let mode = [("mode", "nearest"), ("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")];
        self.node("Resize", &[from, "", &scales], mode.map(|(name, value)| text(name, value)).to_vec())
    }
}

fn ints(name: &str, values: &[i64]) -> pb::AttributeProto {
    use pb::attribute_proto::AttributeType;
    match values {
        [value] if name == "axis" => {
            pb::AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: *value, ..Default::default() }
        }
        _ => pb::AttributeProto {
            name: name.into(),
            r#type: AttributeType::Ints as i32,
            ints: values.to_vec(),
            ..Default::default()
        },
    }
}

fn text(name: &str, value: &str) -> pb::AttributeProto {
    let kind = pb::attribute_proto::AttributeType::String as i32;
    pb::AttributeProto { name: name.into(), r#type: kind, s: value.into(), ..Default::default() }
}

/// Scales. None is a simple multiple of another one: no ties when one is rounded to another.
const X: f32 = 0.020_19;
const CONV: f32 = 0.031_37;
const SUM: f32 = 0.041_83;
const SILU: f32 = 0.024_91;
const SHAPE: [usize; 4] = [1, 7, 12, 20];

/// A small U-Net: two sizes, a residual sum, a concatenation, upsampling.
fn unet(float: bool) -> Vec<u8> {
    let (mut file, mut random) = (Writer { float, ..Writer::default() }, Random::new(5));
    let writer = &mut file;
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let x = writer.quantized("x", X, 3);
    let first = writer.conv(&mut random, &x, X, 7, 16, 1);
    let high = writer.norm(&mut random, &first, [16, 12, 20], 4);
    let high = writer.conv(&mut random, &high, SILU, 16, 16, 1);
    let high = writer.node("Add", &[&high, &first], vec![]);
    let low = writer.quantized(&high, SUM, 0);
    let low = writer.conv(&mut random, &low, SUM, 16, 24, 2);
    let low = writer.norm(&mut random, &low, [24, 6, 10], 3);
    let low = writer.conv(&mut random, &low, SILU, 24, 24, 1);
    let up = writer.doubled(&low);
    let both = writer.node("Concat", &[&up, &high], vec![ints("axis", &[1])]);
    let both = writer.norm(&mut random, &both, [40, 12, 20], 4);
    let last = writer.conv(&mut random, &both, SILU, 40, 5, 1);
    writer.graph.output = Writer::ports(&[&last], &[1, 5, 12, 20]);
    file.file()
}

fn noise() -> Vec<f32> {
    Random::new(9).many(SHAPE.iter().product(), |random| 4.0 * random.unit() - 2.0)
}

fn planned(file: &[u8], isa: Isa) -> (Planned, Vec<f32>) {
    let mut planned =
        Planned::from_bytes(Path::new("test.onnx"), file, &Machine::one_thread(isa), &Bound::default()).unwrap();
    let mut output = Vec::new();
    for _ in 0..2 {
        planned.plan_mut().input_mut(0).copy_from_slice(&noise());
        planned.run().unwrap();
        output = planned.plan().output(0).to_vec();
    }
    (planned, output)
}

#[test]
fn a_quantized_unet_gives_what_tract_gives_in_floats() {
    let file = unet(false);
    let (planned, ours) = planned(&file, Isa::best());
    assert_eq!(planned.fallbacks(), []);
    // 12 x 20 x (16 x 7 + 16 x 16 + 5 x 40) x 9, and 6 x 10 x (24 x 16 + 24 x 24) x 9.
    assert_eq!((planned.macs().int8, planned.macs().float), (1_745_280, 0));
    let theirs = by_tract(&file);
    // In steps of the output's scale. A rounding that falls the other way spreads, by a step or two.
    let steps: Vec<f32> = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / CONV).collect();
    let same = steps.iter().filter(|&&step| step < 0.5).count();
    assert!(steps.iter().all(|&step| step < 1.5), "{:?}", steps.iter().copied().fold(0.0, f32::max));
    assert!(same * 100 >= steps.len() * 99, "{same} of {}", steps.len());
    assert!(theirs.iter().any(|value| value.abs() > 1.0));
}

#[test]
fn a_float_unet_gives_what_tract_gives() {
    let file = unet(true);
    let (planned, ours) = planned(&file, Isa::best());
    assert_eq!(planned.fallbacks(), []);
    let theirs = by_tract(&file);
    let largest = theirs.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() <= 1e-4 * largest, "{a} and {b}, of {largest}");
    }
}

fn by_tract(file: &[u8]) -> Vec<f32> {
    let model = Model::from_bytes(Path::new("test.onnx"), file).unwrap();
    let x = Tensor::from_shape(&SHAPE, &noise()).unwrap();
    let values = model.plan.run(tvec!(x.into_tvalue())).unwrap();
    values[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for float in [false, true] {
        let file = unet(float);
        let bits = |isa| planned(&file, isa).1.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let scalar = bits(Isa::Scalar);
        for isa in Isa::available() {
            assert_eq!(bits(isa), scalar, "{isa}");
        }
    }
}

#[test]
fn functions_between_int8_images_are_looked_up() {
    let (mut file, mut random) = (Writer::default(), Random::new(11));
    let writer = &mut file;
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let x = writer.quantized("x", X, 3);
    let first = writer.conv(&mut random, &x, X, 7, 16, 1);
    let whole = writer.node("HardSwish", &[&first], vec![]);
    let whole = writer.quantized(&whole, SILU, -40);
    let gate = writer.node("HardSigmoid", &[&first], vec![]);
    let gated = writer.node("Mul", &[&first, &gate], vec![]);
    let gated = writer.quantized(&gated, SILU, -40);
    let both = writer.node("Add", &[&whole, &gated], vec![]);
    let both = writer.quantized(&both, SUM, 0);
    let last = writer.conv(&mut random, &both, SUM, 16, 5, 1);
    writer.graph.output = Writer::ports(&[&last], &[1, 5, 12, 20]);
    let file = file.file();
    let (planned, ours) = planned(&file, Isa::best());
    assert_eq!(planned.fallbacks(), []);
    let tables = planned.plan().steps().iter().filter(|step| step.name() == "table").count();
    assert_eq!(tables, 2);
    let theirs = by_tract(&file);
    let steps: Vec<f32> = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / CONV).collect();
    let same = steps.iter().filter(|&&step| step < 0.5).count();
    assert!(steps.iter().all(|&step| step < 1.5), "{:?}", steps.iter().copied().fold(0.0, f32::max));
    assert!(same * 100 >= steps.len() * 99, "{same} of {}", steps.len());
}

#[test]
fn differences_are_sums_of_images() {
    let (mut file, mut random) = (Writer::default(), Random::new(12));
    let writer = &mut file;
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let x = writer.quantized("x", X, 3);
    let first = writer.conv(&mut random, &x, X, 7, 5, 1);
    let second = writer.conv(&mut random, &x, X, 7, 5, 1);
    // Computed from the input: a number for each channel that is known only when it runs.
    let mean = writer.node("GlobalAveragePool", &[&first], vec![]);
    let between = writer.node("Sub", &[&first, &second], vec![]);
    let less = writer.node("Sub", &[&between, &mean], vec![]);
    let ones = writer.floats(&[1, 5, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let from_ones = writer.node("Sub", &[&ones, &second], vec![]);
    let all = writer.node("Sub", &[&less, &from_ones], vec![]);
    writer.graph.output = Writer::ports(&[&all], &[1, 5, 12, 20]);
    let file = file.file();
    let (planned, ours) = planned(&file, Isa::best());
    assert_eq!(planned.fallbacks(), []);
    // The mean's image is written, and the output.
    let written = planned.plan().steps().iter().filter(|step| step.name() == "pointwise").count();
    assert!(written <= 2, "{written}");
    for (a, b) in ours.iter().zip(by_tract(&file)) {
        assert!((a - b).abs() <= CONV * 1e-3, "{a}, {b}");
    }
}

/// A float network with its floats rounded to 16 bits: kept in 32, or in 16, where input and output are float16 too and the input is cast once more.
fn rounded(file: &[u8], kept: DataType) -> Vec<u8> {
    use prost::Message;
    let mut model = pb::ModelProto::decode(file).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_type == DataType::Float as i32) {
        let floats = tensor.raw_data.as_chunks::<4>().0.iter().map(|&bytes| f16::from_f32(f32::from_le_bytes(bytes)));
        tensor.raw_data = match kept {
            DataType::Float16 => floats.flat_map(f16::to_le_bytes).collect(),
            _ => floats.map(f16::to_f32).flat_map(f32::to_le_bytes).collect(),
        };
        tensor.data_type = kept as i32;
    }
    for port in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(pb::type_proto::Value::TensorType(tensor)) = port.r#type.as_mut().unwrap().value.as_mut() {
            tensor.elem_type = kept as i32;
        }
    }
    graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|name| *name == "x").for_each(|x| *x = "cast".into());
    let to = pb::AttributeProto { name: "to".into(), i: kept as i64, ..ints("axis", &[0]) };
    // Converters give a node the name of its input.
    let cast = pb::NodeProto {
        name: "x".into(),
        op_type: "Cast".into(),
        input: vec!["x".into()],
        output: vec!["cast".into()],
        attribute: vec![to],
        ..Default::default()
    };
    graph.node.insert(0, cast);
    model.encode_to_vec()
}

#[test]
fn a_float16_unet_is_computed_in_32_bits_with_weights_of_16() {
    let run = |kept, isa, input: &[u8]| {
        let file = rounded(&unet(true), kept);
        let machine = Machine::one_thread(isa);
        let mut planned = Planned::from_bytes(Path::new("test.onnx"), &file, &machine, &Bound::default()).unwrap();
        assert_eq!(planned.fallbacks(), []);
        planned.plan_mut().input_bytes_mut(0).copy_from_slice(input);
        planned.run().unwrap();
        (planned.plan().output_bytes(0).to_vec(), planned.plan().weights_bytes())
    };
    let input: Vec<f16> = noise().into_iter().map(f16::from_f32).collect();
    let halves: Vec<u8> = input.iter().flat_map(|of| of.to_le_bytes()).collect();
    let floats: Vec<u8> = input.iter().flat_map(|of| of.to_f32().to_le_bytes()).collect();
    for isa in Isa::available() {
        let (full, full_bytes) = run(DataType::Float, isa, &floats);
        let (half, half_bytes) = run(DataType::Float16, isa, &halves);
        let full = full.as_chunks::<4>().0.iter().map(|&bytes| f16::from_f32(f32::from_le_bytes(bytes)));
        assert_eq!(full.flat_map(f16::to_le_bytes).collect::<Vec<_>>(), half, "{isa}");
        assert!(half_bytes * 100 < full_bytes * 52, "{isa}: {half_bytes} bytes of {full_bytes}");
    }
}
