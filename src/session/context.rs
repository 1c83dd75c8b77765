//! What all sessions of a listener share.

use super::conversation::Behold;
use super::lane::Pools;
use super::{ProxyProtocol, SessionSettings, Splice};
use crate::address::{Advertised, Scheme};
use crate::cluster::Cluster;
use crate::cluster::view::Source;
use crate::net::buffer::BufferPool;
use crate::net::pipe::PipePool;
use crate::observe::metrics::{CopyReason, ListenerMetrics};
use crate::observe::throttle::Throttle;
use crate::protocol::rewrite::{Advertise, Sighting};
use crate::types::{AdvertisedAddress, ListenerName, NodeId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::error;

/// One line of each kind a second, however many clients provoke it.
const WARN_INTERVAL: Duration = Duration::from_secs(1);

/// A hostile broker could name any number of nodes.
const UNMAPPED_MAX: usize = 1000;

/// What all sessions of a listener share.
#[derive(Debug)]
pub struct Context {
    listener: ListenerName,
    settings: SessionSettings,
    proxy_protocol: ProxyProtocol,
    scheme: Scheme,
    cluster: Arc<Cluster>,
    pools: Pools,
    metrics: ListenerMetrics,
    /// The node ids that responses named and that have no address here.
    unmapped: Mutex<BTreeSet<NodeId>>,
    warnings: Mutex<HashMap<&'static str, Throttle>>,
}

impl Context {
    /// The context of a listener's sessions.
    pub fn new(
        listener: ListenerName,
        scheme: Scheme,
        (settings, proxy_protocol): (SessionSettings, ProxyProtocol),
        cluster: Arc<Cluster>,
        (buffers, pipes): (BufferPool, PipePool),
        metrics: ListenerMetrics,
    ) -> Self {
        let pipes = if settings.splice == Splice::Auto { Ok(pipes) } else { Err(CopyReason::Off) };
        let pools = Pools { buffers, pipes, runs: Arc::clone(&metrics.large_runs) };
        let (unmapped, warnings) = (Mutex::default(), Mutex::default());
        Self { listener, settings, proxy_protocol, scheme, cluster, pools, metrics, unmapped, warnings }
    }

    /// The listener's name.
    pub fn listener(&self) -> &ListenerName {
        &self.listener
    }

    /// How the listener's brokers are told apart.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The cluster behind it.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The listener's metrics.
    pub fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    /// The node ids that clients were told an address of where nobody listens.
    pub fn unmapped(&self) -> Vec<NodeId> {
        self.unmapped.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub(super) fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    pub(super) fn proxy_protocol(&self) -> &ProxyProtocol {
        &self.proxy_protocol
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Whether a warning of this kind may be logged now, and how many were not since the last.
    pub(super) fn may_warn(&self, kind: &'static str) -> Option<u64> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.entry(kind).or_insert_with(|| Throttle::every(WARN_INTERVAL)).admit(Instant::now())
    }

    fn note_unmapped(&self, node: NodeId) {
        let mut unmapped = self.unmapped.lock().unwrap_or_else(PoisonError::into_inner);
        if unmapped.len() < UNMAPPED_MAX && unmapped.insert(node) {
            self.metrics.unmapped(unmapped.len());
            let node_ids = match &self.scheme {
                Scheme::Port(scheme) => scheme.node_ids().to_string(),
                Scheme::Sni(scheme) => scheme.node_ids().map(ToString::to_string).unwrap_or_default(),
            };
            error!(
                listener = %self.listener, %node, node_ids,
                "broker {node} is outside node_ids, so clients can't reach it: add it to listeners.{}.address.node_ids",
                self.listener,
            );
        }
    }
}

impl Advertise for Context {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        match self.scheme.advertise(node) {
            Advertised::Mapped(address) => address,
            Advertised::Nowhere(address) => {
                self.note_unmapped(node);
                address
            }
        }
    }
}

impl Behold for Context {
    fn saw(&self, sighting: Sighting) {
        if !sighting.brokers.is_empty() {
            self.cluster.learn(&sighting, Source::Passing);
        }
    }

    fn asked(&self, api_key: i16) {
        self.metrics.request(api_key);
    }

    fn rewrote(&self, api_key: i16) {
        self.metrics.rewritten(api_key);
    }
}
