//! What needs tract: ONNX files, and the reference. Without the feature `onnx`, `no_front.rs` stands here.

pub use super::onnx::{graph, plan};
pub use super::reference::Reference;
