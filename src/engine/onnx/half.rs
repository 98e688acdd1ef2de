//! float16 in a file. The graph computes in 32 bits: what is of 16 is constant, or an input or output to the outside.

use tract_onnx::pb;
use tract_onnx::prelude::*;

/// In what the graph computes what is `datum_type` in the file.
pub fn computed(datum_type: DatumType) -> DatumType {
    if datum_type == DatumType::F16 { DatumType::F32 } else { datum_type }
}

/// Has the node give floats of 32 bits where it says 16.
pub fn widen(node: &mut pb::NodeProto) {
    const HALF: i64 = pb::tensor_proto::DataType::Float16 as i64;
    for attribute in &mut node.attribute {
        if matches!(attribute.name.as_str(), "to" | "dtype" | "output_dtype") && attribute.i == HALF {
            attribute.i = pb::tensor_proto::DataType::Float as i64;
        }
    }
}

/// Whether a node moves the elements of its input and leaves them as they are: of 16 bits where they are constant.
pub fn moves(node: &pb::NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Transpose" | "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" | "Slice")
}
