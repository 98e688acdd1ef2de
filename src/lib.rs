#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "std")]
pub mod board;
#[cfg(feature = "onnx")]
pub mod bundle;
#[cfg(feature = "onnx")]
pub mod engine;
#[cfg(feature = "onnx")]
pub mod evaluation;
#[cfg(feature = "std")]
pub mod link;
#[cfg(feature = "std")]
pub mod maps;
pub mod noise;
#[cfg(feature = "onnx")]
pub mod receiver;
pub mod report;
pub mod sampler;
pub mod scene;
#[cfg(feature = "std")]
pub mod sender;
#[cfg(feature = "onnx")]
pub mod station;
pub mod wire;
