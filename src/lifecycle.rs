//! Tasks in one tracked tree, and the way they end: drain, then stop.
//!
//! Everything that runs is spawned here. [`Stop`] is a value that tasks hold: it says when to
//! finish what is in flight and begin nothing new (draining), and when to end at once (aborted).

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How Narrows goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    pub delay: Duration,
    /// How long what is in flight may take after that.
    pub timeout: Duration,
}

/// The tasks of a process.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
}

impl Tasks {
    /// Runs a task until it ends by itself; it must hold a [`Stop`] if it might not.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// How many are running.
    pub fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until every task has ended. Cancel-safe.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// When to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    draining: CancellationToken,
    aborted: CancellationToken,
}

impl Stop {
    /// A part of the whole: it stops with it, and can be stopped alone.
    pub fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            aborted: self.aborted.child_token(),
        }
    }

    /// Asks every holder to finish what it does and begin nothing new.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Asks every holder to end at once.
    pub fn abort(&self) {
        self.draining.cancel();
        self.aborted.cancel();
    }

    /// Whether nothing new is begun any more.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits for [`drain`](Self::drain). Cancel-safe.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits for [`abort`](Self::abort). Cancel-safe.
    pub async fn aborted(&self) {
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
