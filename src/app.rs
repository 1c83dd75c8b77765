//! The composition root: builds every part from its settings, starts them in order, stops them in
//! reverse, and lets them become others while they run.

mod certificate_checks;
mod certificates;
mod listener_text;
mod memory;
mod reload;
mod run;
mod running;
mod start_error;
mod status;
mod upgrade;
mod verdict;
mod watch;

use crate::admin::{self, AdminSettings, Pages};
use crate::cluster::ClusterSettings;
use crate::lifecycle::{DrainSettings, Stop, Tasks};
use crate::listener::{Capacity, Limits, LimitsSettings, ListenerSettings};
use crate::net::descriptors;
use crate::net::passed::PassedSockets;
use crate::net::pools::PoolSizes;
use crate::observe::LogSettings;
use crate::observe::metrics::Metrics;
use crate::protocol::table;
use crate::session::{Resources, SessionSettings};
use listener_text::ListenerText;
use running::{Running, Runtime};
use status::Overview;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

pub(crate) use crate::observe::time::unix_seconds;
pub(crate) use crate::types::Severity;
pub(crate) use certificate_checks::{Finding, Subject, certificate_checks, validity_text};
pub use reload::{ReloadError, ReloadSettings};
pub(crate) use run::{Reading, RunError, run};
pub use start_error::StartError;
pub(crate) use status::{ConfiguredValue, configuration_hash};

/// How long what was told to end at once may take to: an admin connection has two seconds for its
/// last response.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that Narrows is told, validated: what stands here can't be wrong in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The clusters, in the order of their names; at least one.
    pub clusters: Vec<ClusterSettings>,
    /// The listeners, in the order of their names; at least one, each with a cluster that exists;
    /// no two share a port.
    pub listeners: Vec<ListenerSettings>,
    /// The admin port, unless there is none.
    pub admin: Option<AdminSettings>,
    /// How many connections and handshakes there may be.
    pub limits: LimitsSettings,
    /// The limits of every session.
    pub session: SessionSettings,
    /// How to go down.
    pub drain: DrainSettings,
    /// When to look for changes of the files that all this was read from.
    pub reload: ReloadSettings,
    /// How to log.
    pub log: LogSettings,
}

/// A running Narrows.
#[derive(Debug)]
pub struct Narrows {
    overview: Arc<Overview>,
    runtime: Runtime,
    running: Mutex<Running>,
    /// Open as long as it is served.
    admin: Weak<TcpListener>,
    admin_handed_over: Stop,
}

impl Narrows {
    /// Binds every port and starts every part. Must be called inside a tokio runtime.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_on(settings, &mut PassedSockets::default())
    }

    /// Starts on sockets that were passed, and binds those that were not.
    pub(super) fn start_on(
        settings: Settings,
        passed: &mut PassedSockets,
    ) -> Result<Self, StartError> {
        upgrade::settle(passed, &settings)?;
        let metrics = Arc::new(Metrics::new(
            table::APIS.iter().map(|api| (api.key, api.name)),
        ));
        let pools = PoolSizes::here();
        let shared = Resources::new(&pools);
        let tasks = Tasks::default();
        let sessions = Tasks::default();
        let stop = Stop::default();
        let limits = Limits::new(settings.limits, capacity(), metrics.limits());
        let overview = Overview::new(
            limits.clone(),
            sessions.clone(),
            Arc::clone(&shared.incidents),
            stop.clone(),
            &pools,
        );
        let overview = Arc::new(overview);
        let runtime = Runtime {
            metrics,
            limits,
            shared,
            own_sockets: Arc::default(),
            tasks,
            sessions,
            stop,
        };
        let admin = settings.admin.map(|admin| bind_admin(admin, passed));
        let admin = admin.transpose()?.map(Arc::new);
        let mut running = Running::none(settings.clone());
        running.apply(settings, passed, &runtime)?;
        let narrows = Self {
            overview,
            runtime,
            admin_handed_over: Stop::default(),
            running: Mutex::new(running),
            admin: admin.as_ref().map(Arc::downgrade).unwrap_or_default(),
        };
        narrows.runtime.metrics.loaded(true, unix_seconds());
        narrows.show();
        narrows.run_admin(admin);
        let overview = Arc::clone(&narrows.overview);
        let stop = narrows.runtime.stop.clone();
        let until = stop.clone();
        narrows
            .runtime
            .tasks
            .spawn_vital("the task that gives memory back", &stop, async move {
                memory::give_back_after_waves(&overview, &until).await
            });
        Ok(narrows)
    }

    /// What there is to know about it, as the status page shows it.
    pub fn status(&self) -> serde_json::Value {
        self.overview.to_json()
    }

    /// Shows these values as the configuration in effect.
    pub(super) fn show_configured(&self, values: &[ConfiguredValue]) {
        self.overview.configured(values);
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.runtime.metrics
    }

    /// Goes down as a SIGTERM asks it to: not ready at once, no new connections after
    /// `drain.delay`, then every session ends when nothing is in flight. Returns whether all did
    /// within `drain.timeout`; those that did not are ended.
    pub async fn drain(&self) -> bool {
        let DrainSettings { delay, timeout } = self.settings().drain;
        info!(
            ?delay,
            ?timeout,
            "draining: not ready, no new connections after the delay"
        );
        self.overview.set_not_ready();
        tokio::time::sleep(delay).await;
        self.end_sessions(timeout).await
    }

    /// Takes no connection any more and ends those that stand; whether all have within `timeout`.
    async fn end_sessions(&self, timeout: Duration) -> bool {
        self.runtime.stop.drain();
        let is_drained = tokio::time::timeout(timeout, self.runtime.sessions.ended())
            .await
            .is_ok();
        if !is_drained {
            warn!("some responses did not come within drain.timeout: their sessions end now");
        }
        self.stop().await;
        is_drained
    }

    /// Ends everything at once; what has not ended within [`STOP_TIMEOUT`] is left behind.
    pub async fn stop(&self) {
        self.runtime.stop.abort();
        let Runtime {
            sessions, tasks, ..
        } = &self.runtime;
        let ended = async {
            sessions.ended().await;
            tasks.ended().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            let (sessions, tasks) = (sessions.count(), tasks.count());
            warn!(
                sessions,
                tasks, "not everything has ended within {STOP_TIMEOUT:?}"
            );
        }
    }

    /// Waits until a task that must live as long as Narrows has ended by itself, and says which.
    /// Cancel-safe.
    pub(crate) async fn vital_ended(&self) -> String {
        self.runtime.tasks.vital_ended().await
    }

    /// What it runs by now.
    pub fn settings(&self) -> Settings {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .settings
            .clone()
    }

    /// Shows on the status page and in the metrics what runs now, and says what is wrong with
    /// certificates.
    fn show(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let certificates = certificates::of(&running.settings);
        certificates::count(&certificates, &self.runtime.metrics);
        for finding in certificate_checks(&running.settings, unix_seconds()) {
            match finding.severity {
                Severity::Routine => info!("{finding}"),
                Severity::Warning => warn!("{finding}"),
                Severity::Problem => error!("{finding}"),
            }
        }
        let clusters = running
            .clusters
            .values()
            .map(|(cluster, _)| Arc::clone(cluster))
            .collect();
        let of = |settings: &ListenerSettings| {
            let context = running.listeners.get(&settings.name)?;
            Some((ListenerText::of(settings), Arc::clone(context)))
        };
        let listeners = running.settings.listeners.iter().filter_map(of).collect();
        self.overview.show(clusters, listeners, certificates);
    }

    fn run_admin(&self, admin: Option<Arc<TcpListener>>) {
        let Some(socket) = admin else { return };
        let ready = self.overview.clone();
        let status = self.overview.clone();
        let metrics = self.runtime.metrics.clone();
        let pipes = self.runtime.shared.pipes.clone();
        let pages = Pages {
            metrics: Box::new(move || {
                metrics.set_pipes(pipes.sizes());
                metrics.render()
            }),
            readiness: Box::new(move || ready.readiness()),
            status: Box::new(move || status.to_json()),
        };
        let stop = self.runtime.stop.clone();
        let tasks = self.runtime.tasks.clone();
        // It goes on through a drain, but not where another process has its socket.
        let handed_over = self.admin_handed_over.clone();
        let ended = async move {
            tokio::select! {
                () = stop.aborted() => {}
                () = handed_over.draining() => {}
            }
        };
        let serve = admin::serve(socket, Arc::new(pages), tasks, ended);
        self.runtime
            .tasks
            .spawn_vital("the admin port", &self.admin_handed_over, serve);
    }
}

/// What this process may use, with the limit of open files raised as far as it may be.
pub(crate) fn capacity() -> Capacity {
    Capacity {
        descriptors: descriptors::raise_limit(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

fn bind_admin(
    settings: AdminSettings,
    passed: &mut PassedSockets,
) -> Result<TcpListener, StartError> {
    let address = settings.bind;
    passed
        .listen(address)
        .map_err(|reason| StartError::Admin { address, reason })
}
