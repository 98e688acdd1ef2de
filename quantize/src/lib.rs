//! Quantization after training: a float ONNX model and calibration inputs in, QDQ ONNX in int8 out.
//!
//! [`Network`] is the model, [`Samples`] the inputs; [`split`] prepares it, [`Calibrated`] is what flows through it, whose
//! [`quantized`](Calibrated::quantized) gives a model, [`relieved`] weighs its layers, [`compare`] says how far it is from the float one.

mod activations;
mod calibrated;
mod compare;
mod error;
mod generated;
mod moments;
mod network;
mod observe;
mod opset;
mod range;
mod report;
mod rounding;
mod samples;
mod scenes;
mod sensitive;
mod shortcuts;
mod sinks;
mod store;
mod write;

pub use activations::{activation_runs, costly_activations};
pub use calibrated::Calibrated;
pub use compare::{Compared, Costs, Sqnr, compare};
pub use error::QuantizeError;
pub use network::{Layer, Left, Network};
pub use range::Scale;
pub use report::Report;
pub use rounding::Rounded;
pub use samples::Samples;
pub use scenes::Draw;
pub use sensitive::{Bounds, TaskLoss, relieved, runs as relief_runs};
pub use shortcuts::{shortcuts, split};
pub use store::Store;
pub use write::{Quantized, whole, writable};
