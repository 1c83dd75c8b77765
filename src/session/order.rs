//! The order in which a partition's records are written, while its leader moves (scheme `single`).
//!
//! A client may have several Produce requests for one partition on their way, and counts on it that
//! a connection keeps their order: an idempotent producer numbers them. Where the second one goes
//! to another broker than the first, it waits until the first one is answered.
//!
//! If that answer says that the first has failed, the client writes it again, and behind it the
//! second, which it had sent before it knew. That one must fail too, as it would at the broker that
//! both were for: the new leader would find the first one missing, the producer would begin another
//! epoch (KIP-360), and what had been written of the first after all would be written twice. So
//! what is numbered behind a failed batch goes to no other broker before the failed one has come
//! again, which is known by its number.

use crate::protocol::split::{PartitionRef, Sequence};
use crate::types::NodeId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What is kept of requests that are answered is forgotten when there is this much.
const PARTITIONS_KEPT: usize = 1000;

/// What was sent before an answer was read arrives within this time.
const FAILED_KEPT: Duration = Duration::from_secs(60);

/// How many answers the client has been owed, and how many of them have been begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) owed: u64,
    pub(super) begun: u64,
}

/// What a Produce has for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) partition: PartitionRef,
    /// Its number, if its producer is idempotent.
    pub(super) sequence: Option<Sequence>,
    /// Whom it goes to, if that is known.
    pub(super) to: Option<NodeId>,
}

/// Where Produce requests have gone that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct ProduceOrder {
    /// The last one of each partition.
    last: HashMap<PartitionRef, Sent>,
    /// The last one to each broker that may be for any partition: only its first was looked at.
    unseen: Vec<Sent>,
    /// The partitions of which a batch has failed, and when, until one comes again.
    failed: HashMap<PartitionRef, Instant>,
    /// Where the next one goes.
    next: Option<Next>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: Option<NodeId>,
    sequence: Option<Sequence>,
    /// How many answers the client was owed before its own.
    turn: u64,
}

#[derive(Debug)]
enum Next {
    Seen(Vec<Written>, Answers),
    Unseen(Option<NodeId>, Answers),
}

impl ProduceOrder {
    /// A Produce is to go to some brokers. How many answers must have been begun before, if it has
    /// to wait.
    pub(super) fn place(&mut self, written: Vec<Written>, answers: Answers) -> Option<u64> {
        let waits_for = |written: &Written| {
            let before = self.last.get(&written.partition).into_iter();
            before
                .chain(&self.unseen)
                .filter(|sent| sent.to != written.to)
                .map(|sent| sent.turn + 1)
                .max()
        };
        let waits_for = written.iter().filter_map(waits_for).max();
        self.next = Some(Next::Seen(written, answers));
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
            Some(Next::Seen(written, Answers { owed, begun })) => {
                if self.last.len() > PARTITIONS_KEPT {
                    self.last.retain(|_, sent| sent.turn >= begun);
                }
                for Written {
                    partition,
                    sequence,
                    to,
                } in written
                {
                    if !self.is_behind_failed(&partition, sequence) {
                        self.failed.remove(&partition);
                    }
                    let turn = owed;
                    self.last.insert(partition, Sent { to, sequence, turn });
                }
            }
            Some(Next::Unseen(to, Answers { owed, begun })) => {
                self.unseen
                    .retain(|sent| sent.to != to && sent.turn >= begun);
                self.unseen.push(Sent {
                    to,
                    sequence: None,
                    turn: owed,
                });
            }
        }
    }

    /// A batch of this partition has not been written, or nobody knows whether it has.
    pub(super) fn has_failed(&mut self, partition: PartitionRef, now: Instant) {
        self.failed.insert(partition, now);
    }

    /// Whether any partition has failed lately.
    pub(super) fn is_any_failed(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        let now = now();
        self.failed.retain(|_, since| now - *since < FAILED_KEPT);
        !self.failed.is_empty()
    }

    /// Whether a batch was sent behind one that has failed, before the client knew. What comes
    /// again has a number that was there before. Where none was looked at, the first counts as
    /// sent before; its client sends it again.
    pub(super) fn is_behind_failed(
        &self,
        partition: &PartitionRef,
        sequence: Option<Sequence>,
    ) -> bool {
        let Some(sequence) = sequence.filter(|_| self.failed.contains_key(partition)) else {
            return false;
        };
        let last = self.last.get(partition).and_then(|sent| sent.sequence);
        last.is_none_or(|last| sequence.is_behind(&last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::split::TopicRef;

    fn partition(partition: i32) -> PartitionRef {
        let topic = TopicRef::Name("orders".into());
        PartitionRef { topic, partition }
    }

    /// What is not numbered, each for a partition and a broker.
    fn keys(keys: &[(i32, i32)]) -> Vec<Written> {
        let key = |(of, node): &(i32, i32)| Written {
            partition: partition(*of),
            sequence: None,
            to: Some(NodeId(*node)),
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
    /// A batch with this number, for partition 0 at node 1.
    fn numbered(first: i32) -> Written {
        Written {
            partition: partition(0),
            sequence: Sequence::numbered(first),
            to: Some(NodeId(1)),
        }
    }

    fn is_behind_failed(order: &ProduceOrder, first: i32) -> bool {
        order.is_behind_failed(&partition(0), Sequence::numbered(first))
    }

    #[test]
    fn what_is_numbered_behind_a_failed_batch_fails_until_one_comes_again() {
        let mut order = ProduceOrder::default();
        let mut turn = 0;
        let mut send = |order: &mut ProduceOrder, first| {
            order.place(vec![numbered(first)], at(turn, turn));
            order.is_sent();
            turn += 1;
        };
        send(&mut order, 0);
        send(&mut order, 5);
        assert!(!is_behind_failed(&order, 10));
        order.has_failed(partition(0), Instant::now());
        assert!(is_behind_failed(&order, 10));
        assert!(!order.is_behind_failed(&partition(1), Sequence::numbered(10)));
        assert!(!order.is_behind_failed(&partition(0), None));
        send(&mut order, 10);
        assert!(is_behind_failed(&order, 15));
        assert!(!is_behind_failed(&order, 0), "the first comes again");
        send(&mut order, 0);
        assert!(!is_behind_failed(&order, 5), "the others behind it");
    }

    #[test]
    fn where_no_number_was_looked_at_the_first_one_fails_once() {
        let mut order = ProduceOrder::default();
        order.place_unseen(Some(NodeId(1)), at(0, 0));
        order.is_sent();
        order.has_failed(partition(0), Instant::now());
        assert!(is_behind_failed(&order, 0));
        order.place(vec![numbered(0)], at(1, 1));
        order.is_sent();
        assert!(!is_behind_failed(&order, 0));
    }

    #[test]
    fn what_has_failed_is_forgotten_after_a_while() {
        let mut order = ProduceOrder::default();
        let start = Instant::now();
        assert!(!order.is_any_failed(|| start));
        order.has_failed(partition(0), start);
        assert!(order.is_any_failed(|| start + FAILED_KEPT / 2));
        assert!(!order.is_any_failed(|| start + FAILED_KEPT));
        assert!(!is_behind_failed(&order, 5));
    }
}
