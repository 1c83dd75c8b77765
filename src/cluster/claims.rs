//! A list names another address for a broker than the map has: a claim, which nobody acts on before
//! it has been looked into.
//!
//! Lists come from brokers that lag behind, and from brokers' other listeners. Connections to a
//! broker that is where it was must not end because of one such list. So both addresses are asked
//! who is there ([`moves`](super::moves)), and the broker [has moved](Claim::verdict) when the new
//! one is it and the old one is not; where that can't be asked or nobody answers, when several
//! lists in a row agree.

use crate::types::{BrokerAddress, NodeId};
use std::time::{Duration, Instant};

/// Between two looks into the same claim.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// So many lists in a row must agree, over so long, where nobody can say who is right.
const LISTS_MIN: u32 = 3;
const LISTS_TIME: Duration = Duration::from_secs(5);

/// Another address that lists name for a broker.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// What the lists say.
    pub(super) advertised: BrokerAddress,
    /// Where that is dialled.
    pub(super) address: BrokerAddress,
    /// How many lists in a row have said so, and since when.
    lists: u32,
    since: Instant,
    checked_at: Option<Instant>,
    /// Both addresses are the broker's.
    is_both: bool,
    /// The lists have named the known address again since.
    is_disputed: bool,
}

/// Who answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The broker that is meant.
    Broker,
    /// Somebody else.
    Other,
    /// Somebody who can't be asked.
    Unknown,
    /// Nobody.
    Nobody,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker is there now.
    Moved,
    /// The broker is where it was.
    Stays,
    /// The claim is wrong.
    Dropped,
}

/// A claim to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueClaim {
    pub(super) node: NodeId,
    /// The address in the map.
    pub(super) known: BrokerAddress,
    /// The one that lists name.
    pub(super) claimed: BrokerAddress,
    /// Lists name the one and the other in turn, and the broker is at both.
    pub(super) is_flapping: bool,
}

impl Claim {
    pub(super) fn new(advertised: BrokerAddress, address: BrokerAddress, now: Instant) -> Self {
        Self {
            advertised,
            address,
            lists: 1,
            since: now,
            checked_at: None,
            is_both: false,
            is_disputed: false,
        }
    }

    /// One more list says so.
    pub(super) fn repeated(&mut self) {
        self.lists = self.lists.saturating_add(1);
    }

    /// A list names the known address.
    pub(super) fn disputed(&mut self, now: Instant) {
        (self.lists, self.since) = (0, now);
        self.is_disputed = true;
    }

    /// Whether it is time to look into it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_early = |at: Instant| now.saturating_duration_since(at) < CHECK_INTERVAL;
        self.lists > 0 && !self.checked_at.is_some_and(is_early)
    }

    /// It is looked into now.
    pub(super) fn begin_check(&mut self, now: Instant) {
        self.checked_at = Some(now);
    }

    /// Lists name the one and the other address in turn, and the broker is at both.
    pub(super) fn is_flapping(&self) -> bool {
        self.is_both && self.is_disputed
    }

    /// What follows from who answers at the known address and at the claimed one.
    pub(super) fn verdict(&mut self, known: Answer, claimed: Answer, now: Instant) -> Verdict {
        use Answer::{Broker, Nobody, Other, Unknown};
        let time = now.saturating_duration_since(self.since);
        let agree = self.lists >= LISTS_MIN && time >= LISTS_TIME;
        let is_there = |answer| matches!(answer, Broker | Unknown);
        self.is_both = is_there(known) && is_there(claimed);
        match (known, claimed) {
            (_, Other) => Verdict::Dropped,
            (Other | Unknown | Nobody, Broker) | (Other | Nobody, Unknown) => Verdict::Moved,
            (Unknown, Unknown) | (Other | Nobody, Nobody) if agree => Verdict::Moved,
            (Broker | Unknown | Other | Nobody, _) => Verdict::Stays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{Broker, Nobody, Other, Unknown};
    use super::*;

    fn claim(lists: u32, now: Instant) -> Claim {
        let address: BrokerAddress = "new:9092".parse().unwrap();
        let mut claim = Claim::new(address.clone(), address, now);
        (1..lists).for_each(|_| claim.repeated());
        claim
    }

    #[test]
    fn a_broker_has_moved_when_it_is_at_the_new_address_and_not_at_the_old_one() {
        let now = Instant::now();
        for (known, claimed, expected) in [
            (Broker, Broker, Verdict::Stays),
            (Broker, Unknown, Verdict::Stays),
            (Broker, Nobody, Verdict::Stays),
            (Broker, Other, Verdict::Dropped),
            (Other, Broker, Verdict::Moved),
            (Other, Nobody, Verdict::Stays),
            (Other, Unknown, Verdict::Moved),
            (Other, Other, Verdict::Dropped),
            (Nobody, Broker, Verdict::Moved),
            (Nobody, Unknown, Verdict::Moved),
            (Nobody, Nobody, Verdict::Stays),
            (Unknown, Broker, Verdict::Moved),
            (Unknown, Unknown, Verdict::Stays),
            (Unknown, Nobody, Verdict::Stays),
        ] {
            let verdict = claim(1, now).verdict(known, claimed, now);
            assert_eq!(verdict, expected, "{known:?} {claimed:?}");
        }
    }

    #[test]
    fn where_nobody_can_say_several_lists_in_a_row_over_some_time_do() {
        let start = Instant::now();
        let later = start + LISTS_TIME;
        for (known, claimed) in [(Unknown, Unknown), (Nobody, Nobody), (Other, Nobody)] {
            let verdict = |claim: &mut Claim, at| claim.verdict(known, claimed, at);
            assert_eq!(verdict(&mut claim(2, start), later), Verdict::Stays);
            assert_eq!(verdict(&mut claim(3, start), start), Verdict::Stays);
            assert_eq!(verdict(&mut claim(3, start), later), Verdict::Moved);
            let mut disputed = claim(3, start);
            disputed.disputed(start);
            disputed.repeated();
            assert_eq!(verdict(&mut disputed, later), Verdict::Stays, "in a row");
        }
        let mut both = claim(100, start);
        assert_eq!(both.verdict(Broker, Broker, later), Verdict::Stays);
        assert!(!both.is_flapping());
        both.disputed(later);
        assert!(both.is_flapping());
    }

    #[test]
    fn a_claim_is_looked_into_once_in_a_while() {
        let start = Instant::now();
        let mut claim = claim(1, start);
        assert!(claim.is_due(start));
        claim.begin_check(start);
        assert!(!claim.is_due(start + CHECK_INTERVAL / 2));
        assert!(claim.is_due(start + CHECK_INTERVAL));
    }
}
