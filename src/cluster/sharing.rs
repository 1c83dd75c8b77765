//! Says that brokers advertise one address: whoever dials it reaches any of them, and the client
//! hears from a broker that does not lead its partitions.

use super::Cluster;
use super::view::Sharing;
use crate::observe::time::now;
use crate::types::NodeId;
use tracing::{error, info};

/// More node ids than this are not in a sentence.
const NODES_SHOWN: usize = 10;

impl Cluster {
    /// What is wrong with the addresses of brokers now, a sentence for each address that several
    /// have in common.
    pub(crate) fn shared_addresses(&self) -> Vec<String> {
        let sharing = self.view.sharing();
        sharing
            .iter()
            .map(|sharing| self.sharing_text(sharing))
            .collect()
    }

    /// The broker map has changed, or is as it was some time ago.
    pub(super) fn note_sharing(&self) {
        let sharing = self.view.sharing();
        let count: usize = sharing.iter().map(|one| one.nodes.len()).sum();
        let before = &self.metrics.brokers_sharing_address;
        let had_some = before.get() > 0;
        before.set(i64::try_from(count).unwrap_or(i64::MAX));
        let cluster = self.name();
        let Some(first) = sharing.first() else {
            if had_some {
                info!(%cluster, "every broker can be told apart by its address again");
            }
            return;
        };
        let line = self.refreshes.lines().sharing.admit(now());
        if let Some(suppressed) = line {
            error!(%cluster, suppressed, "{}", self.sharing_text(first));
        }
    }

    fn sharing_text(&self, sharing: &Sharing) -> String {
        let Sharing {
            address,
            nodes,
            count,
        } = sharing;
        let cluster = self.name();
        let nodes = nodes_text(nodes);
        match &self.settings().broker_address {
            None => format!(
                "{count} brokers ({nodes}) advertise one address, {address}, so that a connection \
                 for one of them may reach another: give each its own in advertised.listeners, or \
                 say where each is dialled with clusters.{cluster}.broker_address, as in \
                 kafka-{{node_id}}.kafka-svc:9092"
            ),
            Some(_) => format!(
                "{count} brokers advertise one address, {address}, and \
                 clusters.{cluster}.broker_address has no other one for {nodes}, so that a \
                 connection may reach the wrong broker: let it have one for each node id"
            ),
        }
    }
}

fn nodes_text(nodes: &[NodeId]) -> String {
    let mut shown: Vec<_> = nodes
        .iter()
        .take(NODES_SHOWN)
        .map(ToString::to_string)
        .collect();
    if nodes.len() > NODES_SHOWN {
        shown.push(format!("and {} more", nodes.len() - NODES_SHOWN));
    }
    shown.join(", ")
}
