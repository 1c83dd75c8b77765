//! What all sessions of a listener share.

use super::awaited::Awaited;
use super::hellos::CarriedHellos;
use super::lane::Pools;
use super::reach::Reach;
use super::state::Observer;
use super::unmapped::Unmapped;
use super::zeros;
use super::{ListenerTls, SessionSettings, Splice};
use crate::address::{Advertised, Scheme};
use crate::cluster::Cluster;
use crate::cluster::view::Source;
use crate::lifecycle::Stop;
use crate::net::buffer::BufferPool;
use crate::net::pipe::PipePool;
use crate::net::pools::PoolSizes;
use crate::observe::incidents::Incidents;
use crate::observe::metrics::{CopyReason, ListenerMetrics};
use crate::observe::time;
use crate::protocol::rewrite::{Advertise, BrokerList};
use crate::protocol::sasl::{Mechanism, Outcome};
use crate::types::{AdvertisedAddress, ListenerName, NodeId, Target};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;

/// The code of the problem that clients come to no broker.
const NO_BROKER_CONNECTION: &str = "no_broker_connection";

/// How often brokers without an address are looked for when nothing has changed.
const MAP_INTERVAL: Duration = Duration::from_secs(60);

/// What a listener is told, swapped whole by a reload. Sessions that stand keep the limits they
/// began with; what clients are told of brokers is always what stands here now.
#[derive(Clone, Debug)]
pub(crate) struct ListenerState {
    /// How brokers are told apart, and what clients are told of them.
    pub(crate) scheme: Scheme,
    /// What becomes of TLS; without it the listener is plaintext.
    pub(crate) tls: Option<ListenerTls>,
    /// The cluster behind it.
    pub(crate) cluster: Arc<Cluster>,
    /// The limits of a session.
    pub(crate) session: SessionSettings,
    /// How many connections the listener may have, if that is bounded.
    pub(crate) connections_max: Option<usize>,
}

impl ListenerState {
    /// Whether another one leads to the same cluster within the same limits; the rest stands in the
    /// listener's settings.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cluster, &other.cluster) && self.session == other.session
    }
}

/// The listener that a connection belongs to, as it stood when the connection came, and the broker
/// that is meant.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What all sessions of the listener share.
    pub(crate) context: Arc<ListenerContext>,
    /// What the listener was told: a session keeps the limits that it began with.
    pub(crate) setup: Arc<ListenerState>,
    /// Whom the connection is meant for.
    pub(crate) target: Target,
    /// When it ends.
    pub(crate) stop: Stop,
}

impl Entry {
    /// An entry into a listener as it stands now.
    pub(crate) fn new(context: Arc<ListenerContext>, target: Target, stop: Stop) -> Self {
        Self {
            setup: context.setup(),
            context,
            target,
            stop,
        }
    }
}

/// What all listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    /// Where buffers come from.
    pub(crate) buffers: BufferPool,
    /// Where pipes come from.
    pub(crate) pipes: PipePool,
    /// What went wrong lately.
    pub(crate) incidents: Arc<Incidents>,
    /// What is carried on unread.
    pub(crate) hellos: CarriedHellos,
}

impl Resources {
    /// Pools of these sizes, and nothing that went wrong yet.
    pub(crate) fn new(sizes: &PoolSizes) -> Self {
        Self {
            buffers: BufferPool::keeping(sizes.buffers),
            pipes: PipePool::new(sizes),
            incidents: Arc::default(),
            hellos: CarriedHellos::default(),
        }
    }
}

/// What all sessions of a listener share.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    listener: ListenerName,
    setup: ArcSwap<ListenerState>,
    shared: Resources,
    metrics: ListenerMetrics,
    /// When its sessions end, if Narrows goes on without it.
    stop: Stop,
    /// The brokers that have no address here.
    unmapped: Unmapped,
    /// It has been told something else.
    changed: Notify,
    reach: Reach,
    /// Clients that have been closed so that they come again, for a broker that is known now.
    awaited: Arc<Awaited>,
    /// How many connections are meant for each broker.
    connections: Mutex<BTreeMap<NodeId, u64>>,
}

impl ListenerContext {
    /// The context of a listener's sessions, which end at `stop`.
    pub(crate) fn new(
        listener: ListenerName,
        setup: ListenerState,
        shared: Resources,
        metrics: ListenerMetrics,
        stop: Stop,
    ) -> Self {
        zeros::begin(
            &metrics,
            matches!(setup.tls, Some(ListenerTls::Terminate(_))),
        );
        let setup = ArcSwap::from_pointee(setup);
        Self {
            listener,
            setup,
            shared,
            metrics,
            stop,
            unmapped: Unmapped::default(),
            changed: Notify::new(),
            reach: Reach::default(),
            awaited: Arc::default(),
            connections: Mutex::default(),
        }
    }

    /// What the listener is told now.
    pub(crate) fn setup(&self) -> Arc<ListenerState> {
        self.setup.load_full()
    }

    /// From now on it is told this.
    pub(crate) fn change(&self, setup: ListenerState) {
        zeros::begin(
            &self.metrics,
            matches!(setup.tls, Some(ListenerTls::Terminate(_))),
        );
        self.setup.store(Arc::new(setup));
        self.compare_with_map();
        self.changed.notify_one();
        self.reach.reset();
    }

    /// Watches the broker map for brokers that have no address here, for ever.
    pub(crate) async fn watch_map(&self) {
        loop {
            let cluster = Arc::clone(&self.setup().cluster);
            let mut changes = cluster.view().changes();
            changes.borrow_and_update();
            self.compare_with_map();
            self.unmapped.tell(&self.listener);
            tokio::select! {
                // An error means that the view is gone, which `cluster` holds.
                _ = changes.changed() => {}
                () = self.changed.notified() => {}
                // What was held back is told then.
                () = tokio::time::sleep(MAP_INTERVAL) => {}
            }
        }
    }

    fn compare_with_map(&self) {
        let setup = self.setup();
        let is_unmapped =
            |node: &NodeId| matches!(setup.scheme.advertise(*node), Advertised::Unmapped(_));
        let brokers = setup.cluster.view().brokers();
        let nodes = brokers.into_iter().map(|(node, _)| node);
        let nodes: BTreeSet<_> = nodes.filter(is_unmapped).collect();
        self.metrics.unmapped(nodes.len());
        self.unmapped.are(nodes);
    }

    /// When its sessions end.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The listener's name.
    pub(crate) fn listener(&self) -> &ListenerName {
        &self.listener
    }

    /// The listener's metrics.
    pub(crate) fn metrics(&self) -> &ListenerMetrics {
        &self.metrics
    }

    /// The brokers that have no address here.
    pub(crate) fn unmapped(&self) -> Vec<NodeId> {
        self.unmapped.nodes().into_iter().collect()
    }

    /// What is wrong with that, if there are any.
    pub(crate) fn unmapped_text(&self) -> Option<String> {
        self.unmapped.text(&self.listener)
    }

    /// A connection has come for `target`.
    pub(crate) fn entered(&self, target: Target) {
        if let Target::Broker(node) = target {
            *self.connections().entry(node).or_default() += 1;
        }
    }

    /// A connection for `target` has ended.
    pub(crate) fn left(&self, target: Target) {
        if let Target::Broker(node) = target
            && let btree_map::Entry::Occupied(mut entry) = self.connections().entry(node)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// How many connections there are that are meant for this broker.
    pub(crate) fn connections_to(&self, node: NodeId) -> u64 {
        self.connections().get(&node).copied().unwrap_or(0)
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<NodeId, u64>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The hellos of what is carried on unread.
    pub(super) fn hellos(&self) -> &CarriedHellos {
        &self.shared.hellos
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

    /// Clients that will come again.
    pub(super) fn awaited(&self) -> &Arc<Awaited> {
        &self.awaited
    }

    /// A client has come for a broker, by the address that it was told.
    pub(super) fn broker_reached(&self) {
        self.reach.reached();
    }

    /// A client has been told the brokers' addresses, or a broker behind TLS that passes through
    /// has told it some. When no client comes by any, that is a problem.
    pub(super) fn brokers_told(&self) {
        let now = time::now();
        let Some(unreached) = self.reach.told(now) else {
            return;
        };
        let text = self.unreached_text(unreached.sessions);
        let key = (&*self.listener.0, NO_BROKER_CONNECTION, None);
        self.shared.incidents.note(key, &text, now);
        if unreached.is_line_due {
            let (listener, cause) = (&self.listener, NO_BROKER_CONNECTION);
            warn!(%listener, cause, "{text}");
        }
    }

    fn unreached_text(&self, sessions: u32) -> String {
        let setup = self.setup.load();
        let brokers = setup.cluster.view().brokers();
        let mapped = |(node, _): &(NodeId, _)| match setup.scheme.advertise(*node) {
            Advertised::Mapped(address) => Some(address.to_string()),
            Advertised::Unmapped(_) => None,
        };
        let example = brokers.iter().find_map(mapped).unwrap_or_default();
        if let Some(ListenerTls::Passthrough { .. }) = setup.tls {
            return format!(
                "{sessions} clients came by the bootstrap name, and none by a broker's name: with \
                 tls.mode passthrough the brokers themselves must advertise the addresses of this \
                 listener, such as {example} (advertised.listeners; `narrows config --strimzi` \
                 prints it)"
            );
        }
        format!(
            "{sessions} clients were told the brokers' addresses, such as {example}, and none has \
             come by one: can they resolve that name, and reach that port through every firewall \
             and load balancer? It follows from listeners.{}.address",
            self.listener
        )
    }

    fn note_unmapped(&self, node: NodeId) {
        if let Some(count) = self.unmapped.named(node) {
            self.metrics.unmapped(count);
            self.unmapped.tell(&self.listener);
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
    context: Arc<ListenerContext>,
    cluster: Arc<Cluster>,
    target: Target,
    /// The client has been told the brokers.
    has_told: AtomicBool,
    /// It has said which library it uses.
    has_named_software: AtomicBool,
}

impl SessionObserver {
    /// What a session for `target` sees.
    pub(super) fn new(
        context: Arc<ListenerContext>,
        cluster: Arc<Cluster>,
        target: Target,
    ) -> Self {
        Self {
            context,
            cluster,
            target,
            has_told: AtomicBool::new(false),
            has_named_software: AtomicBool::new(false),
        }
    }
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
        self.cluster.learn(&sighting, Source::Passing);
        let is_first = self.target == Target::Bootstrap && !self.has_told.swap(true, Relaxed);
        // With scheme single every broker has the address that this client has come by.
        if is_first && !self.context.setup().scheme.is_single() {
            self.context.brokers_told();
        }
    }

    fn requests_forwarded(&self, api_key: i16, count: u64) {
        self.context.metrics.requests(api_key, count);
    }

    fn response_rewritten(&self, api_key: i16) {
        self.context.metrics.rewritten(api_key);
    }

    fn kafka_error(&self, api_key: i16, error: &'static str) {
        self.context.metrics.kafka_error(api_key, error);
    }

    fn login_answered(&self, mechanism: Mechanism, outcome: Outcome) {
        self.context
            .metrics
            .sasl_login(mechanism.name(), outcome.name());
    }

    fn client_software(&self, name: &[u8], version: &[u8]) {
        if !self.has_named_software.swap(true, Relaxed) {
            self.context.metrics.client_software(name, version);
        }
    }
}
