//! What the admin port says of the whole: ready or not, listeners, the broker map, certificates,
//! and what went wrong lately.
//!
//! A script reads words (`state`, `cause`), a person the sentence beside them; times are RFC 3339.

use super::certificates::Shown;
use super::listener_text::ListenerText;
use super::verdict;
use crate::address::{Advertised, Scheme};
use crate::admin::Readiness;
use crate::cluster::Cluster;
use crate::cluster::refresh::Outcome;
use crate::cluster::view::KnownBroker;
use crate::lifecycle::{Stop, Tasks};
use crate::listener::Limits;
use crate::net::buffer::BUFFER_BYTES;
use crate::net::pools::PoolSizes;
use crate::net::tls::{ClientTls, Verify};
use crate::observe::incidents::{Incident, Incidents};
use crate::observe::time::{rfc3339, unix_seconds};
use crate::session::ListenerContext;
use crate::types::NodeId;
use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// So many of the latest things that went wrong.
const INCIDENTS_SHOWN: usize = 50;

/// A configured value, as the status page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfiguredValue {
    /// The dotted path.
    pub(crate) key: String,
    /// As it was written; not a secret.
    pub(crate) value: String,
    /// Which layer set it: a file, a variable, a flag, or nobody.
    pub(crate) origin: String,
}

impl ConfiguredValue {
    fn to_json(&self) -> Value {
        json!({ "key": self.key, "value": self.value, "origin": self.origin })
    }
}

/// Every part that has something to say.
#[derive(Debug)]
pub(super) struct Overview {
    shown: ArcSwap<Running>,
    reload: ArcSwap<Value>,
    configuration: ArcSwap<Configuration>,
    limits: Limits,
    sessions: Tasks,
    incidents: Arc<Incidents>,
    /// How large the pools may be, and why.
    pools: Value,
    stop: Stop,
    /// Load balancers are being told to send nobody any more.
    is_leaving: AtomicBool,
    /// In Unix seconds.
    started_at: i64,
}

/// What the settings in use were read from.
#[derive(Debug, Default)]
struct Configuration {
    values: Vec<Value>,
    /// Of keys and values; empty before any was read.
    hash: String,
    /// Since when it holds, in Unix seconds.
    since: i64,
}

/// What runs now.
#[derive(Debug, Default)]
struct Running {
    clusters: Vec<Arc<Cluster>>,
    listeners: Vec<(ListenerText, Arc<ListenerContext>)>,
    certificates: Vec<Shown>,
}

impl Overview {
    pub(super) fn new(
        limits: Limits,
        sessions: Tasks,
        incidents: Arc<Incidents>,
        stop: Stop,
        pools: &PoolSizes,
    ) -> Self {
        let shown = ArcSwap::default();
        let reload = ArcSwap::from_pointee(Value::Null);
        Self {
            shown,
            reload,
            configuration: ArcSwap::default(),
            limits,
            sessions,
            incidents,
            pools: pools_json(pools),
            stop,
            is_leaving: AtomicBool::new(false),
            started_at: unix_seconds(),
        }
    }

    /// From now on this runs.
    pub(super) fn show(
        &self,
        clusters: Vec<Arc<Cluster>>,
        listeners: Vec<(ListenerText, Arc<ListenerContext>)>,
        certificates: Vec<Shown>,
    ) {
        self.shown.store(Arc::new(Running {
            clusters,
            listeners,
            certificates,
        }));
    }

    /// How the last reload ended.
    pub(super) fn reloaded(&self, outcome: Value) {
        self.reload.store(Arc::new(outcome));
    }

    /// What the settings in use were read from.
    pub(super) fn configured(&self, values: &[ConfiguredValue]) {
        let hash = configuration_hash(values);
        let before = self.configuration.load();
        let is_same = before.hash == hash;
        let since = if is_same {
            before.since
        } else {
            unix_seconds()
        };
        let values = values.iter().map(ConfiguredValue::to_json).collect();
        self.configuration.store(Arc::new(Configuration {
            values,
            hash,
            since,
        }));
    }

    /// From now on Narrows is not ready.
    pub(super) fn set_not_ready(&self) {
        self.is_leaving.store(true, Relaxed);
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.count()
    }

    /// Ready means: bound, configured, not draining. That the brokers are up is not part of it,
    /// since a load balancer would otherwise refuse all clients where Kafka's own retriable errors
    /// would do.
    pub(super) fn readiness(&self) -> Readiness {
        let is_draining = self.is_leaving.load(Relaxed) || self.stop.is_draining();
        let reasons = if is_draining {
            vec!["draining".to_owned()]
        } else {
            Vec::new()
        };
        Readiness {
            ready: !is_draining,
            reasons,
        }
    }

    /// The broker map of each listener, and what is known of each cluster.
    pub(super) fn to_json(&self) -> Value {
        let shown = self.shown.load();
        let mut problems = standing(&shown);
        let incidents = self.incidents.latest(INCIDENTS_SHOWN);
        problems.extend(incidents.iter().map(problem_json));
        let state = if self.readiness().ready {
            "ready"
        } else {
            "draining"
        };
        let clusters: Vec<_> = shown
            .clusters
            .iter()
            .map(|cluster| cluster_json(cluster))
            .collect();
        let of = |listener| listener_json(listener, &incidents);
        let listeners: Vec<_> = shown.listeners.iter().map(of).collect();
        let configuration = self.configuration.load();
        let is_read = !configuration.hash.is_empty();
        let certificates: Vec<_> = shown.certificates.iter().map(Shown::to_json).collect();
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "sessions": self.sessions(),
            "started_at": rfc3339(self.started_at),
            "uptime_seconds": unix_seconds().saturating_sub(self.started_at),
            "clusters": clusters,
            "listeners": listeners,
            "certificates": certificates,
            "limits": self.limits.to_json(),
            "pools": self.pools,
            "reload": **self.reload.load(),
            "problems": problems,
            "configuration": is_read.then_some(&configuration.values),
            "configuration_hash": is_read.then_some(&configuration.hash),
            "configuration_since": is_read.then(|| rfc3339(configuration.since)),
        });
        status["verdict"] = verdict::of(&status);
        status
    }
}

/// Two processes with the same hash have the same configuration, wherever each value comes from.
/// What files say that it names, such as certificates, is not in it, nor are secrets.
pub(crate) fn configuration_hash(values: &[ConfiguredValue]) -> String {
    let lines = values.iter().map(|value| (&*value.key, &*value.value));
    let mut text = String::new();
    for (key, value) in lines {
        for part in [key, value] {
            // With its length, so that nothing can pass for something else.
            text.push_str(&format!("{}:{part}", part.len()));
        }
    }
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let half = digest.as_ref().iter().take(8);
    half.map(|byte| format!("{byte:02x}")).collect()
}

fn pools_json(pools: &PoolSizes) -> Value {
    json!([
        {
            "pool": "pipes",
            "max": pools.pipes,
            "bytes": pools.pipe_bytes,
            "why": pools.why_pipes(),
        },
        {
            "pool": "buffers kept",
            "max": pools.buffers,
            "bytes": BUFFER_BYTES,
            "why": pools.why_buffers(),
        },
    ])
}

/// What is wrong with clusters and listeners now, and goes away when it is over.
fn standing(shown: &Running) -> Vec<Value> {
    let problem = |(owner, name, cause, text): (&str, String, &str, String)| {
        json!({
            owner: name,
            "cause": cause,
            "at": rfc3339(unix_seconds()),
            "seconds_ago": 0,
            "last": text,
        })
    };
    let clusters = shown.clusters.iter().flat_map(|cluster| {
        let texts = cluster.shared_addresses().into_iter();
        let name = cluster.name().to_string();
        texts.map(move |text| ("cluster", name.clone(), "brokers_share_address", text))
    });
    let listeners = shown.listeners.iter().filter_map(|(_, listener)| {
        let text = listener.unmapped_text()?;
        let name = listener.listener().to_string();
        Some(("listener", name, "broker_outside_node_ids", text))
    });
    clusters.chain(listeners).map(problem).collect()
}

fn happened_at(moment: Instant) -> String {
    let ago = i64::try_from(moment.elapsed().as_secs()).unwrap_or(i64::MAX);
    rfc3339(unix_seconds().saturating_sub(ago))
}

fn problem_json(incident: &Incident) -> Value {
    let ago = incident.last.elapsed().as_secs();
    json!({
        "listener": incident.listener,
        "cause": incident.cause,
        "source": incident.source.map(|source| source.to_string()),
        "count": incident.count,
        "at": happened_at(incident.last),
        "seconds_ago": ago,
        "last": incident.text,
    })
}

fn cluster_json(cluster: &Cluster) -> Value {
    let settings = cluster.settings();
    let (refresh, refresh_text) = match cluster.last_refresh() {
        Outcome::None => ("pending", None),
        Outcome::Fresh => ("fresh", None),
        Outcome::LoginDemanded => (
            "authentication_required",
            Some(
                "the brokers demand authentication: the broker map is learned from responses that \
                 pass"
                    .to_owned(),
            ),
        ),
        Outcome::Failed(why) => ("failed", Some(why)),
    };
    let servers = settings.bootstrap_servers.iter().map(ToString::to_string);
    json!({
        "name": settings.name.to_string(),
        "cluster_id": cluster.view().cluster_id(),
        "controller": cluster.view().controller().map(|node| node.0),
        "bootstrap_servers": servers.collect::<Vec<_>>(),
        "broker_address": settings.broker_address.as_ref().map(ToString::to_string),
        "refresh": refresh,
        "refresh_text": refresh_text,
        "tls": settings.tls.as_ref().map(tls_text),
    })
}

fn tls_text(tls: &ClientTls) -> &'static str {
    match tls.verify() {
        Verify::Full => "on",
        Verify::Chain => "on, but broker certificates may have any name (tls.verify: chain)",
        Verify::Off => "on, but broker certificates are not verified (tls.verify: off)",
    }
}

fn listener_json(
    (text, listener): &(ListenerText, Arc<ListenerContext>),
    problems: &[Incident],
) -> Value {
    let setup = listener.setup();
    let of = |known: &(NodeId, KnownBroker)| {
        let mut broker = broker_json(&setup.scheme, known, &setup.cluster, problems);
        broker["connections"] = listener.connections_to(known.0).into();
        broker
    };
    let brokers = setup.cluster.view().known();
    json!({
        "name": listener.listener().to_string(),
        "cluster": setup.cluster.name().to_string(),
        "scheme": text.scheme,
        "bind": text.bind,
        "bootstrap": text.bootstrap,
        "broker_addresses": text.brokers,
        "tls": text.tls,
        "tls_text": setup.tls.as_ref().map(|tls| tls.to_string()),
        "connections": listener.metrics().active.get(),
        "connections_max": setup.connections_max,
        "brokers": brokers.iter().map(of).collect::<Vec<_>>(),
        "unmapped_nodes": listener.unmapped().iter().map(|node| node.0).collect::<Vec<_>>(),
    })
}

fn broker_json(
    scheme: &Scheme,
    (node, broker): &(NodeId, KnownBroker),
    cluster: &Cluster,
    problems: &[Incident],
) -> Value {
    let advertised = match scheme.advertise(*node) {
        Advertised::Mapped(address) => Value::String(address.to_string()),
        Advertised::Unmapped(_) => Value::Null,
    };
    // A problem of a session that names the broker is one of the broker.
    let address = broker.address.to_string();
    let of_sessions = problems
        .iter()
        .filter(|problem| problem.text.contains(&address))
        .map(|problem| (problem.last, &problem.text));
    let dialled = cluster.dials_to(&broker.address);
    let of_dials = dialled.failure().map(|(at, why)| (*at, why));
    let last = of_sessions.chain(of_dials).max_by_key(|(at, _)| *at);
    let last_problem = last.map(|(at, text)| format!("{}: {text}", happened_at(at)));
    let tenths = |took: Duration| (took.as_secs_f64() * 1e4).round() / 10.0;
    let median = dialled.median().map(tenths);
    json!({
        "node_id": node.0,
        "advertised": advertised,
        "broker": address,
        "broker_advertises": broker.advertised.as_ref().map(ToString::to_string),
        "shares_address": broker.shares_address,
        "is_controller": cluster.view().controller() == Some(*node),
        "connect_p50_ms": median,
        "last_problem": last_problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str, value: &str, origin: &str) -> ConfiguredValue {
        ConfiguredValue {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        }
    }

    #[test]
    fn the_hash_of_a_configuration_is_of_what_it_says_and_not_of_where_that_is_from() {
        let hash = |values: &[ConfiguredValue]| configuration_hash(values);
        let file = hash(&[value("a", "1", "narrows.yaml"), value("b", "2", "default")]);
        assert_eq!(file.len(), 16);
        assert_eq!(
            file,
            hash(&[value("a", "1", "flag"), value("b", "2", "flag")])
        );
        assert_ne!(
            file,
            hash(&[value("a", "1", "flag"), value("b", "3", "flag")])
        );
        assert_ne!(hash(&[value("a", "1", "")]), hash(&[value("b", "1", "")]));
        assert_ne!(
            hash(&[value("a", "12", ""), value("b", "", "")]),
            hash(&[value("a", "1", ""), value("b", "2", "")])
        );
    }
}
