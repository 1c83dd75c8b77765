//! What Klamm knows of a cluster, and the way to each of its brokers.
//!
//! The [`view`] maps node ids to broker addresses. It learns from Klamm's own Metadata ([`refresh`]) and from every
//! response that passes; [`connect`] uses it to reach the broker that a client connection is meant for.

pub mod connect;
pub mod refresh;
pub mod view;

pub use connect::{ConnectError, Connection};
pub use view::View;

use crate::broker::DialSettings;
use crate::net::tls::ClientTls;
use crate::observe::metrics::ClusterMetrics;
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
    /// How TLS is spoken with brokers, if it is.
    pub tls: Option<ClientTls>,
}

/// A cluster at run time, shared by its listeners.
#[derive(Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    view: View,
    refreshes: refresh::Refreshes,
    verified: connect::Verified,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// A cluster of which nothing is known yet but its settings. Run [`keep_fresh`](Self::keep_fresh) beside it.
    pub fn new(settings: ClusterSettings, metrics: ClusterMetrics) -> Self {
        let view = View::new(settings.cluster_id.clone());
        Self { settings, view, refreshes: Default::default(), verified: Default::default(), metrics }
    }

    /// Its settings.
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// What is known of it.
    pub fn view(&self) -> &View {
        &self.view
    }
}
