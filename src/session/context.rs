//! What all sessions of a listener share.

use super::lane::Pools;
use super::state::Observer;
use super::{ListenerTls, SessionSettings, Splice};
use crate::address::{Advertised, Scheme};
use crate::cluster::Cluster;
use crate::cluster::view::Source;
use crate::lifecycle::Stop;
use crate::net::buffer::BufferPool;
use crate::net::pipe::PipePool;
use crate::observe::incidents::Incidents;
use crate::observe::metrics::{CopyReason, ListenerMetrics};
use crate::protocol::rewrite::{Advertise, BrokerList};
use crate::types::{AdvertisedAddress, ListenerName, NodeId, Target};
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::error;

/// A hostile broker could name any number of nodes.
const UNMAPPED_MAX: usize = 1000;

/// What a listener is told, swapped whole by a reload. Sessions that stand keep the limits they
/// began with; what clients are told of brokers is always what stands here now.
#[derive(Clone, Debug)]
pub struct ListenerState {
    /// How brokers are told apart, and what clients are told of them.
    pub scheme: Scheme,
    /// What becomes of TLS; without it the listener is plaintext.
    pub tls: Option<ListenerTls>,
    /// The cluster behind it.
    pub cluster: Arc<Cluster>,
    /// The limits of a session.
    pub session: SessionSettings,
}

impl ListenerState {
    /// Whether another one leads to the same cluster within the same limits; the rest stands in the
    /// listener's settings.
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cluster, &other.cluster) && self.session == other.session
    }
}

/// The listener that a connection belongs to, as it stood when the connection came, and the broker
/// that is meant.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What all sessions of the listener share.
    pub context: Arc<ListenerContext>,
    /// What the listener was told: a session keeps the limits that it began with.
    pub setup: Arc<ListenerState>,
    /// Whom the connection is meant for.
    pub target: Target,
    /// When it ends.
    pub stop: Stop,
}

impl Entry {
    /// An entry into a listener as it stands now.
    pub fn new(context: Arc<ListenerContext>, target: Target, stop: Stop) -> Self {
        Self {
            setup: context.setup(),
            context,
            target,
            stop,
        }
    }
}

/// What all listeners share.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Where buffers come from.
    pub buffers: BufferPool,
    /// Where pipes come from.
    pub pipes: PipePool,
    /// What went wrong lately.
    pub incidents: Arc<Incidents>,
}

/// What all sessions of a listener share.
#[derive(Debug)]
pub struct ListenerContext {
    listener: ListenerName,
    setup: ArcSwap<ListenerState>,
    shared: Resources,
    metrics: ListenerMetrics,
    /// When its sessions end, if Narrows goes on without it.
    stop: Stop,
    /// The node ids that responses named and that have no address here.
    unmapped: Mutex<BTreeSet<NodeId>>,
}

impl ListenerContext {
    /// The context of a listener's sessions, which end at `stop`.
    pub fn new(
        listener: ListenerName,
        setup: ListenerState,
        shared: Resources,
        metrics: ListenerMetrics,
        stop: Stop,
    ) -> Self {
        let setup = ArcSwap::from_pointee(setup);
        Self {
            listener,
            setup,
            shared,
            metrics,
            stop,
            unmapped: Mutex::default(),
        }
    }

    /// What the listener is told now.
    pub fn setup(&self) -> Arc<ListenerState> {
        self.setup.load_full()
    }

    /// From now on it is told this. What was said of unmapped nodes is forgotten: they may have an
    /// address now.
    pub fn change(&self, setup: ListenerState) {
        self.setup.store(Arc::new(setup));
        self.unmapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.metrics.unmapped(0);
    }

    /// When its sessions end.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The listener's name.
    pub fn listener(&self) -> &ListenerName {
        &self.listener
    }

    /// The listener's metrics.
    pub fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    /// The node ids that clients were told an address of where nobody listens.
    pub fn unmapped(&self) -> Vec<NodeId> {
        self.unmapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect()
    }

    /// Where a session's buffers and pipes come from.
    pub(super) fn pools(&self, settings: &SessionSettings) -> Pools {
        let Resources { buffers, pipes, .. } = self.shared.clone();
        let pipes = if settings.splice == Splice::Auto {
            Ok(pipes)
        } else {
            Err(CopyReason::Off)
        };
        Pools {
            buffers,
            pipes,
            runs: Arc::clone(&self.metrics.bulk_transfers),
        }
    }

    fn note_unmapped(&self, node: NodeId) {
        let mut unmapped = self.unmapped.lock().unwrap_or_else(PoisonError::into_inner);
        if unmapped.len() < UNMAPPED_MAX && unmapped.insert(node) {
            self.metrics.unmapped(unmapped.len());
            error!(
                listener = %self.listener, %node,
                "broker {node} is outside node_ids, so clients can't reach it: add it to \
                 listeners.{}.address.node_ids",
                self.listener,
            );
        }
    }
}

impl Advertise for ListenerContext {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        match self.setup.load().scheme.advertise(node) {
            Advertised::Mapped(address) => address,
            Advertised::Unmapped(address) => {
                self.note_unmapped(node);
                address
            }
        }
    }
}

/// What one session sees of its listener. It tells clients what holds now, and what it learns is of
/// the cluster that it is connected to, even if the listener leads to another by now.
#[derive(Debug)]
pub(super) struct SessionObserver {
    pub(super) context: Arc<ListenerContext>,
    pub(super) cluster: Arc<Cluster>,
}

impl Advertise for SessionObserver {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        self.context.advertise(node)
    }
}

impl Observer for SessionObserver {
    fn brokers_seen(&self, sighting: BrokerList) {
        if sighting.brokers.is_empty() {
            return;
        }
        let setup = self.context.setup.load();
        let cluster = if setup.cluster.continues(&self.cluster) {
            &setup.cluster
        } else {
            &self.cluster
        };
        cluster.learn(&sighting, Source::Passing);
    }

    fn request_forwarded(&self, api_key: i16) {
        self.context.metrics.request(api_key);
    }

    fn response_rewritten(&self, api_key: i16) {
        self.context.metrics.rewritten(api_key);
    }
}
