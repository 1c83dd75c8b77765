//! The order in which a partition's records are written, while its leader moves (scheme `single`).
//!
//! A client may have several Produce requests for one partition on their way, and counts on it that
//! a connection keeps their order: an idempotent producer numbers them. Where the second one goes
//! to another broker than the first, it waits until the first one is answered.

use crate::protocol::split::PartitionRef;
use crate::types::NodeId;
use std::collections::HashMap;

/// What is kept of requests that are answered is forgotten when there is this much.
const PARTITIONS_KEPT: usize = 1000;

/// How many answers the client has been owed, and how many of them have been begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) owed: u64,
    pub(super) begun: u64,
}

/// Where Produce requests have gone that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct ProduceOrder {
    /// The last one of each partition.
    last: HashMap<PartitionRef, Sent>,
    /// The last one to each broker that may be for any partition: only its first was looked at.
    unseen: Vec<Sent>,
    /// Where the next one goes.
    next: Option<Next>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: Option<NodeId>,
    /// How many answers the client was owed before its own.
    turn: u64,
}

#[derive(Debug)]
enum Next {
    Seen(Vec<(PartitionRef, Option<NodeId>)>, Answers),
    Unseen(Option<NodeId>, Answers),
}

impl ProduceOrder {
    /// A Produce is to go to these brokers, each for some partitions. How many answers must have
    /// been begun before, if it has to wait.
    pub(super) fn place(
        &mut self,
        keys: Vec<(PartitionRef, Option<NodeId>)>,
        answers: Answers,
    ) -> Option<u64> {
        let of_key = |(partition, to): &(PartitionRef, Option<NodeId>)| {
            let before = self.last.get(partition).into_iter().chain(&self.unseen);
            before
                .filter(|sent| sent.to != *to)
                .map(|sent| sent.turn + 1)
                .max()
        };
        let waits_for = keys.iter().filter_map(of_key).max();
        self.next = Some(Next::Seen(keys, answers));
        waits_for.filter(|turns| *turns > answers.begun)
    }

    /// The same for one that is for any partitions.
    pub(super) fn place_unseen(&mut self, to: Option<NodeId>, answers: Answers) -> Option<u64> {
        let before = self.last.values().chain(&self.unseen);
        let elsewhere = before.filter(|sent| sent.to != to);
        let waits_for = elsewhere.map(|sent| sent.turn + 1).max();
        self.next = Some(Next::Unseen(to, answers));
        waits_for.filter(|turns| *turns > answers.begun)
    }

    /// The next request is another one, or is looked at again.
    pub(super) fn forget_next(&mut self) {
        self.next = None;
    }

    /// The one that was placed last is on its way.
    pub(super) fn is_sent(&mut self) {
        match self.next.take() {
            None => {}
            Some(Next::Seen(keys, Answers { owed, begun })) => {
                if self.last.len() > PARTITIONS_KEPT {
                    self.last.retain(|_, sent| sent.turn >= begun);
                }
                for (partition, to) in keys {
                    self.last.insert(partition, Sent { to, turn: owed });
                }
            }
            Some(Next::Unseen(to, Answers { owed, begun })) => {
                self.unseen
                    .retain(|sent| sent.to != to && sent.turn >= begun);
                self.unseen.push(Sent { to, turn: owed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::split::TopicRef;

    fn keys(keys: &[(i32, i32)]) -> Vec<(PartitionRef, Option<NodeId>)> {
        let key = |(partition, node): &(i32, i32)| {
            let topic = TopicRef::Name("orders".into());
            let partition = *partition;
            (PartitionRef { topic, partition }, Some(NodeId(*node)))
        };
        keys.iter().map(key).collect()
    }

    fn at(owed: u64, begun: u64) -> Answers {
        Answers { owed, begun }
    }

    #[test]
    fn a_partition_waits_where_its_last_request_is_unanswered_at_another_broker() {
        let mut order = ProduceOrder::default();
        assert_eq!(order.place(keys(&[(0, 1), (1, 2)]), at(4, 4)), None);
        order.is_sent();
        assert_eq!(order.place(keys(&[(0, 1)]), at(5, 4)), None, "the same");
        order.is_sent();
        assert_eq!(order.place(keys(&[(7, 2)]), at(6, 4)), None, "another one");
        assert_eq!(order.place(keys(&[(7, 2), (1, 1)]), at(6, 4)), Some(5));
        assert_eq!(order.place(keys(&[(0, 2)]), at(6, 5)), Some(6));
        assert_eq!(order.place(keys(&[(0, 2)]), at(6, 6)), None, "answered");
    }

    #[test]
    fn what_was_not_looked_at_may_be_for_any_partition() {
        let mut order = ProduceOrder::default();
        let one = Some(NodeId(1));
        assert_eq!(order.place_unseen(one, at(0, 0)), None);
        order.is_sent();
        assert_eq!(order.place_unseen(one, at(1, 0)), None);
        order.is_sent();
        assert_eq!(order.unseen.len(), 1);
        assert_eq!(order.place(keys(&[(0, 1)]), at(2, 0)), None);
        assert_eq!(order.place(keys(&[(0, 2)]), at(2, 1)), Some(2));
        assert_eq!(order.place_unseen(Some(NodeId(2)), at(2, 1)), Some(2));
        assert_eq!(order.place_unseen(Some(NodeId(2)), at(2, 2)), None);
    }

    #[test]
    fn one_that_is_looked_at_again_does_not_wait_for_itself() {
        let mut order = ProduceOrder::default();
        assert_eq!(order.place(keys(&[(0, 1)]), at(3, 3)), None);
        order.forget_next();
        assert_eq!(order.place(keys(&[(0, 2)]), at(3, 3)), None);
    }

    #[test]
    fn what_is_answered_is_forgotten() {
        let mut order = ProduceOrder::default();
        for turn in 0..3 {
            let many: Vec<_> = (0..2000)
                .map(|partition| (partition + turn * 2000, 1))
                .collect();
            order.place(keys(&many), at(turn as u64, turn as u64));
            order.is_sent();
        }
        assert_eq!(order.last.len(), 2000);
    }
}
