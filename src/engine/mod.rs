//! How a model runs. ONNX through tract; below it, kernels for a plan of our own.

#[cfg(feature = "onnx")]
mod error;
#[cfg(feature = "onnx")]
mod infer;
pub mod kernel;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod session;

#[cfg(feature = "onnx")]
pub use error::EngineError;
#[cfg(feature = "onnx")]
pub use infer::{Arrays, NpzError, infer};
#[cfg(feature = "onnx")]
pub use model::{Macs, Model, Port};
#[cfg(feature = "onnx")]
pub use session::Session;
