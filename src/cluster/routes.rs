//! Which broker leads a partition and which one coordinates a group, for sessions whose address
//! does not say whom the client means (scheme `single`).
//!
//! It is fed by the answers that pass to clients and by those to Narrows' own questions, and is
//! good for choosing a broker, nothing more: a broker that is the wrong one by now says so itself
//! (NOT_LEADER_OR_FOLLOWER, NOT_COORDINATOR), and the client asks who is the right one. Where two
//! answers about the same topic id say of what time they speak (a leader epoch), the older does not
//! replace the newer; a topic that is made anew begins anew.
//!
//! The client may ask where nobody looks: on a connection whose broker it has named, or through
//! another Narrows. So what has turned out to be wrong is *doubted*, which is to be asked for
//! before it is used again: what a broker has refused to be, and all that is said of a broker that
//! can't be reached. And nothing is believed for longer than clients believe it themselves.

use crate::observe::time;
use crate::protocol::leaders::{PartitionLeader, TopicLeaders};
use crate::protocol::split::{CoordinatorKind, PartitionRef, TopicRef};
use crate::types::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More partitions than this are not remembered: what is known is forgotten then, and asked for
/// again where it is needed. With names, some 20 MB.
const PARTITIONS_MAX: usize = 200_000;
/// The same for coordinators.
const COORDINATORS_MAX: usize = 50_000;
/// More brokers than anybody has; what is known is forgotten then.
const DOUBTED_MAX: usize = 10_000;
/// The default of `metadata.max.age.ms`: what clients ask for again without a reason.
const AGE_MAX: Duration = Duration::from_secs(300);
/// One refusal stands for all groups of a broker, so that it counts no more often.
const REFUSALS_GAP: Duration = Duration::from_secs(1);

/// What is known, shared by all sessions of a cluster. No lock is held while anything waits.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    topics: HashMap<TopicRef, Topic>,
    partitions: usize,
    coordinators: HashMap<(CoordinatorKind, Arc<str>), Coordinator>,
    /// Since when what was said of a broker before is doubted.
    doubted: HashMap<NodeId, Doubted>,
}

#[derive(Clone, Copy, Debug)]
struct Coordinator {
    node: NodeId,
    learnt_at: Instant,
}

/// What was learnt until then is doubted.
#[derive(Clone, Copy, Debug, Default)]
struct Doubted {
    leader: Option<Instant>,
    coordinator: Option<Instant>,
}

#[derive(Debug, Default)]
struct Topic {
    id: Option<[u8; 16]>,
    partitions: HashMap<i32, Learnt>,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    /// `None` while it has none, and while it is doubted.
    leader: Option<NodeId>,
    epoch: Option<i32>,
    at: Instant,
}

impl Routes {
    /// The leader of a partition, if one is known and not doubted.
    pub(crate) fn leader(&self, of: &PartitionRef) -> Option<NodeId> {
        self.leader_at(of, time::now())
    }

    fn leader_at(&self, of: &PartitionRef, now: Instant) -> Option<NodeId> {
        let known = self.lock();
        let learnt = known.topics.get(&of.topic)?.partitions.get(&of.partition)?;
        let leader = learnt.leader?;
        let doubted = known.doubted.get(&leader);
        let doubted = doubted.and_then(|doubted| doubted.leader);
        is_believed(learnt.at, doubted, now).then_some(leader)
    }

    /// The coordinator of a group or transactional id, if one is known and not doubted.
    pub(crate) fn coordinator(&self, kind: CoordinatorKind, key: &Arc<str>) -> Option<NodeId> {
        let known = self.lock();
        let Coordinator { node, learnt_at } = *known.coordinators.get(&(kind, Arc::clone(key)))?;
        let doubted = known.doubted.get(&node);
        let doubted = doubted.and_then(|doubted| doubted.coordinator);
        is_believed(learnt_at, doubted, time::now()).then_some(node)
    }

    /// A broker can't be reached: whatever it is said to lead or to coordinate, another one may by
    /// now.
    pub(crate) fn unreachable(&self, node: NodeId) {
        let now = Some(time::now());
        self.lock().doubt(
            node,
            Doubted {
                leader: now,
                coordinator: now,
            },
        );
    }

    /// `by` has refused to be the leader of a partition; `leader` is who leads it now, and in which
    /// epoch, where it has said that too.
    pub(crate) fn refused(&self, of: &PartitionRef, by: NodeId, leader: Option<(NodeId, i32)>) {
        let mut known = self.lock();
        let Some(topic) = known.topics.get_mut(&of.topic) else {
            return;
        };
        let Some(learnt) = topic.partitions.get_mut(&of.partition) else {
            return;
        };
        let is_news = leader.is_some_and(|(_, epoch)| learnt.epoch.is_none_or(|of| of < epoch));
        if is_news {
            learnt.leader = leader.map(|(node, _)| node);
            learnt.epoch = leader.map(|(_, epoch)| epoch);
            learnt.at = time::now();
        } else if learnt.leader == Some(by) {
            learnt.leader = None;
        }
    }

    /// `by` has refused to coordinate what it was asked for.
    pub(crate) fn coordinator_refused(&self, by: NodeId) {
        let now = time::now();
        let mut known = self.lock();
        let Doubted {
            leader,
            coordinator,
        } = known.doubted.get(&by).copied().unwrap_or_default();
        if coordinator.is_none_or(|before| now.duration_since(before) >= REFUSALS_GAP) {
            let coordinator = Some(now);
            known.doubt(
                by,
                Doubted {
                    leader,
                    coordinator,
                },
            );
        }
    }

    /// A broker has said who leads the partitions of a topic.
    pub(crate) fn learn_leaders(&self, topic: &TopicLeaders) {
        let name = topic.name.clone().map(TopicRef::Name);
        let id = topic.id.map(TopicRef::Id);
        let mut known = self.lock();
        for key in name.into_iter().chain(id) {
            for leader in &topic.partitions {
                known.learn(key.clone(), topic.id, *leader);
            }
        }
    }

    /// A broker has said who coordinates a group or transactional id; `None`: nobody now.
    pub(crate) fn learn_coordinator(
        &self,
        kind: CoordinatorKind,
        key: Arc<str>,
        node: Option<NodeId>,
    ) {
        let mut known = self.lock();
        if known.coordinators.len() >= COORDINATORS_MAX {
            known.coordinators.clear();
        }
        match node {
            Some(node) => {
                let learnt_at = time::now();
                let coordinator = Coordinator { node, learnt_at };
                known.coordinators.insert((kind, key), coordinator)
            }
            None => known.coordinators.remove(&(kind, key)),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn learn(&mut self, topic: TopicRef, id: Option<[u8; 16]>, seen: PartitionLeader) {
        if self.partitions >= PARTITIONS_MAX {
            self.topics.clear();
            self.partitions = 0;
        }
        let topic = self.topics.entry(topic).or_default();
        if id.is_some() && topic.id != id {
            self.partitions -= topic.partitions.len();
            topic.partitions.clear();
            topic.id = id;
        }
        let before = topic.partitions.get(&seen.partition);
        let is_older = before
            .and_then(|before| before.epoch.zip(seen.epoch))
            .is_some_and(|(known, seen)| seen < known);
        if is_older && id.is_some() {
            return;
        }
        let learnt = Learnt {
            leader: seen.leader,
            epoch: seen.epoch,
            at: time::now(),
        };
        if topic.partitions.insert(seen.partition, learnt).is_none() {
            self.partitions += 1;
        }
    }

    fn doubt(&mut self, node: NodeId, doubted: Doubted) {
        if self.doubted.len() >= DOUBTED_MAX {
            *self = Self::default();
        }
        self.doubted.insert(node, doubted);
    }
}

/// Whether what was learnt at some time is to be used.
fn is_believed(learnt_at: Instant, doubted: Option<Instant>, now: Instant) -> bool {
    let is_doubted = doubted.is_some_and(|doubted| learnt_at <= doubted);
    !is_doubted && now.saturating_duration_since(learnt_at) < AGE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: TopicRef, partition: i32) -> PartitionRef {
        PartitionRef { topic, partition }
    }

    fn orders(leader: i32, epoch: Option<i32>) -> TopicLeaders {
        TopicLeaders {
            name: Some("orders".into()),
            id: Some([7; 16]),
            partitions: vec![PartitionLeader {
                partition: 3,
                leader: Some(NodeId(leader)),
                epoch,
            }],
        }
    }

    fn leader(routes: &Routes) -> Option<NodeId> {
        let by_name = routes.leader(&partition(TopicRef::Name("orders".into()), 3));
        let by_id = routes.leader(&partition(TopicRef::Id([7; 16]), 3));
        assert_eq!(by_name, by_id, "a topic has one leader by name and by id");
        by_name
    }

    #[test]
    fn an_answer_about_an_older_leadership_does_not_replace_a_newer_one() {
        let routes = Routes::default();
        assert_eq!(leader(&routes), None);
        routes.learn_leaders(&orders(1, Some(5)));
        routes.learn_leaders(&orders(2, Some(4)));
        assert_eq!(leader(&routes), Some(NodeId(1)));
        routes.learn_leaders(&orders(3, Some(6)));
        assert_eq!(leader(&routes), Some(NodeId(3)));
        routes.learn_leaders(&orders(4, None));
        assert_eq!(
            leader(&routes),
            Some(NodeId(4)),
            "no epoch: the last counts"
        );
    }

    #[test]
    fn a_topic_that_is_made_anew_begins_anew() {
        let routes = Routes::default();
        routes.learn_leaders(&orders(1, Some(5)));
        let mut anew = orders(2, Some(0));
        anew.id = Some([8; 16]);
        routes.learn_leaders(&anew);
        let by_name = partition(TopicRef::Name("orders".into()), 3);
        assert_eq!(routes.leader(&by_name), Some(NodeId(2)));
    }

    #[test]
    fn a_coordinator_is_known_until_nobody_is_it() {
        let routes = Routes::default();
        let group: Arc<str> = "billing".into();
        let ask = |kind| routes.coordinator(kind, &group);
        routes.learn_coordinator(CoordinatorKind::Group, group.clone(), Some(NodeId(2)));
        assert_eq!(ask(CoordinatorKind::Group), Some(NodeId(2)));
        assert_eq!(ask(CoordinatorKind::Transaction), None);
        routes.learn_coordinator(CoordinatorKind::Group, group.clone(), None);
        assert_eq!(ask(CoordinatorKind::Group), None);
    }

    #[test]
    fn all_that_is_said_of_a_broker_that_cant_be_reached_is_doubted_until_it_is_said_again() {
        let routes = Routes::default();
        let group: Arc<str> = "billing".into();
        let say = || {
            routes.learn_leaders(&orders(1, Some(5)));
            routes.learn_coordinator(CoordinatorKind::Group, group.clone(), Some(NodeId(1)));
        };
        let known = || {
            let coordinator = routes.coordinator(CoordinatorKind::Group, &group);
            [leader(&routes), coordinator]
        };
        say();
        routes.unreachable(NodeId(2));
        assert_eq!(known(), [Some(NodeId(1)); 2], "another one's");
        routes.unreachable(NodeId(1));
        assert_eq!(known(), [None; 2]);
        say();
        assert_eq!(known(), [Some(NodeId(1)); 2]);
    }

    #[test]
    fn a_leader_that_refuses_is_none_until_a_newer_answer_says_who_leads() {
        let routes = Routes::default();
        let by_id = partition(TopicRef::Id([7; 16]), 3);
        let known = || routes.leader(&by_id);
        routes.learn_leaders(&orders(1, Some(5)));
        routes.refused(&by_id, NodeId(2), None);
        assert_eq!(
            known(),
            Some(NodeId(1)),
            "it was never said to be the leader"
        );
        routes.refused(&by_id, NodeId(1), None);
        assert_eq!(known(), None);
        routes.learn_leaders(&orders(1, Some(4)));
        assert_eq!(known(), None, "an older answer");
        routes.learn_leaders(&orders(1, Some(5)));
        assert_eq!(known(), Some(NodeId(1)));
        routes.refused(&by_id, NodeId(1), Some((NodeId(3), 6)));
        assert_eq!(known(), Some(NodeId(3)), "it says who leads now");
        routes.refused(&by_id, NodeId(3), Some((NodeId(1), 6)));
        assert_eq!(known(), None, "nothing newer, and refused");
    }

    #[test]
    fn a_coordinator_that_refuses_is_asked_for_again() {
        let routes = Routes::default();
        let group: Arc<str> = "billing".into();
        routes.learn_coordinator(CoordinatorKind::Group, group.clone(), Some(NodeId(2)));
        routes.learn_leaders(&orders(2, Some(5)));
        routes.coordinator_refused(NodeId(2));
        assert_eq!(routes.coordinator(CoordinatorKind::Group, &group), None);
        assert_eq!(leader(&routes), Some(NodeId(2)));
    }

    #[test]
    fn nothing_is_believed_for_ever() {
        let routes = Routes::default();
        routes.learn_leaders(&orders(1, Some(5)));
        let of = partition(TopicRef::Id([7; 16]), 3);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let after = |age| routes.leader_at(&of, now + age);
        assert_eq!(after(AGE_MAX - second), Some(NodeId(1)));
        assert_eq!(after(AGE_MAX + second), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let routes = Routes::default();
        for topic in 0..3 {
            let partitions = (0..PARTITIONS_MAX as i32 / 2).map(|partition| PartitionLeader {
                partition,
                leader: Some(NodeId(1)),
                epoch: None,
            });
            routes.learn_leaders(&TopicLeaders {
                name: Some(topic.to_string().into()),
                id: None,
                partitions: partitions.collect(),
            });
            assert!(routes.lock().partitions <= PARTITIONS_MAX);
        }
        let last = partition(TopicRef::Name("2".into()), 5);
        assert_eq!(routes.leader(&last), Some(NodeId(1)));
    }
}
