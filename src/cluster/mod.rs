//! What Narrows knows of a cluster, and the way to each of its brokers.
//!
//! The [`view`] maps node ids to broker addresses. It learns from Narrows' own Metadata
//! ([`refresh`]) and from every response that passes; [`connect`] uses it to reach the broker that
//! a client connection is meant for.

pub(crate) mod broker_address;
mod claims;
pub(crate) mod connect;
mod dials;
pub(crate) mod misled;
mod moves;
mod offers;
pub(crate) mod refresh;
pub(crate) mod routes;
mod sharing;
#[cfg(test)]
mod tests;
mod verified;
pub(crate) mod view;

pub use broker_address::BrokerAddressRule;
pub(crate) use connect::{ConnectError, Connection};
pub(crate) use dials::Dialled;
pub(crate) use verified::Standing;
pub(crate) use view::View;

use crate::broker::{DialError, DialSettings, Dialler, Resolver, Security};
use crate::net::buffer::BufferPool;
use crate::net::own_sockets::OwnSockets;
use crate::net::tls::ClientTls;
use crate::observe::metrics::ClusterMetrics;
use crate::types::{BrokerAddress, ClusterName};
use arc_swap::ArcSwap;
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
    /// Where brokers are dialled, unless it is where they say that they are.
    pub broker_address: Option<BrokerAddressRule>,
    /// How long a broker map counts as fresh; jittered by a fifth.
    pub metadata_refresh_interval: Duration,
    /// How brokers are dialled.
    pub dial: DialSettings,
    /// TLS on the way to the brokers, unless they are plaintext.
    pub tls: Option<ClientTls>,
}

impl ClusterSettings {
    /// Whether these settings are for the same cluster as `other`, so that what is known of that
    /// one holds. A cluster that is pinned to another id, or has none of the bootstrap servers, is
    /// another one, or may be: what is known would lead to the old one.
    pub(crate) fn is_same_cluster(&self, other: &Self) -> bool {
        let is_known = |server| other.bootstrap_servers.contains(server);
        self.name == other.name
            && self.cluster_id == other.cluster_id
            && self.bootstrap_servers.iter().any(is_known)
    }
}

/// A cluster at run time, shared by its listeners. It stays the same over a reload; its settings
/// are swapped whole.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: ClusterName,
    settings: ArcSwap<ClusterSettings>,
    view: View,
    refreshes: refresh::Refreshes,
    verified: Arc<verified::Verified>,
    elsewhere: verified::Elsewhere,
    routes: routes::Routes,
    offered: offers::Offered,
    buffers: BufferPool,
    dialler: Dialler,
    dials: dials::Dials,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// A cluster of which nothing is known yet but its settings. Run
    /// [`keep_fresh`](Self::keep_fresh) beside it.
    pub(crate) fn new(
        settings: ClusterSettings,
        buffers: BufferPool,
        own_sockets: Arc<OwnSockets>,
        metrics: ClusterMetrics,
    ) -> Self {
        let dialler = Dialler::new(Resolver::default(), own_sockets);
        Self::with(settings, buffers, dialler, metrics)
    }

    fn with(
        settings: ClusterSettings,
        buffers: BufferPool,
        dialler: Dialler,
        metrics: ClusterMetrics,
    ) -> Self {
        metrics.dials_begin(None, &DialError::CODES);
        metrics.refreshes_begin(&refresh::Outcome::CODES);
        let view = View::new(settings.cluster_id.clone());
        view.change_rule(settings.broker_address.clone());
        Self {
            name: settings.name.clone(),
            view,
            settings: ArcSwap::from_pointee(settings),
            refreshes: refresh::Refreshes::default(),
            verified: Arc::default(),
            elsewhere: verified::Elsewhere::default(),
            routes: routes::Routes::default(),
            offered: offers::Offered::default(),
            buffers,
            dialler,
            dials: dials::Dials::default(),
            metrics,
        }
    }

    /// From now on it has these settings, which are [for the same
    /// cluster](ClusterSettings::is_same_cluster). What brokers said about themselves counts no
    /// more: they may be asked in another way now.
    pub(crate) fn change(&self, settings: ClusterSettings) {
        let rule = settings.broker_address.clone();
        self.settings.store(Arc::new(settings));
        if self.view.change_rule(rule) {
            self.map_changed();
        }
        self.verified.clear();
        self.elsewhere.clear();
        self.refreshes.restart();
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its settings as they are now.
    pub(crate) fn settings(&self) -> Arc<ClusterSettings> {
        self.settings.load_full()
    }

    /// What is known of it.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Who leads partitions and coordinates groups, as far as is known.
    pub(crate) fn routes(&self) -> &routes::Routes {
        &self.routes
    }

    /// How the last dials to this address went.
    pub(crate) fn dials_to(&self, address: &BrokerAddress) -> Dialled {
        self.dials.to(address)
    }

    fn security(&self) -> Security {
        Security {
            tls: self.settings.load().tls.clone(),
            buffers: self.buffers.clone(),
        }
    }
}
