//! Says which library has a wrong idea of where it is: a client can name the broker and the cluster
//! that it takes a connection for (KIP-1242). The broker answers it; this is for whoever wonders
//! why that client comes again and again.

use super::Cluster;
use crate::observe::text::Shown;
use crate::observe::time::now;
use crate::types::NodeId;
use tracing::info;

/// What is wrong with a client's idea.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Misled<'a> {
    /// It means this node of a cluster with this id, which is another one.
    Elsewhere(&'a [u8], NodeId),
    /// It names the cluster or the node, but not both.
    Half,
}

impl Cluster {
    /// A client has a wrong idea of where it is; `client` is the library that it says to be.
    pub(crate) fn misled(&self, client: &str, how: Misled<'_>) {
        let suppressed = {
            let mut lines = self.refreshes.lines();
            let line = match how {
                Misled::Elsewhere(..) => &mut lines.elsewhere,
                Misled::Half => &mut lines.half_named,
            };
            line.admit(now())
        };
        let Some(suppressed) = suppressed else { return };
        let cluster = self.name();
        match how {
            Misled::Elsewhere(cluster_id, node) => {
                let cluster_id = Shown::name(cluster_id);
                info!(
                    %cluster, client, %cluster_id, %node, suppressed,
                    "a client takes this for another cluster: the broker tells it to begin anew \
                     from its bootstrap servers (REBOOTSTRAP_REQUIRED). Are they of two clusters, \
                     or has this one been made anew?"
                );
            }
            Misled::Half => info!(
                %cluster, client, suppressed,
                "a client names its cluster or its broker in ApiVersions, but not both: the broker \
                 refuses that (INVALID_REQUEST). It is a fault of that library (KIP-1242)"
            ),
        }
    }
}
