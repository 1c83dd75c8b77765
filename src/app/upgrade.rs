//! Another process takes this one's place, at a SIGUSR2: the same command line once more, which may
//! find a newer binary and another configuration.
//!
//! It is given every listening socket, the admin port's too. When it is ready both accept
//! connections, then only the new one does; this one answers what it has and ends. If the new one
//! does not become ready, nothing has changed. A reload, at a SIGHUP, stays in the process.

use super::{DrainSettings, Narrows, Settings, StartError};
use crate::lifecycle::{Successor, SuccessorError, detached};
use crate::net::passed::PassedSockets;
use std::future::{Future, pending};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{error, info};

/// How long connections that have no broker yet may take to get one, when another process has the
/// sockets: they were accepted a moment ago, and whoever has just dialled speaks at once.
const BEGINNING_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The id of a process that is ready, or why there is none; `None` without a thread to start it on.
type Started = dyn Future<Output = Option<Result<u32, SuccessorError>>> + Send;

/// A process that is starting. Dropped before it is ready, it is ended.
pub(super) struct Upgrade {
    result: Pin<Box<Started>>,
    is_given_up: Arc<AtomicBool>,
}

impl Upgrade {
    /// Begins, unless it can't be: that is logged.
    pub(super) fn begin(narrows: &Narrows) -> Option<Self> {
        info!("SIGUSR2 received: starting the process that takes this one's place");
        if std::process::id() == 1 {
            error!(
                "not upgraded: this is process 1, so its end would end the new one too. In a \
                 container, start another container and stop this one"
            );
            return None;
        }
        let sockets = narrows
            .copies_of_sockets()
            .inspect_err(|reason| {
                error!("not upgraded: the sockets can't be passed on: {reason}");
            })
            .ok()?;
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&is_given_up);
        let start = move || Successor::start(sockets)?.ready(&given_up);
        Some(Self {
            result: Box::pin(detached("upgrade", start)),
            is_given_up,
        })
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        self.is_given_up.store(true, Relaxed);
    }
}

/// Waits for the process that is starting, for ever if there is none: its id, or `None` when it has
/// come to nothing, which is logged. Cancel-safe.
pub(super) async fn finished(upgrade: &mut Option<Upgrade>) -> Option<u32> {
    let Some(Upgrade { result, .. }) = upgrade else {
        return pending().await;
    };
    match result.await {
        Some(Ok(id)) => Some(id),
        Some(Err(problem)) => {
            error!("not upgraded, this process goes on: {problem}");
            None
        }
        None => {
            error!("not upgraded, this process goes on: there is no thread to start another");
            None
        }
    }
}

impl Narrows {
    /// Goes down as [`drain`](Self::drain) does, where another process has the sockets: accepts
    /// nobody from the first moment on, and ends no connection before its first request is carried.
    pub(super) async fn make_way(&self) -> bool {
        self.overview.set_not_ready();
        self.admin_handed_over.drain();
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop_accepting();
        let all_begun = async {
            // Even the first look comes late enough to count who was being accepted just now. A
            // drain gives up dials: who has asked, and has no broker yet, would lose its answer.
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                if self.runtime.limits.beginning() == 0 {
                    break;
                }
            }
        };
        // Whoever is still at the beginning then is told to come again like all others.
        let _ = tokio::time::timeout(BEGINNING_TIMEOUT, all_begun).await;
        let DrainSettings { timeout, .. } = self.settings().drain;
        self.end_sessions(timeout).await
    }

    /// Every listening socket once more, for another process.
    fn copies_of_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sockets = running.copies_of_sockets()?;
        if let Some(admin) = self.admin.upgrade() {
            sockets.push(admin.as_fd().try_clone_to_owned()?);
        }
        Ok(sockets)
    }
}

/// Settles what becomes of passed sockets that no bind has. What a service manager holds open would
/// take connections that nobody accepts: an error. What the process before this one has, its
/// configuration may have had: it is closed.
pub(super) fn settle(passed: &mut PassedSockets, settings: &Settings) -> Result<(), StartError> {
    let binds = settings.listeners.iter().flat_map(|one| one.scheme.binds());
    let mut wanted: Vec<_> = binds.map(|bind| bind.address).collect();
    wanted.extend(settings.admin.map(|admin| admin.bind));
    let unwanted = passed.close_unwanted(|address| wanted.contains(address));
    if !passed.is_from_predecessor() && !unwanted.is_empty() {
        let of_port = |address: &std::net::SocketAddr| {
            let is_same = |bind: &&std::net::SocketAddr| bind.port() == address.port();
            (*address, wanted.iter().find(is_same).copied())
        };
        return Err(StartError::Passed(unwanted.iter().map(of_port).collect()));
    }
    for address in unwanted {
        info!(%address, "a socket of the process before this one is not configured any more");
    }
    if passed.count() > 0 {
        info!(
            count = passed.count(),
            "listening on sockets that were passed"
        );
    }
    Ok(())
}
