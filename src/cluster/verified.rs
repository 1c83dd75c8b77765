//! Which addresses have said who they are, or that they are not Narrows, and until when that holds.

use crate::observe::time::now;
use crate::types::{BrokerAddress, NodeId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker that has said who it is need not say it again. A storm of connections asks
/// once; whoever gets the address of a broker that is gone needs longer than that to come up, and
/// any doubt ends it before.
const VERIFIED: Duration = Duration::from_secs(5);
/// More addresses than a cluster has.
const ENTRIES_MAX: usize = 10_000;

/// What addresses have said.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    until: HashMap<(SocketAddr, Option<NodeId>), Instant>,
    /// How many connections there are to each.
    standing: HashMap<SocketAddr, usize>,
}

impl Verified {
    /// Whether `peer` has said lately that it is `node`, or any broker of the cluster.
    pub(super) fn holds(&self, peer: SocketAddr, node: Option<NodeId>) -> bool {
        let until = self.lock().until.get(&(peer, node)).copied();
        until.is_some_and(|until| now() < until)
    }

    pub(super) fn note(&self, peer: SocketAddr, node: Option<NodeId>) {
        let mut peers = self.lock();
        if peers.until.len() >= ENTRIES_MAX {
            peers.until.clear();
        }
        peers.until.insert((peer, node), now() + VERIFIED);
    }

    /// None could be reached at this address, or somebody else: whoever is there now must say so
    /// again.
    pub(super) fn forget(&self, peer: SocketAddr) {
        self.lock().forget(peer);
    }

    pub(super) fn clear(&self) {
        self.lock().until.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    fn forget(&mut self, peer: SocketAddr) {
        self.until.retain(|(other, _), _| *other != peer);
    }
}

/// One connection to an address, which tells by its end what to think of the address.
///
/// A broker that goes away ends all its connections, and is not always the first to close one. So
/// with the end of any the address is doubted, but for a client that has closed while nothing was
/// owed to it and other connections stand: as long as they do, nobody else has the address.
/// Otherwise each client of a storm that comes and goes would have the broker asked anew.
#[derive(Debug)]
pub(crate) struct Standing {
    verified: Arc<Verified>,
    peer: SocketAddr,
    is_left_in_peace: bool,
}

impl Standing {
    pub(crate) fn new(verified: &Arc<Verified>, peer: SocketAddr) -> Self {
        *verified.lock().standing.entry(peer).or_default() += 1;
        Self {
            verified: Arc::clone(verified),
            peer,
            is_left_in_peace: false,
        }
    }

    /// Whom it reached.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client is about to end it, and the broker owes nothing.
    pub(crate) fn left_in_peace(&mut self) {
        self.is_left_in_peace = true;
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut peers = self.verified.lock();
        let left = peers
            .standing
            .remove(&self.peer)
            .map_or(0, |count| count - 1);
        if left > 0 {
            peers.standing.insert(self.peer, left);
        }
        if left == 0 || !self.is_left_in_peace {
            peers.forget(self.peer);
        }
    }
}

/// How long an address that has been seen to lead elsewhere than to Narrows need not show it again.
const ELSEWHERE: Duration = Duration::from_secs(60);

/// Which addresses do not lead back to Narrows.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    until: Mutex<HashMap<BrokerAddress, Instant>>,
}

impl Elsewhere {
    pub(super) fn holds(&self, address: &BrokerAddress) -> bool {
        self.lock().get(address).is_some_and(|until| now() < *until)
    }

    pub(super) fn note(&self, address: &BrokerAddress) {
        let mut until = self.lock();
        if until.len() >= ENTRIES_MAX {
            until.clear();
        }
        until.insert(address.clone(), now() + ELSEWHERE);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BrokerAddress, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_doubted_with_any_end_but_a_clients_in_peace_beside_another_connection() {
        let peer = "127.0.0.1:9092".parse().unwrap();
        let other = "127.0.0.1:9093".parse().unwrap();
        let verified = Arc::new(Verified::default());
        let stand = || Standing::new(&verified, peer);
        let in_peace = |mut standing: Standing| standing.left_in_peace();
        let said = |peer| {
            verified.note(peer, None);
            verified.note(peer, Some(NodeId(1)));
        };
        let holds = |peer| verified.holds(peer, None) && verified.holds(peer, Some(NodeId(1)));
        let is_doubted =
            |peer| !verified.holds(peer, None) && !verified.holds(peer, Some(NodeId(1)));

        let (first, second, third) = (stand(), stand(), stand());
        said(peer);
        said(other);
        in_peace(first);
        assert!(holds(peer), "two stand");
        drop(second);
        assert!(is_doubted(peer), "one has not ended in peace");
        said(peer);
        in_peace(third);
        assert!(is_doubted(peer), "none stands");
        assert!(holds(other));
        assert!(verified.lock().standing.is_empty());
    }
}
