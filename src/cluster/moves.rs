//! Looks into what lists say of brokers' addresses: see [`claims`](super::claims).

use super::Cluster;
use super::claims::{Answer, DueClaim};
use crate::broker::{self, OwnName, ProbeError};
use crate::observe::time::now;
use crate::protocol::rewrite::{BrokerList, ListedBroker};
use crate::types::{BrokerAddress, NodeId};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tracing::{info, warn};

/// Claims that are looked into at once; when a whole cluster moves, the rest waits.
const AT_ONCE: usize = 16;
/// Between two rounds, however many lists come.
const GAP: Duration = Duration::from_millis(50);

impl Cluster {
    /// Looks into claims as they come, for ever.
    pub(super) async fn settle_claims_for_ever(&self) {
        loop {
            self.view.claimed().await;
            self.settle_due_claims().await;
            tokio::time::sleep(GAP).await;
        }
    }

    pub(super) async fn settle_due_claims(&self) {
        let due = self.view.due_claims(AT_ONCE, now());
        for claim in due.iter().filter(|claim| claim.is_flapping) {
            self.warn_of_flapping(claim);
        }
        all(due.iter().map(|claim| self.settle_claim(claim))).await;
    }

    async fn settle_claim(&self, claim: &DueClaim) {
        let (known, claimed) = tokio::join!(
            self.who_is_at(claim.node, &claim.known),
            self.who_is_at(claim.node, &claim.claimed),
        );
        if self.view.settle(claim, known, claimed, now()) {
            self.broker_moved(claim.node, &claim.known, &claim.claimed);
        }
    }

    /// The map has the broker at its new address.
    pub(super) fn broker_moved(&self, node: NodeId, from: &BrokerAddress, to: &BrokerAddress) {
        let cluster = self.name();
        if let Some(suppressed) = self.refreshes.lines().moved.admit(now()) {
            info!(%cluster, suppressed, "broker {node} has moved from {from} to {to}");
        }
        self.map_changed();
    }

    async fn who_is_at(&self, node: NodeId, address: &BrokerAddress) -> Answer {
        let Ok((mut stream, _)) = self.dial(address).await else {
            return Answer::Nobody;
        };
        if self.requires_authentication() {
            return Answer::Unknown;
        }
        let cluster_id = self.view.cluster_id();
        let expected = cluster_id.as_deref().map(|id| (id, node));
        let timeout = self.settings().dial.probe_timeout;
        match broker::ask(&mut stream, &OwnName::plain(), expected, timeout).await {
            Ok(list) => self.who_says(&list, node, address),
            Err(ProbeError::WrongBroker) => Answer::Other,
            Err(error) if error.is_closed() => Answer::Nobody,
            Err(_) => Answer::Unknown,
        }
    }

    /// Who somebody is that answers at `address` with this list.
    fn who_says(&self, list: &BrokerList, node: NodeId, address: &BrokerAddress) -> Answer {
        let is_ours = |id: &String| self.view.cluster_id().is_none_or(|own| own == *id);
        if !list.cluster_id.as_ref().is_none_or(is_ours) {
            return Answer::Other;
        }
        let is_at = |broker: &&ListedBroker| self.is_dialled_at(broker, address);
        let mut named = list.brokers.iter().filter(|one| one.node == node);
        match named.next() {
            Some(broker) if is_at(&broker) || named.any(|one| is_at(&one)) => Answer::Broker,
            Some(_) => Answer::Other,
            None if list.brokers.iter().any(|one| is_at(&one)) => Answer::Other,
            None => Answer::Unknown,
        }
    }

    fn warn_of_flapping(&self, claim: &DueClaim) {
        let Some(suppressed) = self.refreshes.lines().flapping.admit(now()) else {
            return;
        };
        let cluster = self.name();
        let DueClaim {
            node,
            known,
            claimed,
            ..
        } = claim;
        warn!(
            %cluster, suppressed,
            "broker {node} is at {known} by some lists of brokers and at {claimed} by others, and \
             answers at both, so these are two listeners of it: {known} is used. Let all of \
             clusters.{cluster}.bootstrap_servers be of one listener"
        );
    }
}

/// Runs all of these until each is done.
pub(super) async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut running: Vec<Pin<Box<_>>> = futures.map(Box::pin).collect();
    let mut done = pin!(poll_fn(|cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    done.as_mut().await;
}
