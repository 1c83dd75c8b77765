//! Which brokers a client's next connections are meant for, where its login could not be repeated
//! and its connection was closed instead (scheme `single`).
//!
//! A client has several connections, and nothing tells which one comes again. So only one at a time
//! is told to: the others wait with their request, logged in, until that one has come to its broker
//! or has had time enough. Else a client of thirty brokers would have thirty connections given out
//! at random, of which one hits, and then twenty-nine, and would log in hundreds of times.

use crate::types::NodeId;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a client may take to come again: librdkafka waits up to 10 s between two attempts.
const COMES_WITHIN: Duration = Duration::from_secs(15);
/// How long the others wait for it: nobody's first attempt is later than a few hundred
/// milliseconds.
const TURN: Duration = Duration::from_secs(1);
/// More clients are not remembered, and not more brokers for one of them.
const CLIENTS_MAX: usize = 10_000;
const WANTED_MAX: usize = 100;

/// Whose connections may be for one another's brokers: what comes from one address under one client
/// id. Behind a balancer that is all that tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    source: IpAddr,
    client_id: Box<[u8]>,
}

impl ClientKey {
    pub(super) fn new(source: IpAddr, client_id: Option<&[u8]>) -> Self {
        let client_id = client_id.unwrap_or_default().into();
        Self { source, client_id }
    }
}

/// What closed connections have said of the next ones.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    clients: Mutex<HashMap<ClientKey, VecDeque<Wish>>>,
    /// Told when one has come to its broker.
    came: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    node: NodeId,
    since: Instant,
}

impl Awaited {
    /// A connection of this client for this broker is about to come again, once no other one is
    /// expected. Cancel-safe: nothing is noted before it is done.
    pub(super) async fn note(&self, client: &ClientKey, node: NodeId) {
        let deadline = Instant::now() + COMES_WITHIN;
        loop {
            let mut came = pin!(self.came.notified());
            came.as_mut().enable();
            let now = Instant::now();
            let is_late = now >= deadline;
            let Some(until) = self.turn(client, node, now).filter(|_| !is_late) else {
                return self.note_at(client, node, now);
            };
            // Late or told: it is looked at again.
            let _ = timeout_at(until.min(deadline), came).await;
        }
    }

    /// Until when another connection of the client is expected, if one is.
    fn turn(&self, client: &ClientKey, node: NodeId, now: Instant) -> Option<Instant> {
        let clients = self.lock();
        let others = clients.get(client)?.iter().filter(|wish| wish.node != node);
        let ends = others.map(|wish| wish.since + TURN);
        ends.filter(|end| *end > now).max()
    }

    fn note_at(&self, client: &ClientKey, node: NodeId, now: Instant) {
        let mut clients = self.lock();
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, wanted| wanted.iter().any(|wish| wish.is_due(now)));
        }
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(client) {
            return;
        }
        let wanted = clients.entry(client.clone()).or_default();
        wanted.retain(|wish| wish.node != node);
        wanted.push_front(Wish { node, since: now });
        wanted.truncate(WANTED_MAX);
    }

    /// A broker that a new connection of the client may be meant for. Each stands until a connection
    /// has [come](Expectation::settled) to it.
    ///
    /// Chosen by chance: some clients come again at once, so that the one closed last comes first;
    /// Java's waits longer after each attempt, so that the one before it does. With any rule there are
    /// clients whose connections are given one another's brokers for ever.
    pub(super) fn take(&self, client: &ClientKey) -> Option<NodeId> {
        self.take_at(client, Instant::now())
    }

    fn take_at(&self, client: &ClientKey, now: Instant) -> Option<NodeId> {
        let mut clients = self.lock();
        let wanted = clients.get_mut(client)?;
        wanted.retain(|wish| wish.is_due(now));
        if wanted.is_empty() {
            clients.remove(client);
            return None;
        }
        let chosen = fastrand::usize(..wanted.len());
        Some(wanted[chosen].node)
    }

    fn came(&self, client: &ClientKey, node: NodeId) {
        let mut clients = self.lock();
        if let Some(wanted) = clients.get_mut(client) {
            wanted.retain(|wish| wish.node != node);
            if wanted.is_empty() {
                clients.remove(client);
            }
        }
        drop(clients);
        self.came.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, VecDeque<Wish>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.since) < COMES_WITHIN
    }
}

/// A connection has been taken for one that comes again.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) awaited: Arc<Awaited>,
    pub(super) client: ClientKey,
    /// The broker that it was carried to.
    pub(super) node: NodeId,
}

impl Expectation {
    /// It has said which broker it means. If it is this one, the next may come.
    pub(super) fn settled(self, at: NodeId) {
        if self.node == at {
            self.awaited.came(&self.client, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str) -> ClientKey {
        ClientKey::new(IpAddr::from([127, 0, 0, 1]), Some(id.as_bytes()))
    }

    #[test]
    fn connections_get_to_their_brokers_in_whichever_order_they_come_again() {
        let comes_first: [fn(usize) -> usize; 3] = [|_| 0, |count| count - 1, |count| count / 2];
        for comes_first in comes_first {
            let awaited = Arc::new(Awaited::default());
            let now = Instant::now();
            let me = client("me");
            let mut closed: Vec<NodeId> = [1, 2, 3].map(NodeId).into();
            for node in &closed {
                awaited.note_at(&me, *node, now);
            }
            let mut attempts = 0;
            while !closed.is_empty() {
                attempts += 1;
                assert!(attempts < 1000, "{closed:?} go round in a circle");
                let wants = closed.remove(comes_first(closed.len()));
                let node = awaited.take_at(&me, now).unwrap();
                let expectation = Expectation {
                    awaited: Arc::clone(&awaited),
                    client: me.clone(),
                    node,
                };
                expectation.settled(wants);
                if node != wants {
                    awaited.note_at(&me, wants, now);
                    closed.push(wants);
                }
            }
            assert!(awaited.lock().is_empty());
            assert_eq!(awaited.take_at(&client("other"), now), None);
        }
    }

    #[test]
    fn who_has_come_is_not_expected_any_more_and_who_came_elsewhere_is() {
        let awaited = Arc::new(Awaited::default());
        let now = Instant::now();
        let me = client("me");
        awaited.note_at(&me, NodeId(2), now);
        let expected = || Expectation {
            awaited: Arc::clone(&awaited),
            client: me.clone(),
            node: NodeId(2),
        };
        expected().settled(NodeId(7));
        assert_eq!(awaited.take_at(&me, now), Some(NodeId(2)));
        expected().settled(NodeId(2));
        assert_eq!(awaited.take_at(&me, now), None);
        assert!(awaited.lock().is_empty());
    }

    #[test]
    fn who_does_not_come_in_time_is_forgotten() {
        let awaited = Awaited::default();
        let start = Instant::now();
        let me = client("me");
        awaited.note_at(&me, NodeId(2), start);
        awaited.note_at(&me, NodeId(3), start + COMES_WITHIN / 2);
        let later = start + COMES_WITHIN;
        assert_eq!(awaited.take_at(&me, later), Some(NodeId(3)));
        assert_eq!(awaited.take_at(&me, later), Some(NodeId(3)), "2 is late");
        assert_eq!(awaited.take_at(&me, later + COMES_WITHIN), None);
        assert!(awaited.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_is_told_to_come_again() {
        let awaited = Awaited::default();
        let me = client("me");
        let start = Instant::now();
        awaited.note(&me, NodeId(2)).await;
        awaited.note(&client("other"), NodeId(4)).await;
        awaited.note(&me, NodeId(2)).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody else is expected");
        let wait = awaited.note(&me, NodeId(3));
        let come = async { awaited.came(&me, NodeId(2)) };
        tokio::join!(wait, come);
        assert_eq!(start.elapsed(), Duration::ZERO, "it has come");
        awaited.note(&me, NodeId(4)).await;
        assert_eq!(start.elapsed(), TURN, "it has not come");
    }
}
