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

/// Of so many partitions it is kept that a batch has failed: more than move at once.
const FAILED_MAX: usize = 1 << 14;

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
    /// It goes to nobody: it would overtake what has failed.
    pub(super) is_held_back: bool,
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
    /// When the first of them is forgotten, or earlier.
    forgotten_at: Option<Instant>,
    /// What is known of the producers.
    producers: Producers,
    /// Where the next one goes.
    next: Option<Next>,
}

/// Whether what was looked at was numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Producers {
    #[default]
    Unknown,
    NoneNumbers,
    OneNumbers,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: Option<NodeId>,
    /// The link to that broker is gone: what goes there now goes by another one.
    is_lost: bool,
    sequence: Option<Sequence>,
    /// How many answers the client was owed before its own.
    turn: u64,
}

impl Sent {
    fn is_elsewhere(&self, to: Option<NodeId>) -> bool {
        self.is_lost || self.to != to
    }
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
            if written.is_held_back {
                return None;
            }
            let before = self.last.get(&written.partition).into_iter();
            before
                .chain(&self.unseen)
                .filter(|sent| sent.is_elsewhere(written.to))
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
        let elsewhere = before.filter(|sent| sent.is_elsewhere(to));
        let waits_for = elsewhere.map(|sent| sent.turn + 1).max();
        self.next = Some(Next::Unseen(to, answers));
        waits_for.filter(|turns| *turns > answers.begun)
    }

    /// The next request is another one, or is looked at again.
    pub(super) fn forget_next(&mut self) {
        self.next = None;
    }

    /// The links to these brokers are gone, with whatever they owed. Whether the next one has to be
    /// placed again: it may have to wait until it is known what has become of that.
    pub(super) fn lost(&mut self, nodes: &[NodeId], answers: Answers) -> bool {
        let mut is_any_owed = false;
        for sent in self.last.values_mut().chain(&mut self.unseen) {
            let is_newly_lost = !sent.is_lost && sent.to.is_some_and(|to| nodes.contains(&to));
            sent.is_lost |= is_newly_lost;
            is_any_owed |= is_newly_lost && sent.turn >= answers.begun;
        }
        is_any_owed && self.next.is_some()
    }

    /// The one that was placed last is on its way.
    pub(super) fn is_sent(&mut self) {
        match self.next.take() {
            None => {}
            Some(Next::Seen(written, Answers { owed, begun })) => {
                if self.last.len() > PARTITIONS_KEPT {
                    let failed = &self.failed;
                    self.last.retain(|partition, sent| {
                        sent.turn >= begun || failed.contains_key(partition)
                    });
                }
                for Written {
                    partition,
                    sequence,
                    to,
                    is_held_back,
                } in written
                {
                    if !self.is_behind_failed(&partition, sequence) {
                        self.failed.remove(&partition);
                    }
                    self.producers = match self.producers {
                        Producers::OneNumbers => Producers::OneNumbers,
                        _ if sequence.is_some() => Producers::OneNumbers,
                        _ => Producers::NoneNumbers,
                    };
                    let before = self.last.get(&partition).filter(|_| is_held_back);
                    let sent = Sent {
                        to: before.map_or(to, |sent| sent.to),
                        is_lost: before.map_or(is_held_back, |sent| sent.is_lost),
                        sequence,
                        turn: owed,
                    };
                    self.last.insert(partition, sent);
                }
            }
            Some(Next::Unseen(to, Answers { owed, begun })) => {
                self.unseen
                    .retain(|sent| sent.is_elsewhere(to) && sent.turn >= begun);
                self.unseen.push(Sent {
                    to,
                    is_lost: false,
                    sequence: None,
                    turn: owed,
                });
            }
        }
    }

    /// A batch of this partition has not been written, or nobody knows whether it has. What nobody
    /// numbers may go on.
    pub(super) fn has_failed(&mut self, partition: PartitionRef, now: Instant) {
        let is_known = self.failed.contains_key(&partition);
        let is_full = self.failed.len() >= FAILED_MAX && !is_known;
        if self.producers == Producers::NoneNumbers || is_full {
            return;
        }
        // What was looked at last is not what has failed, where there were others since.
        let unseen = self.unseen.iter().map(|sent| sent.turn).max();
        if !is_known
            && let Some(sent) = self.last.get_mut(&partition)
            && unseen.is_some_and(|turn| turn > sent.turn)
        {
            sent.sequence = None;
        }
        self.forgotten_at.get_or_insert(now + FAILED_KEPT);
        self.failed.insert(partition, now);
    }

    /// Whether any partition has failed lately.
    pub(super) fn is_any_failed(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let Some(forgotten_at) = self.forgotten_at else {
            return false;
        };
        let now = now();
        if now >= forgotten_at {
            self.failed.retain(|_, since| now - *since < FAILED_KEPT);
            self.failed.shrink_to_fit();
            let first = self.failed.values().min();
            self.forgotten_at = first.map(|since| *since + FAILED_KEPT);
        }
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

    /// Whether it would go to another broker than the batch before it, which has failed and has
    /// not come again.
    pub(super) fn would_overtake(&self, written: &Written) -> bool {
        let last = self.last.get(&written.partition);
        self.is_behind_failed(&written.partition, written.sequence)
            && last.is_none_or(|sent| sent.is_elsewhere(written.to))
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
            is_held_back: false,
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
            is_held_back: false,
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

    #[test]
    fn what_was_looked_at_before_others_were_not_is_not_what_failed() {
        let mut order = ProduceOrder::default();
        let of_epoch = |epoch, first| Sequence::numbered(first).map(|of| of.in_epoch(epoch));
        let mut first = numbered(0);
        first.sequence = of_epoch(1, 0);
        order.place(vec![first], at(0, 0));
        order.is_sent();
        order.place_unseen(Some(NodeId(1)), at(1, 1));
        order.is_sent();
        order.has_failed(partition(0), Instant::now());
        let next = of_epoch(2, 10);
        assert!(order.is_behind_failed(&partition(0), next));
        let mut again = numbered(0);
        again.sequence = next;
        order.place(vec![again], at(2, 2));
        order.is_sent();
        // Nor does it begin anew when more fail.
        order.has_failed(partition(0), Instant::now());
        assert!(!order.is_behind_failed(&partition(0), next));
    }

    #[test]
    fn what_has_failed_is_remembered_among_many_others() {
        let mut order = ProduceOrder::default();
        let mut turn = 0;
        let mut send = |order: &mut ProduceOrder, written| {
            order.place(written, at(turn, turn));
            order.is_sent();
            turn += 1;
        };
        order.has_failed(partition(0), Instant::now());
        send(&mut order, vec![numbered(5)]);
        for round in 0..3 {
            let many: Vec<_> = (1..1500).map(|of| (of + round * 2000, 1)).collect();
            send(&mut order, keys(&many));
        }
        assert!(!is_behind_failed(&order, 5), "it comes again");
        assert!(is_behind_failed(&order, 10));
    }

    #[test]
    fn so_many_may_fail_and_no_more() {
        let mut order = ProduceOrder::default();
        let start = Instant::now();
        for of in 0..FAILED_MAX as i32 + 10 {
            order.has_failed(partition(of), start);
        }
        assert_eq!(order.failed.len(), FAILED_MAX);
        assert!(!order.is_any_failed(|| start + FAILED_KEPT));
        assert_eq!(order.failed.capacity(), 0);
    }

    #[test]
    fn where_nobody_numbers_nothing_fails() {
        let mut order = ProduceOrder::default();
        order.place(keys(&[(0, 1)]), at(0, 0));
        order.is_sent();
        order.has_failed(partition(0), Instant::now());
        assert!(!order.is_any_failed(Instant::now));
        order.place(vec![numbered(0)], at(1, 1));
        order.is_sent();
        order.has_failed(partition(0), Instant::now());
        assert!(order.is_any_failed(Instant::now));
    }

    #[test]
    fn what_was_on_a_link_that_is_gone_is_waited_for_by_its_own_successor() {
        let mut order = ProduceOrder::default();
        order.place(vec![numbered(0)], at(0, 0));
        order.is_sent();
        assert_eq!(order.place(vec![numbered(5)], at(1, 0)), None, "one link");
        assert!(!order.lost(&[NodeId(2)], at(1, 0)));
        assert!(order.lost(&[NodeId(1)], at(1, 0)));
        assert!(!order.lost(&[NodeId(1)], at(1, 0)), "known");
        assert_eq!(order.place(vec![numbered(5)], at(1, 0)), Some(1));
        assert_eq!(order.place(vec![numbered(5)], at(1, 1)), None);
        order.is_sent();
        assert_eq!(order.place(vec![numbered(10)], at(2, 1)), None, "the next");
    }

    #[test]
    fn what_is_behind_a_failed_batch_may_go_where_that_has_gone_and_nowhere_else() {
        let mut order = ProduceOrder::default();
        order.place(vec![numbered(0)], at(0, 0));
        order.is_sent();
        order.has_failed(partition(0), Instant::now());
        let mut next = numbered(5);
        assert!(!order.would_overtake(&next));
        next.to = Some(NodeId(2));
        assert!(order.would_overtake(&next));
        // That it was held back makes its broker no one's that has been written to.
        next.is_held_back = true;
        assert_eq!(
            order.place(vec![next], at(1, 0)),
            None,
            "it waits for nobody"
        );
        order.is_sent();
        let mut third = numbered(10);
        third.to = Some(NodeId(2));
        assert!(order.would_overtake(&third));
        order.lost(&[NodeId(1)], at(2, 1));
        assert!(order.would_overtake(&numbered(10)), "by another link");
    }
}
