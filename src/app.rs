//! The composition root: builds every part from its settings, starts them in order, stops them in reverse.

mod findings;
mod memory;
mod reload;
mod status;

use crate::admin::{self, AdminSettings, Pages};
use crate::cluster::{Cluster, ClusterSettings};
use crate::lifecycle::{DrainSettings, Stop, Tasks};
use crate::listener::{self, BindError, ListenerSettings, Port};
use crate::net::buffer::BufferPool;
use crate::net::pipe::PipePool;
use crate::net::socket;
use crate::observe::LogSettings;
use crate::observe::metrics::Metrics;
use crate::protocol::table;
use crate::session::{Context, SessionSettings};
use crate::types::ClusterName;
pub use findings::{About, Finding, Weight, findings, left};
pub use reload::ReloadSettings;
use status::Overview;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// Everything that Klamm is told, validated: what stands here can't be wrong in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The clusters, in the order of their names; at least one.
    pub clusters: Vec<ClusterSettings>,
    /// The listeners, in the order of their names; at least one, each with a cluster that exists; no two share a port.
    pub listeners: Vec<ListenerSettings>,
    /// The admin port, unless there is none.
    pub admin: Option<AdminSettings>,
    /// The limits of every session.
    pub session: SessionSettings,
    /// When to look at the configuration's files again.
    pub reload: ReloadSettings,
    /// How to go down.
    pub drain: DrainSettings,
    /// How to log.
    pub log: LogSettings,
}

/// Why Klamm can't start. Nothing is left half-started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Sockets that can't be bound: all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Bind(Vec<BindError>),
    /// The admin port can't be bound.
    #[error("the admin port can't be bound to {address}: {source}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system lets no signal through.
    #[error("can't listen for SIGTERM and SIGINT: {0}")]
    Signals(#[source] io::Error),
    /// A listener names a cluster that the settings lack.
    #[error("listener {listener} leads to cluster {cluster}, which there is not")]
    NoCluster {
        /// The listener's name.
        listener: String,
        /// The cluster's name.
        cluster: ClusterName,
    },
}

/// A running Klamm.
#[derive(Debug)]
pub struct Klamm {
    overview: Arc<Overview>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    stop: Stop,
    drain: DrainSettings,
}

impl Klamm {
    /// Binds every port and starts every part. Must be called inside a tokio runtime.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(table::APIS.iter().map(|api| (api.key, api.name))));
        let (tasks, stop) = (Tasks::default(), Stop::default());
        let bound = bind(&settings)?;
        let admin = settings.admin.map(bind_admin).transpose()?;
        let clusters = clusters(settings.clusters, &metrics);
        let (buffers, pipes) = (BufferPool::default(), PipePool::default());
        let mut contexts = Vec::new();
        for (listener, ports) in settings.listeners.into_iter().zip(bound) {
            let cluster = clusters.get(&listener.cluster).cloned().ok_or_else(|| StartError::NoCluster {
                listener: listener.name.to_string(),
                cluster: listener.cluster.clone(),
            })?;
            let handles = metrics.listener(&listener.name);
            let pools = (buffers.clone(), pipes.clone());
            let ListenerSettings { name, scheme, proxy_protocol, .. } = listener;
            let settings = (settings.session, proxy_protocol);
            let context = Context::new(name, scheme, settings, cluster, pools, handles);
            contexts.push((Arc::new(context), ports));
        }
        let listeners = contexts.iter().map(|(context, _)| context.clone()).collect();
        let overview = Arc::new(Overview::new(clusters.values().cloned().collect(), listeners, stop.clone()));
        let klamm = Self { overview, metrics, tasks, stop, drain: settings.drain };
        klamm.run_clusters(clusters);
        klamm.run_listeners(contexts);
        klamm.run_admin(admin);
        let (overview, stop) = (Arc::clone(&klamm.overview), klamm.stop.clone());
        klamm.tasks.spawn(async move { memory::give_back_after_waves(&overview, &stop).await });
        Ok(klamm)
    }

    /// What there is to know about it, as the status page shows it.
    pub fn status(&self) -> serde_json::Value {
        self.overview.to_json()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Goes down as a SIGTERM asks it to: not ready at once, no new connections after `drain.delay`, then every session
    /// ends when nothing is in flight. Returns whether all did within `drain.timeout`; those that did not are ended.
    pub async fn drain(&self) -> bool {
        info!(delay = ?self.drain.delay, timeout = ?self.drain.timeout, "draining: not ready, no new connections after the delay");
        self.overview.leave();
        tokio::time::sleep(self.drain.delay).await;
        self.stop.drain();
        let is_drained =
            tokio::time::timeout(self.drain.timeout, self.overview.sessions_ended()).await.is_ok();
        if !is_drained {
            warn!("some responses did not come within drain.timeout: their sessions end now");
        }
        self.stop().await;
        is_drained
    }

    /// Ends everything at once.
    pub async fn stop(&self) {
        self.stop.abort();
        self.tasks.ended().await;
    }

    fn run_clusters(&self, clusters: BTreeMap<ClusterName, Arc<Cluster>>) {
        for cluster in clusters.into_values() {
            let stop = self.stop.clone();
            self.tasks.spawn(async move { cluster.keep_fresh(&stop).await });
        }
    }

    fn run_listeners(&self, contexts: Vec<(Arc<Context>, Vec<Port>)>) {
        for (context, ports) in contexts {
            info!(listener = %context.listener(), ports = ports.len(), "listening");
            for port in ports {
                let accept = listener::accept(port, context.clone(), self.tasks.clone(), self.stop.clone());
                self.tasks.spawn(accept);
            }
        }
    }

    fn run_admin(&self, admin: Option<TcpListener>) {
        let Some(socket) = admin else { return };
        let (ready, status) = (self.overview.clone(), self.overview.clone());
        let pages = Pages {
            metrics: self.metrics.clone(),
            readiness: Box::new(move || ready.readiness()),
            status: Box::new(move || status.to_json()),
        };
        let stop = self.stop.clone();
        let aborted = async move { stop.aborted().await };
        self.tasks.spawn(admin::serve(socket, Arc::new(pages), self.tasks.clone(), aborted));
    }
}

/// Every listener's ports, or every reason why they can't be had.
fn bind(settings: &Settings) -> Result<Vec<Vec<Port>>, StartError> {
    let (mut bound, mut errors) = (Vec::new(), Vec::new());
    for listener in &settings.listeners {
        match listener::bind(listener) {
            Ok(ports) => bound.push(ports),
            Err(failed) => errors.extend(failed),
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(StartError::Bind(errors)) }
}

fn bind_admin(settings: AdminSettings) -> Result<TcpListener, StartError> {
    let address = settings.bind;
    socket::listen(address).map_err(|source| StartError::Admin { address, source })
}

fn clusters(settings: Vec<ClusterSettings>, metrics: &Metrics) -> BTreeMap<ClusterName, Arc<Cluster>> {
    let build = |settings: ClusterSettings| {
        let name = settings.name.clone();
        let handles = metrics.cluster(&name);
        (name, Arc::new(Cluster::new(settings, handles)))
    };
    settings.into_iter().map(build).collect()
}

/// Runs Klamm until a signal ends it: SIGTERM or SIGINT drains, a second one ends at once.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let klamm = Klamm::start(settings)?;
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let name = signalled().await;
    info!("{name} received");
    tokio::select! {
        _ = klamm.drain() => {}
        name = signalled() => {
            info!("a second signal ({name}): ending at once");
            klamm.stop().await;
        }
    }
    info!("stopped");
    Ok(())
}
