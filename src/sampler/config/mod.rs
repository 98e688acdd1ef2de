//! `scheduler_config.json`, read key by key.

mod keys;

pub use crate::json::MAX_KEYS;
pub(crate) use keys::Keys;
pub use keys::Unknown;
