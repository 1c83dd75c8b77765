//! Which addresses have said who they are, or that they are not Narrows, and until when that holds.

use crate::observe::time::now;
use crate::types::{BrokerAddress, NodeId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker that has said who it is need not say it again. A storm of connections asks
/// once; whoever gets the address of a broker that is gone needs longer than that to come up, and
/// any doubt ends it before.
const VERIFIED: Duration = Duration::from_secs(5);
/// More addresses than a cluster has.
const ENTRIES_MAX: usize = 10_000;

/// What addresses have said.
#[derive(Debug, Default)]
pub(super) struct Verified {
    until: Mutex<HashMap<(SocketAddr, Option<NodeId>), Instant>>,
}

impl Verified {
    /// Whether `peer` has said lately that it is `node`, or any broker of the cluster.
    pub(super) fn holds(&self, peer: SocketAddr, node: Option<NodeId>) -> bool {
        self.lock()
            .get(&(peer, node))
            .is_some_and(|until| now() < *until)
    }

    pub(super) fn note(&self, peer: SocketAddr, node: Option<NodeId>) {
        let mut until = self.lock();
        if until.len() >= ENTRIES_MAX {
            until.clear();
        }
        until.insert((peer, node), now() + VERIFIED);
    }

    /// Something has happened to a connection to this address, or none could be made: whoever is
    /// there now must say so again.
    pub(super) fn forget(&self, peer: SocketAddr) {
        self.lock().retain(|(other, _), _| *other != peer);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SocketAddr, Option<NodeId>), Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
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
