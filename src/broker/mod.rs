//! The way to a broker: resolve, dial, verify.

use std::time::Duration;

/// Deadlines of each stage on the way to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialSettings {
    /// For one name resolution.
    pub dns_timeout: Duration,
    /// For one TCP connect; every resolved address gets its own.
    pub connect_timeout: Duration,
    /// For Klamm's own requests on a new connection.
    pub probe_timeout: Duration,
}
