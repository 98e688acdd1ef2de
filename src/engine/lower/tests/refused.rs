//! Files that are wrong: each ends in an error that names the node, the initializer or the input, and in nothing that a file claims to need.

use super::*;

/// Why the network that `write` writes is refused; it gives the name of the output.
fn refused(write: &dyn Fn(&mut Writer) -> String) -> String {
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &SHAPE);
    let output = write(&mut writer);
    writer.graph.output = Writer::ports(&[&output], &SHAPE);
    refusal(&writer.file())
}

fn refusal(file: &[u8]) -> String {
    let machine = Machine::one_thread(Isa::Scalar);
    match Planned::from_bytes(Path::new("test.onnx"), file, &machine, &Bound::default()) {
        Ok(_) => panic!("it is planned"),
        Err(error) => error.to_string(),
    }
}

fn assert_says(error: &str, parts: &[&str]) {
    assert!(error.starts_with("test.onnx: ") && parts.iter().all(|part| error.contains(part)), "{error}");
}

fn number(name: &str, value: i64) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), i: value, ..ints("axis", &[value]) }
}

fn whole(writer: &mut Writer, values: &[i64]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    writer.constant(&[values.len() as i64], DataType::Int64, &bytes)
}

#[test]
fn zero_points_of_another_shape_than_the_scales() {
    for dims in [&[0][..], &[2], &[7, 1]] {
        let error = refused(&|writer| {
            let scales = writer.floats(&[7], &[0.5; 7]);
            let bytes = vec![0; dims.iter().product::<i64>() as usize];
            let zeros = writer.constant(dims, DataType::Int8, &bytes);
            writer.node("QuantizeLinear", &["x", &scales, &zeros], vec![number("axis", 1)])
        });
        assert_says(&error, &["QuantizeLinear v3", "zero point of the shape"]);
    }
}

#[test]
fn operators_that_nobody_knows() {
    assert_says(&refused(&|writer| writer.node("Sqeeze", &["x"], vec![])), &["node \"Sqeeze v1\" (Sqeeze)"]);
    let nameless = refused(&|writer| {
        let output = writer.node("Sqeeze", &["x"], vec![]);
        writer.graph.node[0].name.clear();
        output
    });
    assert_says(&nameless, &["node that gives \"v1\" (Sqeeze)"]);
    let inside = refused(&|writer| {
        let graph =
            pb::AttributeProto { name: "body".into(), g: Some(pb::GraphProto::default()), ..Default::default() };
        writer.node("Loop", &["x"], vec![graph])
    });
    assert_says(&inside, &["Loop v1", "graphs inside of nodes"]);
    let nothing = refused(&|writer| {
        writer.node("Identity", &["x"], vec![]);
        writer.graph.node[0].output.clear();
        "x".into()
    });
    assert_says(&nothing, &["Identity v1", "gives nothing"]);
}

#[test]
fn shapes_that_are_not_known_before_it_runs() {
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &[1, 7, 12, 0]);
    let output = writer.node("Relu", &["x"], vec![]);
    writer.graph.output = Writer::ports(&[&output], &SHAPE);
    assert_says(&refusal(&writer.file()), &["input \"x\"", "dimension 3 is open"]);
    let counted = refused(&|writer| writer.node("NonZero", &["x"], vec![]));
    assert_says(&counted, &["NonZero v1", "depends on the input"]);
    let computed = refused(&|writer| {
        let to = number("to", DataType::Int64 as i64);
        let some = writer.node("ReduceMax", &["x"], vec![number("keepdims", 0)]);
        let some = writer.node("Cast", &[&some], vec![to]);
        let axes = whole(writer, &[0]);
        let some = writer.node("Unsqueeze", &[&some, &axes], vec![]);
        writer.node("Reshape", &["x", &some], vec![])
    });
    assert_says(&computed, &["Reshape v"]);
}

#[test]
fn scales_and_zero_points() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_says(&refused(&|writer| writer.quantized("x", scale, 0)), &["QuantizeLinear v3", "a scale of"]);
        let weights = |writer: &mut Writer, scale: f32| {
            let values = writer.constant(&[5, 7, 1, 1], DataType::Int8, &[1; 35]);
            let scale = writer.floats(&[5], &[1.0, 1.0, scale, 1.0, 1.0]);
            writer.node("DequantizeLinear", &[&values, &scale], vec![ints("axis", &[0])])
        };
        let error = refused(&|writer| {
            let x = writer.quantized("x", X, 0);
            let weights = weights(writer, scale);
            writer.node("Conv", &[&x, &weights], vec![])
        });
        assert_says(&error, &["DequantizeLinear v", "a scale of"]);
    }
    // A zero point is of the type of the cells: others have no place in them.
    for (kind, bytes) in [(DataType::Int32, &[44, 1, 0, 0][..]), (DataType::Uint8, &[200])] {
        let error = refused(&|writer| {
            let (cells, scale) = (writer.quantized("x", X, 0), writer.floats(&[], &[X]));
            let cells = writer.graph.node.iter().find(|node| node.output[0] == cells).unwrap().input[0].clone();
            let zero = writer.constant(&[], kind, bytes);
            writer.node("DequantizeLinear", &[&cells, &scale, &zero], vec![])
        });
        assert_says(&error, &["DequantizeLinear v7", "zero point"]);
    }
    let error = refused(&|writer| {
        let (scale, zero) = (writer.floats(&[], &[X]), writer.constant(&[], DataType::Int32, &[44, 1, 0, 0]));
        let cells = writer.node("QuantizeLinear", &["x", &scale, &zero], vec![]);
        writer.node("DequantizeLinear", &[&cells, &scale, &zero], vec![])
    });
    assert_says(&error, &["QuantizeLinear v3", "zero point"]);
    let error = refused(&|writer| {
        let x = writer.quantized("x", X, 0);
        let (values, zero) =
            (writer.constant(&[5, 7, 1, 1], DataType::Int8, &[1; 35]), writer.constant(&[2], DataType::Int8, &[1, 2]));
        let scale = writer.floats(&[], &[X]);
        let weights = writer.node("DequantizeLinear", &[&values, &scale, &zero], vec![ints("axis", &[0])]);
        writer.node("Conv", &[&x, &weights], vec![])
    });
    assert_says(&error, &["DequantizeLinear v", "2 zero points"]);
}

#[test]
fn weights_and_biases_of_other_sizes() {
    let error = refused(&|writer| {
        let short = writer.constant(&[8, 7, 3, 3], DataType::Float, &[0; 16]);
        writer.node("Conv", &["x", &short], vec![])
    });
    assert_says(&error, &["initializer \"v1\""]);
    let error = refused(&|writer| {
        let other = writer.floats(&[8, 5, 1, 1], &[0.0; 40]);
        writer.node("Conv", &["x", &other], vec![])
    });
    assert_says(&error, &["Conv v2"]);
    let error = refused(&|writer| {
        let (weights, bias) = (writer.floats(&[8, 7, 1, 1], &[0.0; 56]), writer.floats(&[5], &[0.0; 5]));
        writer.node("Conv", &["x", &weights, &bias], vec![])
    });
    assert_says(&error, &["Conv v3"]);
}

#[test]
fn graphs_that_are_none() {
    let error = refused(&|writer| writer.node("Relu", &["nowhere"], vec![]));
    assert_says(&error, &["Relu v1", "nothing makes its input \"nowhere\""]);
    let error = refused(&|writer| {
        writer.node("Add", &["v2", "x"], vec![]);
        writer.node("Relu", &["v1"], vec![])
    });
    assert_says(&error, &["(Relu)", "cycle"]);
    let error = refused(&|writer| {
        let node = pb::NodeProto { op_type: "Relu".into(), ..Default::default() };
        writer.graph.node = vec![node; 1_000_000];
        "x".into()
    });
    assert_says(&error, &["more than 100000 nodes"]);
}

#[test]
fn data_in_other_files() {
    let outside = |tensor: &mut pb::TensorProto| {
        let entry = |key: &str, value: &str| pb::StringStringEntryProto { key: key.into(), value: value.into() };
        tensor.external_data = vec![entry("location", "../../../../etc/passwd"), entry("length", "32")];
        tensor.data_location = Some(1);
    };
    let error = refused(&|writer| {
        let name = writer.constant(&[8], DataType::Float, &[]);
        outside(&mut writer.graph.initializer[0]);
        writer.node("Add", &["x", &name], vec![])
    });
    assert_says(&error, &["initializer \"v1\"", "another file"]);
    let error = refused(&|writer| {
        let mut value = pb::TensorProto { dims: vec![8], data_type: DataType::Float as i32, ..Default::default() };
        outside(&mut value);
        let value = pb::AttributeProto { name: "value".into(), t: Some(value), ..Default::default() };
        let name = writer.node("Constant", &[], vec![value]);
        writer.node("Add", &["x", &name], vec![])
    });
    assert_says(&error, &["Constant v1", "another file"]);
}

#[test]
fn sizes_beyond_all_memory() {
    const HUGE: i64 = 1 << 40;
    let error = refused(&|writer| {
        let huge = writer.constant(&[HUGE, HUGE], DataType::Float, &[]);
        writer.node("Add", &["x", &huge], vec![])
    });
    assert_says(&error, &["initializer \"v1\"", "out of range"]);
    let mut writer = Writer::default();
    writer.graph.input = Writer::ports(&["x"], &[1, HUGE as usize, HUGE as usize]);
    let output = writer.node("Relu", &["x"], vec![]);
    writer.graph.output = Writer::ports(&[&output], &[]);
    assert_says(&refusal(&writer.file()), &["input \"x\"", "out of range"]);
    // What the inputs are not, but what comes of them: of the network's, and of constants that are folded.
    for sides in [[1, 1, 1 << 20, 1 << 20], [HUGE, HUGE, HUGE, HUGE]] {
        for constant in [false, true] {
            let error = refused(&|writer| {
                let one = writer.floats(&[1, 1, 1, 1], &[1.0]);
                let mean = if constant { one } else { writer.node("GlobalAveragePool", &["x"], vec![]) };
                let shape = whole(writer, &sides);
                let wide = writer.node("Expand", &[&mean, &shape], vec![]);
                writer.node("Neg", &[&wide], vec![])
            });
            assert_says(&error, &["Expand v"]);
            let error = refused(&|writer| {
                let one = writer.floats(&[1, 1, 1, 1], &[1.0]);
                let mean = if constant { one } else { writer.node("GlobalAveragePool", &["x"], vec![]) };
                let times = whole(writer, &sides);
                writer.node("Tile", &[&mean, &times], vec![])
            });
            assert_says(&error, &["Tile v"]);
            let error = refused(&|writer| {
                let one = writer.floats(&[1, 1, 1, 1], &[1.0]);
                let mean = if constant { one } else { writer.node("GlobalAveragePool", &["x"], vec![]) };
                let pads = whole(writer, &[&[0; 4], &sides[..]].concat());
                writer.node("Pad", &[&mean, &pads], vec![])
            });
            assert_says(&error, &["Pad v"]);
        }
        let error = refused(&|writer| {
            let shape = whole(writer, &sides);
            let wide = writer.node("ConstantOfShape", &[&shape], vec![]);
            writer.node("Add", &["x", &wide], vec![])
        });
        assert_says(&error, &["ConstantOfShape v"]);
    }
    let error = refused(&|writer| {
        let column = writer.floats(&[40_000, 1], &[1.0; 40_000]);
        let row = writer.floats(&[1, 40_000], &[1.0; 40_000]);
        let table = writer.node("Mul", &[&column, &row], vec![]);
        writer.node("Add", &["x", &table], vec![])
    });
    assert_says(&error, &["Mul v3", "[40000, 40000]"]);
}
