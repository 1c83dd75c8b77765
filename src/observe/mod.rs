//! What operators see: metrics and logs.

pub mod logs;

pub use logs::{LogFormat, LogSettings};
