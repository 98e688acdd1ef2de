//! Quantization after training: a float ONNX model and calibration inputs in, QDQ ONNX in int8 out.
//!
//! [`Network`] is the model, [`Samples`] the inputs, [`quantize`] the way between. It is made of these steps: [`split`] prepares the network,
//! [`Calibrated`] is what flows through it, whose [`quantized`](Calibrated::quantized) gives a model; [`relieved`] gives more bits where they are
//! worth most; [`compare`] says how far the result is from the floats.

mod activations;
mod calibrated;
mod compare;
mod error;
mod generated;
mod manifest;
mod moments;
mod network;
mod observe;
mod opset;
mod outcome;
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

pub use calibrated::Calibrated;
pub use compare::{Compared, Costs, Sqnr, compare};
pub use error::QuantizeError;
pub use manifest::Manifest;
pub use network::{Layer, Left, Network};
pub use outcome::{Outcome, Settings, quantize};
pub use range::Scale;
pub use report::{Report, page};
pub use rounding::Rounded;
pub use samples::Samples;
pub use scenes::Draw;
pub use sensitive::{Bounds, TaskLoss, relieved};
pub use shortcuts::split;
pub use store::Store;
pub use write::{Quantized, whole, writable};
