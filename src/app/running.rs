//! The running parts, and how they become those that other settings ask for: at the start, and at
//! every reload.
//!
//! All new sockets are bound before anything is changed. Then everything is swapped at once, and
//! what is not wanted any more is retired: its sockets close, and its sessions end as they do in a
//! drain. Sessions of whatever stays are not touched.

use super::listener_text::ListenerText;
use super::{Settings, StartError};
use crate::address::Scheme;
use crate::cluster::{Cluster, ClusterSettings};
use crate::lifecycle::{DrainSettings, Stop, Tasks};
use crate::listener::{
    self, BindError, Binding, BindingState, Identification, Limits, ListenerSettings,
};
use crate::net::own_sockets::OwnSockets;
use crate::net::passed::PassedSockets;
use crate::observe::metrics::{Metrics, UNIDENTIFIED};
use crate::session::{ListenerContext, ListenerState, Resources, begin_at_zero};
use crate::types::{ClusterName, ListenerName};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpListener;
use tracing::info;

/// What runs, by the names and addresses that the settings have.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) settings: Settings,
    pub(super) clusters: BTreeMap<ClusterName, (Arc<Cluster>, Stop)>,
    pub(super) listeners: BTreeMap<ListenerName, Arc<ListenerContext>>,
    bindings: BTreeMap<SocketAddr, OpenBinding>,
}

#[derive(Debug)]
struct OpenBinding {
    binding: Arc<Binding>,
    stop: Stop,
    /// Part of `stop`: only the socket.
    accepting: Stop,
    /// Open as long as connections are accepted.
    socket: Weak<TcpListener>,
}

/// What parts are made with, and run by.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    pub(super) shared: Resources,
    pub(super) own_sockets: Arc<OwnSockets>,
    pub(super) tasks: Tasks,
    pub(super) sessions: Tasks,
    pub(super) stop: Stop,
}

impl Running {
    /// Nothing yet.
    pub(super) fn none(settings: Settings) -> Self {
        Self {
            settings,
            clusters: BTreeMap::new(),
            listeners: BTreeMap::new(),
            bindings: BTreeMap::new(),
        }
    }

    /// Becomes what `settings` ask for; an error means that nothing has changed. Must be called
    /// inside a tokio runtime.
    pub(super) fn apply(
        &mut self,
        settings: Settings,
        passed: &mut PassedSockets,
        runtime: &Runtime,
    ) -> Result<(), StartError> {
        for listener in &settings.listeners {
            if !settings
                .clusters
                .iter()
                .any(|cluster| cluster.name == listener.cluster)
            {
                let cluster = listener.cluster.clone();
                let listener = listener.name.to_string();
                return Err(StartError::NoCluster { listener, cluster });
            }
        }
        let mut sockets = self.bind(&settings.listeners, passed)?;
        // Before any broker is dialled.
        let binds = settings.listeners.iter().flat_map(|one| one.scheme.binds());
        runtime
            .own_sockets
            .set(binds.map(|bind| bind.address).collect());
        runtime.limits.change(settings.limits);
        self.change_clusters(&settings.clusters, runtime);
        self.change_listeners(&settings, runtime);
        self.change_bindings(&settings, &mut sockets, runtime);
        self.settings = settings;
        Ok(())
    }

    /// The sockets that there are not yet, or every reason why they can't be had.
    fn bind(
        &self,
        listeners: &[ListenerSettings],
        passed: &mut PassedSockets,
    ) -> Result<BTreeMap<SocketAddr, TcpListener>, StartError> {
        let mut sockets = BTreeMap::new();
        let mut errors = Vec::<BindError>::new();
        for settings in listeners {
            let is_new = |address: &SocketAddr| {
                !self.bindings.contains_key(address) && !sockets.contains_key(address)
            };
            match listener::bind(settings, is_new, passed) {
                Ok(bound) => sockets.extend(bound),
                Err(failed) => errors.extend(failed),
            }
        }
        if errors.is_empty() {
            Ok(sockets)
        } else {
            Err(StartError::Bind(errors))
        }
    }

    fn change_clusters(&mut self, wanted: &[ClusterSettings], runtime: &Runtime) {
        let mut before = std::mem::take(&mut self.clusters);
        for settings in wanted {
            let old = before.remove(&settings.name);
            let (cluster, stop) = match old {
                Some((cluster, stop)) if cluster.settings().is_same_cluster(settings) => {
                    if *cluster.settings() != *settings {
                        cluster.change(settings.clone());
                    }
                    (cluster, stop)
                }
                replaced => {
                    // Whoever still has a session there keeps the map as it is.
                    if let Some((_, stop)) = replaced {
                        stop.abort();
                    }
                    let metrics = runtime.metrics.cluster(&settings.name);
                    let buffers = runtime.shared.buffers.clone();
                    let own_sockets = Arc::clone(&runtime.own_sockets);
                    let cluster = Cluster::new(settings.clone(), buffers, own_sockets, metrics);
                    runtime.run_cluster(cluster)
                }
            };
            self.clusters.insert(settings.name.clone(), (cluster, stop));
        }
        before.into_values().for_each(|(_, stop)| stop.abort());
    }

    fn change_listeners(&mut self, settings: &Settings, runtime: &Runtime) {
        let mut before = std::mem::take(&mut self.listeners);
        for wanted in &settings.listeners {
            let Some((cluster, _)) = self.clusters.get(&wanted.cluster) else {
                continue;
            };
            let setup = ListenerState {
                scheme: wanted.scheme.clone(),
                tls: wanted.tls.clone(),
                cluster: Arc::clone(cluster),
                session: settings.session,
                connections_max: wanted.connections_max,
            };
            let old = self
                .settings
                .listeners
                .iter()
                .find(|old| old.name == wanted.name);
            let stays = old.is_some_and(|old| is_same_place(old, wanted));
            let context = match before.remove(&wanted.name) {
                Some(context) if stays => {
                    let is_unchanged = old == Some(wanted) && context.setup().is_like(&setup);
                    if !is_unchanged {
                        context.change(setup);
                    }
                    context
                }
                replaced => {
                    if let Some(context) = replaced {
                        runtime.retire(context.stop().clone(), settings.drain);
                    }
                    let metrics = runtime.metrics.listener(&wanted.name);
                    let stop = runtime.stop.child();
                    let ListenerText {
                        bind,
                        scheme,
                        bootstrap,
                        brokers,
                        tls,
                    } = ListenerText::of(wanted);
                    let cluster = &wanted.cluster;
                    info!(
                        listener = %wanted.name, %cluster, scheme, bind, bootstrap, brokers, tls,
                        "listening"
                    );
                    let context = Arc::new(ListenerContext::new(
                        wanted.name.clone(),
                        setup,
                        runtime.shared.clone(),
                        metrics,
                        stop,
                    ));
                    runtime.watch_map(Arc::clone(&context));
                    context
                }
            };
            self.listeners.insert(wanted.name.clone(), context);
        }
        for context in before.into_values() {
            info!(listener = %context.listener(), "not listening any more");
            runtime.retire(context.stop().clone(), settings.drain);
        }
    }

    fn change_bindings(
        &mut self,
        settings: &Settings,
        sockets: &mut BTreeMap<SocketAddr, TcpListener>,
        runtime: &Runtime,
    ) {
        let mut before = std::mem::take(&mut self.bindings);
        for (address, (identification, listener)) in self.plan_bindings(settings, &runtime.metrics)
        {
            let proxy_protocol = listener.proxy_protocol.clone();
            let session = settings.session;
            let resources = runtime.shared.clone();
            let limits = runtime.limits.clone();
            if let Some(open) = before.remove(&address) {
                let old = open.binding.state();
                let stop = if is_same_identification(&old.identification, &identification) {
                    old.stop.clone()
                } else {
                    runtime.retire(old.stop.clone(), settings.drain);
                    stop_of(&identification, &open.stop)
                };
                open.binding.change(BindingState {
                    address,
                    proxy_protocol,
                    identification,
                    resources,
                    limits,
                    session,
                    stop,
                });
                self.bindings.insert(address, open);
            } else if let Some(socket) = sockets.remove(&address) {
                let stop = runtime.stop.child();
                let state = BindingState {
                    address,
                    proxy_protocol,
                    stop: stop_of(&identification, &stop),
                    identification,
                    resources,
                    limits,
                    session,
                };
                let open = open(socket, Arc::new(Binding::new(state)), stop, runtime);
                self.bindings.insert(address, open);
            }
        }
        for OpenBinding { binding, stop, .. } in before.into_values() {
            stop.drain();
            runtime.retire(binding.state().stop.clone(), settings.drain);
        }
    }

    /// The sockets that connections are accepted on, once more, for another process.
    pub(super) fn copies_of_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self
            .bindings
            .values()
            .filter_map(|one| one.socket.upgrade());
        sockets
            .map(|socket| socket.as_fd().try_clone_to_owned())
            .collect()
    }

    /// Accepts no connection any more; those that stand go on.
    pub(super) fn stop_accepting(&self) {
        self.bindings.values().for_each(|one| one.accepting.drain());
    }

    /// How connections to each address are to be identified, and a listener there: those that share
    /// one agree on what concerns all.
    fn plan_bindings<'a>(
        &self,
        settings: &'a Settings,
        metrics: &Metrics,
    ) -> BTreeMap<SocketAddr, (Identification, &'a ListenerSettings)> {
        let mut plan_bindings: BTreeMap<SocketAddr, (Identification, &ListenerSettings)> =
            BTreeMap::new();
        for listener in &settings.listeners {
            let Some(context) = self.listeners.get(&listener.name) else {
                continue;
            };
            for bind in listener.scheme.binds() {
                let context = Arc::clone(context);
                match (bind.target, plan_bindings.get_mut(&bind.address)) {
                    (Some(target), _) => {
                        plan_bindings.insert(
                            bind.address,
                            (Identification::Port(context, target), listener),
                        );
                    }
                    (None, Some((Identification::Sni { listeners, .. }, _))) => {
                        listeners.push(context)
                    }
                    (None, _) => {
                        let unidentified = context.metrics().clone();
                        plan_bindings.insert(
                            bind.address,
                            (
                                Identification::Sni {
                                    listeners: vec![context],
                                    unidentified,
                                },
                                listener,
                            ),
                        );
                    }
                }
            }
        }
        for (identification, _) in plan_bindings.values_mut() {
            if let Identification::Sni {
                listeners,
                unidentified,
            } = identification
                && listeners.len() > 1
            {
                *unidentified = metrics.listener(&ListenerName(UNIDENTIFIED.into()));
                begin_at_zero(unidentified, true);
            }
        }
        plan_bindings
    }
}

/// Begins to accept connections.
fn open(socket: TcpListener, binding: Arc<Binding>, stop: Stop, runtime: &Runtime) -> OpenBinding {
    let socket = Arc::new(socket);
    let accepting = stop.child();
    let accept = listener::accept(
        Arc::clone(&socket),
        Arc::clone(&binding),
        runtime.sessions.clone(),
        (accepting.clone(), stop.clone()),
    );
    let name = format!("accepting connections on {}", binding.state().address);
    runtime.tasks.spawn_vital(name, &accepting, accept);
    OpenBinding {
        binding,
        stop,
        accepting,
        socket: Arc::downgrade(&socket),
    }
}

/// Whether the sessions of a listener can go on under other settings: they are meant for the same
/// brokers, by the same names.
fn is_same_place(old: &ListenerSettings, new: &ListenerSettings) -> bool {
    let is_same_scheme = match (&old.scheme, &new.scheme) {
        (Scheme::Port(_), Scheme::Port(_)) => true,
        (Scheme::Sni(old), Scheme::Sni(new)) => {
            old.bind() == new.bind()
                && old.bootstrap_host() == new.bootstrap_host()
                && old.pattern() == new.pattern()
        }
        (Scheme::Single(_), Scheme::Single(_)) => true,
        _ => false,
    };
    old.cluster == new.cluster && is_same_scheme
}

/// Whether connections on a binding are meant for the same as before.
fn is_same_identification(old: &Identification, new: &Identification) -> bool {
    match (old, new) {
        (Identification::Port(old, old_target), Identification::Port(new, new_target)) => {
            Arc::ptr_eq(old, new) && old_target == new_target
        }
        // Sessions that have said a name stop with their listener; those that have not find the new
        // names.
        (Identification::Sni { .. }, Identification::Sni { .. }) => true,
        _ => false,
    }
}

/// When connections on a binding stop.
fn stop_of(identification: &Identification, binding: &Stop) -> Stop {
    match identification {
        Identification::Port(context, _) => context.stop().child(),
        Identification::Sni { .. } => binding.child(),
    }
}

impl Runtime {
    fn run_cluster(&self, cluster: Cluster) -> (Arc<Cluster>, Stop) {
        let cluster = Arc::new(cluster);
        let stop = self.stop.child();
        let running = Arc::clone(&cluster);
        let until = stop.clone();
        let name = format!("the refresh of cluster {}", running.settings().name);
        self.tasks
            .spawn_vital(name, &stop, async move { running.keep_fresh(&until).await });
        (cluster, stop)
    }

    /// Has a listener say which brokers have no address there, until it is not wanted any more.
    fn watch_map(&self, listener: Arc<ListenerContext>) {
        self.tasks.spawn(async move {
            tokio::select! {
                () = listener.stop().draining() => {}
                () = listener.watch_map() => {}
            }
        });
    }

    /// Ends what is not wanted any more as a drain does: requests in flight are answered, for so
    /// long.
    fn retire(&self, stop: Stop, drain: DrainSettings) {
        stop.drain();
        self.tasks
            .spawn(async move { abort_after(drain.timeout, &stop).await });
    }
}

async fn abort_after(timeout: Duration, stop: &Stop) {
    tokio::select! {
        () = tokio::time::sleep(timeout) => stop.abort(),
        () = stop.aborted() => {}
    }
}
