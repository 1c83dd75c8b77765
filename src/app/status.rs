//! What the admin port says of the whole: ready or not, and the broker map.

use crate::address::{Advertised, Scheme};
use crate::admin::Readiness;
use crate::cluster::Cluster;
use crate::cluster::refresh::Outcome;
use crate::lifecycle::Stop;
use crate::session::Context;
use crate::types::{BrokerAddress, NodeId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How often the end of all sessions is looked for while draining.
const SESSIONS_LOOK: Duration = Duration::from_millis(20);

/// Every part that has something to say.
#[derive(Debug)]
pub(super) struct Overview {
    clusters: Vec<Arc<Cluster>>,
    listeners: Vec<Arc<Context>>,
    stop: Stop,
    /// Load balancers are being told to send nobody any more.
    is_leaving: AtomicBool,
}

impl Overview {
    pub(super) fn new(clusters: Vec<Arc<Cluster>>, listeners: Vec<Arc<Context>>, stop: Stop) -> Self {
        Self { clusters, listeners, stop, is_leaving: AtomicBool::new(false) }
    }

    /// From now on Klamm is not ready.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Relaxed);
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> i64 {
        self.listeners.iter().map(|listener| listener.metrics().active.get()).sum()
    }

    /// Waits until no session is left.
    pub(super) async fn sessions_ended(&self) {
        while self.sessions() > 0 {
            tokio::time::sleep(SESSIONS_LOOK).await;
        }
    }

    /// Ready means: bound, configured, not draining. That the brokers are up is not part of it, since a load balancer
    /// would otherwise refuse all clients where Kafka's own retriable errors would do.
    pub(super) fn readiness(&self) -> Readiness {
        let is_draining = self.is_leaving.load(Relaxed) || self.stop.is_draining();
        let reasons = if is_draining { vec!["draining".to_owned()] } else { Vec::new() };
        Readiness { ready: !is_draining, reasons }
    }

    /// The broker map of each listener, and what is known of each cluster.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "draining": !self.readiness().ready,
            "clusters": self.clusters.iter().map(|cluster| cluster_json(cluster)).collect::<Vec<_>>(),
            "listeners": self.listeners.iter().map(|listener| listener_json(listener)).collect::<Vec<_>>(),
        })
    }
}

fn cluster_json(cluster: &Cluster) -> Value {
    let settings = cluster.settings();
    let refresh = match cluster.last_refresh() {
        Outcome::None => "not yet".to_owned(),
        Outcome::Fresh => "fresh".to_owned(),
        Outcome::Silent => "the brokers demand authentication: learned from responses that pass".to_owned(),
        Outcome::Failed(why) => why,
    };
    json!({
        "name": settings.name.to_string(),
        "cluster_id": cluster.view().cluster_id(),
        "bootstrap_servers": settings.bootstrap_servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refresh": refresh,
    })
}

fn listener_json(listener: &Context) -> Value {
    let brokers = listener.cluster().view().brokers();
    json!({
        "name": listener.listener().to_string(),
        "cluster": listener.cluster().settings().name.to_string(),
        "connections": listener.metrics().active.get(),
        "brokers": brokers.iter().map(|broker| broker_json(listener.scheme(), broker)).collect::<Vec<_>>(),
        "unmapped_nodes": listener.unmapped().iter().map(|node| node.0).collect::<Vec<_>>(),
    })
}

fn broker_json(scheme: &Scheme, (node, address): &(NodeId, BrokerAddress)) -> Value {
    let advertised = match scheme.advertise(*node) {
        Advertised::Mapped(address) => Value::String(address.to_string()),
        Advertised::Nowhere(_) => Value::Null,
    };
    json!({ "node_id": node.0, "advertised": advertised, "broker": address.to_string() })
}
