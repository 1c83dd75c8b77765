//! What Narrows knows of a cluster, and the way to each of its brokers.
//!
//! The [`view`] maps node ids to broker addresses. It learns from Narrows' own Metadata
//! ([`refresh`]) and from every response that passes; [`connect`] uses it to reach the broker that
//! a client connection is meant for.

pub mod connect;
pub mod refresh;
pub mod view;

pub use connect::{ConnectError, Connection};
pub use view::View;

use crate::broker::{DialSettings, Security};
use crate::net::buffer::BufferPool;
use crate::net::tls::ClientTls;
use crate::observe::metrics::ClusterMetrics;
use crate::types::{BrokerAddress, ClusterName};
use std::sync::Arc;
use std::time::Duration;

/// One Kafka cluster behind Narrows.
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
    /// TLS on the way to the brokers, unless they are plaintext.
    pub tls: Option<ClientTls>,
}

/// A cluster at run time, shared by its listeners.
#[derive(Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    view: Arc<View>,
    refreshes: refresh::Refreshes,
    verified: connect::Verified,
    security: Security,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// A cluster of which nothing is known yet but its settings. Run
    /// [`keep_fresh`](Self::keep_fresh) beside it.
    pub fn new(settings: ClusterSettings, buffers: BufferPool, metrics: ClusterMetrics) -> Self {
        let view = Arc::new(View::new(settings.cluster_id.clone()));
        Self::with_view(settings, view, buffers, metrics)
    }

    /// The same cluster with other settings: it knows what this one knows, unless it is pinned to
    /// another cluster id or has no bootstrap server that this one has. It is another cluster then,
    /// or may be: what this one knows would lead to the old one.
    pub fn changed(&self, settings: ClusterSettings) -> Self {
        let buffers = self.security.buffers.clone();
        let metrics = self.metrics.clone();
        let is_known = |server| self.settings.bootstrap_servers.contains(server);
        if settings.cluster_id != self.settings.cluster_id
            || !settings.bootstrap_servers.iter().any(is_known)
        {
            return Self::new(settings, buffers, metrics);
        }
        Self::with_view(settings, Arc::clone(&self.view), buffers, metrics)
    }

    /// Whether this is `other` with other settings, and knows what it knows.
    pub fn continues(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.view, &other.view)
    }

    fn with_view(
        settings: ClusterSettings,
        view: Arc<View>,
        buffers: BufferPool,
        metrics: ClusterMetrics,
    ) -> Self {
        let security = Security {
            tls: settings.tls.clone(),
            buffers,
        };
        let (refreshes, verified) = Default::default();
        Self {
            settings,
            view,
            refreshes,
            verified,
            security,
            metrics,
        }
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
