//! Tasks in one tracked tree, and the way they end: drain, then stop.

use std::future::Future;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How Klamm goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    pub delay: Duration,
    /// How long what is in flight may take after that.
    pub timeout: Duration,
}

/// The tracked tasks of one Klamm; clones track together.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Starts a task. Panics outside a tokio runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}
