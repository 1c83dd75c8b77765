//! Which broker leads a partition and which one coordinates a group, for sessions whose address
//! does not say whom the client means (scheme `single`).
//!
//! It is fed by the answers that pass to clients and by those to Narrows' own questions, and is
//! good for choosing a broker, nothing more: a broker that is the wrong one by now says so itself
//! (NOT_LEADER_OR_FOLLOWER, NOT_COORDINATOR), the client asks who is the right one, and the answer to
//! that teaches this. Where two answers about the same topic id say of what time they speak (a leader
//! epoch), the older does not replace the newer; a topic that is made anew begins anew.

use crate::protocol::leaders::{PartitionLeader, TopicLeaders};
use crate::protocol::split::{CoordinatorKind, PartitionRef, TopicRef};
use crate::types::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More partitions than this are not remembered: what is known is forgotten then, and asked for
/// again where it is needed. With names, some 20 MB.
const PARTITIONS_MAX: usize = 200_000;
/// The same for coordinators.
const COORDINATORS_MAX: usize = 50_000;

/// What is known, shared by all sessions of a cluster. No lock is held while anything waits.
#[derive(Debug, Default)]
pub struct Routes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    topics: HashMap<TopicRef, Topic>,
    partitions: usize,
    coordinators: HashMap<(CoordinatorKind, Arc<str>), NodeId>,
}

#[derive(Debug, Default)]
struct Topic {
    id: Option<[u8; 16]>,
    partitions: HashMap<i32, PartitionLeader>,
}

impl Routes {
    /// The leader of a partition, if one is known.
    pub fn leader(&self, of: &PartitionRef) -> Option<NodeId> {
        let known = self.lock();
        let topic = known.topics.get(&of.topic)?;
        topic.partitions.get(&of.partition)?.leader
    }

    /// The coordinator of a group or transactional id, if one is known.
    pub fn coordinator(&self, kind: CoordinatorKind, key: &Arc<str>) -> Option<NodeId> {
        let known = self.lock();
        known.coordinators.get(&(kind, Arc::clone(key))).copied()
    }

    /// A broker has said who leads the partitions of a topic.
    pub fn learn_leaders(&self, topic: &TopicLeaders) {
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
    pub fn learn_coordinator(&self, kind: CoordinatorKind, key: Arc<str>, node: Option<NodeId>) {
        let mut known = self.lock();
        if known.coordinators.len() >= COORDINATORS_MAX {
            known.coordinators.clear();
        }
        match node {
            Some(node) => known.coordinators.insert((kind, key), node),
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
        if topic.partitions.insert(seen.partition, seen).is_none() {
            self.partitions += 1;
        }
    }
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
