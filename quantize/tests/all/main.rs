//! The quantizer as its users call it.

mod common;
mod models;
mod scenes;
mod slips;
