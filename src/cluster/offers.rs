//! Which API versions each broker offers, for clients whose requests may be carried to any of them
//! (scheme `single`): they are offered what all brokers have in common. It matters while a cluster
//! is upgraded or downgraded broker by broker.
//!
//! What a broker offers is learnt from each of its answers that passes, and where none has, by a
//! question of Narrows' own, which a broker answers before a login too. It is asked again when a
//! connection to it has broken and when it has been missing from the map, since it may be of
//! another version when it is back, and else once in a while. A client's ApiVersions waits for a
//! broker that has never said it, or may offer something else now, but not for [long](PATIENCE):
//! one that is away counts with what it last said, or not at all. So a client can hold on to a
//! version that a broker does not have; that broker says so itself (UNSUPPORTED_VERSION).
//!
//! Nobody is asked where no client needs it: the other schemes cost nothing.

use super::Cluster;
use super::moves::all;
use crate::broker::{self, OwnName};
use crate::observe::time;
use crate::protocol::api_versions::Offers;
use crate::types::{BrokerAddress, NodeId};
use arc_swap::ArcSwapOption;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tracing::info;

/// So long a client's ApiVersions waits. Some clients give up on its answer after two seconds
/// (kafka-python's `api_version_auto_timeout_ms`).
const PATIENCE: Duration = Duration::from_secs(1);
/// A question takes no longer, dial included.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// A broker that has said what it offers is asked again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// One that did not answer.
const RETRY: Duration = Duration::from_secs(10);
/// A broker that has left the cluster counts so much longer: during an upgrade each is away for
/// some time.
const DEPARTED: Duration = Duration::from_secs(300);
/// Brokers that are asked at once; the others of a larger cluster wait.
const AT_ONCE: usize = 16;
/// Between two rounds of questions.
const GAP: Duration = Duration::from_millis(50);
/// More than any cluster has.
const BROKERS_MAX: usize = 10_000;

/// What is known, shared by all sessions of a cluster. No lock is held while anything waits.
#[derive(Debug, Default)]
pub(super) struct Offered {
    known: Mutex<Known>,
    common: ArcSwapOption<Offers>,
    wanted: Notify,
    /// Word of each answer.
    answers: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<NodeId, Broker>,
    /// Whether some offer what others don't.
    is_mixed: bool,
}

#[derive(Debug)]
struct Broker {
    /// What it has said, and when.
    offers: Option<(Offers, Instant)>,
    question: Question,
}

/// Whether a broker is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Now, and clients wait for it.
    Due,
    /// It was asked then.
    Asked(Instant),
    /// At this time; nobody waits for it.
    DueAt(Instant),
}

impl Broker {
    const UNKNOWN: Self = Self {
        offers: None,
        question: Question::Due,
    };

    fn is_awaited(&self, now: Instant) -> bool {
        match self.question {
            Question::Due => true,
            Question::Asked(at) => now < at + PATIENCE,
            Question::DueAt(_) => false,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.question {
            Question::Due => true,
            // Longer than a question takes: it was given up on the way.
            Question::Asked(at) => now >= at + RETRY,
            Question::DueAt(at) => now >= at,
        }
    }
}

impl Offered {
    /// Which of these brokers clients wait for, and whether anybody is to be asked.
    fn look(&self, nodes: &[NodeId], now: Instant) -> Look {
        let known = self.lock();
        let mut look = Look::default();
        for node in nodes {
            let broker = known.brokers.get(node).unwrap_or(&Broker::UNKNOWN);
            look.is_awaited |= broker.is_awaited(now);
            look.is_due |= broker.is_due(now);
        }
        look
    }

    /// Who of these is to be asked now, at most [`AT_ONCE`]: they count as asked.
    fn take_due(&self, nodes: &[NodeId], now: Instant) -> Vec<NodeId> {
        let mut known = self.lock();
        let mut due = Vec::new();
        for node in nodes {
            if due.len() == AT_ONCE {
                self.wanted.notify_one();
                break;
            }
            let Some(broker) = known.entry(*node) else {
                continue;
            };
            if broker.is_due(now) {
                broker.question = Question::Asked(now);
                due.push(*node);
            }
        }
        due
    }

    /// A broker has said what it offers. Whether brokers differ, if that is news.
    fn note(&self, node: NodeId, offers: Offers, now: Instant) -> Option<bool> {
        let mut known = self.lock();
        let broker = known.entry(node)?;
        broker.question = Question::DueAt(now + AGAIN);
        let before = broker.offers.replace((offers, now));
        let is_news = match (before, &broker.offers) {
            (Some((before, _)), Some((after, _))) => before != *after,
            _ => true,
        };
        if is_news {
            self.find_common(&mut known)
        } else {
            None
        }
    }

    /// A broker that was asked has not answered.
    fn failed(&self, node: NodeId, now: Instant) {
        let mut known = self.lock();
        if let Some(broker) = known.brokers.get_mut(&node)
            && matches!(broker.question, Question::Asked(_))
        {
            broker.question = Question::DueAt(now + RETRY);
        }
    }

    /// A broker may offer something else by now.
    fn doubt(&self, node: NodeId) {
        if let Some(broker) = self.lock().brokers.get_mut(&node) {
            broker.question = Question::Due;
        }
    }

    /// These are the brokers of the cluster now: those that have left are asked when they are back.
    pub(super) fn left_but(&self, nodes: &BTreeSet<NodeId>) {
        let mut known = self.lock();
        let left = known
            .brokers
            .iter_mut()
            .filter(|(node, _)| !nodes.contains(node));
        left.for_each(|(_, broker)| broker.question = Question::Due);
    }

    /// These are the brokers of the cluster: others count no more, when they have been away for
    /// some time. Whether the rest differ, if that is news.
    fn prune(&self, nodes: &[NodeId], now: Instant) -> Option<bool> {
        let nodes: BTreeSet<_> = nodes.iter().collect();
        let mut known = self.lock();
        let before = known.brokers.len();
        known.brokers.retain(|node, broker| {
            let said = broker.offers.as_ref().map(|(_, at)| *at);
            nodes.contains(node) || said.is_some_and(|at| now < at + DEPARTED)
        });
        if known.brokers.len() == before {
            return None;
        }
        self.find_common(&mut known)
    }

    fn find_common(&self, known: &mut Known) -> Option<bool> {
        let offers = |broker: &Broker| Some(broker.offers.as_ref()?.0.clone());
        let mut all = known.brokers.values().filter_map(offers);
        let first = all.next();
        let mut is_mixed = false;
        let common = first.map(|first| {
            all.fold(first, |common, offers| {
                if common == offers {
                    return common;
                }
                is_mixed = true;
                common.common(&offers)
            })
        });
        self.common.store(common.map(Arc::new));
        let before = std::mem::replace(&mut known.is_mixed, is_mixed);
        (before != is_mixed).then_some(is_mixed)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is known of a broker; `None` for one too many.
    fn entry(&mut self, node: NodeId) -> Option<&mut Broker> {
        if self.brokers.len() >= BROKERS_MAX && !self.brokers.contains_key(&node) {
            return None;
        }
        Some(self.brokers.entry(node).or_insert(Broker::UNKNOWN))
    }
}

/// What a look at the brokers says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// Clients wait for one of them.
    is_awaited: bool,
    /// One is to be asked.
    is_due: bool,
}

impl Cluster {
    /// What all brokers offer that have said it; `None` if none has.
    pub(crate) fn common_offers(&self) -> Option<Arc<Offers>> {
        self.offered.common.load_full()
    }

    /// A broker has said what it offers.
    pub(crate) fn learn_offers(&self, node: NodeId, offers: Offers) {
        let is_mixed = self.offered.note(node, offers, time::now());
        self.tell_of_mixed(is_mixed);
    }

    /// A connection to a broker has broken: it may offer something else when it is back.
    pub(crate) fn doubt_offers(&self, node: NodeId) {
        self.offered.doubt(node);
    }

    /// Whether it is known what the brokers offer, or is not to be had now. Whoever has to be asked
    /// again is, meanwhile.
    pub(crate) fn knows_offers(&self) -> bool {
        let look = self.offered.look(&self.nodes(), time::now());
        if look.is_due {
            self.offered.wanted.notify_one();
        }
        !look.is_awaited
    }

    /// Waits until it is known what the brokers offer, but not longer than [`PATIENCE`].
    /// Cancel-safe.
    pub(crate) async fn await_offers(&self) {
        let mut answers = self.offered.answers.subscribe();
        let known = async {
            // An error means that the sender is gone, which `self` holds.
            while !self.knows_offers() && answers.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(PATIENCE, known).await;
    }

    /// Asks brokers what they offer as it is needed, for ever.
    pub(super) async fn ask_offers_for_ever(&self) {
        loop {
            self.offered.wanted.notified().await;
            let brokers: BTreeMap<_, _> = self.view.brokers().into_iter().collect();
            let nodes: Vec<_> = brokers.keys().copied().collect();
            let is_mixed = self.offered.prune(&nodes, time::now());
            self.tell_of_mixed(is_mixed);
            let due = self.offered.take_due(&nodes, time::now());
            let at = |node: &NodeId| Some((*node, brokers.get(node)?));
            let due = due.iter().filter_map(at);
            all(due.map(|(node, address)| self.ask_what_it_offers(node, address))).await;
            tokio::time::sleep(GAP).await;
        }
    }

    async fn ask_what_it_offers(&self, node: NodeId, address: &BrokerAddress) {
        let timeout = self.settings().dial.probe_timeout;
        let asked = async {
            let (mut stream, _) = self.dial(address).await.ok()?;
            let asked = broker::ask_offers(&mut stream, &OwnName::plain(), timeout).await;
            asked.ok().flatten()
        };
        match tokio::time::timeout(QUESTION_MAX, asked).await {
            Ok(Some(offers)) => self.learn_offers(node, offers),
            Ok(None) | Err(_) => self.offered.failed(node, time::now()),
        }
        self.offered.answers.send_modify(|()| {});
    }

    fn nodes(&self) -> Vec<NodeId> {
        let brokers = self.view.brokers();
        brokers.into_iter().map(|(node, _)| node).collect()
    }

    fn tell_of_mixed(&self, is_mixed: Option<bool>) {
        let Some(is_mixed) = is_mixed else { return };
        let Some(suppressed) = self.refreshes.lines().mixed.admit(time::now()) else {
            return;
        };
        let cluster = self.name();
        if is_mixed {
            info!(
                %cluster, suppressed,
                "the brokers offer different API versions, as while they are upgraded: clients of \
                 listeners with scheme single are offered what all of them have"
            );
        } else {
            info!(%cluster, suppressed, "all brokers offer the same API versions again");
        }
    }
}

#[cfg(test)]
mod tests;
