//! Operators on integers, beside their definitions.

use super::*;

/// Zero points of weights: none, and for uint8 one that makes them int8, and one for each output.
const ZEROS: [&[u8]; 3] = [&[], &[128], &[0, 255, 100, 7, 128]];

fn writer() -> Writer {
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    writer
}

fn finished(mut writer: Writer, output: &str) -> Vec<u8> {
    writer.graph.output = Writer::ports(&[output], &[]);
    writer.file()
}

/// Cells and zero point of what is quantized when the plan runs.
fn dynamic(writer: &mut Writer) -> (String, String) {
    let cells = writer.node("DynamicQuantizeLinear", &["x"], vec![]);
    let (scale, zero_point) = (writer.name(), writer.name());
    writer.graph.node.last_mut().unwrap().output.extend([scale, zero_point.clone()]);
    (cells, zero_point)
}

/// Random weights, and the inputs that name them: one for them and, if they have one, their zero point, both uint8 then.
fn weights(writer: &mut Writer, random: &mut Random, dims: &[i64], zeros: &[u8]) -> (Vec<u8>, Vec<String>) {
    let weights = random.many(dims.iter().product::<i64>() as usize, |random| random.any_i8() as u8);
    let kind = if zeros.is_empty() { DataType::Int8 } else { DataType::Uint8 };
    let mut names = vec![writer.constant(dims, kind, &weights)];
    let shape = [zeros.len() as i64];
    if !zeros.is_empty() {
        names.push(writer.constant(if zeros.len() == 1 { &[] } else { &shape }, kind, zeros));
    }
    (weights, names)
}

/// weight − zero point, of output `o`.
fn plain(weight: u8, zeros: &[u8], o: usize) -> i64 {
    match zeros {
        [] => i64::from(weight as i8),
        [zero] => i64::from(weight) - i64::from(*zero),
        _ => i64::from(weight) - i64::from(zeros[o]),
    }
}

/// The cells of the noise without their zero point, as DynamicQuantizeLinear has it.
fn cells() -> Vec<i64> {
    let x = noise();
    let (low, high) = x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
    let scale = (high - low) / 255.0;
    let zero = (-low / scale).round_ties_even();
    x.iter().map(|x| (((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero) as i64).collect()
}

/// What a plan gives on every instruction set and with two threads, of which all give the same.
fn whole(file: &[u8]) -> Vec<i64> {
    let machines = Isa::available().into_iter().map(Machine::one_thread).chain([Machine::new(2).unwrap()]);
    let mut all = machines.map(|machine| {
        let mut planned = Planned::from_bytes(Path::new("test.onnx"), file, &machine, &Bound::default()).unwrap();
        assert_eq!(planned.fallbacks(), []);
        planned.plan_mut().input_mut(0).copy_from_slice(&noise());
        planned.run().unwrap();
        planned.plan().output_bytes(0).as_chunks().0.iter().map(|&of| i32::from_ne_bytes(of).into()).collect::<Vec<_>>()
    });
    let first = all.next().unwrap();
    all.for_each(|other| assert_eq!(other, first));
    first
}

#[test]
fn integer_convolutions_are_exact() {
    let (mut random, x) = (Random::new(21), cells());
    for (zeros, groups) in ZEROS.iter().flat_map(|zeros| [(zeros, 1), (zeros, 7)]) {
        // Five of all channels, or seven of one each.
        let (outputs, depth) = if groups == 1 { (5, 7) } else { (7, 1) };
        let zeros = if zeros.len() > 1 && groups > 1 { &zeros[2..3] } else { zeros };
        let mut writer = writer();
        let (name, zero_point) = dynamic(&mut writer);
        let (weights, own) = weights(&mut writer, &mut random, &[outputs as i64, depth as i64, 3, 3], zeros);
        let inputs: Vec<&str> =
            [&name, &own[0], &zero_point].into_iter().chain(&own[1..]).map(String::as_str).collect();
        let group = pb::AttributeProto { name: "group".into(), i: groups, ..ints("axis", &[groups]) };
        let sums = writer.node("ConvInteger", &inputs, vec![ints("pads", &[1, 1, 1, 1]), group]);
        let found = whole(&finished(writer, &sums));
        for (at, &found) in found.iter().enumerate() {
            let (o, y, column) = (at / 240, at % 240 / 20, at % 20);
            let mut right = 0;
            for (tap, &weight) in weights[o * depth * 9..][..depth * 9].iter().enumerate() {
                let (c, ky, kx) = (if groups == 1 { tap / 9 } else { o }, tap % 9 / 3, tap % 3);
                let inside = (1..13).contains(&(y + ky)) && (1..21).contains(&(column + kx));
                let cell = if inside { x[c * 240 + (y + ky - 1) * 20 + column + kx - 1] } else { 0 };
                right += cell * plain(weight, zeros, o);
            }
            assert_eq!(found, right, "{zeros:?}, {groups} groups, at {at}");
        }
    }
}

#[test]
fn integer_products_are_exact() {
    let (mut random, x) = (Random::new(22), cells());
    for (zeros, batched) in ZEROS.iter().flat_map(|zeros| [(zeros, false), (zeros, true)]) {
        let mut writer = writer();
        let (name, zero_point) = dynamic(&mut writer);
        // One matrix for all, or one for each channel.
        let dims: &[i64] = if batched { &[1, 7, 20, 5] } else { &[20, 5] };
        let (weights, own) = weights(&mut writer, &mut random, dims, zeros);
        let inputs: Vec<&str> =
            [&name, &own[0], &zero_point].into_iter().chain(&own[1..]).map(String::as_str).collect();
        let sums = writer.node("MatMulInteger", &inputs, vec![]);
        let found = whole(&finished(writer, &sums));
        for (at, &found) in found.iter().enumerate() {
            let (row, o) = (at / 5, at % 5);
            let matrix = &weights[if batched { row / 12 * 100 } else { 0 }..];
            let right: i64 = (0..20).map(|k| x[row * 20 + k] * plain(matrix[k * 5 + o], zeros, o)).sum();
            assert_eq!(found, right, "{zeros:?} at {at}");
        }
    }
}

#[test]
fn zero_points_of_weights_and_transposed_convolutions_stay_in_integers() {
    let mut random = Random::new(23);
    for (op, groups, stride) in [("Conv", 1, 1), ("Conv", 7, 2), ("ConvTranspose", 1, 2), ("ConvTranspose", 1, 1)] {
        for zeros in ZEROS {
            let mut writer = writer();
            let x = writer.quantized("x", X, 3);
            let transposed = op == "ConvTranspose";
            let (outputs, depth) = if groups == 1 { (5, 7) } else { (7, 1) };
            let zeros = if zeros.len() > 1 && groups > 1 { &zeros[2..3] } else { zeros };
            let dims = if transposed { [7, outputs, 3, 3] } else { [outputs, depth, 3, 3] };
            let (_, own) = weights(&mut writer, &mut random, &dims, zeros);
            let unit = 1.0 / (depth as f32 * 9.0).sqrt() / 73.0;
            let scale = match zeros.len() {
                0 | 1 => writer.floats(&[], &[unit]),
                count => writer.floats(&[count as i64], &vec![unit; count]),
            };
            let inputs: Vec<&str> = [&own[0], &scale].into_iter().chain(&own[1..]).map(String::as_str).collect();
            let real = writer.node("DequantizeLinear", &inputs, vec![ints("axis", &[i64::from(transposed)])]);
            let group = pb::AttributeProto { name: "group".into(), i: groups, ..ints("axis", &[groups]) };
            let attributes = vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[stride, stride]), group];
            let sums = writer.node(op, &[&x, &real], attributes);
            let last = writer.quantized(&sums, CONV, 5);
            let file = finished(writer, &last);
            let (planned, ours) = planned(&file, Isa::best());
            assert_eq!((planned.fallbacks(), planned.macs().float), (&[][..], 0));
            let theirs = by_tract(&file);
            let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / CONV).fold(0.0, f32::max);
            assert!(apart < 1.5 && ours.len() == theirs.len(), "{op} {groups} {zeros:?}: {apart}");
            for isa in Isa::available() {
                assert_eq!(self::planned(&file, isa).1, ours, "{isa}");
            }
        }
    }
}

#[test]
fn an_output_shape_of_a_transposed_convolution_says_the_pads() {
    let weights = Random::new(24).many(7 * 2 * 9, |random| random.unit() - 0.5);
    let of = |attributes: Vec<pb::AttributeProto>| {
        let mut writer = writer();
        let weights = writer.floats(&[7, 2, 3, 3], &weights);
        let attributes = [vec![ints("strides", &[2, 2])], attributes].concat();
        let output = writer.node("ConvTranspose", &["x", &weights], attributes);
        planned(&finished(writer, &output), Isa::best()).1
    };
    // 12 x 20 makes 25 x 41: one row too many, and three columns.
    let size = ints("output_shape", &[24, 38]);
    assert_eq!(of(vec![size.clone()]), of(vec![ints("pads", &[1, 2, 0, 1])]));
    assert_eq!(of(vec![size, text("auto_pad", "SAME_UPPER")]), of(vec![ints("pads", &[0, 1, 1, 2])]));
}

#[test]
fn what_integers_cannot_be_is_an_error_that_names_the_node() {
    let refused = |write: &dyn Fn(&mut Writer) -> String| {
        let mut writer = writer();
        let output = write(&mut writer);
        let machine = Machine::one_thread(Isa::Scalar);
        let file = finished(writer, &output);
        Planned::from_bytes(Path::new("test.onnx"), &file, &machine, &Bound::default()).unwrap_err().to_string()
    };
    let product = |zero_point: &[u8], kind: DataType| {
        refused(&|writer| {
            let (cells, zero) = dynamic(writer);
            let matrix = writer.constant(&[20, 5], DataType::Uint8, &[1; 100]);
            let own = writer.constant(&[zero_point.len() as i64], kind, zero_point);
            writer.node("MatMulInteger", &[&cells, &matrix, &zero, &own], vec![])
        })
    };
    let error = product(&[1; 4], DataType::Uint8);
    assert!(error.contains("MatMulInteger v6") && error.contains("4 zero points"), "{error}");
    let error = product(&[1; 5], DataType::Int8);
    assert!(error.contains("MatMulInteger v6") && error.contains("I8 with U8"), "{error}");
    for scale in [0.0, f32::NAN] {
        let error = refused(&|writer| {
            let (good, bad) = (writer.floats(&[], &[1.0]), writer.floats(&[], &[scale]));
            let zero = writer.constant(&[], DataType::Uint8, &[0]);
            let cells = writer.node("QuantizeLinear", &["x", &good, &zero], vec![]);
            let matrix = writer.constant(&[20, 5], DataType::Uint8, &[1; 100]);
            let inputs = [&cells, &good, &zero, &matrix, &bad, &zero, &good, &zero].map(String::as_str);
            writer.node("QLinearMatMul", &inputs, vec![])
        });
        assert!(error.contains("QLinearMatMul v6") && error.contains("a scale of"), "{error}");
    }
    let error = refused(&|writer| {
        let weights = writer.floats(&[7, 2, 3, 3], &[0.0; 126]);
        let attributes = vec![ints("output_shape", &[12, 20]), ints("dilations", &[2, 2])];
        writer.node("ConvTranspose", &["x", &weights], attributes)
    });
    assert!(error.contains("ConvTranspose v2") && error.contains("output_shape"), "{error}");
}
