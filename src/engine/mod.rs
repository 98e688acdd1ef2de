//! How a model runs. Version 0: ONNX through tract, everything that can fail fails at load.

mod error;
mod infer;
mod model;
mod session;

pub use error::EngineError;
pub use infer::{Arrays, NpzError, infer};
pub use model::{Macs, Model, Port};
pub use session::Session;
