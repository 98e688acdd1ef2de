//! `scheduler_config.json`, read key by key.

mod json;
mod keys;

pub use json::MAX_KEYS;
pub(crate) use keys::Keys;
pub use keys::Unknown;
