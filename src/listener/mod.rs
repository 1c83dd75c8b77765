//! Binds a listener's sockets and accepts client connections.

use crate::address::Scheme;
use crate::types::{ClusterName, ListenerName};

/// One listener: an address scheme in front of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name in the configuration.
    pub name: ListenerName,
    /// The cluster that it leads to.
    pub cluster: ClusterName,
    /// Where it listens and what it advertises.
    pub scheme: Scheme,
}
