//! The quantizer as its users call it.

mod command;
mod common;
mod models;
mod scenes;
mod slips;
