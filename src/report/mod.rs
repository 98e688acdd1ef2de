//! What is said of a drive: records, metrics, pictures, the page.

#[cfg(feature = "std")]
pub mod metrics;
#[cfg(feature = "std")]
pub mod page;
#[cfg(feature = "std")]
pub mod picture;
pub mod record;
