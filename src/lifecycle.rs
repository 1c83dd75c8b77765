//! Tasks in one tracked tree, and the way they end: drain, then stop.

use std::time::Duration;

/// How Klamm goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    pub delay: Duration,
    /// How long what is in flight may take after that.
    pub timeout: Duration,
}
