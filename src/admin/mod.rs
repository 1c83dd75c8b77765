//! The admin port: liveness, readiness, metrics and status over HTTP.

use std::net::SocketAddr;

/// Where the admin port listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address; loopback unless the operator says otherwise.
    pub bind: SocketAddr,
}
