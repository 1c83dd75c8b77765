//! The way to a broker: resolve its name, dial it, speak TLS with it, ask it who it is.

pub mod dial;
pub mod probe;

pub use dial::{DialError, DialSettings, Security, dial};
pub use probe::{ProbeError, ask};
