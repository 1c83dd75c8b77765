//! The broker map: node id to broker address, and the cluster id that it belongs to.
//!
//! Lists of brokers come from several brokers, some of which lag behind the controller, and a
//! broker is missing from them while it restarts. So one that is missing is only suspected; it is
//! dropped when it is still missing [`ABSENCE`] later, with no list in between that has it.
//! Connections to a broker that is dropped, or that has moved to another address, end at once: each
//! holds the broker's [`CancellationToken`]. That it has moved is believed when it is at the new
//! address and not at the old one: until then it is a [claim](super::claims).
//!
//! Where a broker is dialled is what it advertises, unless the operator has a
//! [rule](BrokerAddressRule) for that. Brokers that advertise one address, and for whom there is no
//! rule, can't be told apart: the view says [which](View::sharing).

use super::broker_address::BrokerAddressRule;
use super::claims::{Answer, Claim, DueClaim, Verdict};
use crate::observe::text::Shown;
use crate::protocol::rewrite::{BrokerList, ListedBroker};
use crate::types::{BrokerAddress, NodeId};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How long a broker must be missing from every list before it counts as removed. A broker that
/// lags behind the controller catches up within milliseconds.
pub(crate) const ABSENCE: Duration = Duration::from_secs(2);

/// The longest name, with the root's dot (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 254;

/// More brokers than any cluster has: the rest of a longer list is not believed.
const BROKERS_MAX: usize = 10_000;

/// So long must Narrows' own refreshes hear of one other cluster and of nothing else, before it is
/// taken for the new one, and in so many refreshes: when all bootstrap servers say so, and when
/// some of them don't answer.
const STRANGER_UNANIMOUS: Duration = Duration::from_secs(30);
const STRANGER: Duration = Duration::from_secs(300);
const STRANGE_REFRESHES_MIN: u32 = 5;

/// A broker that is known.
#[derive(Clone, Debug)]
pub(crate) struct KnownBroker {
    /// Where it is dialled.
    pub(crate) address: BrokerAddress,
    /// Where it says that it is (`advertised.listeners`); `None` before any list has had it.
    pub(crate) advertised: Option<BrokerAddress>,
    /// Others advertise the same address, and nothing else says where this one is dialled.
    pub(crate) shares_address: bool,
    /// Cancelled when the broker leaves or moves.
    pub(crate) gone: CancellationToken,
    /// Since when it has been missing from lists.
    absent_since: Option<Instant>,
    /// Another address that lists name.
    claim: Option<Claim>,
}

impl KnownBroker {
    /// Another address that lists name for it, which nobody has confirmed yet.
    pub(crate) fn claimed(&self) -> Option<&BrokerAddress> {
        self.claim.as_ref().map(|claim| &claim.address)
    }
}

/// Where a sighting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Narrows asked a bootstrap server itself.
    Own,
    /// A response that passed.
    Passing,
}

/// What came of a sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Nothing new.
    Nothing,
    /// The map has changed.
    Changed,
    /// A broker is missing: ask again soon.
    Suspicion,
    /// It is about another cluster, and was not believed.
    WrongCluster {
        /// The cluster id that the map belongs to.
        expected: String,
        /// The one that was seen.
        seen: String,
    },
}

/// The map, shared by all that ask and all that learn. No lock is held while anything waits.
#[derive(Debug)]
pub(crate) struct View {
    pinned_id: Option<String>,
    known: Mutex<Known>,
    /// How often the map has changed.
    changes: watch::Sender<u64>,
    claimed: Notify,
}

/// Another cluster that Narrows' own refreshes hear of.
#[derive(Debug)]
struct Stranger {
    cluster_id: String,
    since: Instant,
    refreshes: u32,
}

/// Brokers that can't be told apart by the address that they advertise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// What all of them advertise.
    pub(crate) address: BrokerAddress,
    /// Those of them for whom nothing else says where they are dialled; at least one.
    pub(crate) nodes: Vec<NodeId>,
    /// How many brokers advertise it, those included that are dialled elsewhere.
    pub(crate) count: usize,
}

#[derive(Debug, Default)]
struct Known {
    cluster_id: Option<String>,
    controller: Option<NodeId>,
    rule: Option<BrokerAddressRule>,
    brokers: BTreeMap<NodeId, KnownBroker>,
    /// Brokers that were dialled by the rule, and that no list has had yet.
    presumed: BTreeMap<NodeId, CancellationToken>,
    sharing: Vec<Sharing>,
    /// Somebody has been missed, or is there again, since `sharing` was found.
    is_recount_due: bool,
    /// A claim is to be looked into.
    is_claim_due: bool,
    stranger: Option<Stranger>,
}

impl View {
    /// An empty map; of this cluster and no other if `pinned_id` is given.
    pub(crate) fn new(pinned_id: Option<String>) -> Self {
        let known = Known {
            cluster_id: pinned_id.clone(),
            ..Known::default()
        };
        Self {
            pinned_id,
            known: Mutex::new(known),
            changes: watch::Sender::new(0),
            claimed: Notify::new(),
        }
    }

    /// Where a broker is, if it is known.
    pub(crate) fn locate(&self, node: NodeId) -> Option<KnownBroker> {
        self.lock().brokers.get(&node).cloned()
    }

    /// Where a broker is by the operator's rule alone, before any list has had it. When one has, it
    /// is the same broker: connections to it end when that one leaves.
    pub(crate) fn presumed(&self, node: NodeId) -> Option<KnownBroker> {
        let mut known = self.lock();
        let address = known.rule.as_ref()?.address(node)?;
        if known.presumed.len() >= BROKERS_MAX {
            known.presumed.retain(|_, gone| !gone.is_cancelled());
        }
        let has_room = known.presumed.len() < BROKERS_MAX;
        let gone = known.presumed.get(&node).cloned();
        let gone = gone.unwrap_or_default();
        if has_room {
            known.presumed.insert(node, gone.clone());
        }
        Some(KnownBroker {
            address,
            advertised: None,
            shares_address: false,
            gone,
            absent_since: None,
            claim: None,
        })
    }

    /// From now on this says where brokers are dialled. Whoever is dialled elsewhere than before
    /// has moved. Returns whether it is another rule than before.
    pub(crate) fn change_rule(&self, rule: Option<BrokerAddressRule>) -> bool {
        let mut known = self.lock();
        if known.rule == rule {
            return false;
        }
        known.rule = rule;
        known.apply_rule();
        drop(known);
        self.changes.send_modify(|count| *count += 1);
        true
    }

    /// Waits until it is known where a broker is. Cancel-safe.
    pub(crate) async fn located(&self, node: NodeId) {
        let mut changes = self.changes.subscribe();
        // An error means that the sender is gone, which `self` holds.
        let _ = changes.wait_for(|_| self.locate(node).is_some()).await;
    }

    /// How often the map has changed, and word of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The cluster's id, if it is known.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        self.lock().cluster_id.clone()
    }

    /// Which broker takes what is for the controller, as Narrows was told last. With KRaft that is
    /// any of them, another one each time.
    pub(crate) fn controller(&self) -> Option<NodeId> {
        self.lock().controller
    }

    /// Where every broker that is known is dialled, by node id.
    pub(crate) fn brokers(&self) -> Vec<(NodeId, BrokerAddress)> {
        self.lock()
            .brokers
            .iter()
            .map(|(node, broker)| (*node, broker.address.clone()))
            .collect()
    }

    /// Every broker that is known, by node id.
    pub(crate) fn known(&self) -> Vec<(NodeId, KnownBroker)> {
        let known = self.lock();
        let brokers = known.brokers.iter();
        brokers
            .map(|(node, broker)| (*node, broker.clone()))
            .collect()
    }

    /// Brokers that can't be told apart by their address, one entry for each address.
    pub(crate) fn sharing(&self) -> Vec<Sharing> {
        self.lock().sharing.clone()
    }

    /// Takes in what a response says.
    pub(crate) fn learn(&self, sighting: &BrokerList, source: Source, now: Instant) -> Learned {
        let mut known = self.lock();
        let wrong = sighting
            .cluster_id
            .as_ref()
            .and_then(|seen| self.check_cluster(&mut known, seen, source));
        if let Some(wrong) = wrong {
            return wrong;
        }
        if source == Source::Own {
            known.controller = sighting.controller;
        }
        let mut changed = known.present_all(&sighting.brokers, now);
        let mut suspicion = false;
        if sighting.is_complete && !sighting.brokers.is_empty() {
            (changed, suspicion) = known.absent(&sighting.brokers, now, changed);
        }
        if changed || known.is_recount_due {
            known.find_sharing();
        }
        let is_claim_due = std::mem::take(&mut known.is_claim_due);
        drop(known);
        if is_claim_due {
            self.claimed.notify_one();
        }
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        match (changed, suspicion) {
            (true, _) => Learned::Changed,
            (false, true) => Learned::Suspicion,
            (false, false) => Learned::Nothing,
        }
    }

    /// Whether a sighting is about this cluster.
    fn check_cluster(&self, known: &mut Known, seen: &str, source: Source) -> Option<Learned> {
        let Some(expected) = known.cluster_id.clone().filter(|expected| expected != seen) else {
            known.cluster_id = Some(seen.to_owned());
            if source == Source::Own {
                known.stranger = None;
            }
            return None;
        };
        Some(Learned::WrongCluster {
            expected,
            seen: seen.to_owned(),
        })
    }

    /// A refresh has heard of nobody but this other cluster: from all bootstrap servers if
    /// `is_unanimous`. A cluster that was not pinned may be made anew under the same addresses;
    /// when refreshes insist for long, the map becomes the new one's. Returns whether it has.
    pub(crate) fn insist(&self, sighting: &BrokerList, is_unanimous: bool, now: Instant) -> bool {
        let Some(seen) = sighting.cluster_id.clone() else {
            return false;
        };
        if self.pinned_id.is_some() {
            return false;
        }
        let mut known = self.lock();
        let stranger = match known.stranger.take() {
            Some(stranger) if stranger.cluster_id == seen => Stranger {
                refreshes: stranger.refreshes.saturating_add(1),
                ..stranger
            },
            _ => Stranger {
                cluster_id: seen.clone(),
                since: now,
                refreshes: 1,
            },
        };
        let patience = if is_unanimous {
            STRANGER_UNANIMOUS
        } else {
            STRANGER
        };
        let time = now.saturating_duration_since(stranger.since);
        if time < patience || stranger.refreshes < STRANGE_REFRESHES_MIN {
            known.stranger = Some(stranger);
            return false;
        }
        known.forget_all();
        known.cluster_id = Some(seen);
        drop(known);
        self.learn(sighting, Source::Own, now);
        true
    }

    /// Waits until there is a claim to look into. Cancel-safe.
    pub(super) async fn claimed(&self) {
        self.claimed.notified().await;
    }

    /// Claims to look into now, at most so many; when there are more, [`claimed`](Self::claimed)
    /// says so again.
    pub(super) fn due_claims(&self, most: usize, now: Instant) -> Vec<DueClaim> {
        let mut known = self.lock();
        let mut due = Vec::new();
        for (node, broker) in &mut known.brokers {
            let Some(claim) = broker.claim.as_mut().filter(|claim| claim.is_due(now)) else {
                continue;
            };
            if due.len() == most {
                self.claimed.notify_one();
                break;
            }
            claim.begin_check(now);
            due.push(DueClaim {
                node: *node,
                known: broker.address.clone(),
                claimed: claim.address.clone(),
                is_flapping: claim.is_flapping(),
            });
        }
        due
    }

    /// A claim has been looked into. Returns whether the broker has moved.
    pub(super) fn settle(
        &self,
        due: &DueClaim,
        known_answer: Answer,
        claimed_answer: Answer,
        now: Instant,
    ) -> bool {
        let mut known = self.lock();
        let broker = known.brokers.get_mut(&due.node);
        let Some(broker) = broker.filter(|broker| broker.address == due.known) else {
            return false;
        };
        let Some(claim) = broker.claim.as_mut() else {
            return false;
        };
        if claim.address != due.claimed {
            return false;
        }
        match claim.verdict(known_answer, claimed_answer, now) {
            Verdict::Stays => return false,
            Verdict::Dropped => {
                broker.claim = None;
                return false;
            }
            Verdict::Moved => {}
        }
        drop(known);
        self.moved(due.node, &due.claimed)
    }

    /// A broker is where lists claim that it is, and nowhere else. Returns whether the map has
    /// changed by that.
    pub(super) fn moved(&self, node: NodeId, to: &BrokerAddress) -> bool {
        let mut known = self.lock();
        let broker = known.brokers.get_mut(&node);
        let Some(broker) = broker.filter(|broker| broker.claimed() == Some(to)) else {
            return false;
        };
        if let Some(claim) = broker.claim.take() {
            broker.address = claim.address;
            broker.advertised = Some(claim.advertised);
        }
        std::mem::take(&mut broker.gone).cancel();
        known.find_sharing();
        drop(known);
        self.changes.send_modify(|count| *count += 1);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host from a list. What is longer than a name can be (RFC 1035) can't be dialled, and is kept
/// only as far as a line of the log bears.
fn bounded(host: &str) -> Cow<'_, str> {
    if host.len() <= HOST_BYTES_MAX {
        Cow::Borrowed(host)
    } else {
        Cow::Owned(Shown::name(host).to_string())
    }
}

impl Known {
    /// A list has these brokers. Whether that is news. Of a broker that stands in it twice, the
    /// address that is known counts, or else the first.
    fn present_all(&mut self, list: &[ListedBroker], now: Instant) -> bool {
        let mut done = BTreeSet::new();
        let as_known: Vec<_> = list
            .iter()
            .map(|seen| self.is_as_known(seen, now))
            .collect();
        for (seen, _) in list.iter().zip(&as_known).filter(|(_, is)| **is) {
            done.insert(seen.node);
        }
        let mut changed = false;
        for (seen, _) in list.iter().zip(&as_known).filter(|(_, is)| !**is) {
            if done.insert(seen.node) {
                changed |= self.present(seen, now);
            }
        }
        changed
    }

    /// Whether a list has a broker where it is known to be, as nearly always.
    fn is_as_known(&mut self, seen: &ListedBroker, now: Instant) -> bool {
        let Some(broker) = self.brokers.get_mut(&seen.node) else {
            return false;
        };
        let was_absent = broker.absent_since.take().is_some();
        self.is_recount_due |= was_absent;
        let host = bounded(&seen.host);
        let is_there = |at: &BrokerAddress| *at.host == *host && at.port == seen.port;
        if !broker.advertised.as_ref().is_some_and(is_there) {
            return false;
        }
        if let Some(claim) = &mut broker.claim {
            claim.disputed(now);
        }
        true
    }

    /// A list has a broker that is not known, or elsewhere. Whether that is news already.
    fn present(&mut self, seen: &ListedBroker, now: Instant) -> bool {
        let advertised = BrokerAddress {
            host: (&*bounded(&seen.host)).into(),
            port: seen.port,
        };
        let address = self.dialled(seen.node, &advertised);
        if let Some(broker) = self.brokers.get_mut(&seen.node) {
            if broker.address == address {
                broker.advertised = Some(advertised);
                broker.claim = None;
                return true;
            }
            match &mut broker.claim {
                Some(claim) if claim.address == address => claim.repeated(),
                claim => *claim = Some(Claim::new(advertised, address, now)),
            }
            let claim = broker.claim.as_ref();
            self.is_claim_due |= claim.is_some_and(|claim| claim.is_due(now));
            return false;
        }
        if self.brokers.len() >= BROKERS_MAX {
            return false;
        }
        let gone = self.presumed.remove(&seen.node).unwrap_or_default();
        let broker = KnownBroker {
            address,
            advertised: Some(advertised),
            shares_address: false,
            gone,
            absent_since: None,
            claim: None,
        };
        self.brokers.insert(seen.node, broker);
        true
    }

    fn dialled(&self, node: NodeId, advertised: &BrokerAddress) -> BrokerAddress {
        let ruled = self.rule.as_ref().and_then(|rule| rule.address(node));
        ruled.unwrap_or_else(|| advertised.clone())
    }

    /// There is another rule.
    fn apply_rule(&mut self) {
        std::mem::take(&mut self.presumed)
            .into_values()
            .for_each(|gone| gone.cancel());
        let mut brokers = std::mem::take(&mut self.brokers);
        for (node, broker) in &mut brokers {
            broker.claim = None;
            let Some(advertised) = &broker.advertised else {
                continue;
            };
            let address = self.dialled(*node, advertised);
            if address != broker.address {
                broker.address = address;
                std::mem::take(&mut broker.gone).cancel();
            }
        }
        self.brokers = brokers;
        self.find_sharing();
    }

    /// Who can't be told apart by the address. A broker that is missing from lists does not count:
    /// a new one may have taken its place.
    fn find_sharing(&mut self) {
        self.is_recount_due = false;
        let mut at = BTreeMap::<&BrokerAddress, Vec<NodeId>>::new();
        for (node, broker) in &self.brokers {
            if let Some(advertised) = &broker.advertised
                && broker.absent_since.is_none()
            {
                at.entry(advertised).or_default().push(*node);
            }
        }
        at.retain(|_, nodes| nodes.len() > 1);
        let rule = self.rule.as_ref();
        let has_rule = |node: &NodeId| rule.is_some_and(|rule| rule.address(*node).is_some());
        let mut sharing = Vec::new();
        for (address, mut nodes) in at {
            let count = nodes.len();
            nodes.retain(|node| !has_rule(node));
            if !nodes.is_empty() {
                sharing.push(Sharing {
                    address: address.clone(),
                    nodes,
                    count,
                });
            }
        }
        let all: BTreeSet<_> = sharing.iter().flat_map(|one| &one.nodes).collect();
        for (node, broker) in &mut self.brokers {
            broker.shares_address = all.contains(node);
        }
        self.sharing = sharing;
    }

    /// A complete list came: drop who has been missing for long. Returns whether the map changed,
    /// and whether anybody is missing who was not dropped.
    fn absent(&mut self, present: &[ListedBroker], now: Instant, changed: bool) -> (bool, bool) {
        let before = self.brokers.len();
        let mut suspicion = false;
        let present: BTreeSet<NodeId> = present.iter().map(|seen| seen.node).collect();
        self.brokers.retain(|node, broker| {
            if present.contains(node) {
                return true;
            }
            self.is_recount_due |= broker.absent_since.is_none();
            let since = *broker.absent_since.get_or_insert(now);
            let stays = now.duration_since(since) < ABSENCE;
            if !stays {
                broker.gone.cancel();
            }
            suspicion |= stays;
            stays
        });
        (changed || self.brokers.len() != before, suspicion)
    }

    fn forget_all(&mut self) {
        self.stranger = None;
        self.brokers
            .values()
            .for_each(|broker| broker.gone.cancel());
        self.brokers.clear();
        self.presumed.values().for_each(CancellationToken::cancel);
        self.presumed.clear();
    }
}

#[cfg(test)]
mod tests;
