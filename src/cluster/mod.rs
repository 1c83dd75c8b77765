//! What Klamm knows of a cluster: its id, and each node id's broker address.

use crate::broker::DialSettings;
use crate::types::{BrokerAddress, ClusterName};
use std::time::Duration;

/// One Kafka cluster behind Klamm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name in the configuration.
    pub name: ClusterName,
    /// Where to ask first; at least one.
    pub bootstrap_servers: Vec<BrokerAddress>,
    /// Kafka's cluster id, when the operator pins it: a map from another cluster is never trusted.
    pub cluster_id: Option<String>,
    /// How long a broker map counts as fresh; jittered by a fifth.
    pub metadata_refresh_interval: Duration,
    /// How brokers are dialled.
    pub dial: DialSettings,
}
