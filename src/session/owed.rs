//! What the client is owed, in the order in which it has asked.
//!
//! Kafka answers the requests of a connection one after the other, so a client takes whatever comes
//! next for the answer to its oldest request. As soon as answers can come from more than one place
//! (a broker, another broker, Narrows itself), somebody must know whose turn it is: this does. An
//! answer that has come before its turn waits where it is, in its connection or here.

use super::link_id::LinkId;
use super::merge::Merge;
use super::order::Answers;
use bytes::Bytes;
use std::collections::VecDeque;

/// The answers that are to come, the next one first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: VecDeque<Turn>,
    /// How many answers the queue stands for.
    count: usize,
    /// How many it has stood for.
    all: u64,
}

/// Whose turn it is.
#[derive(Debug)]
enum Turn {
    /// A broker's, for so many responses in a row. A run that has been begun to its end stays at
    /// the front until another turn comes behind it, so that with one broker, which is nearly
    /// always, to ask and to answer is to count up and down.
    Broker { link: LinkId, left: usize },
    /// Narrows' own, for these bytes.
    Own(Bytes),
    /// Several brokers', whose answers become one.
    Merged(Box<Merge>),
}

/// Who has the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// The broker of this link.
    Broker(LinkId),
    /// Narrows itself.
    Own,
    /// Several brokers together.
    Merged,
    /// Nobody: nothing is owed.
    Nobody,
}

impl Owed {
    /// A request has gone to a broker that will answer it.
    pub(super) fn push_broker(&mut self, to: LinkId) {
        self.counted();
        match self.queue.back_mut() {
            Some(Turn::Broker { link, left }) if *link == to => *left += 1,
            _ => self.queue.push_back(Turn::Broker { link: to, left: 1 }),
        }
    }

    /// Narrows answers the client's last request itself, with this frame.
    pub(super) fn push_own(&mut self, frame: Bytes) {
        self.counted();
        self.queue.push_back(Turn::Own(frame));
    }

    /// Several brokers answer the client's last request together.
    pub(super) fn push_merge(&mut self, merge: Merge) {
        self.counted();
        self.queue.push_back(Turn::Merged(Box::new(merge)));
    }

    fn counted(&mut self) {
        self.count += 1;
        self.all += 1;
    }

    /// How many answers have been owed, and begun.
    pub(super) fn answers(&self) -> Answers {
        Answers {
            owed: self.all,
            begun: self.all - self.count as u64,
        }
    }

    /// Who comes next. To be asked only when every response that has been begun is through.
    pub(super) fn turn(&mut self) -> Turned {
        while let Some(Turn::Broker { left: 0, .. }) = self.queue.front()
            && self.queue.len() > 1
        {
            self.queue.pop_front();
        }
        match self.queue.front() {
            Some(Turn::Broker { left: 0, .. }) | None => Turned::Nobody,
            Some(Turn::Broker { link, .. }) => Turned::Broker(*link),
            Some(Turn::Own(_)) => Turned::Own,
            Some(Turn::Merged(_)) => Turned::Merged,
        }
    }

    /// The answer that several brokers owe together, if it comes next.
    pub(super) fn merge(&mut self) -> Option<&mut Merge> {
        match self.queue.front_mut() {
            Some(Turn::Merged(merge)) => Some(merge),
            _ => None,
        }
    }

    /// The answer of several brokers has become this frame.
    pub(super) fn merged(&mut self, frame: Bytes) {
        if let Some(front @ Turn::Merged(_)) = self.queue.front_mut() {
            *front = Turn::Own(frame);
        }
    }

    /// Whether the next response that comes on `from` may go to the client now. If so, it counts as
    /// answered.
    pub(super) fn begin(&mut self, from: LinkId) -> bool {
        match self.queue.front_mut() {
            Some(Turn::Broker { link, left }) if *link == from && *left > 0 => {
                *left -= 1;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    /// The bytes of Narrows' own that come next. To be asked only when every response that has been
    /// begun is through: else they would stand in the middle of it.
    pub(super) fn own(&mut self) -> Option<&mut Bytes> {
        if self.turn() != Turned::Own {
            return None;
        }
        match self.queue.front_mut() {
            Some(Turn::Own(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes of Narrows' own have gone to the client.
    pub(super) fn own_is_through(&mut self) {
        if matches!(self.queue.front(), Some(Turn::Own(_))) {
            self.queue.pop_front();
            self.count -= 1;
        }
    }

    /// How many answers have not been begun.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether every answer has been begun.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Answer {
        From(LinkId),
        Own(u8),
    }

    fn answers() -> impl Strategy<Value = Vec<Answer>> {
        let answer = prop_oneof![
            (0u16..3).prop_map(|link| Answer::From(LinkId(link))),
            any::<u8>().prop_map(Answer::Own),
        ];
        prop::collection::vec(answer, 0..40)
    }

    fn push(owed: &mut Owed, answer: Answer) {
        match answer {
            Answer::From(link) => owed.push_broker(link),
            Answer::Own(byte) => owed.push_own(Bytes::copy_from_slice(&[byte])),
        }
    }

    /// Who may answer now; every link but one is told to wait.
    fn next(owed: &mut Owed) -> Option<Answer> {
        if let Some(bytes) = owed.own() {
            let byte = bytes[0];
            assert!(!(0..3).any(|link| owed.begin(LinkId(link))));
            owed.own_is_through();
            return Some(Answer::Own(byte));
        }
        (0..3)
            .map(LinkId)
            .find(|link| owed.begin(*link))
            .map(Answer::From)
    }

    proptest! {
        #[test]
        fn answers_go_out_in_the_order_of_their_requests_wherever_they_come_from(
            answers in answers(), ahead in 0usize..5
        ) {
            let mut owed = Owed::default();
            let mut given = Vec::new();
            for (pushed, answer) in answers.iter().enumerate() {
                push(&mut owed, *answer);
                while pushed + 1 - given.len() > ahead {
                    prop_assert_eq!(owed.len(), pushed + 1 - given.len());
                    given.extend(next(&mut owed));
                }
            }
            while let Some(answer) = next(&mut owed) {
                given.push(answer);
            }
            prop_assert_eq!(given, answers);
            prop_assert!(owed.is_empty());
        }
    }

    #[test]
    fn one_broker_alone_is_one_entry_however_much_is_in_flight() {
        let mut owed = Owed::default();
        for _ in 0..3 {
            (0..1000).for_each(|_| owed.push_broker(LinkId::FIRST));
            assert!((0..1000).all(|_| owed.begin(LinkId::FIRST)));
            assert!(!owed.begin(LinkId::FIRST), "nothing more was asked for");
        }
        assert_eq!(owed.queue.len(), 1);
    }
}
