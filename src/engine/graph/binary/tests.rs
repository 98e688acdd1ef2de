use crate::engine::graph::{Attribute, DatumType, Fact, Graph, Node, Tensor};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> Node {
    let attribute = |(name, ints): &(&str, &[i64])| match ints {
        [int] => Attribute { name: name.to_string(), int: *int, ..Attribute::default() },
        ints => Attribute { name: name.to_string(), ints: ints.to_vec(), ..Attribute::default() },
    };
    Node {
        op: op.into(),
        inputs: inputs.iter().map(|name| name.to_string()).collect(),
        outputs: vec![output.into()],
        attributes: attributes.iter().map(attribute).collect(),
        ..Node::default()
    }
}

/// y = clip(concat(x, x) @ w), and the concatenation.
fn graph() -> Graph {
    let (float, shape) = (DatumType::F32, |shape: &[usize]| shape.to_vec());
    let values: Vec<f32> = (0..24).map(|at| at as f32 - 3.5).collect();
    let constant = |tensor: Option<Tensor>| Arc::new(tensor.unwrap());
    let mut clip = node("Clip", &["m", "", "most"], "y", &[]);
    clip.attributes.push(Attribute { name: "told".into(), text: "nothing".into(), ..Attribute::default() });
    clip.attributes.push(Attribute { name: "told too".into(), float: 0.5, ..Attribute::default() });
    Graph {
        opset: 17,
        nodes: vec![
            node("Concat", &["x", "x"], "both", &[("axis", &[1])]),
            node("MatMul", &["both", "w"], "m", &[]),
            clip,
        ],
        inputs: vec!["x".into()],
        outputs: vec!["y".into(), "both".into()],
        constants: HashMap::from([
            ("w".into(), constant(Tensor::from_values(&[4, 6], &values))),
            ("most".into(), constant(Tensor::from_values(&[], &[4.5f32]))),
            ("unread".into(), constant(Tensor::from_values(&[1], &[1i64]))),
        ]),
        facts: [("x", [1, 2]), ("both", [1, 4]), ("m", [1, 6]), ("y", [1, 6])]
            .map(|(name, of)| (name.to_owned(), Fact { datum_type: float, shape: shape(&of) }))
            .into(),
        halves: HashSet::new(),
    }
}

#[test]
fn a_graph_survives_but_for_names_inside_and_what_nobody_reads() {
    let (graph, bytes) = (graph(), graph().to_bytes().unwrap());
    let read = Graph::from_bytes(&bytes).unwrap();
    assert_eq!((read.opset, &read.inputs, &read.outputs), (17, &graph.inputs, &graph.outputs));
    assert_eq!(read.constants.len(), 2);
    for (own, read) in graph.nodes.iter().zip(&read.nodes) {
        assert_eq!((&own.op, &own.attributes, own.inputs.len()), (&read.op, &read.attributes, read.inputs.len()));
    }
    assert_eq!(read.nodes[2].inputs[1], "");
    for name in ["x", "y", "both"] {
        assert_eq!(read.facts[name], graph.facts[name]);
    }
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

#[test]
fn what_no_file_holds_is_not_written() {
    let refused = |spoil: &dyn Fn(&mut Graph)| {
        let mut graph = graph();
        spoil(&mut graph);
        graph.to_bytes().unwrap_err()
    };
    assert!(refused(&|graph| graph.nodes[0].outputs.push("more".into())).contains("more than one value"));
    assert!(refused(&|graph| graph.nodes[1].domain = "com.microsoft".into()).contains("domain"));
    assert!(refused(&|graph| graph.nodes[1].inputs[1] = "nobody".into()).contains("\"nobody\""));
    assert!(refused(&|graph| graph.halves.extend(["y".to_owned()])).contains("output \"y\" is not float32"));
    assert!(refused(&|graph| graph.inputs[0] = "#1".into()).contains("#1"));
    assert!(refused(&|graph| graph.nodes[2].outputs[0] = "m".into()).contains("something else gives"));
}

/// Where in the bytes of [`graph`] its parts begin.
const INPUT_NAME: usize = 1 + 4;
const INPUT_SHAPE: usize = INPUT_NAME + 2;
const CONSTANTS: usize = INPUT_SHAPE + 1 + 2 * 4;
const NODES: usize = CONSTANTS + 4 + (1 + 1 + 2 * 4 + 24 * 4) + (1 + 1 + 4);
const FIRST_NODE: usize = NODES + 4;
const OUTPUTS_FROM_END: usize = (4 + 1 + 4) + (4 + 1 + 1);

#[test]
fn damage_is_told_by_kind() {
    let whole = graph().to_bytes().unwrap();
    let outputs = whole.len() - OUTPUTS_FROM_END;
    let refused = |at: usize, bytes: &[u8]| {
        let mut spoilt = whole.clone();
        spoilt[at..at + bytes.len()].copy_from_slice(bytes);
        Graph::from_bytes(&spoilt).unwrap_err()
    };
    let says = |error: String, words: &str| assert!(error.contains(words), "{error}");
    for len in 0..whole.len() {
        says(Graph::from_bytes(&whole[..len]).unwrap_err(), "bytes too early");
    }
    says(Graph::from_bytes(&[&whole[..], &[0]].concat()).unwrap_err(), "follow its end");
    for counts in [1, CONSTANTS, NODES] {
        says(refused(counts, &u32::MAX.to_le_bytes()), "are the most");
    }
    says(refused(INPUT_NAME + 1, b"#"), "no name");
    says(refused(INPUT_NAME + 1, &[0xff]), "UTF-8");
    says(refused(INPUT_SHAPE, &[9]), "9 axes");
    says(refused(INPUT_SHAPE + 1, &[0]), "of nothing");
    says(refused(INPUT_SHAPE + 1, &(1u32 << 26).to_le_bytes()), "elements");
    says(refused(INPUT_SHAPE + 1, &u32::MAX.to_le_bytes()), "would have the shape");
    says(refused(CONSTANTS + 4, &[8]), "no type");
    says(refused(CONSTANTS + 6, &u32::MAX.to_le_bytes()), "out of range");
    says(refused(FIRST_NODE + 1, b"X"), "can't be told");
    // Concat of 2 inputs, of which the first is its own output.
    says(refused(FIRST_NODE + 1 + 6 + 1, &3u32.to_le_bytes()), "before it is there");
    says(refused(FIRST_NODE + 1 + 6 + 1, &u32::MAX.to_le_bytes()), "can't be told");
    // Its axis.
    let axis = FIRST_NODE + 1 + 6 + 1 + 8 + 1;
    says(refused(axis + 1 + 4, &[5]), "unknown kind 5");
    says(refused(axis + 1 + 4 + 1, &7i64.to_le_bytes()), "can't be told");
    // Output y is value 5, both is 3.
    says(refused(outputs, &9u32.to_le_bytes()), "before it is there");
    says(refused(outputs, &0u32.to_le_bytes()), "is an input");
    says(refused(outputs, &3u32.to_le_bytes()), "there twice");
    says(refused(outputs + 5, b"x"), "is an input");
}

#[test]
fn constants_alone_are_computed_before() {
    let mut graph = graph();
    graph.nodes[1].inputs = vec!["w".into(), "w".into()];
    let error = Graph::from_bytes(&graph.to_bytes().unwrap()).unwrap_err();
    assert!(error.contains("constants alone"), "{error}");
}

#[test]
fn outputs_are_float32_in_the_bytes_too() {
    const INT32: u8 = 6;
    let mut graph = graph();
    graph.nodes = vec![node("Cast", &["x"], "y", &[("to", &[1])])];
    graph.outputs = vec!["y".into(), "w".into()];
    let whole = graph.to_bytes().unwrap();
    assert_eq!(Graph::from_bytes(&whole).unwrap().outputs, ["y", "w"]);
    let refused = |at: usize| {
        let mut spoilt = whole.clone();
        spoilt[at] = INT32;
        Graph::from_bytes(&spoilt).unwrap_err()
    };
    let cast_to = whole.windows(3).position(|bytes| bytes == b"\x02to").unwrap() + 3 + 1;
    assert_eq!(refused(cast_to), "output \"y\" is not float32");
    assert_eq!(refused(CONSTANTS + 4), "output \"w\" is not float32");
}
