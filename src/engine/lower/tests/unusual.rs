//! What is seldom written and right: constant outputs, vectors, many axes, no elements, numbers that are none.

use super::*;

/// The first output as floats, and whether all has steps of its own.
fn run(write: &dyn Fn(&mut Writer) -> String) -> (Vec<f32>, bool) {
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let output = write(&mut writer);
    writer.graph.output = Writer::ports(&[&output], &[]);
    let (planned, output) = planned(&writer.file(), Isa::best());
    (output, planned.fallbacks().is_empty())
}

fn whole(writer: &mut Writer, values: &[i64]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    writer.constant(&[values.len() as i64], DataType::Int64, &bytes)
}

#[test]
fn outputs_that_are_constant() {
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let floats = writer.floats(&[3], &[1.0, -2.0, 0.5]);
    let shape = writer.node("Shape", &["x"], vec![]);
    let last = writer.node("Relu", &["x"], vec![]);
    writer.graph.output = Writer::ports(&[&floats, &shape, &last], &[]);
    let machine = Machine::one_thread(Isa::best());
    let mut planned = Planned::from_bytes(Path::new("test.onnx"), &writer.file(), &machine, &Bound::default()).unwrap();
    for _ in 0..2 {
        planned.plan_mut().input_mut(0).copy_from_slice(&noise());
        planned.run().unwrap();
        assert_eq!(planned.plan().output(0), [1.0, -2.0, 0.5]);
        let sides = planned.plan().output_bytes(1).as_chunks().0.iter().map(|&side| i64::from_ne_bytes(side));
        assert!(sides.eq([1, 7, 12, 20]));
        assert_eq!(planned.plan().output(2)[5], noise()[5].max(0.0));
    }
}

#[test]
fn products_with_vectors() {
    let x = noise();
    let vector: Vec<f32> = (0..20).map(|at| at as f32 - 7.0).collect();
    let (found, is_planned) = run(&|writer| {
        let vector = writer.floats(&[20], &vector);
        writer.node("MatMul", &["x", &vector], vec![])
    });
    assert!(is_planned && found.len() == 84);
    for (found, row) in found.iter().zip(x.chunks(20)) {
        let right: f32 = row.iter().zip(&vector).map(|(a, b)| a * b).sum();
        assert!((found - right).abs() < 1e-3, "{found}, {right}");
    }
    let (found, is_planned) = run(&|writer| {
        let vector = writer.floats(&[12], &vector[..12]);
        writer.node("MatMul", &[&vector, "x"], vec![])
    });
    assert!(is_planned && found.len() == 140);
    for (at, found) in found.iter().enumerate() {
        let right: f32 = (0..12).map(|y| vector[y] * x[at / 20 * 240 + y * 20 + at % 20]).sum();
        assert!((found - right).abs() < 1e-3, "{found}, {right}");
    }
    let (found, _) = run(&|writer| {
        let flat = whole(writer, &[1680]);
        let flat = writer.node("Reshape", &["x", &flat], vec![]);
        writer.node("MatMul", &[&flat, &flat], vec![])
    });
    let right: f32 = x.iter().map(|x| x * x).sum();
    assert!(found.len() == 1 && (found[0] - right).abs() < 1e-3 * right, "{found:?}, {right}");
}

#[test]
fn axes_beyond_what_a_step_walks_over() {
    let (found, _) = run(&|writer| {
        let cut = whole(writer, &[7, 2, 3, 2, 2, 1, 5, 1, 2, 1]);
        let cut = writer.node("Reshape", &["x", &cut], vec![]);
        let order = ints("perm", &[8, 3, 0, 6, 2, 9, 4, 1, 5, 7]);
        writer.node("Transpose", &[&cut], vec![order])
    });
    let sizes = [7, 2, 3, 2, 2, 1, 5, 1, 2, 1];
    let strides: Vec<usize> = (0..10).map(|axis| sizes[axis + 1..].iter().product()).collect();
    let order = [8, 3, 0, 6, 2, 9, 4, 1, 5, 7];
    let x = noise();
    for (at, &found) in found.iter().enumerate() {
        let (mut rest, mut from) = (at, 0);
        for &axis in order.iter().rev() {
            from += rest % sizes[axis] * strides[axis];
            rest /= sizes[axis];
        }
        assert_eq!(found, x[from]);
    }
    assert_eq!(found.len(), x.len());
}

#[test]
fn slices_of_nothing() {
    let (found, _) = run(&|writer| {
        let [start, end, axis] = [3, 3, 2].map(|value| whole(writer, &[value]));
        writer.node("Slice", &["x", &start, &end, &axis], vec![])
    });
    assert!(found.is_empty());
    let (found, _) = run(&|writer| {
        let [start, end, axis] = [3, 3, 1].map(|value| whole(writer, &[value]));
        let nothing = writer.node("Slice", &["x", &start, &end, &axis], vec![]);
        writer.node("Concat", &[&nothing, "x"], vec![ints("axis", &[1])])
    });
    assert_eq!(found, noise());
}

#[test]
fn what_is_no_number_stays_none() {
    for op in ["Sigmoid", "Relu", "Exp", "Tanh", "Softplus", "Clip", "HardSwish"] {
        let (found, _) = run(&|writer| {
            let zero = writer.floats(&[1, 1, 1, 1], &[0.0]);
            let none = writer.node("Div", &[&zero, &zero], vec![]);
            let sum = writer.node("Add", &["x", &none], vec![]);
            writer.node(op, &[&sum], vec![])
        });
        assert!(found.iter().all(|x| x.is_nan()), "{op}: {:?}", &found[..3]);
    }
}

#[test]
fn resizing_of_operator_set_10() {
    let file = |scales: [f32; 4], mode: &str| {
        use prost::Message;
        let mut writer = Writer::default();
        writer.graph.input = Writer::ports(&["x"], &SHAPE);
        let scales = writer.floats(&[4], &scales);
        let output = writer.node("Resize", &["x", &scales], vec![text("mode", mode)]);
        writer.graph.output = Writer::ports(&[&output], &[]);
        let mut model = pb::ModelProto::decode(&writer.file()[..]).unwrap();
        model.opset_import[0].version = 10;
        model.encode_to_vec()
    };
    let (_, found) = planned(&file([1.0, 1.0, 3.0, 2.0], "nearest"), Isa::best());
    let x = noise();
    assert_eq!(found.len(), 7 * 36 * 40);
    for (at, &found) in found.iter().enumerate() {
        assert_eq!(found, x[at / 1440 * 240 + at % 1440 / 40 / 3 * 20 + at % 40 / 2]);
    }
    for (scales, mode) in [([1.0, 1.0, 1.5, 2.0], "nearest"), ([1.0, 1.0, 2.0, 2.0], "linear")] {
        let machine = Machine::one_thread(Isa::Scalar);
        let error = Planned::from_bytes(Path::new("test.onnx"), &file(scales, mode), &machine, &Bound::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("Resize v2") && error.contains("operator set 11"), "{error}");
    }
}
