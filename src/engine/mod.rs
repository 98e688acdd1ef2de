//! How a model runs: ONNX through tract ([`Model`], [`Session`]), or lowered to a plan of our own ([`Planned`]) over one arena, with int8 kernels.

mod error;
#[cfg_attr(not(feature = "onnx"), path = "no_front.rs")]
mod front;
mod graph;
#[cfg(feature = "onnx")]
mod infer;
mod lower;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod onnx;
pub mod plan;
mod planned;
#[cfg(feature = "onnx")]
mod reference;
mod session;
mod source;

pub use semrx_kernels as kernel;

pub use error::EngineError;
pub use graph::{DatumType, Fact, Tensor};
#[cfg(feature = "onnx")]
pub use infer::{Arrays, NpzError, infer, infer_planned};
pub use lower::{Fallback, Macs};
#[cfg(feature = "onnx")]
pub use model::{Model, Port};
#[cfg(feature = "onnx")]
pub use onnx::Bound;
pub use planned::Planned;
pub use session::{Engine, Interface, Session};
pub use source::Source;
#[cfg(feature = "onnx")]
pub use source::compile;
