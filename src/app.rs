//! The composition root: builds every part from its settings, starts them in order, stops them in reverse.

use crate::admin::AdminSettings;
use crate::cluster::ClusterSettings;
use crate::lifecycle::DrainSettings;
use crate::listener::ListenerSettings;
use crate::observe::LogSettings;
use crate::session::SessionSettings;

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
    /// How to go down.
    pub drain: DrainSettings,
    /// How to log.
    pub log: LogSettings,
}

/// Runs Klamm until it is told to stop.
pub fn run(_settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("the proxy itself is not part of this build yet")
}
