//! An ONNX file, taken apart field by field as it is read: each initializer becomes a tensor by itself, so that no more than one is there twice, and
//! nodes are counted before there are too many.

use super::{constant, four};
use crate::engine::graph::Tensor;
use prost::Message;
use std::collections::HashSet;
use std::io::{self, BufRead};
use tract_onnx::pb;

/// Most nodes of a graph: more are no network for a small board.
const MAX_NODES: usize = 100_000;

/// Numbers of fields in `ModelProto` and `GraphProto`.
const GRAPH: u64 = 7;
const NODE: u64 = 1;
const INITIALIZER: u64 = 5;

/// A decoded file.
#[derive(Debug, Clone)]
pub struct File {
    /// Without the graph's initializers.
    pub model: pb::ModelProto,
    pub initializers: Vec<(String, Tensor)>,
    /// Those among them that are of 4 bits in the file.
    pub fours: HashSet<String>,
}

/// Decodes an ONNX file of `size` bytes.
///
/// # Errors
/// Why it is none, or what is wrong with an initializer, with its name.
pub fn decode(file: impl BufRead, size: u64) -> Result<File, String> {
    if size == 0 {
        return Err("the file is empty".into());
    }
    let mut reader = Reader { file, left: size, field: Vec::new() };
    let mut model = pb::ModelProto::default();
    let mut graph: Option<pb::GraphProto> = None;
    let (mut initializers, mut fours) = (Vec::new(), HashSet::new());
    while reader.left > 0 {
        let tag = reader.varint()?;
        if tag != tag_of(GRAPH) {
            reader.read_field(tag)?;
            merge(&mut model, &reader.field)?;
            continue;
        }
        let graph = graph.get_or_insert_default();
        let end = reader.end_of_message()?;
        while reader.left > end {
            let tag = reader.varint()?;
            if tag == tag_of(INITIALIZER) {
                let tensor = reader.initializer()?;
                initializers.push((tensor.name.clone(), constant(&tensor)?));
                if four::is_four(&tensor) {
                    fours.insert(tensor.name);
                }
                continue;
            }
            if tag == tag_of(NODE) && graph.node.len() == MAX_NODES {
                return Err(format!("more than {MAX_NODES} nodes, which are the most that are read"));
            }
            reader.read_field(tag)?;
            merge(graph, &reader.field)?;
        }
        if reader.left != end {
            return Err(malformed(&"a field is longer than what it is in"));
        }
    }
    model.graph = graph;
    Ok(File { model, initializers, fours })
}

/// Of a field with a length.
fn tag_of(number: u64) -> u64 {
    number << 3 | 2
}

fn merge(message: &mut impl Message, bytes: &[u8]) -> Result<(), String> {
    message.merge(bytes).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> String {
    format!("it is no protobuf of ONNX: {error}")
}

fn unread(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => malformed(&"it ends in the middle of a field"),
        _ => format!("it can't be read to its end: {error}"),
    }
}

struct Reader<F> {
    file: F,
    /// Bytes to the end of the file.
    left: u64,
    /// The field that was read last, with its number and its length.
    field: Vec<u8>,
}

impl<F: BufRead> Reader<F> {
    /// A number of 7 bits a byte, lowest first.
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte).map_err(unread)?;
            self.left = self.left.checked_sub(1).ok_or_else(|| malformed(&"a number is cut off"))?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed(&"a number is too long"))
    }

    /// The length of a message that begins here; gives what is left of the file behind it.
    fn end_of_message(&mut self) -> Result<u64, String> {
        let size = self.varint()?;
        self.left.checked_sub(size).ok_or_else(|| malformed(&"a field is longer than the file"))
    }

    /// Reads the field whose tag was read.
    fn read_field(&mut self, tag: u64) -> Result<(), String> {
        let mut field = std::mem::take(&mut self.field);
        field.clear();
        prost::encoding::encode_varint(tag, &mut field);
        let size = match tag & 7 {
            0 => {
                prost::encoding::encode_varint(self.varint()?, &mut field);
                0
            }
            1 => 8,
            2 => {
                let size = self.varint()?;
                prost::encoding::encode_varint(size, &mut field);
                size
            }
            5 => 4,
            _ => return Err(malformed(&"a field is of no known kind")),
        };
        self.append(size, &mut field)?;
        self.field = field;
        Ok(())
    }

    fn append(&mut self, size: u64, to: &mut Vec<u8>) -> Result<(), String> {
        self.left = self.left.checked_sub(size).ok_or_else(|| malformed(&"a field is longer than the file"))?;
        let start = to.len();
        // No more than the file has.
        to.resize(start + size as usize, 0);
        self.file.read_exact(&mut to[start..]).map_err(unread)
    }

    fn initializer(&mut self) -> Result<pb::TensorProto, String> {
        let size = self.varint()?;
        let mut bytes = Vec::new();
        self.append(size, &mut bytes)?;
        pb::TensorProto::decode(&bytes[..]).map_err(|error| malformed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> pb::ModelProto {
        let tensor = |name: &str, dims: &[i64], raw_data: &[u8]| pb::TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: pb::tensor_proto::DataType::Int8 as i32,
            raw_data: raw_data.to_vec(),
            ..Default::default()
        };
        let node = |op: &str| pb::NodeProto { op_type: op.into(), output: vec![op.into()], ..Default::default() };
        let graph = pb::GraphProto {
            name: "g".into(),
            node: vec![node("A"), node("B")],
            initializer: vec![tensor("one", &[1], &[1]), tensor("many", &[2, 200], &[7; 400])],
            ..Default::default()
        };
        pb::ModelProto { ir_version: 8, producer_name: "test".into(), graph: Some(graph), ..Default::default() }
    }

    fn decoded(bytes: &[u8]) -> Result<File, String> {
        decode(bytes, bytes.len() as u64)
    }

    #[test]
    fn taken_apart_it_is_the_same() {
        let mut whole = model();
        let file = decoded(&whole.encode_to_vec()).unwrap();
        let initializers = std::mem::take(&mut whole.graph.as_mut().unwrap().initializer);
        assert_eq!(file.model, whole);
        let names: Vec<&str> = file.initializers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, initializers.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>());
        assert_eq!((file.initializers[1].1.shape(), file.initializers[1].1.as_bytes()), (&[2, 200][..], &[7; 400][..]));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let bytes = model().encode_to_vec();
        for end in 0..bytes.len() {
            // Where a field of the model ends, what is there is whole.
            if let Ok(file) = decoded(&bytes[..end]) {
                assert!(file.model.graph.is_none());
            }
        }
        assert!(decode(&bytes[..], bytes.len() as u64 + 1).is_err());
        for bytes in [&[0xff; 40][..], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x3b], b"no model"] {
            assert!(decoded(bytes).is_err());
        }
    }
}
