//! A semantic receiver: from received semantics to a decision, on small ARM boards.
//!
//! The rooms follow the way of a frame: [`link`] brings bytes, [`wire`] checks them, [`scene`] holds what they say, [`receiver`] decides,
//! [`report`] tells. [`station`] is the whole way in one type; start there. [`service`] serves several streams with it.

#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "std")]
pub mod board;
#[cfg(feature = "std")]
pub mod budget;
#[cfg(feature = "std")]
pub mod bundle;
#[cfg(feature = "std")]
pub mod engine;
#[cfg(feature = "onnx")]
pub mod evaluation;
#[cfg(feature = "std")]
pub mod files;
pub mod front;
#[cfg(feature = "onnx")]
pub mod generate;
#[cfg(feature = "alloc")]
pub mod json;
pub mod link;
#[cfg(feature = "std")]
pub mod maps;
pub mod noise;
#[cfg(feature = "onnx")]
pub mod photographs;
#[cfg(feature = "std")]
pub mod receiver;
pub mod report;
#[cfg(feature = "alloc")]
pub mod sampler;
pub mod scene;
#[cfg(feature = "std")]
pub mod sender;
#[cfg(feature = "std")]
pub mod service;
#[cfg(feature = "std")]
pub mod station;
pub use semrx_wire as wire;

/// The README's example is compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "onnx"))]
#[doc = include_str!("../README.md")]
struct Readme;
