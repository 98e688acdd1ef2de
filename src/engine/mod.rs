//! How a model runs: ONNX through tract ([`Model`], [`Session`]), or lowered to a plan of our own ([`Planned`]) over one arena, with int8 kernels.

#[cfg(feature = "onnx")]
mod error;
#[cfg(feature = "onnx")]
mod infer;
pub mod kernel;
#[cfg(feature = "onnx")]
mod lower;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod onnx;
pub mod plan;
#[cfg(feature = "onnx")]
mod planned;
#[cfg(feature = "onnx")]
mod session;

#[cfg(feature = "onnx")]
pub use error::EngineError;
#[cfg(feature = "onnx")]
pub use infer::{Arrays, NpzError, infer, infer_planned};
#[cfg(feature = "onnx")]
pub use lower::Fallback;
#[cfg(feature = "onnx")]
pub use model::{Macs, Model, Port};
#[cfg(feature = "onnx")]
pub use onnx::{Bound, Fact};
#[cfg(feature = "onnx")]
pub use planned::Planned;
#[cfg(feature = "onnx")]
pub use session::{Engine, Interface, Session};
