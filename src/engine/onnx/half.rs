//! float16 in a file: see [`computed`](crate::engine::graph::computed).

use tract_onnx::pb;

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
