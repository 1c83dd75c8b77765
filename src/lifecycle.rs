//! Tasks in one tracked tree, and the way they end: drain, then stop.
//!
//! Everything that runs is spawned here. [`Stop`] is a value that tasks hold: it says when to
//! finish what is in flight and begin nothing new (draining), and when to end at once (aborted).
//! A task that must live as long as the process is [vital](Tasks::spawn_vital): when it ends by
//! itself, by a panic say, [`Tasks::vital_ended`] says so, and the process must not go on as if
//! nothing were missing.

mod notify;
mod quiet;
mod successor;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use notify::{ServiceState, notify};
pub(crate) use quiet::quiet;
pub(crate) use successor::{Successor, SuccessorError, tell_predecessor};

/// How Narrows goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    pub delay: Duration,
    /// How long what is in flight may take after that.
    pub timeout: Duration,
}

/// The tasks of a process; clones are the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    vital_ended: Arc<watch::Sender<Option<String>>>,
}

impl Tasks {
    /// Runs a task until it ends by itself; it must hold a [`Stop`] if it might not.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Runs a task that must not end before `stop` says so.
    pub(crate) fn spawn_vital(
        &self,
        name: impl Into<String>,
        stop: &Stop,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let watched = Vital {
            name: name.into(),
            stop: stop.clone(),
            ended: Arc::clone(&self.vital_ended),
        };
        self.tracker.spawn(async move {
            task.await;
            drop(watched);
        });
    }

    /// Waits until a vital task has ended by itself: its name. Cancel-safe.
    pub(crate) async fn vital_ended(&self) -> String {
        let mut ended = self.vital_ended.subscribe();
        // The sender lives as long as `self`.
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(name)) => name.clone(),
            _ => std::future::pending().await,
        }
    }

    /// How many are running.
    pub(crate) fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until every task has ended. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Held by a vital task: dropped at its end, and by the panic that ends it as well.
#[derive(Debug)]
struct Vital {
    name: String,
    stop: Stop,
    ended: Arc<watch::Sender<Option<String>>>,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.stop.is_draining() {
            self.ended
                .send_replace(Some(std::mem::take(&mut self.name)));
        }
    }
}

/// Runs blocking work on a thread of its own that nobody joins, so that a process can end while a
/// file on a mount that hangs is still being opened. `None` when there is no thread to be had or
/// the work has panicked. The work goes on when the future is dropped.
pub(crate) fn detached<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let (done, result) = oneshot::channel();
    let run = move || {
        // Whoever wanted it may have gone.
        let _ = done.send(work());
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    async move {
        thread.ok()?;
        result.await.ok()
    }
}

/// When to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    draining: CancellationToken,
    aborted: CancellationToken,
}

impl Stop {
    /// A part of the whole: it stops with it, and can be stopped alone.
    pub(crate) fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            aborted: self.aborted.child_token(),
        }
    }

    /// Asks every holder to finish what it does and begin nothing new.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Asks every holder to end at once.
    pub(crate) fn abort(&self) {
        self.draining.cancel();
        self.aborted.cancel();
    }

    /// Whether nothing new is begun any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits for [`drain`](Self::drain). Cancel-safe.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits for [`abort`](Self::abort). Cancel-safe.
    pub(crate) async fn aborted(&self) {
        self.aborted.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_without_it() {
        let whole = Stop::default();
        let one = whole.child();
        let other = whole.child();
        one.abort();
        assert!(one.is_draining() && !other.is_draining() && !whole.is_draining());
        whole.drain();
        assert!(other.is_draining());
    }

    #[tokio::test]
    async fn a_vital_task_that_ends_or_panics_is_named_and_one_that_was_stopped_is_not() {
        let stop = Stop::default();
        let stopped = Tasks::default();
        let until = stop.clone();
        stopped.spawn_vital("stopped", &stop, async move { until.draining().await });
        let ended = Tasks::default();
        ended.spawn_vital("ended", &stop.child(), async {});
        let panicked = Tasks::default();
        panicked.spawn_vital("panicked", &stop.child(), async { panic!("on purpose") });
        assert_eq!(ended.vital_ended().await, "ended");
        assert_eq!(panicked.vital_ended().await, "panicked");
        assert_eq!(panicked.clone().vital_ended().await, "panicked", "again");
        stop.drain();
        stopped.ended().await;
        assert_eq!(*stopped.vital_ended.borrow(), None);
    }

    #[tokio::test]
    async fn detached_work_is_awaited_and_its_panic_is_no_result() {
        assert_eq!(detached("adds", || 1 + 1).await, Some(2));
        assert_eq!(
            detached::<()>("panics", || panic!("on purpose")).await,
            None
        );
    }

    #[tokio::test]
    async fn the_end_is_awaited_until_the_last_task_has_seen_the_stop() {
        let tasks = Tasks::default();
        let stop = Stop::default();
        let held = stop.clone();
        let seen = stop.clone();
        tasks.spawn(async move { held.aborted().await });
        stop.drain();
        assert!(seen.is_draining());
        tokio::select! {
            biased;
            () = tasks.ended() => panic!("a task is still running"),
            () = std::future::ready(()) => stop.abort(),
        }
        tasks.ended().await;
    }
}
