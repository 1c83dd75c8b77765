//! The way to a broker: resolve its name, dial it, ask it who it is.

pub mod dial;
pub mod probe;

pub use dial::{DialError, DialSettings, dial};
pub use probe::{ProbeError, ask};
